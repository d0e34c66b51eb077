"""The fully connected layer: three matrix products on Numba's threads, so that no second pool of threads is woken.

NumPy's product would bring its own threads, and two pools that wait actively for work on the same cores stall each
other for milliseconds. `microkernel` says why these loops are as fast as its library. All three are one function:
which matrix is transposed is only a matter of the steps from one number to the next.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty, zeros
from . import _jit, conv2d_rows
from ._arrays import dense
from ._jit import inlined, parallel
from .blocks import DEPTH, block_rows, multiply, pack, shares
from .microkernel import HEIGHT, panel_width
from .tiles import ROWS, add, add_products, at, clear, copy

Array = Any


def linear_forward(x: Array, w: Array, b: Array | None) -> Array:
    """As the reference."""
    return _product(dense(x), dense(w), np.zeros(0, x.dtype) if b is None else dense(b))


def linear_backward_input(dy: Array, w: Array) -> Array:
    """As the reference."""
    return _product(dense(dy), dense(w).T, np.zeros(0, dy.dtype))


def linear_backward_weight(dy: Array, x: Array) -> Array:
    """As the reference: the weight gradient of a 1x1 convolution of images that have one pixel."""
    shape = (1, 1, x.shape[1], dy.shape[1])
    if 0 in (dy.size, x.size):
        return zeros(shape[2:], dy.dtype)
    one, none = (1, 1), ((0, 0), (0, 0))
    # (N, I) -> (N, 1, 1, I)
    images, gradients = (dense(a)[:, None, None] for a in (x, dy))
    return conv2d_rows.weight_gradient(gradients, images, shape, one, none, one, 1)[0, 0]


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
    if M < HEIGHT and b_steps[1] == 1:
        _add_few(a.T, flat[1], bias, y, threads)
    elif M < HEIGHT:
        _dot_few(*flat, a_steps, b_steps, (M, K, N), y, threads)
    else:
        _multiply(*flat, a_steps, b_steps, (M, K, N), bias, y, shares(M, N, y.itemsize, threads), threads)
    return y


@parallel
def _multiply(a, b, a_steps, b_steps, shape, bias, y, share, threads):
    (M, K, N), (bands, blocks), width = shape, share, panel_width(y.itemsize)
    P, panels, out = block_rows(M, bands), (N + width - 1) // width, y.ravel()
    for thread in prange(threads):
        panel, scratch = np.empty(DEPTH * width, y.dtype), np.empty(HEIGHT * width, y.dtype)
        for task in range(bands * blocks * thread // threads, bands * blocks * (thread + 1) // threads):
            block, first = task // bands, task % bands * P
            last = min(M, first + P)
            n0, n1 = panels * block // blocks * width, min(N, panels * (block + 1) // blocks * width)
            if len(bias):
                for m in range(first, last):
                    copy(out, m * N + n0, bias, n0, n1 - n0)
            for k in range(0, K, DEPTH):
                depth, left = min(DEPTH, K - k), first * a_steps[0] + k * a_steps[1]
                for n in range(n0, n1, width):
                    count = min(width, n1 - n)
                    pack(b, k * b_steps[0] + n * b_steps[1], b_steps[0], b_steps[1], depth, count, panel, 0)
                    multiply(a, left, a_steps[0], a_steps[1], last - first, panel, 0, depth,
                             out, first * N + n, N, count, k > 0 or len(bias) > 0, scratch)  # fmt: skip


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
