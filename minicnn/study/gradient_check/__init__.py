"""Is a backward pass right? `check` compares it with central differences; where they differ, `report` explains.

check.py        gradcheck
differences.py  a function of arrays, and its derivatives without a backward pass
case.py         one wrong gradient, with all that is known about it
causes_*.py     what may have gone wrong: each looks for the traces that one mistake leaves
diagnosis.py    the cause that the evidence supports, and the Function in which it lies
error_map.py    where the error is, in characters
"""
