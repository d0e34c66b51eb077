"""Local response normalisation, a pixel at a time: its sums stay in the cache between the steps.

The window is walked neighbour by neighbour for all channels at once, so that each walk is vector code.
"""

from typing import Any

import numpy as np

from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import inlined, on_threads
from .tiles import at

Array = Any


def local_response_norm_forward(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """As the reference."""
    rows = dense(x).reshape(-1, x.shape[-1])  # (..., C) -> (M, C)
    y = empty(rows.shape, rows.dtype)
    numbers = [x.dtype.type(v) for v in (alpha / size, beta, k)]
    _forward(rows, y, _reach(size, x), *numbers, _jit.threads_for(16 * x.size))
    return y.reshape(x.shape)


def local_response_norm_backward(dy: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """As the reference."""
    rows = dense(x).reshape(-1, x.shape[-1])  # (..., C) -> (M, C)
    dx = empty(rows.shape, rows.dtype)
    numbers = [x.dtype.type(v) for v in (alpha / size, beta, k)]
    _backward(dense(dy).reshape(rows.shape), rows, dx, _reach(size, x), *numbers, _jit.threads_for(32 * x.size))
    return dx.reshape(x.shape)


def _reach(size: int, x: Array) -> int:
    """The size of a window that sees the same channels, and is not much larger than all of them."""
    return min(size, 2 * x.shape[-1])


@on_threads
def _forward(x, y, size, alpha, beta, k, thread, threads):
    M, C = x.shape
    scale = np.empty(C, x.dtype)
    for m in range(M * thread // threads, M * (thread + 1) // threads):
        _scale(x, m, size, alpha, k, scale)
        _power(scale, beta)
        for c in range(C):
            y[m, c] = x[m, c] * scale[c]


@on_threads
def _backward(dy, x, dx, size, alpha, beta, k, thread, threads):
    M, C = x.shape
    scale, power = np.empty(C, x.dtype), np.empty(C, x.dtype)
    damped, total = np.empty(C, x.dtype), np.empty(C, x.dtype)
    for m in range(M * thread // threads, M * (thread + 1) // threads):
        _scale(x, m, size, alpha, k, scale)
        power[:] = scale
        _power(power, beta)
        for c in range(C):
            dx[m, c] = dy[m, c] * power[c]
            damped[c] = dx[m, c] * x[m, c] / scale[c]
            total[c] = 0
        for offset in range(-((size - 1) // 2), size // 2 + 1):
            for c in range(max(0, -offset), C - max(0, offset)):
                total[at(c)] += damped[at(c + offset)]
        for c in range(C):
            dx[m, c] -= 2 * alpha * beta * x[m, c] * total[c]


@inlined
def _scale(x, m, size, alpha, k, scale):
    """scale[c] = k + alpha * the sum of squares in the window of c; one neighbour of all channels after another."""
    C = len(scale)
    for c in range(C):
        scale[c] = k
    for offset in range(-(size // 2), (size - 1) // 2 + 1):
        for c in range(max(0, -offset), C - max(0, offset)):
            scale[at(c)] += alpha * x[m, at(c + offset)] * x[m, at(c + offset)]


@inlined
def _power(scale, beta):
    """scale**-beta; for 3/4, which everybody uses, two square roots, which become vector code."""
    if beta == scale.dtype.type(0.75):
        for c in range(len(scale)):
            root = np.sqrt(scale[c])
            scale[c] = scale.dtype.type(1) / (root * np.sqrt(root))
    else:
        for c in range(len(scale)):
            scale[c] = scale[c] ** -beta
