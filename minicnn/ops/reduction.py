"""Sum, mean and maximum over axes."""

import math
from typing import Any

from .._function import Function
from .._tensor import Tensor
from ..device import array_module

Array = Any
Axis = int | tuple[int, ...] | None


def _with_axis(dy: Array, axis: Axis, keepdims: bool, ndim: int) -> Array:
    """dy with the reduced axes back as axes of length 1."""
    if keepdims or axis is None:
        return dy if keepdims else dy.reshape((1,) * ndim)
    axes = (axis,) if isinstance(axis, int) else axis
    return array_module(dy).expand_dims(dy, tuple(a % ndim for a in axes))


class Sum(Function):
    """y = the sum of x over `axis`; dx = dy, copied to every element that was summed."""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x: Array) -> Array:
        self.save(x.shape)
        return array_module(x).asarray(x.sum(axis=self.axis, keepdims=self.keepdims))

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (shape,) = self.saved
        dy = _with_axis(dy, self.axis, self.keepdims, len(shape))
        return (array_module(dy).broadcast_to(dy, shape),)


def mean(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """The sum over `axis` divided by the number of elements in it."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    count = math.prod(x.shape[a] for a in axes)
    if count == 0:
        raise ValueError(f"mean expected at least one element, got shape {x.shape} over axis {axis}")
    return Sum(axis, keepdims)(x) * (1 / count)


class Max(Function):
    """y = the largest of x over the last axis, NaN above all; dx = dy at the first place of the largest, else 0."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        index = xp.expand_dims(x.argmax(axis=-1), -1)
        self.save(index, x.shape)
        return xp.take_along_axis(x, index, axis=-1)[..., 0].copy()

    def backward(self, dy: Array) -> tuple[Array, ...]:
        index, shape = self.saved
        xp = array_module(dy)
        dx = xp.zeros(shape, dy.dtype)
        xp.put_along_axis(dx, index, dy[..., None], axis=-1)
        return (dx,)


def max_over(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """The largest element over `axis`: the reduced axes are moved behind the others and made one."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(a % x.ndim for a in axes) if x.ndim else ()
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    if math.prod(x.shape[a] for a in axes) == 0:
        raise ValueError(f"max expected at least one element, got shape {x.shape} over axis {axis}")
    kept_shape = tuple(x.shape[a] for a in kept)
    # (kept..., reduced...) -> (kept..., product of the reduced)
    y = Max()(x.transpose(*kept, *axes).reshape(*kept_shape, math.prod(x.shape[a] for a in axes)))
    return y.reshape(tuple(1 if a in axes else n for a, n in enumerate(x.shape))) if keepdims else y
