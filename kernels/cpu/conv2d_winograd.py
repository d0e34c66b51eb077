"""Winograd's convolution, for 3x3 kernels with stride 1: with tiles of 4x4 outputs a quarter of the products.

    1  every tile of the image becomes (m + 2)**2 cells of one number a channel       v = B.T x B
    2  for each cell one matrix product: the channels of all tiles, times the weights p[cell] = v[cell] @ u[cell]
    3  the products become the m x m outputs of the tile                              y = A.T p A

`winograd_tiles` has these transforms. The weights u = G w G.T are made anew in every call. The input gradient is the
same for dy and the kernel turned around, its channels exchanged. For the weight gradient the cells of dy take the place
of the weights, and the products over all tiles are summed: q[cell] = v[cell].T @ d[cell], dw = G.T q G.

v and p are 2.25 times as large as the images (m = 4). They are made for some tiles at a time, so that the threads find
them in the cache, and share each step: tiles in the first and the last, cells in the second, where this way each weight
is read by one thread only. All that is written in one step is read in the next: between them all threads wait. Each
number is summed in one order, whatever the number of threads.

The constants of the transforms are powers of 2 up to 8 and their differences cancel: a result has the rounding errors
of the largest numbers in its tile, some ten times those of a plain sum with m = 4. For the same reason one infinite or
NaN number of x spoils all outputs of the tiles that see it, where the definition spoils those whose window has it; and
an output that is exactly 0, its whole window being 0, comes out as some 1e-7 beside a bright pixel of the same tile.
"""

import math
from typing import Any

import numpy as np

from ..geometry import Padding, Pair
from ..memory import empty
from . import _jit
from ._jit import compiled, inlined, on_threads
from .blocks import DEPTH, multiply
from .fused import CODES, activate_rows
from .microkernel import panel_width
from .tiles import add, clear, copy
from .vectors import transpose, vector_length, whole_vectors
from .winograd_tiles import (
    transform_input,
    transform_output,
    transform_output_back,
    transform_weight,
    transform_weight_back,
)

Array = Any
Shape = tuple[int, ...]

CACHE = 1 << 22  # bytes of cells that are made before they are used
APART = 16  # numbers between two cells: at a distance of a power of 2 all of them would share a few places of a cache


def forward(m: int, x: Array, w: Array, b: Array, y_shape: Shape, padding: Padding, activation: str | None) -> Array:
    """y (N, OH, OW, O) from x (N, H, W, C), w (3, 3, C, O) and b (O,) or (0,)."""
    y = empty(y_shape, x.dtype)
    threads = _jit.threads_for(y.size * w.shape[2])
    u = _weight_cells(m, w.shape[2:], w, threads)
    _pack(m, w, u, threads)
    _convolve(m, x, u, b, y, (padding[0][0], padding[1][0]), CODES[activation], threads)
    return y


