"""Softmax and its logarithm, a row at a time while it is in the cache, rows on all threads."""

import math
from typing import Any

from numba import prange

from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import inlined, parallel
from .activation import exp_nonpositive
from .vectors import maximum

Array = Any


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


@inlined
def exponentials(x, y, m):
    """y[m] = e**(x[m] - largest); returns the largest number of row m of x (M, K), and the sum of y[m]."""
    K = x.shape[1]
    largest = x[m, 0]
    for k in range(1, K):
        largest = maximum(largest, x[m, k])
    for k in range(K):
        y[m, k] = exp_nonpositive(x[m, k] - largest)
    # In a loop that stores nothing: one that does takes its sums in another order where its arrays are neighbours.
    total = y.dtype.type(0)
    for k in range(K):
        total += y[m, k]
    return largest, total


@parallel
def _softmax(x, y, threads):
    M, K = x.shape
    for thread in prange(threads):
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            _, total = exponentials(x, y, m)
            for k in range(K):
                y[m, k] /= total


@parallel
def _softmax_backward(dy, y, dx, threads):
    M, K = y.shape
    for thread in prange(threads):
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            total = y.dtype.type(0)
            for k in range(K):
                total += dy[m, k] * y[m, k]
            for k in range(K):
                dx[m, k] = y[m, k] * (dy[m, k] - total)


@parallel
def _log_softmax(x, y, threads):
    M, K = x.shape
    for thread in prange(threads):
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            largest, total = exponentials(x, y, m)
            # First the difference of the two large numbers, then the small one: the other order loses digits.
            logarithm = x.dtype.type(math.log(total))
            for k in range(K):
                y[m, k] = (x[m, k] - largest) - logarithm


@parallel
def _log_softmax_backward(dy, y, dx, threads):
    M, K = y.shape
    for thread in prange(threads):
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            total = y.dtype.type(0)
            for k in range(K):
                total += dy[m, k]
            for k in range(K):
                dx[m, k] = dy[m, k] - exp_nonpositive(y[m, k]) * total
