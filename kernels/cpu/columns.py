"""Sums over the rows of an array (..., C), for each of the C channels: how the rows are taken, and in what precision.

A row of C numbers is a short loop, so as many rows as make about 512 numbers are taken as one wide row of W numbers,
with the channels' constants repeated as often (`repeat`), and its W sums are added up to C at the end (`fold`). The
sums are taken over parts of the wide rows. How many parts there are depends on the shape alone, so the result has the
same bits on any number of threads.

Within a part a few wide rows, four or eight, are added in the array's own precision, in pairs, and then to sums in
float64: to convert every number would halve the numbers in a vector. With n rows at a time the error of a float32 sum
is at most log2(n) * 2**-24 times the sum of the absolute values, however many rows there are.
"""

from typing import Any

import numpy as np

from ._jit import compiled, inlined
from .tiles import add, copy

Array = Any

WIDE = 512  # numbers of the rows that are taken as one
PARTS = 16  # the most parts
LEAST = 32  # wide rows of a part, where there are several


def wide(size: int, C: int) -> int:
    """W: how many numbers whole rows have that are taken as one, in an array of that size."""
    return int(max(1, min(WIDE, size) // C) * C)


@inlined
def wide_rows(size, W):
    """How many wide rows there are; the last one may be cut short."""
    return (size + W - 1) // W


def no_sums(size: int, K: int, W: int) -> Array:
    """Zeros for K sums in each place of a wide row, in so many parts: (parts, K, W)."""
    return np.zeros((max(1, min(PARTS, size // (LEAST * W))), K, W))


@inlined
def part_start(size, W, q, Q):
    """Where part q of Q begins: at a wide row."""
    return min(size, wide_rows(size, W) * q // Q * W)


@compiled
def repeat(table, C):
    """The first C numbers of each row, again and again to its end."""
    W, t = table.shape[1], table.ravel()
    for k in range(len(table)):
        done = C
        while done < W:
            n = min(done, W - done)
            copy(t, k * W + done, t, k * W, n)
            done += n


@compiled
def fold(sums, C):
    """Add up the parts in the first one, and in each of its wide rows all rows in the first: sums[0, :, :C]."""
    Q, K, W = sums.shape
    s = sums.ravel()
    for q in range(1, Q):
        add(s, 0, s, q * K * W, K * W)
    for k in range(K):
        rows = W // C
        while rows > 1:
            half = rows // 2
            add(s, k * W, s, k * W + (rows - half) * C, half * C)
            rows -= half