def input_gradient(m: int, dy: Array, w: Array, x_shape: Shape, padding: Padding) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, O) and w (3, 3, C, O)."""
    dx = empty(x_shape, dy.dtype)
    threads = _jit.threads_for(dy.size * w.shape[2])
    u = _weight_cells(m, w.shape[:1:-1], w, threads)
    _pack_back(m, w, u, threads)
    _convolve(m, dy, u, np.zeros(0, dy.dtype), dx, (2 - padding[0][0], 2 - padding[1][0]), 0, threads)
    return dx


def _weight_cells(m: int, shape: Pair, w: Array, threads: int) -> Array:
    """Room for u: (cells, panels, K, width), the right matrices (K, N) of the products as `multiply` wants them."""
    K, N = shape
    width = panel_width(w.itemsize)
    return empty(((m + 2) ** 2, -(-N // width), whole_vectors(K, w.itemsize), width), w.dtype)


def _convolve(m: int, x: Array, u: Array, b: Array, y: Array, start: Pair, code: int, threads: int) -> None:
    """y = the convolution of x with the kernel that u was made of; the first window begins `start` before x does."""
    tiles = len(x), -(-y.shape[1] // m), -(-y.shape[2] // m)
    C, O = whole_vectors(x.shape[3], x.itemsize), whole_vectors(y.shape[3], y.itemsize)
    T = _tiles_at_once(m, C, O, tiles, x.itemsize)
    v, p = _cells(m, T * C, x.dtype), _cells(m, T * O, x.dtype)
    for first in range(0, math.prod(tiles), T):
        count = min(T, math.prod(tiles) - first)
        _read_tiles(m, x, start, tiles, first, count, v, threads)
        _multiply_cells(v, u, p, x.shape[3], O, count, threads)
        _write_tiles(m, p, b, y, tiles, first, count, code, threads)


def _tiles_at_once(m: int, C: int, O: int, tiles: tuple[int, int, int], itemsize: int) -> int:
    """As many tiles as CACHE has room for, and more while their cells are smaller than the weights' cells.

    It depends on the shapes alone, and so does the order in which a weight's gradient is summed.
    """
    cells = (m + 2) ** 2 * itemsize
    return min(math.prod(tiles), (CACHE + cells * C * O) // (cells * (C + O)))


def _cells(m: int, numbers: int, dtype: Any) -> Array:
    """Room for cells of so many numbers, and some more."""
    return empty(((m + 2) ** 2, numbers + APART), dtype)


@on_threads
def _read_tiles(m, x, start, tiles, first, count, v, thread, threads):
    """The cells of `count` tiles from the first on: C numbers for each tile, rounded up to whole vectors."""
    (_, H, W, C), side, cell = x.shape, m + 2, v.shape[1]
    row, image, cells = whole_vectors(C, x.itemsize), x.ravel(), v.ravel()
    spare = np.empty(side * side * row, x.dtype)
    for t in range(count * thread // threads, count * (thread + 1) // threads):
        n, h, w = _tile(first + t, m, tiles)
        h, w = h - start[0], w - start[1]
        if row == C and h >= 0 and w >= 0 and h + side <= H and w + side <= W:
            transform_input(m, image, ((n * H + h) * W + w) * C, W * C, C, cells, t * row, side * cell, cell, C)
        else:
            _cut(image, x.shape, n, h, w, side, spare, row)
            transform_input(m, spare, 0, side * row, row, cells, t * row, side * cell, cell, row)


@on_threads
def _multiply_cells(v, u, p, C, O, count, thread, threads):
    """p[cell] = v[cell] @ u[cell]: (tiles, C) @ (C, O)."""
    cells, panels, K, width = u.shape
    left, weights, products = v.ravel(), u.ravel(), p.ravel()
    for task in range(cells * panels * thread // threads, cells * panels * (thread + 1) // threads):
        cell, column = task // panels, task % panels * width
        for k in range(0, C, DEPTH):
            multiply(left, cell * v.shape[1] + k, whole_vectors(C, v.itemsize), 1, count,
                     weights, (task * K + k) * width, width, min(DEPTH, C - k),
                     products, cell * p.shape[1] + column, O, min(width, O - column), k > 0, left, -1)  # fmt: skip


@on_threads
def _write_tiles(m, p, b, y, tiles, first, count, code, thread, threads):
    """The outputs of `count` tiles from the first on."""
    (_, OH, OW, O), side, cell = y.shape, m + 2, p.shape[1]
    row, products, out = whole_vectors(O, p.itemsize), p.ravel(), y.ravel()
    spare = np.empty(m * m * row, p.dtype)
    for t in range(count * thread // threads, count * (thread + 1) // threads):
        n, i, j = _tile(first + t, m, tiles)
        place, rows, columns = ((n * OH + i) * OW + j) * O, min(m, OH - i), min(m, OW - j)
        if row == O and rows == columns == m:
            transform_output(m, products, t * row, side * cell, cell, out, place, OW * O, O, row)
        else:
            transform_output(m, products, t * row, side * cell, cell, spare, 0, m * row, row, row)
            for r in range(rows):
                for c in range(columns):
                    copy(out, place + (r * OW + c) * O, spare, (r * m + c) * row, O)
        if len(b):
            for r in range(rows):
                for c in range(columns):
                    add(out, place + (r * OW + c) * O, b, 0, O)
        activate_rows(out, place, OW * O, rows, columns * O, code)


@inlined
def _tile(t, m, tiles):
    """The image of tile t, and its first row and column there."""
    _, TH, TW = tiles
    return t // (TH * TW), t // TW % TH * m, t % TW * m


@compiled
def _cut(image, shape, n, h0, w0, side, out, row):
    """out (side, side, row) = the pixels of image n from (h0, w0) on; 0 outside of it and behind its channels."""
    _, H, W, C = shape
    clear(out, 0, side * side * row)
    first, count = max(0, -w0), min(side, W - w0) - max(0, -w0)
    for i in range(max(0, -h0), min(side, H - h0)):
        place, source = (i * side + first) * row, ((n * H + h0 + i) * W + w0 + first) * C
        if row == C:
            copy(out, place, image, source, count * C)
        else:
            for j in range(count):
                copy(out, place + j * row, image, source + j * C, C)


# The weights: 3x3 numbers for each pair of channels to (m + 2)**2 of them


@on_threads
def _pack(m, w, u, thread, threads):
    C, O, side = w.shape[2], w.shape[3], m + 2
    _, panels, K, width = u.shape
    matrix, packed, cell = w.ravel(), u.ravel(), panels * K * width
    spare = np.zeros(9 * width, w.dtype)
    for task in range(panels * C * thread // threads, panels * C * (thread + 1) // threads):
        c, o, place = task % C, task // C * width, (task // C * K + task % C) * width
        if o + width <= O:
            transform_weight(m, matrix, c * O + o, 3 * C * O, C * O, packed, place, side * cell, cell, width)
        else:
            for tap in range(9):
                copy(spare, tap * width, matrix, (tap * C + c) * O + o, O - o)
            transform_weight(m, spare, 0, 3 * width, width, packed, place, side * cell, cell, width)


@on_threads
def _pack_back(m, w, u, thread, threads):
    """Of the kernel turned around, tap 8 first, and transposed: its rows are filters, its columns channels."""
    C, O, side, length = w.shape[2], w.shape[3], m + 2, vector_length(w.itemsize)
    cells, panels, K, width = u.shape
    matrix, packed, square = w.ravel(), u.ravel(), length * length
    steps, jobs = K // length, K // length * panels * width // length
    block, spare = np.zeros(cells * square, w.dtype), np.zeros(9 * length, w.dtype)
    for job in range(jobs * thread // threads, jobs * (thread + 1) // threads):
        c0, o = job // steps * length, job % steps * length
        for c in range(c0, min(C, c0 + length)):
            start, place = (8 * C + c) * O + o, (c - c0) * length
            if o + length <= O:
                transform_weight(m, matrix, start, -3 * C * O, -C * O, block, place, side * square, square, length)
            else:
                for tap in range(9):
                    copy(spare, tap * length, matrix, start - tap * C * O, O - o)
                transform_weight(m, spare, 0, 3 * length, length, block, place, side * square, square, length)
        for cell in range(cells):
            place = ((cell * panels + c0 // width) * K + o) * width + c0 % width
            transpose(block, cell * square, length, packed, place, width)


# The weight gradient


def weight_gradient(m: int, dy: Array, x: Array, w_shape: Shape, padding: Padding) -> Array:
    """(3, 3, C, O): the sum over all tiles of the cells of x times those of dy, transformed back."""
    C, O = (whole_vectors(n, x.itemsize) for n in w_shape[2:])
    tiles = len(x), -(-dy.shape[1] // m), -(-dy.shape[2] // m)
    T, width = _tiles_at_once(m, C, O, tiles, x.itemsize), panel_width(x.itemsize)
    v, d = _cells(m, T * C, x.dtype), _cells(m, -(-O // width) * T * width, x.dtype)
    q, dw = _cells(m, w_shape[2] * O, x.dtype), empty(w_shape, x.dtype)
    threads = _jit.threads_for(dy.size * C)
    for first in range(0, math.prod(tiles), T):
        count = min(T, math.prod(tiles) - first)
        _read_tiles(m, x, (padding[0][0], padding[1][0]), tiles, first, count, v, threads)
        _read_gradients(m, dy, tiles, first, count, d, T, threads)
        _multiply_gradients(v, d, q, w_shape[2], O, count, T, first > 0, threads)
    _write_weights(m, q, O, dw, threads)
    return dw


@on_threads
def _read_gradients(m, dy, tiles, first, count, d, T, thread, threads):
    """The cells of dy, as `multiply` wants right matrices: (panels, T, width) in each cell."""
    (_, OH, OW, channels), side, cell = dy.shape, m + 2, d.shape[1]
    width, O = panel_width(dy.itemsize), whole_vectors(channels, dy.itemsize)
    gradient, cells, spare = dy.ravel(), d.ravel(), np.empty(m * m * O, dy.dtype)
    for t in range(count * thread // threads, count * (thread + 1) // threads):
        n, i, j = _tile(first + t, m, tiles)
        whole = channels == O and i + m <= OH and j + m <= OW
        if not whole:
            _cut(gradient, dy.shape, n, i, j, m, spare, O)
        for o in range(0, O, width):
            place, numbers = t * width + o * T, min(width, O - o)
            if whole:
                source = ((n * OH + i) * OW + j) * O + o
                transform_output_back(m, gradient, source, OW * O, O, cells, place, side * cell, cell, numbers)
            else:
                transform_output_back(m, spare, o, m * O, O, cells, place, side * cell, cell, numbers)


@on_threads
def _multiply_gradients(v, d, q, C, O, count, T, adding, thread, threads):
    """q[cell] = v[cell].T @ d[cell]: (C, tiles) @ (tiles, O); if `adding`, added to what is there."""
    cells, width, row = len(q), panel_width(v.itemsize), whole_vectors(C, v.itemsize)
    panels = (O + width - 1) // width
    left, right, sums = v.ravel(), d.ravel(), q.ravel()
    for task in range(cells * panels * thread // threads, cells * panels * (thread + 1) // threads):
        cell, panel = task // panels, task % panels
        for t in range(0, count, DEPTH):
            multiply(left, cell * v.shape[1] + t * row, 1, row, C,
                     right, cell * d.shape[1] + (panel * T + t) * width, width, min(DEPTH, count - t),
                     sums, cell * q.shape[1] + panel * width, O,
                     min(width, O - panel * width), adding or t > 0, left, -1)  # fmt: skip


@on_threads
def _write_weights(m, q, row, dw, thread, threads):
    """dw; q has `row` sums for each channel, O and some of nothing."""
    (_, _, C, O), side, cell = dw.shape, m + 2, q.shape[1]
    sums, out, spare = q.ravel(), dw.ravel(), np.empty(9 * row, q.dtype)
    for c in range(C * thread // threads, C * (thread + 1) // threads):
        if row == O:
            transform_weight_back(m, sums, c * row, side * cell, cell, out, c * O, 3 * C * O, C * O, O)
        else:
            transform_weight_back(m, sums, c * row, side * cell, cell, spare, 0, 3 * row, row, row)
            for tap in range(9):
                copy(out, (tap * C + c) * O, spare, tap * row, O)
