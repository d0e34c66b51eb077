"""Adaptive average pooling: sums in float64, gathered backwards, images on all threads."""

from typing import Any

import numpy as np
from numba import prange

from ..geometry import Pair, adaptive_window
from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import parallel
from .tiles import add, at, clear

Array = Any


def adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    """As the reference."""
    N, H, W, C = x.shape
    y = empty((N, *output_size, C), x.dtype)
    rows, columns = _windows(H, output_size[0]), _windows(W, output_size[1])
    _average(dense(x), y, rows, columns, _jit.threads_for(x.size))
    return y


def adaptive_avg_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """As the reference."""
    dx = empty(x_shape, dy.dtype)
    rows, columns = _windows(x_shape[1], dy.shape[1]), _windows(x_shape[2], dy.shape[2])
    _share(dense(dy), dx, rows, columns, _jit.threads_for(dx.size))
    return dx


def _windows(size: int, out: int) -> Array:
    """(out, 2): where each window starts and ends."""
    return np.array([adaptive_window(i, size, out) for i in range(out)], np.int64)


@parallel
def _average(x, y, rows, columns, threads):
    (N, OH, OW, C), (_, H, W, _) = y.shape, x.shape
    image, out = x.ravel(), y.ravel()
    for thread in prange(threads):
        sums = np.empty(C, np.float64)
        for window in range(N * OH * OW * thread // threads, N * OH * OW * (thread + 1) // threads):
            n, i, j = window // (OH * OW), window // OW % OH, window % OW
            clear(sums, 0, C)
            for h in range(rows[i, 0], rows[i, 1]):
                for w in range(columns[j, 0], columns[j, 1]):
                    add(sums, 0, image, ((n * H + h) * W + w) * C, C)
            cells = (rows[i, 1] - rows[i, 0]) * (columns[j, 1] - columns[j, 0])
            for c in range(C):
                out[at(window * C) + at(c)] = sums[at(c)] / cells


@parallel
def _share(dy, dx, rows, columns, threads):
    (_, OH, OW, C), (N, H, W, _) = dy.shape, dx.shape
    gradient, out = dy.ravel(), dx.ravel()
    for thread in prange(threads):
        for row in range(N * H * thread // threads, N * H * (thread + 1) // threads):
            n, h = row // H, row % H
            clear(out, row * W * C, W * C)
            # Of the windows, which rise with i, only those near h * OH / H can cover h.
            for i in range(max(0, h * OH // H - 1), min(OH, (h + 1) * OH // H + 2)):
                if not rows[i, 0] <= h < rows[i, 1]:
                    continue
                for j in range(OW):
                    cells = (rows[i, 1] - rows[i, 0]) * (columns[j, 1] - columns[j, 0])
                    share, pixel = dx.dtype.type(1) / dx.dtype.type(cells), ((n * OH + i) * OW + j) * C
                    for w in range(columns[j, 0], columns[j, 1]):
                        cell = (row * W + w) * C
                        for c in range(C):
                            out[at(cell) + at(c)] += share * gradient[at(pixel) + at(c)]
