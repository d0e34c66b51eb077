"""Pooling, a row of output at a time, the channels innermost as they lie in memory.

What differs from the reference: no padded copy, no array for each position of the window; and backwards each row
of the image gathers from the windows that cover it, so that no two threads write to one cell and the sums have one
order. A sum over a window is a sum of rows, which are long, and then of pixels, of which there are fewer by then; its
gradient is shared out among the pixels of one row, which all rows under the window have in common.
"""

from typing import Any

import numpy as np
from numba import prange

from ..geometry import Padding, Pair, output_sizes, window_cells
from ..memory import empty, zeros
from . import _jit
from ._arrays import dense
from ._jit import inlined, parallel
from .tiles import add, at, clear, copy

Array = Any


def max_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool
) -> tuple[Array, Array]:
    """As the reference."""
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
    y = empty((len(x), OH, OW, x.shape[3]), x.dtype)
    index = empty(y.shape, np.int32)
    _max(dense(x), y, index, kernel_size, stride, _before(padding), _threads(x, y, kernel_size))
    return y, index


def max_pool2d_backward(
    dy: Array, index: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """As the reference, gathered."""
    dx = zeros(x_shape, dy.dtype)
    threads = _threads(dx, dy, kernel_size)
    _max_backward(dense(dy), dense(index), dx, kernel_size, stride, _before(padding), threads)
    return dx


def sum_pool2d_forward(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> Array:
    """As the reference."""
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
    return _sum_forward(x, kernel_size, stride, padding, np.ones(OH, x.dtype), np.ones(OW, x.dtype))


def sum_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """As the reference, gathered."""
    ones = np.ones(dy.shape[1], dy.dtype), np.ones(dy.shape[2], dy.dtype)
    return _sum_backward(dy, x_shape, kernel_size, stride, padding, *ones)


def avg_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """As the reference."""
    sizes = output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
    cells = _cells(x.shape, sizes, kernel_size, stride, padding, count_include_pad, x.dtype)
    return _sum_forward(x, kernel_size, stride, padding, *cells)


def avg_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, count_include_pad: bool
) -> Array:
    """As the reference, gathered."""
    cells = _cells(x_shape, dy.shape[1:3], kernel_size, stride, padding, count_include_pad, dy.dtype)
    return _sum_backward(dy, x_shape, kernel_size, stride, padding, *cells)


def _cells(
    x_shape: tuple[int, ...], sizes: Pair, kernel_size: Pair, stride: Pair, padding: Padding, include: bool, dtype: Any
) -> tuple[Array, Array]:
    """For each row and each column of windows, how many cells it counts; a window counts their product."""
    rows, columns = (
        np.array(window_cells(x_shape[a + 1], kernel_size[a], stride[a], padding[a], sizes[a], include), dtype)
        for a in range(2)
    )
    return rows, columns


def _sum_forward(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, rows: Array, columns: Array) -> Array:
    y = empty((len(x), len(rows), len(columns), x.shape[3]), x.dtype)
    _sum(dense(x), y, kernel_size, stride, _before(padding), rows, columns, _threads(x, y, kernel_size))
    return y


def _sum_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, rows: Array, columns: Array
) -> Array:
    dx = empty(x_shape, dy.dtype)
    threads = _threads(dx, dy, kernel_size)
    _sum_gather(dense(dy), dx, kernel_size, stride, _before(padding), rows, columns, threads)
    return dx


def _before(padding: Padding) -> Pair:
    return padding[0][0], padding[1][0]


def _threads(x: Array, y: Array, kernel_size: Pair) -> int:
    return _jit.threads_for(x.size + y.size * kernel_size[0] * kernel_size[1])


