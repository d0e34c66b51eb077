"""What is wrong with a network that does not learn, from one batch: `diagnosing` asks the rules in the other files."""
