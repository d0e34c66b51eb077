"""The fully connected layer: three matrix products on Numba's threads, so that no second pool of threads is woken.

NumPy's product would bring its own threads, and two pools that wait actively for work on the same cores stall each
other for milliseconds. `tiles` says why these loops are as fast as its library. Each product reads its matrices the
way they lie: y and dw add up rows of w and dy, dx is dot products of rows of dy and w.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty, zeros
from . import _jit
from ._arrays import dense
from ._jit import compiled, inlined, parallel
from .tiles import ROWS, add_products, at, clear, copy, dot_products

Array = Any

NARROW = 32  # a result of fewer columns has rows too short for a loop: its numbers are dot products instead
BLOCK = 512  # columns of a result that are worked on at a time: eight such rows fit the first-level cache
DEPTH, BAND = 64, 256  # how many products, and for how many rows, are packed at a time: 64 KB of float32


def linear_forward(x: Array, w: Array, b: Array | None) -> Array:
    """As the reference: row i of y is the sum of the rows of w, each times x[i, k]."""
    if w.shape[1] < NARROW:
        y = _dots(dense(x), dense(w.T))
        return y if b is None else y + b
    bias = np.zeros(0, x.dtype) if b is None else dense(b)
    return _weighted_rows(dense(x).T, dense(w), bias)


def linear_backward_input(dy: Array, w: Array) -> Array:
    """As the reference: dx[i, k] is the dot product of row i of dy and row k of w."""
    return _dots(dense(dy), dense(w))


def linear_backward_weight(dy: Array, x: Array) -> Array:
    """As the reference: row k of dw is the sum of the rows of dy, each times x[i, k]."""
    if dy.shape[1] < NARROW:
        return _dots(dense(x.T), dense(dy.T))
    return _weighted_rows(dense(x), dense(dy), np.zeros(0, dy.dtype))


def _dots(x: Array, w: Array) -> Array:
    """The dot product of each row of x with each row of w."""
    s = zeros((len(x), len(w)), x.dtype)
    _dot_rows(x, w, s, _jit.threads_for(x.size * len(w)))
    return s


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


def _weighted_rows(a: Array, rows: Array, b: Array) -> Array:
    """y[i] = b + sum over k of a[k, i] * rows[k]."""
    y = empty((a.shape[1], rows.shape[1]), rows.dtype)
    _add_rows(a, rows, b, y, _jit.threads_for(a.size * rows.shape[1]))
    return y


@parallel
def _add_rows(a, rows, b, y, threads):
    (K, M), N = a.shape, rows.shape[1]
    flat, out, offsets = rows.ravel(), y.ravel(), np.arange(K) * N
    blocks = (N + BLOCK - 1) // BLOCK
    # Several bands of rows only where the columns alone do not occupy the threads.
    bands = max(1, min((M + ROWS - 1) // ROWS, 4 * threads // blocks))
    for thread in prange(threads):
        packed = np.empty((DEPTH, BAND), a.dtype)
        for task in range(bands * blocks * thread // threads, bands * blocks * (thread + 1) // threads):
            n0, band = task // bands * BLOCK, task % bands
            width = min(N - n0, BLOCK)
            i0, i1 = M // ROWS * band // bands * ROWS, M // ROWS * (band + 1) // bands * ROWS
            last = M if band == bands - 1 else i1
            for i in range(i0, last):
                if len(b):
                    copy(out, i * N + n0, b, n0, width)
                else:
                    clear(out, i * N + n0, width)
            for k0 in range(0, K, DEPTH):
                for i in range(i0, last, BAND):
                    stop = min(last, i + BAND)
                    _pack(a, k0, min(K, k0 + DEPTH), i, stop, packed)
                    _add_block(out, flat, offsets, N, packed, k0, min(K, k0 + DEPTH), i, stop, n0, width)


@compiled
def _pack(a, k0, k1, i0, i1, packed):
    """packed[k - k0, i - i0] = a[k, i]: rows of a may lie far apart, so that few of them fit the cache at once."""
    for k in range(k0, k1):
        for i in range(i0, i1):
            packed[k - k0, i - i0] = a[k, i]


@compiled
def _add_block(out, flat, offsets, N, a, k0, k1, i0, i1, n0, width):
    """Rows i0..i1 of one block of columns += a[k - k0, i - i0] * rows k0..k1; four by four, the rest singly."""
    four_rows, four_products = (i1 - i0) // ROWS * ROWS, (k1 - k0) // ROWS * ROWS
    for i in range(0, four_rows, ROWS):
        for k in range(0, four_products, ROWS):
            add_products(out, (i0 + i) * N + n0, N, flat, offsets, k0 * N + n0, k, a, i, width)
    for i in range(i1 - i0):
        for k in range(four_products if i < four_rows else 0, k1 - k0):
            _add_product(out, (i0 + i) * N + n0, flat, (k0 + k) * N + n0, a[k, i], width)


@inlined
def _add_product(out, i, row, j, factor, n):
    for q in range(n):
        out[at(i) + at(q)] += factor * row[at(j) + at(q)]


@parallel
def _dot_rows(x, w, s, threads):
    """s[i, k] += dot product of x[i] and w[k]."""
    (M, N), K = x.shape, len(w)
    flat_x, flat_w = x.ravel(), w.ravel()
    x_offsets, w_offsets = np.arange(M) * N, np.arange(K) * N
    tall = M > K
    groups = ((M if tall else K) + ROWS - 1) // ROWS
    for thread in prange(threads):
        first, last = groups * thread // threads * ROWS, groups * (thread + 1) // threads * ROWS
        i0, i1 = (first, min(M, last)) if tall else (0, M)
        k0, k1 = (0, K) if tall else (first, min(K, last))
        for n in range(0, N, 2 * BLOCK):
            span = min(2 * BLOCK, N - n)
            for k in range(k0, k1, ROWS):
                for i in range(i0, i1, ROWS):
                    if k + ROWS <= k1 and i + ROWS <= i1:
                        dot_products(s, i, k, flat_x, x_offsets, n, flat_w, w_offsets, n, span)
                    else:
                        _dot_singly(s, i, min(i1, i + ROWS), k, min(k1, k + ROWS), flat_x, flat_w, N, n, span)


@compiled
def _dot_singly(s, i0, i1, k0, k1, x, w, N, n0, span):
    for i in range(i0, i1):
        for k in range(k0, k1):
            total = s.dtype.type(0)
            for n in range(span):
                total += x[at(i * N + n0) + at(n)] * w[at(k * N + n0) + at(n)]
            s[i, k] += total


@parallel
def _column_sums(rows, parts, threads):
    (M, O), Q = rows.shape, len(parts)
    flat, sums = rows.ravel(), parts.ravel()
    for thread in prange(threads):
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            for m in range(M * q // Q, M * (q + 1) // Q):
                _add_product(sums, q * O, flat, m * O, sums.dtype.type(1), O)