@parallel
def _max(x, y, index, kernel, stride, before, threads):
    (_, H, W, C), (N, OH, OW, _) = x.shape, y.shape
    image, out, winners = x.ravel(), y.ravel(), index.ravel()
    for thread in prange(threads):
        for row in range(N * OH * thread // threads, N * OH * (thread + 1) // threads):
            n, top = row // OH, row % OH * stride[0] - before[0]
            for j in range(OW):
                left, pixel, first = j * stride[1] - before[1], (row * OW + j) * C, True
                for kh in range(max(0, -top), min(kernel[0], H - top)):
                    for kw in range(max(0, -left), min(kernel[1], W - left)):
                        cell = ((n * H + top + kh) * W + left + kw) * C
                        _keep_larger(image, cell, out, winners, pixel, C, np.int32(kh * kernel[1] + kw), first)
                        first = False


@inlined
def _keep_larger(image, cell, out, winners, pixel, C, k, first):
    """The larger of what a window has found and its next cell, channel by channel; NaN is larger than all."""
    if first:
        for c in range(C):
            out[at(pixel) + at(c)] = image[at(cell) + at(c)]
            winners[at(pixel) + at(c)] = k
    else:
        for c in range(C):
            v, best = image[at(cell) + at(c)], out[at(pixel) + at(c)]
            wins = (v > best) | ((v != v) & (best == best))
            out[at(pixel) + at(c)] = v if wins else best
            winners[at(pixel) + at(c)] = k if wins else winners[at(pixel) + at(c)]


@parallel
def _max_backward(dy, index, dx, kernel, stride, before, threads):
    (_, OH, OW, C), (N, H, W, _) = dy.shape, dx.shape
    gradient, winners, out = dy.ravel(), index.ravel(), dx.ravel()
    for thread in prange(threads):
        for row in range(N * H * thread // threads, N * H * (thread + 1) // threads):
            n, h = row // H, row % H + before[0]
            for i in range(_first(h, kernel[0], stride[0]), min(OH, h // stride[0] + 1)):
                for j in range(OW):
                    left, pixel = j * stride[1] - before[1], ((n * OH + i) * OW + j) * C
                    for w in range(max(0, left), min(W, left + kernel[1])):
                        cell, k = (row * W + w) * C, np.int32((h - i * stride[0]) * kernel[1] + w - left)
                        for c in range(C):
                            won = winners[at(pixel) + at(c)] == k
                            out[at(cell) + at(c)] += gradient[at(pixel) + at(c)] if won else dx.dtype.type(0)


@inlined
def _first(h, kernel, stride):
    """The first window that covers cell h of the padded image."""
    return max(0, (h - kernel + stride) // stride)


@parallel
def _sum(x, y, kernel, stride, before, rows, columns, threads):
    (_, H, W, C), (N, OH, OW, _) = x.shape, y.shape
    image, out = x.ravel(), y.ravel()
    for thread in prange(threads):
        line = np.empty(W * C, x.dtype)  # the sum of the rows of the image under one row of windows
        for row in range(N * OH * thread // threads, N * OH * (thread + 1) // threads):
            n, top = row // OH, row % OH * stride[0] - before[0]
            for h in range(max(0, top), min(H, top + kernel[0])):
                if h == max(0, top):
                    copy(line, 0, image, (n * H + h) * W * C, W * C)
                else:
                    add(line, 0, image, (n * H + h) * W * C, W * C)
            for j in range(OW):
                left, pixel = j * stride[1] - before[1], (row * OW + j) * C
                share = y.dtype.type(1) / (rows[row % OH] * columns[j])
                for w in range(max(0, left), min(W, left + kernel[1])):
                    if w == max(0, left):
                        _scale(out, pixel, line, w * C, share, C)
                    else:
                        _add_scaled(out, pixel, line, w * C, share, C)


@parallel
def _sum_gather(dy, dx, kernel, stride, before, rows, columns, threads):
    (_, OH, OW, C), (N, H, W, _) = dy.shape, dx.shape
    gradient, out = dy.ravel(), dx.ravel()
    most = (kernel[0] + stride[0] - 1) // stride[0]  # rows of windows that cover one row of the image
    for thread in prange(threads):
        # What a row of windows gives to each row under it; of the last few rows of windows, computed once.
        lines, held = np.empty(most * W * C, dy.dtype), np.full(most, -1)
        for row in range(N * H * thread // threads, N * H * (thread + 1) // threads):
            n, h = row // H, row % H + before[0]
            clear(out, row * W * C, W * C)
            for i in range(_first(h, kernel[0], stride[0]), min(OH, h // stride[0] + 1)):
                line = i % most * W * C
                if held[i % most] != n * OH + i:
                    held[i % most] = n * OH + i
                    clear(lines, line, W * C)
                    for j in range(OW):
                        left, pixel = j * stride[1] - before[1], ((n * OH + i) * OW + j) * C
                        share = dx.dtype.type(1) / (rows[i] * columns[j])
                        for w in range(max(0, left), min(W, left + kernel[1])):
                            _add_scaled(lines, line + w * C, gradient, pixel, share, C)
                add(out, row * W * C, lines, line, W * C)


@inlined
def _scale(out, i, x, j, factor, n):
    for q in range(n):
        out[at(i) + at(q)] = factor * x[at(j) + at(q)]


@inlined
def _add_scaled(out, i, x, j, factor, n):
    for q in range(n):
        out[at(i) + at(q)] += factor * x[at(j) + at(q)]
