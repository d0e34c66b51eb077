"""Three small things that several kernels of this room need."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..geometry import Padding

Array: TypeAlias = npt.NDArray[Any]


def pad(x: Array, padding: Padding, fill: float = 0.0) -> Array:
    """A copy of x (N, H, W, C) with `fill` around H and W -> (N, top + H + bottom, left + W + right, C)."""
    return np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)


def crop(padded: Array, padding: Padding, H: int, W: int) -> Array:
    """The inverse of pad: the (N, H, W, C) inside, as an array of its own."""
    (top, _), (left, _) = padding
    return np.ascontiguousarray(padded[:, top : top + H, left : left + W])


def channel_sum(x: Array) -> Array:
    """Sum over all axes but the last: (..., C) -> (C,)."""
    # NumPy adds along the leading axes one row after another, and in float32 the millionth addition would have
    # lost three digits. An oracle should not: it adds in float64 and rounds once.
    return x.sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64).astype(x.dtype)
