"""Convolution with many channels: a few rows of the column matrix at a time, in the cache, as they lie in memory.

Where a filter has many numbers (K = KH*KW*C, from about two hundred), a row of the column matrix is long enough
to be the inner loop, and NHWC already has it in pieces of C numbers. A thread takes a tile of output positions,
copies its rows (`_gather`; a 1x1 convolution needs no copy at all), 512 KB of them at most, and takes

    y[p, o]  = dot product of row p with filter o             (`tiles.dot_products`, sums over K)
    dw[o, :] += dy[p, o] * row p                              (`tiles.add_products`, rows of K)

The whole matrix never exists: the reference writes it to memory and reads it back. The input gradient is the
forward operation with the taps mirrored; see `conv2d_planes`, which serves filters with few numbers.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty
from . import _jit
from ._jit import compiled, parallel
from .tiles import ROWS, add_products, at, clear, copy, dot_products, round_up

Array = Any
Pair = tuple[int, int]

NUMBERS = 1 << 17  # in the rows of one tile: 512 KB of float32, half a second-level cache
SPAN = 1024  # how much of a row is worked on at a time: eight such pieces fit the first-level cache


def correlate(
    x: Array, filters: Array, b: Array, y: Array, taps: Array, x_step: Pair, y_step: Pair, y_start: Pair
) -> None:
    """y[n, i*ys + y0, j*ys' + y0', o] = b[o] + sum over k = (t, c) of x[n, i*xs + t_h, j*xs' + t_w, c] * filters[o, k].

    x (N, H, W, C), 0 outside; taps (T, 2) offsets into x; filters (O, T*C/groups).
    Writes those cells of y (N, OH, OW, O) that the steps reach.
    """
    I, J = (len(range(start, n, step)) for start, n, step in zip(y_start, y.shape[1:3], y_step, strict=True))
    if 0 in (I, J):
        return
    in_place = (
        len(taps) == 1
        and not taps.any()
        and x_step == (1, 1)
        and x.shape[1:3] == (I, J)
        and filters.shape[1] == x.shape[3]
    )
    threads = _jit.threads_for(len(x) * I * J * filters.size)
    _correlate(x, filters, b, y, taps, x_step, y_step, y_start, (I, J), in_place, threads)


@parallel
def _correlate(x, filters, b, y, taps, x_step, y_step, y_start, size, in_place, threads):
    K, C = filters.shape[1], filters.shape[1] // len(taps)
    groups = x.shape[3] // C
    O = len(filters) // groups
    M = len(x) * size[0] * size[1]
    # Enough tiles for every thread, each of whole groups of four positions.
    P = round_up(max(1, min(NUMBERS // min(K, SPAN), (M + threads - 1) // threads)))
    tiles = (M + P - 1) // P
    image, flat, out = x.ravel(), filters.ravel(), y.ravel()
    for thread in prange(threads):
        rows = np.empty(ROWS if in_place else P * min(K, SPAN), x.dtype)
        row_offsets, filter_offsets = np.empty(P, np.int64), np.empty(round_up(O), np.int64)
        sums = np.empty((P, round_up(O)), x.dtype)
        for task in range(groups * tiles * thread // threads, groups * tiles * (thread + 1) // threads):
            g, first = task // tiles, task % tiles * P
            last = min(M, first + P)
            sums[:] = 0
            # Rows come in fours: a group that is not full repeats its last row, and the result is not stored.
            for o in range(len(filter_offsets)):
                filter_offsets[o] = (g * O + min(o, O - 1)) * K
            for k in range(0, K, SPAN):
                span = min(SPAN, K - k)
                for p in range(P):
                    row_offsets[p] = min(p, last - first - 1) * (K if in_place else span)
                if in_place:
                    _multiply(sums, image, row_offsets, first * K + k, flat, filter_offsets, k, span, last - first)
                else:
                    _gather(image, x.shape, g * C, C, first, last, size, taps, x_step, k, k + span, rows)
                    _multiply(sums, rows, row_offsets, 0, flat, filter_offsets, k, span, last - first)
            _store(sums, b, g * O, O, first, last, size, out, y.shape, y_step, y_start)


@compiled
def _gather(image, shape, c0, C, first, last, size, taps, step, k0, k1, rows):
    """rows[p - first, k - k0] = the pixel under tap t, channel c, of output position p, for k = (t, c) in k0..k1."""
    _, H, W, channels = shape
    for p in range(first, last):
        n, ij = p // (size[0] * size[1]), p % (size[0] * size[1])
        i, j = ij // size[1], ij % size[1]
        out = (p - first) * (k1 - k0) - k0
        k, t, c = k0, k0 // C, k0 % C
        while k < k1:
            count = min(C - c, k1 - k)
            h, w = i * step[0] + taps[t, 0], j * step[1] + taps[t, 1]
            if 0 <= h < H and 0 <= w < W:
                copy(rows, out + k, image, ((n * H + h) * W + w) * channels + c0 + c, count)
            else:
                clear(rows, out + k, count)
            k, t, c = k + count, t + 1, 0


@compiled
def _multiply(sums, rows, row_offsets, row0, filters, filter_offsets, k, span, P):
    """sums[p, o] += dot product of row p with the filter o's numbers k to k + span."""
    for o in range(0, len(filter_offsets), ROWS):
        for p in range(0, P, ROWS):
            dot_products(sums, p, o, rows, row_offsets, row0, filters, filter_offsets, k, span)


@compiled
def _store(sums, b, o0, O, first, last, size, out, shape, step, start):
    """Write a tile's sums to y, with the bias."""
    flat, width = sums.ravel(), sums.shape[1]
    for p in range(first, last):
        n, ij = p // (size[0] * size[1]), p % (size[0] * size[1])
        h, w = ij // size[1] * step[0] + start[0], ij % size[1] * step[1] + start[1]
        pixel = ((n * shape[1] + h) * shape[2] + w) * shape[3] + o0
        copy(out, pixel, flat, (p - first) * width, O)
        if len(b):
            for o in range(O):
                out[at(pixel) + at(o)] += b[at(o0) + at(o)]


def weight_gradient(x: Array, dy: Array, taps: Array, step: Pair, groups: int) -> Array:
    """(T*C/groups, O): the sum over all positions of row p of the column matrix times dy[p, o]."""
    O, K = dy.shape[3], len(taps) * x.shape[3] // groups
    M = dy.size // O
    # The positions are cut into parts whose sums are added in one order. Their number depends on the shapes
    # alone, so that the result has the same bits on any number of threads.
    parts = empty((max(1, min(-(-16 // (-(-K // SPAN) * groups)), M // 256)), K, O), x.dtype)
    _weight_gradient(x, dy, parts, taps, step, groups, _jit.threads_for(M * O // groups * K))
    return parts[0] if len(parts) == 1 else parts.sum(axis=0)


@parallel
def _weight_gradient(x, dy, parts, taps, step, groups, threads):
    C, O = x.shape[3] // groups, dy.shape[3] // groups
    K, padded = parts.shape[1], round_up(O)
    size = (dy.shape[1], dy.shape[2])
    M = len(dy) * size[0] * size[1]
    spans = (K + SPAN - 1) // SPAN
    tasks = len(parts) * groups * spans
    image, gradient = x.ravel(), dy.ravel()
    for thread in prange(threads):
        width = min(K, SPAN)
        P = round_up(min(NUMBERS // width, M))
        rows, offsets = np.empty(P * width, x.dtype), np.empty(P, np.int64)
        weights = np.zeros((P, padded), x.dtype)
        sums = np.empty(padded * width, x.dtype)
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            q, g, k0 = task // (groups * spans), task // spans % groups, task % spans * SPAN
            k1 = min(K, k0 + SPAN)
            width = k1 - k0
            sums[:] = 0
            for p in range(P):
                offsets[p] = p * width
            stop = M * (q + 1) // len(parts)
            for first in range(M * q // len(parts), stop, P):
                last = min(stop, first + P)
                _gather(image, x.shape, g * C, C, first, last, size, taps, step, k0, k1, rows)
                _copy_pixels(gradient, dy.shape[3], g * O, O, first, last, weights)
                # Zeros complete the last group of four.
                clear(rows, (last - first) * width, (round_up(last - first) - last + first) * width)
                weights[last - first : round_up(last - first)] = 0
                for o in range(0, padded, ROWS):
                    for p in range(0, last - first, ROWS):
                        add_products(sums, o * width, width, rows, offsets, 0, p, weights, o, width)
            _put_transposed(sums, width, parts, q, k0, g * O, O)


@compiled
def _put_transposed(sums, width, parts, q, k0, o0, O):
    """parts[q, k0 + k, o0 + o] = sums[o, k], in blocks, so that neither side misses the cache at each step."""
    for block in range(0, O, 16):
        for k in range(width):
            for o in range(block, min(O, block + 16)):
                parts[q, k0 + k, o0 + o] = sums[o * width + k]


@compiled
def _copy_pixels(gradient, channels, o0, O, first, last, weights):
    """weights[p - first, o] = dy at position p, for one group's channels."""
    flat, width = weights.ravel(), weights.shape[1]
    for p in range(first, last):
        copy(flat, (p - first) * width, gradient, p * channels + o0, O)


def transposed(a: Array) -> Array:
    """a.T of a matrix as an array of its own, by blocks that fit the cache: NumPy's copy misses it at every step."""
    out = empty((a.shape[1], a.shape[0]), a.dtype)
    _transpose(a, out, _jit.threads_for(a.size))
    return out


@parallel
def _transpose(a, out, threads):
    (M, N), blocks = a.shape, (a.shape[1] + 31) // 32
    for thread in prange(threads):
        for block in range(blocks * thread // threads, blocks * (thread + 1) // threads):
            n0, n1 = block * 32, min(N, block * 32 + 32)
            for m0 in range(0, M, 32):
                for n in range(n0, n1):
                    for m in range(m0, min(M, m0 + 32)):
                        out[n, m] = a[m, n]


def exchanged(w: Array, groups: int) -> Array:
    """Weights (T, C, O) as filters that lead back: (O, C) of a group exchanged, (T, C, groups*O) -> (groups*C, T*O)."""
    T, C, O = w.shape[0], w.shape[1], w.shape[2] // groups
    out = empty((groups * C, T * O), w.dtype)
    _exchange(w.ravel(), out.ravel(), T, C, O, groups, _jit.threads_for(w.size))
    return out


@parallel
def _exchange(w, out, T, C, O, groups, threads):
    for thread in prange(threads):
        for row in range(groups * C * thread // threads, groups * C * (thread + 1) // threads):
            g, c = row // C, row % C
            for t in range(T):
                copy(out, (row * T + t) * O, w, ((t * C + c) * groups + g) * O, O)
