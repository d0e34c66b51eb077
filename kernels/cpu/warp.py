"""Warping in one pass, by one thread that holds no lock of Python's: nothing is stored but the result.

The reference makes a dozen arrays as large as the batch; here place, weights and sum of a pixel stay in registers. Of
most pixels all four neighbours lie in the image, and what happens outside of it is asked for the others only. It is
serial on purpose: it runs in the loader's threads, beside a training step that has the pool of threads to itself.
"""

import math
from typing import Any

import numpy as np

from ..memory import empty
from ._arrays import dense
from ._jit import compiled

Array = Any

FILLS = {"nearest": 0, "constant": 1, "reflect": 2}


def warp(x: Array, matrices: Array, displacement: Array | None, fill: str, value: float) -> Array:
    """As the reference; places and sums are float64 always."""
    y = empty(x.shape, x.dtype)
    given = np.empty((0, 0, 0, 2)) if displacement is None else displacement
    places = [dense(a.astype(np.float64, copy=False)) for a in (matrices, given)]
    rounding = 0.5 if x.dtype == np.uint8 else 0.0  # what is then cut off is rounded
    _warp(dense(x), *places, FILLS[fill], x.dtype.type(value), rounding, y)
    return y


@compiled
def _warp(x, matrices, displacement, fill, value, rounding, y):
    N, H, W, C = x.shape
    bent = len(displacement) > 0
    for n in range(N):
        m = matrices[n]
        for i in range(H):
            for j in range(W):
                h = m[0, 0] * i + m[0, 1] * j + m[0, 2]
                w = m[1, 0] * i + m[1, 1] * j + m[1, 2]
                if bent:
                    h += displacement[n, i, j, 0]
                    w += displacement[n, i, j, 1]
                top, left = math.floor(h), math.floor(w)
                a, b = h - top, w - left
                if 0 <= top < H - 1 and 0 <= left < W - 1:
                    for c in range(C):
                        upper = (1 - b) * x[n, top, left, c] + b * x[n, top, left + 1, c]
                        lower = (1 - b) * x[n, top + 1, left, c] + b * x[n, top + 1, left + 1, c]
                        y[n, i, j, c] = (1 - a) * upper + a * lower + rounding
                else:
                    _at_the_edge(x[n], top, left, a, b, fill, value, rounding, y[n, i, j])


@compiled
def _at_the_edge(x, top, left, a, b, fill, value, rounding, y):
    """One pixel of y (C,) of whose four neighbours in x (H, W, C) some lie outside."""
    for c in range(len(y)):
        upper = (1 - b) * _pixel(x, top, left, c, fill, value) + b * _pixel(x, top, left + 1, c, fill, value)
        lower = (1 - b) * _pixel(x, top + 1, left, c, fill, value) + b * _pixel(x, top + 1, left + 1, c, fill, value)
        y[c] = (1 - a) * upper + a * lower + rounding


@compiled
def _pixel(x, h, w, c, fill, value):
    H, W, _ = x.shape
    if fill == 1 and (h < 0 or h >= H or w < 0 or w >= W):
        return value
    return x[_inside(h, H, fill), _inside(w, W, fill), c]


@compiled
def _inside(i, size, fill):
    if fill == 2:
        i = i % (2 * size)
        return min(i, 2 * size - 1 - i)
    return max(0, min(i, size - 1))
