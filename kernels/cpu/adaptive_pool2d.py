"""Adaptive average pooling: pairs of cells are added as they are, and the pairs in float64.

A window's channels are cut into stretches, so that one window for a whole image is work for several threads. The
gradient is the weighed sum over the windows that cover a cell.
"""

import functools
from typing import Any

import numpy as np

from ..geometry import Pair, adaptive_window
from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import on_threads
from .pool2d_sum import Axis, add_windows, over_cells
from .tiles import add, at, clear

Array = Any
GRAIN = 1 << 17  # numbers that are added up in the time that it takes to wake a thread
CHANNELS = 256  # of a stretch: its sums take 2 KB


def adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    """As the reference."""
    N, H, W, C = x.shape
    y = empty((N, *output_size, C), x.dtype)
    rows, columns, threads = _windows(H, output_size[0]), _windows(W, output_size[1]), _jit.threads_for(x.size, GRAIN)
    _average(dense(x), y, rows, columns, threads)
    return y


def adaptive_avg_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """As the reference, gathered."""
    dx = empty(x_shape, dy.dtype)
    rows, columns = (_axis(x_shape[a], dy.shape[a], dy.dtype) for a in (1, 2))
    add_windows(dy, dx, rows, columns, dx.size)
    return dx


@functools.lru_cache(maxsize=1024)
def _windows(size: int, out: int) -> Array:
    """(out, 2): where each window starts and ends; kept, since for a small image that is more work than the sums."""
    return np.array([adaptive_window(i, size, out) for i in range(out)], np.int64)


@functools.lru_cache(maxsize=1024)
def _axis(size: int, out: int, dtype: Any) -> Axis:
    windows = _windows(size, out)
    return over_cells(windows, (1 / (windows[:, 1] - windows[:, 0])).astype(dtype), size)


@on_threads
def _average(x, y, rows, columns, thread, threads):
    """A task is a stretch of at most CHANNELS channels of one window."""
    (_, H, W, C), (N, OH, OW, _) = x.shape, y.shape
    image, out, sums = x.ravel(), y.ravel(), np.empty(CHANNELS, np.float64)
    stretches = (C + CHANNELS - 1) // CHANNELS
    tasks = N * OH * OW * stretches
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        window, channel = task // stretches, task % stretches * CHANNELS
        n, i, j = window // (OH * OW), window // OW % OH, window % OW
        count = min(CHANNELS, C - channel)
        left, right = columns[j, 0], columns[j, 1]
        clear(sums, 0, count)
        for h in range(rows[i, 0], rows[i, 1]):
            start = (n * H + h) * W * C + channel
            if (right - left) % 2:
                add(sums, 0, image, start + (right - 1) * C, count)
            for w in range(left, right - 1, 2):  # a pair at once saves a pass and half of the conversions
                s, t = at(start + w * C), at(start + w * C + C)
                for q in range(count):
                    sums[at(q)] += image[s + at(q)] + image[t + at(q)]
        cells = (rows[i, 1] - rows[i, 0]) * (right - left)
        for q in range(count):
            out[at(window * C + channel) + at(q)] = sums[at(q)] / cells
