"""The same elements in other places: their gradients move back the way they came."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import device as _device
from .._function import Function
from .._tensor import Tensor
from ..device import array_module
from .checks import check_images, is_whole

Array = Any


class Reshape(Function):
    """y = x with other axes, in row-major order; dx = dy reshaped back."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        self.save(x.shape)
        return x.reshape(self.shape)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (shape,) = self.saved
        return (dy.reshape(shape),)


class Transpose(Function):
    """y = x with its axes in another order; dx = dy in the inverse order."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        return x.transpose(self.axes)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        inverse = np.argsort([axis % dy.ndim for axis in self.axes])
        return (dy.transpose([int(i) for i in inverse]),)


class GetItem(Function):
    """y = x[index]; dx = 0 with dy added at index, as often as the index names a place."""

    def __init__(self, index: Any) -> None:
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(part.data if isinstance(part, Tensor) else part for part in parts)
        parts = tuple(_own(part) for part in parts)
        self.index = parts if isinstance(index, tuple) else parts[0]

    def forward(self, x: Array) -> Array:
        self.save(x.shape)
        return array_module(x).asarray(x[self.index])

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (shape,) = self.saved
        xp = array_module(dy)
        dx = xp.zeros(shape, dy.dtype)
        if _is_basic(self.index):
            dx[self.index] = dy
        else:
            xp.add.at(dx, self.index, dy)
        return (dx,)


def _own(part: Any) -> Any:
    """A copy of a list or an array, since the caller may change it before backward reads it; no places are integers."""
    if isinstance(part, list):
        return np.array(part, dtype=None if part else int)
    return part.copy() if _device.is_array(part) else part


def _is_basic(index: Any) -> bool:
    """Whether an index names each place at most once, so that plain assignment is enough."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or (isinstance(part, int | slice) and not isinstance(part, bool))
        for part in parts
    )


class Pad(Function):
    """y = x with a border of one value; dx = dy without the border."""

    def __init__(self, padding: tuple[tuple[int, int], ...], value: float) -> None:
        self.padding, self.value = padding, value

    def forward(self, x: Array) -> Array:
        return array_module(x).pad(x, self.padding, constant_values=self.value)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        inside = tuple(slice(before, n - after) for (before, after), n in zip(self.padding, dy.shape, strict=True))
        return (dy[inside],)


def pad(x: Tensor, padding: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with a border: padding[i] = (before, after) cells of `value` on axis i.

    Forward: y = value outside, x inside. Backward: dx = dy inside.
    Raises ValueError unless there is one pair of whole numbers >= 0 for each axis.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"pad expected a Tensor, got {type(x).__name__}: wrap arrays with mc.tensor(array)")
    pairs = tuple(padding) if isinstance(padding, tuple | list) else ()
    whole = all(isinstance(p, tuple | list) and len(p) == 2 and all(is_whole(n) and n >= 0 for n in p) for p in pairs)
    if len(pairs) != x.ndim or not whole:
        raise ValueError(f"pad expected {x.ndim} pairs (before, after) of whole numbers >= 0, got {padding!r}")
    if not isinstance(value, numbers.Real):
        raise TypeError(f"pad expected a number as its value, got {value!r}")
    return Pad(tuple((int(before), int(after)) for before, after in pairs), float(value))(x)


class Concatenate(Function):
    """y = the inputs one after another along `axis`; each dx is its part of dy."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *xs: Array) -> Array:
        self.save([x.shape[self.axis] for x in xs])
        return array_module(xs[0]).concatenate(xs, axis=self.axis)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (lengths,) = self.saved
        ends = [sum(lengths[: i + 1]) for i in range(len(lengths) - 1)]
        return tuple(array_module(dy).split(dy, ends, axis=self.axis))


def concatenate(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Tensors one after another along `axis` (by default the channels); all other lengths must agree.

    Forward: y = [x0, x1, ...]. Backward: dy is cut at the same places.
    """
    tensors = list(tensors)
    if not tensors or not all(isinstance(x, Tensor) for x in tensors):
        raise TypeError("concatenate expected a sequence of at least one Tensor")
    first = tensors[0]
    if not is_whole(axis):
        raise TypeError(f"concatenate expected a whole number as its axis, got {axis!r}")
    if not -first.ndim <= axis < first.ndim:
        raise ValueError(f"concatenate expected an axis of shape {first.shape}, got {axis}")
    for x in tensors[1:]:
        others = [shape[: axis % first.ndim] + shape[axis % first.ndim + 1 :] for shape in (x.shape, first.shape)]
        if x.ndim != first.ndim or others[0] != others[1] or x.dtype != first.dtype:
            raise ValueError(
                f"concatenate along axis {axis} expected shapes that agree elsewhere and one dtype, "
                f"got {[(t.shape, str(t.dtype)) for t in tensors]}"
            )
    return Concatenate(axis)(*tensors)


class Upsample(Function):
    """y = each pixel of x (N, H, W, C) repeated `scale` times down and across; dx = the sum over its copies."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def forward(self, x: Array) -> Array:
        return x.repeat(self.scale, axis=1).repeat(self.scale, axis=2)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        N, H, W, C = dy.shape
        s = self.scale
        # (N, H*s, W*s, C) -> (N, H, s, W, s, C)
        return (dy.reshape(N, H // s, s, W // s, s, C).sum(axis=(2, 4)),)


def upsample(x: Tensor, scale: int) -> Tensor:
    """Nearest-neighbour upsampling: (N, H, W, C) to (N, H*scale, W*scale, C).

    Forward: y[n, h, w, c] = x[n, h // scale, w // scale, c]. Backward: dx sums dy over each pixel's copies.
    """
    check_images(x, "upsample")
    if not is_whole(scale) or not 1 <= scale < 2**31:
        raise ValueError(f"upsample expected a whole scale >= 1 (and below 2**31), got {scale!r}")
    return Upsample(int(scale))(x)


class To(Function):
    """y = x on another device or in another dtype; dx = dy moved back."""

    def __init__(self, device: str, dtype: np.dtype[Any]) -> None:
        self.device, self.dtype = device, dtype

    def forward(self, x: Array) -> Array:
        self.save(_device.device_of(x), x.dtype)
        return _device.to_device(x, self.device).astype(self.dtype, copy=False)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        device, dtype = self.saved
        return (_device.to_device(dy, device).astype(dtype, copy=False),)
