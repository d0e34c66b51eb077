"""Sum, mean and maximum over axes."""

import math
from typing import Any

from .._function import Function, summed
from .._tensor import Tensor
from ..device import array_module
from .checks import check_float, is_whole

Array = Any
Axis = int | tuple[int, ...] | None


def _axes(x: Tensor, axis: Axis, what: str) -> tuple[int, ...]:
    """The axes that `axis` names, counted from the front."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    if not all(is_whole(a) for a in axes):
        raise TypeError(f"{what} expected an axis, several or None, got {axis!r}")
    if not all(-x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) < len(axes):
        raise ValueError(f"{what} expected different axes of an array of shape {x.shape}, got axis {axis}")
    return tuple(int(a) % x.ndim for a in axes)


class Sum(Function):
    """y = the sum of x over `axis`; dx = dy, copied to every element that was summed."""

    def __init__(self, axes: tuple[int, ...], keepdims: bool) -> None:
        self.axes, self.keepdims = axes, keepdims

    def forward(self, x: Array) -> Array:
        self.save(x.shape)
        return summed(x, self.axes, self.keepdims)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (shape,) = self.saved
        xp = array_module(dy)
        dy = dy if self.keepdims else xp.expand_dims(dy, self.axes)
        return (xp.broadcast_to(dy, shape),)


def sum_over(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """The sum over `axis`."""
    return Sum(_axes(x, axis, "sum"), keepdims)(x)


def mean(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """The sum over `axis` divided by the number of elements in it."""
    check_float(x, "mean")
    axes = _axes(x, axis, "mean")
    count = math.prod(x.shape[a] for a in axes)
    if count == 0:
        raise ValueError(f"mean expected at least one element, got shape {x.shape} over axis {axis}")
    return Sum(axes, keepdims)(x) * (1 / count)


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
    axes = _axes(x, axis, "max")
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    if math.prod(x.shape[a] for a in axes) == 0:
        raise ValueError(f"max expected at least one element, got shape {x.shape} over axis {axis}")
    kept_shape = tuple(x.shape[a] for a in kept)
    # (kept..., reduced...) -> (kept..., product of the reduced)
    y = Max()(x.transpose(*kept, *axes).reshape(*kept_shape, math.prod(x.shape[a] for a in axes)))
    return y.reshape(tuple(1 if a in axes else n for a, n in enumerate(x.shape))) if keepdims else y
