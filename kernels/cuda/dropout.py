"""Dropout: the kernels of dropout.cu, a thread for every four elements; the random words are never stored."""

import math
from typing import Any

import numpy as np

from . import _launch
from ._launch import THREADS, dense, empty, launch

Array = Any


def dropout_forward(x: Array, p: float, seed: int, layer: int, step: int, first_sample: int) -> Array:
    """As the reference, the same mask bit for bit."""
    y = empty(x.shape, x.dtype)
    N, E = len(x), math.prod(x.shape[1:])
    fours = N * -(-E // 4)
    words = (seed & 0xFFFFFFFF, seed >> 32, layer, step, first_sample)
    launch("dropout", "dropout_forward", x.dtype, (-(-fours // THREADS),), (THREADS,), N, E,
           dense(x), y, math.ceil(p * 2**24), 1 / (1 - p), *map(np.uint32, words), _launch.steps)  # fmt: skip
    return y


def dropout_backward(dy: Array, p: float, seed: int, layer: int, step: int, first_sample: int) -> Array:
    """As the reference: the same operation on dy."""
    return dropout_forward(dy, p, seed, layer, step, first_sample)


def philox4x32(counter: Array, key: Array) -> Array:
    """As the reference."""
    words = empty(counter.shape, np.uint32)
    n = words.size // 4
    launch("dropout", "philox4x32", np.float32, (-(-n // THREADS),), (THREADS,), n, dense(counter), dense(key), words)
    return words
