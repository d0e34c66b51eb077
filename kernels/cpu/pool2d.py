"""Pooling, a row of output at a time, the channels innermost as they lie in memory.

What differs from the reference: no padded copy, no array for each position of the window. For maxima the cells under a
row of windows are merged by rows first, whose numbers lie side by side, and then by pixels, of which there are fewer by
then; as many windows at a time as a first-level cache has room for. Their gradient goes straight to the cell that won,
each thread keeping to rows of its own. Sums and averages, and their gradients, are `pool2d_sum`'s.
"""

import functools
from typing import Any

import numpy as np

from ..geometry import Padding, Pair, output_sizes, window_cells
from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import inlined, on_threads
from .pool2d_sum import Axis, add_windows, over_cells, over_windows
from .tiles import at, clear

Array = Any
LINE = 2048  # numbers of a row of the image that are merged at a time: with their places 16 KB


def max_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool
) -> tuple[Array, Array]:
    """As the reference."""
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
    y = empty((len(x), OH, OW, x.shape[3]), x.dtype)
    index = empty(y.shape, np.int32)
    _max(dense(x), y, index, kernel_size, stride, _before(padding), _jit.threads_for(_work(x, y, kernel_size)))
    return y, index


def max_pool2d_backward(
    dy: Array, index: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """As the reference; 0 goes nowhere, so that work is done for the winners alone."""
    dx = empty(x_shape, dy.dtype)
    threads = _jit.threads_for(dx.size)
    _max_scatter(dense(dy), dense(index), dx, kernel_size, stride, _before(padding), threads)
    return dx


def sum_pool2d_forward(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> Array:
    """As the reference."""
    return _sum_forward(x, kernel_size, stride, padding, ceil_mode, None)


def sum_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """As the reference, gathered."""
    return _sum_backward(dy, x_shape, kernel_size, stride, padding, None)


def avg_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """As the reference."""
    return _sum_forward(x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, count_include_pad: bool
) -> Array:
    """As the reference, gathered."""
    return _sum_backward(dy, x_shape, kernel_size, stride, padding, count_include_pad)


def _sum_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, include: bool | None
) -> Array:
    """Averages that count the padding or not; with None sums, of which nothing is counted."""
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
    y = empty((len(x), OH, OW, x.shape[3]), x.dtype)
    rows, columns = (
        _axis(over_windows, x.shape[a + 1], kernel_size[a], stride[a], padding[a], y.shape[a + 1], include, x.dtype)
        for a in range(2)
    )
    add_windows(x, y, rows, columns, _work(x, y, kernel_size))
    return y


def _sum_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, include: bool | None
) -> Array:
    dx = empty(x_shape, dy.dtype)
    rows, columns = (
        _axis(over_cells, x_shape[a + 1], kernel_size[a], stride[a], padding[a], dy.shape[a + 1], include, dy.dtype)
        for a in range(2)
    )
    add_windows(dy, dx, rows, columns, _work(dx, dy, kernel_size))
    return dx


@functools.lru_cache(maxsize=1024)
def _axis(
    form: Any, size: int, kernel: int, stride: int, padding: Pair, out: int, include: bool | None, dtype: Any
) -> Axis:
    """One axis of a pooling layer. It is the same in every step, and for a small image more work than the sums."""
    starts = np.arange(out) * stride - padding[0]
    windows = np.stack([np.maximum(starts, 0), np.minimum(starts + kernel, size)], axis=1)
    cells = [1] * out if include is None else window_cells(size, kernel, stride, padding, out, include)
    return form(windows, (1 / np.array(cells)).astype(dtype), size)


def _before(padding: Padding) -> Pair:
    return padding[0][0], padding[1][0]


def _work(x: Array, y: Array, kernel_size: Pair) -> int:
    return x.size + y.size * kernel_size[0] * kernel_size[1]


