"""Convolution with few filters: the column matrix of a few rows of output at a time, transposed, in the cache.

A tile of the micro-kernel lays filters side by side in a vector; six of them leave most of it empty. Here positions lie
side by side instead. A thread takes a tile of about 512 output positions and
    1. copies the input rows under it into planes, one for each channel, zeros where the padding is (`_stage`);
    2. copies from the planes the tile's columns, transposed: one row for each (kh, kw, c), one position after the
       other (`_columns`); at most 512 KB of them at a time, which stays in the second-level cache;
    3. adds up y[o] += w[k, o] * columns[k] with `tiles.add_products`, long rows with 16 products for 8 loads;
    4. writes the tile back as NHWC (`_store`).
The weight gradient does 1 and 2 and then takes dot products of the columns with dy.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty, zeros
from . import _jit
from ._arrays import dense
from ._jit import compiled, parallel
from .conv2d_rows import runs
from .tiles import ROWS, VECTOR, add_products, at, clear, copy_vectors, dot_products, round_up

Array = Any
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

POSITIONS = 512  # a tile's length: rows long enough for vector code, short enough that a few fit the first-level cache
MOST_PARTS = 1 << 22  # numbers in the partial sums of a weight gradient
COLUMNS = 1 << 17  # numbers in a tile's columns: 512 KB of float32, half a second-level cache


def forward(
    x: Array, w: Array, b: Array, y: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> None:
    """Fill y (N, OH, OW, O) from x (N, H, W, C), w (KH, KW, C/groups, O) and b (O,) or (0,)."""
    O = y.shape[3]
    # (KH, KW, C, groups, O/groups) -> (groups, KH*KW*C, O/groups)
    a = w.reshape(-1, groups, O // groups).transpose(1, 0, 2)
    padded = zeros((groups, round_up(a.shape[1]), round_up(a.shape[2])), x.dtype)
    padded[:, : a.shape[1], : a.shape[2]] = a
    taps, _ = runs(w.shape[:2], w.shape[2], padding, dilation, merge=False)
    threads = _jit.threads_for(y.size * a.shape[1])
    _forward(x, padded, b, y, taps, stride, threads)


@parallel
def _forward(x, a, b, y, taps, step, threads):
    groups, K, width = a.shape
    C, O = x.shape[3] // groups, y.shape[3] // groups
    N, I, J, channels = y.shape
    R = max(1, POSITIONS // J)
    tiles = (N * I + R - 1) // R
    image, out = x.ravel(), y.ravel()
    for thread in prange(threads):
        P = R * J
        depth = min(K, max(ROWS, COLUMNS // P // ROWS * ROWS))
        planes, plane_shape = _planes(x, C, taps, step, R, I, J)
        lines = np.empty(R, np.int64)
        columns, offsets = np.empty(depth * P + VECTOR, x.dtype), np.arange(K) % depth * P
        sums = np.empty(width * P, x.dtype)
        for task in range(groups * tiles * thread // threads, groups * tiles * (thread + 1) // threads):
            g, first = task // tiles, task % tiles * R
            last = min(N * I, first + R)
            _stage(image, x.shape, g * C, C, first, last, I, J, taps, step, planes, plane_shape, lines)
            _start_sums(sums, P, b, g * O, O, width)
            for k0 in range(0, K, depth):
                k1 = min(K, k0 + depth)
                _columns(planes, plane_shape, lines, last - first, J, taps, step, C, k0, k1, columns, P)
                _multiply(sums, P, O, columns, offsets, a[g], k0, k1, (last - first) * J)
            _store(sums, P, (last - first) * J, out, first * J * channels + g * O, O, channels)


@compiled
def _planes(x, C, taps, step, R, I, J):
    """Room for the input rows under R output rows, perhaps of several images, and its shape (C, rows, columns)."""
    spread_h, spread_w = taps[:, 0].max() - taps[:, 0].min(), taps[:, 1].max() - taps[:, 1].min()
    images = R // I + 2
    shape = (C, R * step[0] + images * (spread_h + 1), (J - 1) * step[1] + spread_w + 1)
    return np.empty(shape[0] * shape[1] * shape[2] + VECTOR, x.dtype), shape


@compiled
def _stage(image, shape, c0, C, first, last, I, J, taps, step, planes, plane_shape, lines):
    """Copy the input under the output rows first..last into planes[c, row, column], 0 outside the image.

    lines[r]: where in a plane the output row first + r begins to read at the first tap.
    """
    top, left, bottom = taps[:, 0].min(), taps[:, 1].min(), taps[:, 0].max()
    _, H, W, channels = shape
    _, rows, columns = plane_shape
    w0, w1 = max(0, left), min(W, left + columns)
    row = 0
    for n in range(first // I, (last - 1) // I + 1):
        i0, i1 = max(first - n * I, 0), min(last - n * I, I)
        for i in range(i0, i1):
            lines[n * I + i - first] = (row + (i - i0) * step[0]) * columns
        for h in range(i0 * step[0] + top, (i1 - 1) * step[0] + bottom + 1):
            inside = 0 <= h < H and w0 < w1
            for c in range(C):
                line = (c * rows + row) * columns
                if inside:
                    clear(planes, line, w0 - left)
                    clear(planes, line + w1 - left, columns + left - w1)
                    pixel = ((n * H + h) * W + w0) * channels + c0 + c
                    for q in range(w1 - w0):
                        planes[at(line + w0 - left) + at(q)] = image[at(pixel) + at(q * channels)]
                else:
                    clear(planes, line, columns)
            row += 1


@compiled
def _columns(planes, plane_shape, lines, R, J, taps, step, C, k0, k1, columns, P):
    """The rows k0..k1 of the tile's columns; k counts (tap, channel). Rows beyond the last tap are 0."""
    top, left = taps[:, 0].min(), taps[:, 1].min()
    for k in range(k0, k1):
        out = (k - k0) * P
        if k >= len(taps) * C:
            clear(columns, out, P)
            continue
        t, c = k // C, k % C
        tap = (c * plane_shape[1] + taps[t, 0] - top) * plane_shape[2] + taps[t, 1] - left
        if step[1] == 1:
            for r in range(R):
                copy_vectors(columns, out + r * J, planes, tap + lines[r], J)
        else:
            for r in range(R):
                for j in range(J):
                    columns[at(out + r * J) + at(j)] = planes[at(tap + lines[r]) + at(j * step[1])]


