"""The fully connected layer: three matrix products on Numba's threads, so that no second pool of threads is woken.

NumPy's product would bring its own threads, and two pools that wait actively for work on the same cores stall each
other for milliseconds. `microkernel` says why these loops are as fast as its library. All three are one function:
which matrix is transposed is only a matter of the steps from one number to the next.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty, zeros
from . import _jit
from ._arrays import dense
from ._jit import compiled, inlined, parallel
from .microkernel import HEIGHT, multiply_tile, pack_panel, panel_width
from .tiles import ROWS, add, add_products, at, clear, copy

Array = Any

DEPTH = 512  # how much of K a panel holds: 64 KB, a few of which fit the second-level cache


def linear_forward(x: Array, w: Array, b: Array | None) -> Array:
    """As the reference."""
    return _product(dense(x), dense(w), np.zeros(0, x.dtype) if b is None else dense(b))


def linear_backward_input(dy: Array, w: Array) -> Array:
    """As the reference."""
    return _product(dense(dy), dense(w).T, np.zeros(0, dy.dtype))


def linear_backward_weight(dy: Array, x: Array) -> Array:
    """As the reference."""
    return _product(dense(x).T, dense(dy), np.zeros(0, dy.dtype))


def _product(a: Array, b: Array, bias: Array) -> Array:
    """a @ b + bias, for matrices that are dense or the transpose of a dense one."""
    (M, K), N = a.shape, b.shape[1]
    y = empty((M, N), a.dtype)
    if 0 in (M, K, N):  # sums over nothing
        y[...] = bias if len(bias) else 0
        return y
    a_steps, b_steps = (tuple(s // m.itemsize for s in m.strides) for m in (a, b))
    flat = [m.reshape(-1) if m.flags.c_contiguous else m.T.reshape(-1) for m in (a, b)]
    threads = _jit.threads_for(M * K * N)
    if min(M, K) < HEIGHT and b_steps[1] == 1:
        _add_few(a.T, flat[1], bias, y, threads)
    elif b_steps[0] == 1 and M < HEIGHT:
        _dot_few(*flat, a_steps, b_steps, (M, K, N), y, threads)
    else:
        _multiply(*flat, a_steps, b_steps, (M, K, N), bias, y, threads)
    return y


@parallel
def _multiply(a, b, a_steps, b_steps, shape, bias, y, threads):
    M, K, N = shape
    width = panel_width(y.itemsize)
    panels = (N + width - 1) // width
    # Few panels are cut into bands of rows, so that no thread waits long for the last one.
    bands = max(1, min((M + HEIGHT - 1) // HEIGHT, 4 * threads // panels))
    out = y.ravel()
    for thread in prange(threads):
        panel, tile = np.empty(DEPTH * width, y.dtype), np.empty(HEIGHT * width, y.dtype)
        rows = np.empty(HEIGHT, np.int64)
        for task in range(panels * bands * thread // threads, panels * bands * (thread + 1) // threads):
            n0, band = task // bands * width, task % bands
            i0, i1 = M * band // bands, M * (band + 1) // bands
            for k0 in range(0, K, DEPTH):
                depth = min(DEPTH, K - k0)
                pack_panel(b, k0 * b_steps[0] + n0 * b_steps[1], b_steps, depth, min(width, N - n0), panel, width)
                for i in range(i0, i1, HEIGHT):
                    # A tile that is not full repeats its last row; only what exists is stored.
                    for r in range(HEIGHT):
                        rows[r] = min(i + r, i1 - 1) * a_steps[0]
                    multiply_tile(a, rows, k0 * a_steps[1], a_steps[1], panel, depth, tile)
                    _store(tile, width, out, i, min(i1, i + HEIGHT), n0, N, bias, k0 == 0)


@parallel
def _add_few(a, b, bias, y, threads):
    """y[i] = bias + the sum over k of a[k, i] * b[k], for few samples.

    It waits for memory, so b is read once, in whole rows, and never copied.
    """
    (K, M), N = a.shape, y.shape[1]
    out, offsets, blocks = y.ravel(), np.arange(K) * N, (N + DEPTH - 1) // DEPTH
    bands = (M + HEIGHT - 1) // HEIGHT
    for thread in prange(threads):
        for task in range(bands * blocks * thread // threads, bands * blocks * (thread + 1) // threads):
            # Neighbouring tasks lie in one band: what they write is one stretch of memory.
            i0, n0 = task // blocks * HEIGHT, task % blocks * DEPTH
            i1, count = min(M, i0 + HEIGHT), min(DEPTH, N - n0)
            for i in range(i0, i1):
                if len(bias):
                    copy(out, i * N + n0, bias, n0, count)
                else:
                    clear(out, i * N + n0, count)
            fours, four_products = i0 + (i1 - i0) // ROWS * ROWS, K // ROWS * ROWS
            for k in range(0, four_products, ROWS):
                for i in range(i0, fours, ROWS):
                    add_products(out, i * N + n0, N, b, offsets, n0, k, a, i, count)
            for k in range(K):
                for i in range(i0 if k >= four_products else fours, i1):
                    _add_product(out, i * N + n0, b, k * N + n0, a[k, i], count)


@inlined
def _add_product(out, i, x, j, factor, n):
    for q in range(n):
        out[at(i) + at(q)] += factor * x[at(j) + at(q)]


@parallel
def _dot_few(a, b, a_steps, b_steps, shape, y, threads):
    """The product of few rows with a transposed matrix: each number is a dot product of two rows."""
    M, K, N = shape
    for thread in prange(threads):
        for n in range(N * thread // threads, N * (thread + 1) // threads):
            for i in range(M):
                total = y.dtype.type(0)
                for k in range(K):
                    total += a[at(i * a_steps[0]) + at(k)] * b[at(n * b_steps[1]) + at(k)]
                y[i, n] = total


@compiled
def _store(tile, width, out, i0, i1, n0, N, bias, first):
    """Add a tile to the result; the first one of a place starts from the bias."""
    count = min(width, N - n0)
    for i in range(i0, i1):
        place = i * N + n0
        if first and len(bias):
            copy(out, place, bias, n0, count)
        if first and not len(bias):
            copy(out, place, tile, (i - i0) * width, count)
        else:
            add(out, place, tile, (i - i0) * width, count)


def bias_backward(dy: Array) -> Array:
    """As the reference; each thread adds up its part of the rows, in float64."""
    O = dy.shape[-1]
    # A row of few numbers is too short a loop: several rows are taken as one, and folded at the end.
    several = max(1, 64 // O)
    M = dy.size // O // several * several
    rows = dense(dy).reshape(-1, O)  # (..., O) -> (M, O)
    parts = zeros((max(1, min(16, M // 256)), several * O), np.float64)
    _column_sums(rows[:M].reshape(-1, several * O), parts, _jit.threads_for(rows.size))
    return (parts.reshape(-1, O).sum(axis=0) + rows[M:].sum(axis=0, dtype=np.float64)).astype(dy.dtype)


@parallel
def _column_sums(rows, parts, threads):
    (M, O), Q = rows.shape, len(parts)
    flat, sums = rows.ravel(), parts.ravel()
    for thread in prange(threads):
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            for m in range(M * q // Q, M * (q + 1) // Q):
                add(sums, q * O, flat, m * O, O)
