"""Activations that a kernel applies to its own result while that is still in the cache.

A layer's activation is a few instructions a number; as a kernel of its own it waits for memory, once to read what the
layer has just written and once to write it again. The functions are those of `activation`, so a result has the same
bits whether its activation was fused or not.
"""

from typing import Any

from . import _jit
from ._jit import on_threads, separate
from .activation import logistic, tanh
from .tiles import at, share

Array = Any

# An activation's name as compiled code sees it.
CODES = {None: 0, "relu": 1, "tanh": 2, "sigmoid": 3}


@separate
def activate(out, start, count, code):
    """out[start : start + count] = activation(out[start : start + count]) for a flat array."""
    zero, one = out.dtype.type(0), out.dtype.type(1)
    if code == 1:
        for i in range(count):
            v = out[at(start) + at(i)]
            out[at(start) + at(i)] = zero if v <= 0 else v
    elif code == 2:
        for i in range(count):
            out[at(start) + at(i)] = tanh(out[at(start) + at(i)])
    elif code == 3:
        for i in range(count):
            out[at(start) + at(i)] = logistic(out[at(start) + at(i)], one)


@separate
def activate_rows(out, start, row, rows, count, code):
    """`activate` for the first `count` numbers of so many rows, which lie `row` numbers apart."""
    if code and row == count:
        activate(out, start, rows * count, code)
    elif code:
        for r in range(rows):
            activate(out, start + r * row, count, code)


def activated(y: Array, activation: str | None) -> Array:
    """The dense array y itself, after its activation: for a kernel that has no better moment for it."""
    if activation is not None:
        _activate(y.reshape(-1), CODES[activation], _jit.threads_for(y.size))
    return y


@on_threads
def _activate(y, code, thread, threads):
    start = share(y.size, thread, threads)
    activate(y, start, share(y.size, thread + 1, threads) - start, code)