@compiled
def _start_sums(sums, P, b, o0, O, width):
    for o in range(width):
        start = b[o0 + o] if o < O and len(b) else sums.dtype.type(0)
        for p in range(P):
            sums[at(o * P) + at(p)] = start


@compiled
def _multiply(sums, P, O, columns, offsets, a, k0, k1, length):
    """sums[o] += a[k, o] * columns[k - k0] for k0 <= k < k1, four by four."""
    for p in range(0, length, 2 * POSITIONS):
        span = min(length - p, 2 * POSITIONS)
        for o in range(0, O, ROWS):
            for k in range(k0, k1, ROWS):
                add_products(sums, o * P + p, P, columns, offsets, p, k, a, o, span)


@compiled
def _store(sums, P, length, out, place, O, channels):
    """Write the tile back: (O, positions) -> NHWC."""
    for o in range(O):
        for p in range(length):
            out[at(place + o) + at(p * channels)] = sums[at(o * P) + at(p)]


@parallel
def _weight_gradient(x, dy, parts, taps, step, groups, spans, threads):
    """parts[q, g, (tap, c), o] = the sum over the q-th part of the tiles of x under the tap times dy."""
    N, I, J = dy.shape[0], dy.shape[1], dy.shape[2]
    C, O = x.shape[3] // groups, dy.shape[3] // groups
    chunks, K = parts.shape[0], parts.shape[2]
    R = max(1, POSITIONS // J)
    tiles = (N * I + R - 1) // R
    tasks = chunks * groups * spans
    image, gradient = x.ravel(), dy.ravel()
    for thread in prange(threads):
        P = R * J
        depth = min(K, max(ROWS, COLUMNS // P // ROWS * ROWS))
        planes, plane_shape = _planes(x, C, taps, step, R, I, J)
        lines = np.empty(R, np.int64)
        columns, offsets = np.empty(depth * P + VECTOR, x.dtype), np.empty(K, np.int64)
        rows, row_offsets = np.zeros(round_up(O) * P, x.dtype), np.arange(round_up(O)) * P
        sums = np.empty((K, round_up(O)), x.dtype)
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            q, g, span = task // (groups * spans), task // spans % groups, task % spans
            first_k, last_k = K // ROWS * span // spans * ROWS, K // ROWS * (span + 1) // spans * ROWS
            sums[first_k:last_k] = 0
            for k in range(first_k, last_k):
                offsets[k] = (k - first_k) % depth * P
            for tile in range(tiles * q // chunks, tiles * (q + 1) // chunks):
                first, last = tile * R, min(N * I, tile * R + R)
                _stage(image, x.shape, g * C, C, first, last, I, J, taps, step, planes, plane_shape, lines)
                _rows(gradient, dy.shape[3], g * O, O, first * J, last * J, rows, P)
                for k0 in range(first_k, last_k, depth):
                    k1 = min(last_k, k0 + depth)
                    _columns(planes, plane_shape, lines, last - first, J, taps, step, C, k0, k1, columns, P)
                    _dot(sums, O, columns, offsets, rows, row_offsets, k0, k1, (last - first) * J)
            for k in range(first_k, last_k):
                for o in range(O):
                    parts[q, g, k, o] = sums[k, o]


@compiled
def _rows(gradient, channels, o0, O, first, last, rows, P):
    """dy of the positions first..last as rows[o, position]."""
    for o in range(O):
        for p in range(last - first):
            rows[at(o * P) + at(p)] = gradient[at(first * channels + o0 + o) + at(p * channels)]


@compiled
def _dot(sums, O, columns, offsets, rows, row_offsets, k0, k1, length):
    for o in range(0, O, ROWS):
        for k in range(k0, k1, ROWS):
            dot_products(sums, k, o, columns, offsets, 0, rows, row_offsets, 0, length)


def weight_gradient(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """(KH, KW, C/groups, O): the sum over all positions of what a cell of the kernel reads times dy."""
    KH, KW, C, O = w_shape
    rows = KH * KW * C
    K = round_up(rows)
    tiles = -(-dy.size // O // max(1, POSITIONS // dy.shape[2] * dy.shape[2]))
    # The tiles are cut into parts whose sums are added in one order. Their number depends on the shapes alone, so
    # that the result has the same bits on any number of threads.
    chunks = max(1, min(tiles, 16, MOST_PARTS // (K * O)))
    spans = max(1, min(-(-16 // (chunks * groups)), K // 64))
    parts = empty((chunks, groups, K, O // groups), x.dtype)
    taps, _ = runs((KH, KW), C, padding, dilation, merge=False)
    threads = _jit.threads_for(dy.size * K)
    _weight_gradient(x, dy, parts, taps, stride, groups, spans, threads)
    dw = parts.sum(axis=0)[:, :rows]
    return dense(dw.transpose(1, 0, 2)).reshape(w_shape)  # (groups, K, O/groups) -> (KH, KW, C, O)
