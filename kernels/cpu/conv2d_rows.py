"""Convolution with many channels: a few rows of the column matrix at a time, in the cache, as they lie in memory.

NHWC already has a row of the column matrix, in pieces of C numbers. A thread takes a tile of output positions, copies
their rows (`_gather`; a 1x1 convolution needs no copy at all), 512 KB of them at most, and multiplies:

    y  = rows @ w          tile by tile in the registers (`microkernel`)
    dw = rows.T @ dy

The whole matrix never exists: the reference writes it to memory and reads it back. The input gradient is the forward
operation with the taps mirrored; see `conv2d`. `conv2d_planes` serves filters with few numbers.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty
from . import _jit
from ._jit import compiled, parallel
from .microkernel import HEIGHT, multiply_tile, pack_panel, panel_width
from .tiles import add, at, clear, copy

Array = Any
Pair = tuple[int, int]

NUMBERS = 1 << 17  # in the rows of one tile: 512 KB of float32, half a second-level cache
SPAN = 1024  # how much of a row is worked on at a time


def correlate(
    x: Array, matrix: Array, b: Array, y: Array, taps: Array, x_step: Pair, y_step: Pair, y_start: Pair
) -> None:
    """y[n, i*ys + y0, j*ys' + y0', o] = b[o] + sum over k = (t, c) of x[n, i*xs + t_h, j*xs' + t_w, c] * matrix[k, o].

    x (N, H, W, C), 0 outside; taps (T, 2) offsets into x; matrix (T*C/groups, O), c and o within one group.
    Writes those cells of y (N, OH, OW, O) that the steps reach.
    """
    I, J = (len(range(start, n, step)) for start, n, step in zip(y_start, y.shape[1:3], y_step, strict=True))
    if 0 in (I, J):
        return
    in_place = not taps.any() and len(taps) == 1 and x_step == (1, 1) and x.shape[1:3] == (I, J)
    in_place = in_place and matrix.shape[0] == x.shape[3]
    threads = _jit.threads_for(len(x) * I * J * matrix.size)
    _correlate(x, matrix, b, y, taps, x_step, y_step, y_start, (I, J), in_place, threads)


@parallel
def _correlate(x, matrix, b, y, taps, x_step, y_step, y_start, size, in_place, threads):
    K, C = matrix.shape[0], matrix.shape[0] // len(taps)
    groups = x.shape[3] // C
    O, M, width = matrix.shape[1] // groups, len(x) * size[0] * size[1], panel_width(y.itemsize)
    # Enough tiles for every thread, each of whole tiles of the microkernel.
    P = max(1, min(NUMBERS // min(K, SPAN), (M + threads - 1) // threads))
    P = (P + HEIGHT - 1) // HEIGHT * HEIGHT
    tiles = (M + P - 1) // P
    image, flat, out = x.ravel(), matrix.ravel(), y.ravel()
    for thread in prange(threads):
        rows = np.empty(1 if in_place else P * min(K, SPAN), x.dtype)
        panel, tile = np.empty(min(K, SPAN) * width, x.dtype), np.empty(HEIGHT * width, x.dtype)
        offsets, sums = np.empty(HEIGHT, np.int64), np.empty(P * O, x.dtype)
        for task in range(groups * tiles * thread // threads, groups * tiles * (thread + 1) // threads):
            g, first = task // tiles, task % tiles * P
            last = min(M, first + P)
            clear(sums, 0, P * O)
            for k in range(0, K, SPAN):
                span = min(SPAN, K - k)
                if not in_place:
                    _gather(image, x.shape, g * C, C, first, last, size, taps, x_step, k, k + span, rows)
                for n in range(0, O, width):
                    start, count = k * groups * O + g * O + n, min(width, O - n)
                    pack_panel(flat, start, (groups * O, 1), span, count, panel, width)
                    for p in range(0, last - first, HEIGHT):
                        _row_offsets(offsets, p, last - first, K if in_place else span)
                        if in_place:
                            multiply_tile(image, offsets, first * K + k, 1, panel, span, tile)
                        else:
                            multiply_tile(rows, offsets, 0, 1, panel, span, tile)
                        _add_tile(sums, O, tile, width, p, min(last - first, p + HEIGHT), n, count)
            _store(sums, b, g * O, O, first, last, size, out, y.shape, y_step, y_start)


@compiled
def _row_offsets(offsets, i, stop, step):
    """Where the rows i, i + 1, ... begin; a tile that is not full repeats its last row, which is not stored."""
    for r in range(HEIGHT):
        offsets[r] = min(i + r, stop - 1) * step


@compiled
def _add_tile(sums, O, tile, width, i0, i1, n0, count):
    for i in range(i0, i1):
        add(sums, i * O + n0, tile, (i - i0) * width, count)


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
def _store(sums, b, o0, O, first, last, size, out, shape, step, start):
    """Write a tile's sums to y, with the bias."""
    for p in range(first, last):
        n, ij = p // (size[0] * size[1]), p % (size[0] * size[1])
        h, w = ij // size[1] * step[0] + start[0], ij % size[1] * step[1] + start[1]
        pixel = ((n * shape[1] + h) * shape[2] + w) * shape[3] + o0
        copy(out, pixel, sums, (p - first) * O, O)
        if len(b):
            add(out, pixel, b, o0, O)


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
    K, size, width = parts.shape[1], (dy.shape[1], dy.shape[2]), panel_width(x.itemsize)
    M = len(dy) * size[0] * size[1]
    spans = (K + SPAN - 1) // SPAN
    tasks = len(parts) * groups * spans
    image, gradient = x.ravel(), dy.ravel()
    for thread in prange(threads):
        P = min(NUMBERS // min(K, SPAN), M)
        rows, offsets = np.empty(P * min(K, SPAN), x.dtype), np.empty(HEIGHT, np.int64)
        panel, tile = np.empty(P * width, x.dtype), np.empty(HEIGHT * width, x.dtype)
        sums = np.empty(min(K, SPAN) * O, x.dtype)
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            q, g, k0 = task // (groups * spans), task // spans % groups, task % spans * SPAN
            k1 = min(K, k0 + SPAN)
            clear(sums, 0, (k1 - k0) * O)
            stop = M * (q + 1) // len(parts)
            for first in range(M * q // len(parts), stop, P):
                last = min(stop, first + P)
                _gather(image, x.shape, g * C, C, first, last, size, taps, step, k0, k1, rows)
                for n in range(0, O, width):
                    start, count = first * dy.shape[3] + g * O + n, min(width, O - n)
                    pack_panel(gradient, start, (dy.shape[3], 1), last - first, count, panel, width)
                    for k in range(0, k1 - k0, HEIGHT):
                        _row_offsets(offsets, k, k1 - k0, 1)
                        multiply_tile(rows, offsets, 0, k1 - k0, panel, last - first, tile)
                        _add_tile(sums, O, tile, width, k, min(k1 - k0, k + HEIGHT), n, count)
            for k in range(k0, k1):
                for o in range(O):
                    parts[q, k, g * O + o] = sums[at((k - k0) * O) + at(o)]


def exchanged(w: Array, groups: int) -> Array:
    """Weights (T, C, O) as the matrix that leads back, (T*O/groups, groups*C): each group's channels exchanged."""
    T, C, O = w.shape[0], w.shape[1], w.shape[2] // groups
    out = empty((T * O, groups * C), w.dtype)
    _exchange(w, out, O, groups, _jit.threads_for(w.size))
    return out


@parallel
def _exchange(w, out, O, groups, threads):
    """In blocks of 16 by 16 numbers, a cache line each way, so that neither side misses the cache at each step."""
    T, C, width = w.shape
    flat, back = w.ravel(), out.ravel()
    blocks = (O + 15) // 16
    jobs = T * groups * blocks
    for thread in prange(threads):
        for job in range(jobs * thread // threads, jobs * (thread + 1) // threads):
            t, g, o0 = job // (groups * blocks), job // blocks % groups, job % blocks * 16
            for c0 in range(0, C, 16):
                for o in range(o0, min(O, o0 + 16)):
                    to, source = ((t * O + o) * groups + g) * C, t * C * width + g * O + o
                    for c in range(c0, min(C, c0 + 16)):
                        back[at(to) + at(c)] = flat[at(source) + at(c * width)]
