"""Local response normalisation, a pixel at a time: its sums stay in the cache between the two steps."""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import parallel

Array = Any


def local_response_norm_forward(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """As the reference."""
    rows = dense(x).reshape(-1, x.shape[-1])  # (..., C) -> (M, C)
    y = empty(rows.shape, rows.dtype)
    numbers = (x.dtype.type(v) for v in (alpha / size, beta, k))
    _forward(rows, y, size, *numbers, _jit.threads_for(16 * x.size))
    return y.reshape(x.shape)


def local_response_norm_backward(dy: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """As the reference."""
    rows = dense(x).reshape(-1, x.shape[-1])  # (..., C) -> (M, C)
    dx = empty(rows.shape, rows.dtype)
    numbers = (x.dtype.type(v) for v in (alpha / size, beta, k))
    _backward(dense(dy).reshape(rows.shape), rows, dx, size, *numbers, _jit.threads_for(32 * x.size))
    return dx.reshape(x.shape)


@parallel
def _forward(x, y, size, alpha, beta, k, threads):
    M, C = x.shape
    for thread in prange(threads):
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            for c in range(C):
                energy = x.dtype.type(0)
                for j in range(max(0, c - size // 2), min(C, c + (size - 1) // 2 + 1)):
                    energy += x[m, j] * x[m, j]
                y[m, c] = x[m, c] * (k + alpha * energy) ** -beta


@parallel
def _backward(dy, x, dx, size, alpha, beta, k, threads):
    M, C = x.shape
    for thread in prange(threads):
        damped = np.empty(C, x.dtype)
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            for c in range(C):
                energy = x.dtype.type(0)
                for j in range(max(0, c - size // 2), min(C, c + (size - 1) // 2 + 1)):
                    energy += x[m, j] * x[m, j]
                scale = k + alpha * energy
                dx[m, c] = dy[m, c] * scale**-beta
                damped[c] = dx[m, c] * x[m, c] / scale
            for c in range(C):
                total = x.dtype.type(0)
                for j in range(max(0, c - (size - 1) // 2), min(C, c + size // 2 + 1)):
                    total += damped[j]
                dx[m, c] -= 2 * alpha * beta * x[m, c] * total
