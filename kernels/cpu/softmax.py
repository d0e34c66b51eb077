"""Softmax and its logarithm, a row at a time while it is in the cache, rows on all threads."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import inlined, on_threads, separate
from .activation import exp_nonpositive, log_from_one

Array = Any
NUMBERS = 2048  # of the rows that take each step together: 8 KB of float32 read and 8 KB written


def softmax_forward(x: Array) -> Array:
    """As the reference."""
    return _by_rows(_softmax, x)


def softmax_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _by_rows(_softmax_backward, dy, y)


def log_softmax_forward(x: Array) -> Array:
    """As the reference."""
    return _by_rows(_log_softmax, x)


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _by_rows(_log_softmax_backward, dy, y)


def _by_rows(kernel: Any, *arrays: Array) -> Array:
    shape = arrays[0].shape
    rows = [dense(a).reshape(-1, shape[-1]) for a in arrays]  # (..., K) -> (M, K)
    out = empty(rows[0].shape, rows[0].dtype)
    kernel(*rows, out, _jit.threads_for(16 * out.size))
    return out.reshape(shape)


@intrinsic
def maximum(typing, a, b):
    """The larger of two numbers, or NaN where one of them is: NumPy's, which along a row becomes vector code.

    Numba's `max` does not: what it gives beside a NaN depends on the order of the two.
    """
    return a(a, b), _maximum


def _maximum(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write LLVM's instruction."""
    number = signature.return_type
    kind = context.get_value_type(number)
    form = ir.FunctionType(kind, [kind, kind])
    function = cgutils.get_or_insert_function(builder.module, form, f"llvm.maximum.f{number.bitwidth}")
    return builder.call(function, arguments, fastmath=["nsz"])


@separate
def exponentials(x, y, largest, totals, first, last):
    """y[m] = e**(x[m] - largest[m - first]) and totals[m - first] = sum of y[m], for the rows m from first to last.

    x, y: (M, K). The rows take each step together: within one row every step must wait for the end of the last, and of
    a short row that is most of the time.
    """
    K = x.shape[1]
    for m in range(first, last):
        most = x[m, 0]
        for k in range(1, K):
            most = maximum(most, x[m, k])
        largest[m - first] = most
    for m in range(first, last):
        most = largest[m - first]
        for k in range(K):
            y[m, k] = exp_nonpositive(x[m, k] - most)
    # In a loop that stores nothing: one that does takes its sums in another order where its arrays are neighbours.
    for m in range(first, last):
        total = y.dtype.type(0)
        for k in range(K):
            total += y[m, k]
        totals[m - first] = total


@inlined
def take_logarithms(totals, count):
    """Of the sums of so many rows, in a loop of its own: so it is vector code."""
    for q in range(count):
        totals[q] = log_from_one(totals[q])


@inlined
def rows_at_once(K):
    """How many rows take each step together: few enough for a first-level cache."""
    return max(1, NUMBERS // K)


@on_threads
def _softmax(x, y, thread, threads):
    M, K = x.shape
    rows = rows_at_once(K)
    stop = M * (thread + 1) // threads
    largest, totals = np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    for first in range(M * thread // threads, stop, rows):
        last = min(stop, first + rows)
        exponentials(x, y, largest, totals, first, last)
        for m in range(first, last):
            total = totals[m - first]
            for k in range(K):
                y[m, k] /= total


@on_threads
def _softmax_backward(dy, y, dx, thread, threads):
    M, K = y.shape
    for m in range(M * thread // threads, M * (thread + 1) // threads):
        total = y.dtype.type(0)
        for k in range(K):
            total += dy[m, k] * y[m, k]
        for k in range(K):
            dx[m, k] = y[m, k] * (dy[m, k] - total)


@on_threads
def _log_softmax(x, y, thread, threads):
    M, K = x.shape
    rows = rows_at_once(K)
    stop = M * (thread + 1) // threads
    largest, totals = np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    for first in range(M * thread // threads, stop, rows):
        last = min(stop, first + rows)
        exponentials(x, y, largest, totals, first, last)
        take_logarithms(totals, last - first)
        for m in range(first, last):
            most, logarithm = largest[m - first], totals[m - first]
            # First the difference of the two large numbers, then the small one: the other order loses digits.
            for k in range(K):
                y[m, k] = (x[m, k] - most) - logarithm


@on_threads
def _log_softmax_backward(dy, y, dx, thread, threads):
    M, K = y.shape
    for m in range(M * thread // threads, M * (thread + 1) // threads):
        total = y.dtype.type(0)
        for k in range(K):
            total += dy[m, k]
        for k in range(K):
            dx[m, k] = dy[m, k] - exp_nonpositive(y[m, k]) * total
