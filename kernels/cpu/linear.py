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

BLOCK = 512  # columns of a result that are worked on at a time: eight such rows fit the first-level cache


def linear_forward(x: Array, w: Array, b: Array | None) -> Array:
    """As the reference: row i of y is the sum of the rows of w, each times x[i, k]."""
    bias = np.zeros(0, x.dtype) if b is None else dense(b)
    return _weighted_rows(dense(x).T, dense(w), bias)


def linear_backward_input(dy: Array, w: Array) -> Array:
    """As the reference: dx[i, k] is the dot product of row i of dy and row k of w."""
    dx = zeros((len(dy), len(w)), dy.dtype)
    threads = _jit.threads_for(dy.size * len(w))
    _dot_rows(dense(dy), dense(w), dx, threads)
    return dx


def linear_backward_weight(dy: Array, x: Array) -> Array:
    """As the reference: row k of dw is the sum of the rows of dy, each times x[i, k]."""
    return _weighted_rows(dense(x), dense(dy), np.zeros(0, dy.dtype))


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
            _add_block(out, flat, offsets, N, a, i0, i1, last, n0, width)


@compiled
def _add_block(out, flat, offsets, N, a, i0, i1, last, n0, width):
    """One block of columns: four rows at a time where there are four, one at a time for what is left over."""
    K = len(offsets)
    for k0 in range(0, K, 64):
        k1 = min(K, k0 + 64)
        fours = k0 + (k1 - k0) // ROWS * ROWS
        for i in range(i0, i1, ROWS):
            for k in range(k0, fours, ROWS):
                add_products(out, i * N + n0, N, flat, offsets, n0, k, a, i, width)
        for i in range(i0, last):
            for k in range(fours if i < i1 else k0, k1):
                _add_product(out, i * N + n0, flat, k * N + n0, a[k, i], width)


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
    groups = (K + ROWS - 1) // ROWS
    for thread in prange(threads):
        k0, k1 = groups * thread // threads * ROWS, min(K, groups * (thread + 1) // threads * ROWS)
        for n in range(0, N, 2 * BLOCK):
            span = min(2 * BLOCK, N - n)
            for k in range(k0, k1, ROWS):
                for i in range(0, M, ROWS):
                    if k + ROWS <= k1 and i + ROWS <= M:
                        dot_products(s, i, k, flat_x, x_offsets, n, flat_w, w_offsets, n, span)
                    else:
                        _dot_singly(s, i, min(M, i + ROWS), k, min(k1, k + ROWS), flat_x, flat_w, N, n, span)


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
