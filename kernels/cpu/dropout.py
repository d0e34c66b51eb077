"""Dropout in one pass: the random words are made where they are used and never stored."""

import math
from typing import Any

import numpy as np

from ..memory import empty
from . import _jit
from ._arrays import dense
from ._jit import inlined, on_threads

Array = Any


def dropout_forward(x: Array, p: float, seed: int, layer: int, step: int, first_sample: int) -> Array:
    """As the reference, the same mask bit for bit."""
    rows = dense(x).reshape(len(x), math.prod(x.shape[1:]))  # (N, ...) -> (N, E)
    y = empty(rows.shape, rows.dtype)
    words = (seed & 0xFFFFFFFF, seed >> 32, layer, step)
    _dropout(rows, y, math.ceil(p * 2**24), x.dtype.type(1 / (1 - p)), *(np.uint64(word) for word in words),
             first_sample, _jit.threads_for(32 * x.size))  # fmt: skip
    return y.reshape(x.shape)


def dropout_backward(dy: Array, p: float, seed: int, layer: int, step: int, first_sample: int) -> Array:
    """As the reference: the same operation on dy."""
    return dropout_forward(dy, p, seed, layer, step, first_sample)


@on_threads
def _dropout(x, y, threshold, scale, k0, k1, layer, step, first_sample, thread, threads):
    N, E = x.shape
    groups = (E + 3) // 4
    for job in range(N * groups * thread // threads, N * groups * (thread + 1) // threads):
        n, group = job // groups, job % groups
        sample = np.uint64(first_sample + n) & np.uint64(0xFFFFFFFF)
        words = _philox(np.uint64(group), sample, step, layer, k0, k1)
        for i in range(min(4, E - 4 * group)):
            e = 4 * group + i
            keep = (words[i] >> np.uint64(8)) >= np.uint64(threshold)
            y[n, e] = x[n, e] * (scale if keep else x.dtype.type(0))


def philox4x32(counter: Array, key: Array) -> Array:
    """As the reference."""
    counters = dense(counter).reshape(-1, 4)
    words = empty(counters.shape, counters.dtype)
    _fill(counters, np.uint64(key[0]), np.uint64(key[1]), words, _jit.threads_for(32 * counters.size))
    return words.reshape(counter.shape)


@on_threads
def _fill(counters, k0, k1, words, thread, threads):
    M = len(counters)
    for m in range(M * thread // threads, M * (thread + 1) // threads):
        c = counters[m]
        word = _philox(np.uint64(c[0]), np.uint64(c[1]), np.uint64(c[2]), np.uint64(c[3]), k0, k1)
        for i in range(4):
            words[m, i] = word[i]


@inlined
def _philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 of one counter, 32-bit words in 64-bit variables so that a product keeps its high half."""
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        product0, product2 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (product2 >> high) ^ c1 ^ k0, product2 & low, (product0 >> high) ^ c3 ^ k1, product0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3
