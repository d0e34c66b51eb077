"""The fully connected layer: three matrix products on Numba's threads, so that no second pool of threads is woken.

NumPy's product would bring its own threads, and two pools that wait actively for work on the same cores stall each
other for milliseconds. `microkernel` says why these loops are as fast as its library. The weight gradient is that of a
convolution (`conv2d_rows`): a sample is a pixel.
"""

from typing import Any

import numpy as np

from ..geometry import Pair
from ..memory import empty, zeros
from . import _jit, conv2d_rows
from ._arrays import dense, flat
from ._jit import inlined, on_threads
from .blocks import DEPTH, block_rows, multiply, pack, shares
from .columns import fold, no_sums, part_start, wide
from .fused import CODES, activate, activate_rows, activated
from .microkernel import HEIGHT, panel_width
from .tiles import ROWS, add, add_products, at, clear, copy

Array = Any

STRETCH = 512  # numbers of a row of w that few samples are multiplied with at a time


def linear_forward(x: Array, w: Array, b: Array | None, activation: str | None) -> Array:
    """As the reference; bias and activation come before and after the sums of a block, while it is in the cache."""
    bias = np.zeros(0, x.dtype) if b is None else dense(b)
    return _product(dense(x), dense(w), bias, w.shape[1], (w.shape[1], 1), activation)


def linear_backward_input(dy: Array, w: Array) -> Array:
    """As the reference; w.T is w, read with its steps exchanged."""
    return _product(dense(dy), dense(w), np.zeros(0, dy.dtype), w.shape[0], (1, w.shape[1]), None)


def linear_backward_weight(dy: Array, x: Array) -> Array:
    """As the reference."""
    w_shape = (1, 1, x.shape[1], dy.shape[1])
    if 0 in (dy.size, x.size):  # sums over nothing
        return zeros(w_shape[2:], dy.dtype)
    once, none = (1, 1), ((0, 0), (0, 0))
    # (N, I) -> (1, 1, N, I)
    dy, x = dense(dy)[None, None], dense(x)[None, None]
    return conv2d_rows.weight_gradient(dy, x, w_shape, once, none, once, 1)[0, 0]


def _product(a: Array, b: Array, bias: Array, N: int, steps: Pair, activation: str | None) -> Array:
    """activation(a (M, K) times a matrix (K, N), plus the bias); number (k, n) of the matrix is steps[0]*k + steps[1]*n
    in b."""
    M, K = a.shape
    y = empty((M, N), a.dtype)
    if 0 in (M, K, N):  # sums over nothing
        y[...] = bias if len(bias) else 0
        return activated(y, activation)
    threads, code = _jit.threads_for(M * K * N), CODES[activation]
    if M >= HEIGHT:
        _multiply(a, b.reshape(-1), steps, bias, y, code, shares(M, N, y.itemsize, threads), threads)
    elif steps[1] == 1:
        _add_few(a.T, b.reshape(-1), bias, y, code, threads)
    else:
        _dot_few(a, b, y, threads)
    return y


@on_threads
def _multiply(a, b, steps, bias, y, code, share, thread, threads):
    M, K = a.shape
    bands, blocks = share
    N, width = y.shape[1], panel_width(y.itemsize)
    P, panels, left, out = block_rows(M, bands), (N + width - 1) // width, a.ravel(), y.ravel()
    panel = np.empty(min(K, DEPTH) * width, y.dtype)
    for task in range(bands * blocks * thread // threads, bands * blocks * (thread + 1) // threads):
        block, first = task // bands, task % bands * P
        last = min(M, first + P)
        n0, n1 = panels * block // blocks * width, min(N, panels * (block + 1) // blocks * width)
        for k in range(0, K, DEPTH):
            depth = min(DEPTH, K - k)
            for n in range(n0, n1, width):
                count = min(width, n1 - n)
                pack(b, k * steps[0] + n * steps[1], steps[0], steps[1], depth, count, panel, 0)
                multiply(left, first * K + k, K, 1, last - first, panel, 0, width, depth,
                         out, first * N + n, N, count, k > 0, bias, n if len(bias) and k == 0 else -1)  # fmt: skip
        activate_rows(out, first * N + n0, N, last - first, n1 - n0, code)


@on_threads
def _add_few(a, b, bias, y, code, thread, threads):
    """y[m] = activation(bias + the sum over k of a[k, m] * b[k]), for few samples.

    It waits for memory, so b is read once, in whole rows, and never copied.
    """
    K, M = a.shape
    N, out = y.shape[1], y.ravel()
    offsets, blocks = np.arange(K) * N, (N + STRETCH - 1) // STRETCH
    fours, four_products = M // ROWS * ROWS, K // ROWS * ROWS
    for block in range(blocks * thread // threads, blocks * (thread + 1) // threads):
        n, count = block * STRETCH, min(STRETCH, N - block * STRETCH)
        for m in range(M):
            if len(bias):
                copy(out, m * N + n, bias, n, count)
            else:
                clear(out, m * N + n, count)
        for k in range(0, four_products, ROWS):
            for m in range(0, fours, ROWS):
                add_products(out, m * N + n, N, b, offsets, n, k, a, m, count)
        for k in range(K):
            for m in range(0 if k >= four_products else fours, M):
                _add_product(out, m * N + n, b, k * N + n, a[k, m], count)
        for m in range(M):
            activate(out, m * N + n, count, code)


@inlined
def _add_product(out, i, x, j, factor, n):
    for q in range(n):
        out[at(i) + at(q)] += factor * x[at(j) + at(q)]


@on_threads
def _dot_few(a, b, y, thread, threads):
    """The product of few rows with the transpose of b: each number is a dot product of two rows."""
    M, K = a.shape
    N, left, right = len(b), a.ravel(), b.ravel()
    for n in range(N * thread // threads, N * (thread + 1) // threads):
        for m in range(M):
            total = y.dtype.type(0)
            for k in range(K):
                total += left[at(m * K) + at(k)] * right[at(n * K) + at(k)]
            y[m, n] = total


def bias_backward(dy: Array) -> Array:
    """As the reference; `columns` says in what precision."""
    O = dy.shape[-1]
    sums = no_sums(dy.size, 1, wide(dy.size, O))
    _column_sums(flat(dy), sums, _jit.threads_for(dy.size))
    fold(sums, O)
    return sums[0, 0, :O].astype(dy.dtype)


@on_threads
def _column_sums(x, sums, thread, threads):
    """sums[q] += the wide rows of part q, by eights."""
    Q, W, out = len(sums), sums.shape[2], sums.ravel()
    for q in range(Q * thread // threads, Q * (thread + 1) // threads):
        start, end = part_start(x.size, W, q, Q), part_start(x.size, W, q + 1, Q)
        eights = (end - start) // (8 * W) * 8 * W
        for i in range(start, start + eights, 8 * W):
            for j in range(W):
                p0, p1, p2, p3 = at(i) + at(j), at(i + W) + at(j), at(i + 2 * W) + at(j), at(i + 3 * W) + at(j)
                p4, p5, p6, p7 = p0 + at(4 * W), p1 + at(4 * W), p2 + at(4 * W), p3 + at(4 * W)
                total = ((x[p0] + x[p1]) + (x[p2] + x[p3])) + ((x[p4] + x[p5]) + (x[p6] + x[p7]))
                out[at(q * W) + at(j)] += total
        for i in range(start + eights, end, W):
            add(out, q * W, x, i, min(W, end - i))
