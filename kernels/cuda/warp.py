"""Warping: the kernels of warp.cu, one for bytes and one for floats."""

from typing import Any

import numpy as np

from ._grid import pixel_grid
from ._launch import dense, empty, launch, wide

Array = Any

FILLS = {"nearest": 0, "constant": 1, "reflect": 2}  # as the enum of warp.cu
WARPING = np.dtype([(name, np.int32) for name in ("H", "W", "C", "fill")])  # the struct there


def warp(x: Array, matrices: Array, displacement: Array | None, fill: str, value: float) -> Array:
    """As the reference; places in an image of floats have the precision of its sums."""
    y = empty(x.shape, x.dtype)
    N, H, W, C = x.shape
    if y.size == 0:
        return y
    kernel, dtype = ("warp_bytes", matrices.dtype) if x.dtype == np.uint8 else ("warp", x.dtype)
    places = [None if a is None else dense(a.astype(wide(dtype), copy=False)) for a in (matrices, displacement)]
    geometry = np.array([(H, W, C, FILLS[fill])], WARPING)
    launch("warp", kernel, dtype, *pixel_grid(N * H, W, C), geometry, dense(x), *places, float(value), y)
    return y
