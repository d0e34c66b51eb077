"""The tests of the exercises, one file for each, and what runs them.

A test is a function whose name begins with `test_`. It takes the student's module, calls what is in it, and raises
`Mistake` where the answer is wrong; the first line of its docstring is its title. Expected values never come from the
engine: they are slopes of the definition (loops over every index, nudged up and down), or numbers worked out by hand.
"""
