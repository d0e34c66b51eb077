"""What makes a network visible: `model_summary` prints its table, `plots` draws it and its training."""
