"""Weighed sums over the windows of an image, one axis at a time: what all pooling but that by maxima is made of.

    y[n, i, j, c] = sum over h, w of rows(i, h) * columns(j, w) * x[n, h, w, c]

The rows under a row of windows are added first, whose numbers lie side by side, and then pixels, of which there are
fewer by then. The gradient is such a sum as well, over the windows that cover a cell: it is gathered, so that no two
threads write to one cell, and the sums have one order.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from . import _jit
from ._arrays import dense
from ._jit import compiled, parallel, separate
from .tiles import at, clear

Array = Any
LINE = 2048  # numbers of the sums of rows that are held at a time: 8 KB of float32


class Axis(NamedTuple):
    """On one axis of `size` cells, `out` sums: number i is scale[i] * sum over k of weight[k] * cell k.

    k runs from reach[i, 0] to reach[i, 1]; neither ever falls as i rises.
    """

    reach: Array  # (out, 2), int64
    scale: Array  # (out,), dtype of the image
    weight: Array  # (size,)


def over_windows(windows: Array, shares: Array, size: int) -> Axis:
    """For each window, (first cell, the one behind the last), its share times the sum of its cells."""
    return Axis(windows, shares, np.ones(size, shares.dtype))


def over_cells(windows: Array, shares: Array, size: int) -> Axis:
    """The gradient of `over_windows`: for each cell the sum over the windows that cover it, each times its share."""
    cells = np.arange(size)
    # The first window that ends behind the cell, and the first one that starts behind it.
    covering = np.searchsorted(windows[:, 1], cells, "right"), np.searchsorted(windows[:, 0], cells, "right")
    return Axis(np.stack(covering, axis=1), np.ones(size, shares.dtype), shares)


def add_windows(x: Array, y: Array, rows: Axis, columns: Axis, work: int) -> None:
    """Fill y (N, OH, OW, C) with the sums of x (N, H, W, C), on as many threads as so many operations are worth."""
    threads = _jit.threads_for(work)
    if threads == 1:
        _add_windows(dense(x), y, *rows, *columns, 0, y.shape[0] * y.shape[1])
    else:
        _add_windows_on_threads(dense(x), y, *rows, *columns, threads)


@parallel
def _add_windows_on_threads(x, y, rows, row_scale, row_weight, columns, column_scale, column_weight, threads):
    M = y.shape[0] * y.shape[1]
    for thread in prange(threads):
        first, last = M * thread // threads, M * (thread + 1) // threads
        _add_windows(x, y, rows, row_scale, row_weight, columns, column_scale, column_weight, first, last)


@compiled
def _add_windows(x, y, rows, row_scale, row_weight, columns, column_scale, column_weight, first, last):
    """The rows from first to last of the N*OH rows of y."""
    (_, H, W, C), (_, OH, OW, _) = x.shape, y.shape
    image, out, line = x.ravel(), y.ravel(), np.empty(W * C, x.dtype)
    run = max(1, LINE * OW // (W * C))  # windows whose cells fill the line
    for row in range(first, last):
        n, i = row // OH, row % OH
        for j0 in range(0, OW, run):
            j1 = min(OW, j0 + run)
            begin, end = columns[j0, 0], columns[j1 - 1, 1]
            corner, count = (n * H * W + begin) * C, (end - begin) * C
            _add_cells(line, 0, image, corner, W * C, count, i, i + 1, rows, row_scale, row_weight)
            pixel = (row * OW + j0) * C
            _add_cells(out, pixel, line, -begin * C, C, C, j0, j1, columns, column_scale, column_weight)


@separate
def _add_cells(out, o0, x, x0, step, count, i0, i1, reach, scale, weight):
    """out[o0 + (i - i0)*count + q] = scale[i] * sum over k of weight[k] * x[x0 + k*step + q].

    For i from i0 to i1, k from reach[i, 0] to reach[i, 1], and q < count.
    """
    for i in range(i0, i1):
        o, first, last = o0 + (i - i0) * count, reach[i, 0], reach[i, 1]
        s, a = x0 + first * step, scale[i] * weight[first] if first < last else scale[i]
        if first == last:  # windows that stand apart leave cells between them
            clear(out, o, count)
        elif first + 1 == last:
            for q in range(count):
                out[at(o) + at(q)] = a * x[at(s) + at(q)]
        else:  # two at once save a pass
            t, b = s + step, scale[i] * weight[first + 1]
            for q in range(count):
                out[at(o) + at(q)] = a * x[at(s) + at(q)] + b * x[at(t) + at(q)]
        for k in range(first + 2, last):
            s, a = x0 + k * step, scale[i] * weight[k]
            for q in range(count):
                out[at(o) + at(q)] += a * x[at(s) + at(q)]