@on_threads
def _max(x, y, index, kernel, stride, before, thread, threads):
    (_, H, W, C), (N, OH, OW, _) = x.shape, y.shape
    image, out, winners = x.ravel(), y.ravel(), index.ravel()
    run = max(1, LINE // (stride[1] * C))
    # For each column under a run of windows the largest of its rows, and where that lies in a window at its left.
    width = _width(run, W, kernel[1], stride[1]) * C
    line, places = np.empty(width, x.dtype), np.empty(width, np.int32)
    for row in range(N * OH * thread // threads, N * OH * (thread + 1) // threads):
        n, top = row // OH, row % OH * stride[0] - before[0]
        for j0 in range(0, OW, run):
            begin, end = _columns(j0, min(OW, j0 + run), W, kernel[1], stride[1], before[1])
            _largest_rows(image, (n * H * W + begin) * C, W * C, H, top, kernel, line, places, (end - begin) * C)
            for j in range(j0, min(OW, j0 + run)):
                left = j * stride[1] - before[1]
                first, last = max(0, left), min(W, left + kernel[1])
                _largest_columns(line, places, begin, first, last, left, out, winners, (row * OW + j) * C, C)


@inlined
def _width(run, W, kernel, stride):
    """How many columns of the image so many windows side by side cover."""
    return min(W, (run - 1) * stride + kernel)


@inlined
def _columns(j0, j1, W, kernel, stride, before):
    """The first column of the image under the windows from j0 to j1, and the one behind the last."""
    return max(0, j0 * stride - before), min(W, (j1 - 1) * stride - before + kernel)


@inlined
def _largest_rows(image, start, step, H, top, kernel, line, places, count):
    first, last = max(0, top), min(H, top + kernel[0])
    # Two rows at once save a pass. A lone one comes twice: it never wins against itself.
    s, t = start + first * step, start + min(first + 1, last - 1) * step
    k0, k1 = np.int32((first - top) * kernel[1]), np.int32((first + 1 - top) * kernel[1])
    for q in range(count):
        best, v = image[at(s) + at(q)], image[at(t) + at(q)]
        wins = _is_larger(v, best)
        line[at(q)], places[at(q)] = v if wins else best, k1 if wins else k0
    for h in range(first + 2, last):
        k = np.int32((h - top) * kernel[1])
        for q in range(count):
            best, v = line[at(q)], image[at(start + h * step) + at(q)]
            wins = _is_larger(v, best)
            line[at(q)], places[at(q)] = v if wins else best, k if wins else places[at(q)]


@inlined
def _largest_columns(line, places, begin, first, last, left, out, winners, pixel, C):
    s, t = (first - begin) * C, (min(first + 1, last - 1) - begin) * C
    k0, k1 = np.int32(first - left), np.int32(min(first + 1, last - 1) - left)
    for c in range(C):
        best, k = line[at(s) + at(c)], places[at(s) + at(c)] + k0
        v, place = line[at(t) + at(c)], places[at(t) + at(c)] + k1
        wins = _is_larger(v, best) | (_is_equal(v, best) & (place < k))
        out[at(pixel) + at(c)], winners[at(pixel) + at(c)] = v if wins else best, place if wins else k
    for w in range(first + 2, last):
        s, k0 = (w - begin) * C, np.int32(w - left)
        for c in range(C):
            best, k = out[at(pixel) + at(c)], winners[at(pixel) + at(c)]
            v, place = line[at(s) + at(c)], places[at(s) + at(c)] + k0
            wins = _is_larger(v, best) | (_is_equal(v, best) & (place < k))
            out[at(pixel) + at(c)], winners[at(pixel) + at(c)] = v if wins else best, place if wins else k


@inlined
def _is_larger(v, best):
    """Whether v > best, where NaN is larger than every number."""
    return (not v <= best) & (best == best)


@inlined
def _is_equal(v, best):
    """Whether v == best, where NaN equals NaN: of equal cells of two columns the first in row-major order wins."""
    return (v == best) | ((v != v) & (best != best))


@on_threads
def _max_scatter(dy, index, dx, kernel, stride, before, thread, threads):
    (_, OH, OW, C), (N, H, W, _) = dy.shape, dx.shape
    gradient, winners, out = dy.ravel(), index.ravel(), dx.ravel()
    start, stop = N * H * thread // threads, N * H * (thread + 1) // threads  # the rows of dx of this thread
    cleared = start
    first = start // H * OH + min(OH, _first(start % H + before[0], kernel[0], stride[0]))
    last = (stop - 1) // H * OH + min(OH - 1, ((stop - 1) % H + before[0]) // stride[0])
    distance = np.empty(kernel[0] * kernel[1], np.int64)  # from the first cell of a window to each of its cells
    for k in range(len(distance)):
        distance[k] = (k // kernel[1] * W + k % kernel[1]) * C
    for row in range(first, last + 1):
        top = row // OH * H + row % OH * stride[0] - before[0]
        bottom = max(cleared, min(stop, top + kernel[0]))
        clear(out, cleared * W * C, (bottom - cleared) * W * C)
        cleared = bottom
        for j in range(OW):
            corner, pixel = ((top - start) * W + j * stride[1] - before[1]) * C, (row * OW + j) * C
            for c in range(C):
                # Before the first row of this thread it is a negative number, which unsigned is a very large one.
                cell = at(corner + c + distance[at(winners[at(pixel) + at(c)])])
                if cell < at((stop - start) * W * C):
                    out[at(start * W * C) + cell] += gradient[at(pixel) + at(c)]
    clear(out, cleared * W * C, (stop - cleared) * W * C)


@inlined
def _first(h, kernel, stride):
    """The first window that covers cell h of the padded image."""
    return max(0, (h - kernel + stride) // stride)
