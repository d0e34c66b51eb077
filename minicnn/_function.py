"""A Function is one differentiable operation: `forward` and, directly under it, `backward`, on plain arrays.

The smallest example that needs all of it:

    class Square(Function):
        def forward(self, x):
            self.save(x)
            return x * x

        def backward(self, dy):
            (x,) = self.saved
            return (2 * x * dy,)

    y = Square()(mc.tensor([3.0], requires_grad=True))

Calling a Function runs `forward` and, if an input asks for a gradient, records: the output remembers the Function,
the Function remembers those that made its inputs. That is the whole graph. It holds no arrays but those that a
Function saves: what nobody needs any more is gone before the backward pass begins. Each Function gets a number when
it is called. An operation can only read what exists already, so its inputs' Functions have smaller numbers: the order
of creation is a topological order, and `autograd.backward` walks it downwards.
"""

import itertools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from . import device
from ._tensor import Tensor

Array = Any  # a NumPy or CuPy array; the two share their interface and no common type

_numbers = itertools.count()


class _Recording(threading.local):
    """Whether this Python thread records a graph."""

    on = True


_recording = _Recording()

Observer = Callable[["Function", tuple[Tensor, ...], Tensor], None]

# Whom each call of a Function tells about itself; see `observe`.
_observers: list[Observer] = []


class observe:
    """`with observe(callback):` calls callback(function, inputs, output) after each call of a Function."""

    def __init__(self, callback: Observer) -> None:
        self._callback = callback

    def __enter__(self) -> None:
        _observers.append(self._callback)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _observers.remove(self._callback)


def is_observed() -> bool:
    """Whether somebody watches: then no steps may be recorded and repeated, which nobody could see."""
    return bool(_observers)


class no_grad:
    """`with mc.no_grad():` computes without recording a graph: less memory, and no gradients afterwards."""

    def __init__(self) -> None:
        self._before: list[bool] = []  # one for each time that it is entered: it may be nested in itself

    def __enter__(self) -> None:
        self._before.append(_recording.on)
        _recording.on = False

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _recording.on = self._before.pop()


class Function:
    """One differentiable operation.

    A subclass takes its settings (a stride, an axis) in `__init__` and writes
    `forward(self, *arrays) -> array` and `backward(self, dy) -> tuple of arrays`, one for each input, of the
    input's shape and dtype; None where there is no gradient. An object serves one call.

    inputs: where each input's gradient goes: the Function that made it, the Tensor itself if it is a leaf, None if it
        wants no gradient. input_kinds: their shapes and dtypes.
    """

    number: int = -1  # until it is called and recorded
    inputs: tuple["Function | Tensor | None", ...] = ()
    input_kinds: tuple[tuple[tuple[int, ...], Any], ...] = ()
    needs_gradient: tuple[bool, ...] = ()
    released = False
    _saved: tuple[Any, ...] = ()
    _records = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run `forward` on the inputs' arrays; record if any input asks for a gradient."""
        for x in inputs:
            if not isinstance(x, Tensor):
                raise TypeError(
                    f"{self.name} expected Tensors, got {type(x).__name__}: wrap arrays with mc.tensor(array)"
                )
        if self.inputs or self.released:
            raise RuntimeError(f"this {self.name} has served its one call: make a new object for each call")
        device.check_same([x.data for x in inputs], self.name)
        needs_gradient = tuple(x.requires_grad for x in inputs)
        self._records = _recording.on and any(needs_gradient)
        self.needs_gradient = needs_gradient
        try:
            result = self.forward(*[x.data for x in inputs])
        except MemoryError as error:
            raise device.explained(error) from None
        if not device.is_array(result):
            raise TypeError(f"{self.name}.forward must return an array, got {type(result).__name__}")
        # NumPy turns results without axes into scalars; a Tensor always holds an array.
        y = Tensor(np.asarray(result) if isinstance(result, np.generic) else result)
        if self._records:
            self.number = next(_numbers)
            self.inputs = tuple((x.creator or x) if x.requires_grad else None for x in inputs)
            self.input_kinds = tuple((x.data.shape, x.data.dtype) for x in inputs)
            y.requires_grad = True
            y.creator = self
        for callback in tuple(_observers):
            callback(self, inputs, y)
        return y

    def forward(self, *arrays: Array) -> Array:
        """The result of the operation on plain arrays."""
        raise NotImplementedError(f"{self.name} has no forward")

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """From the gradient of the loss in the result, the gradient in each input."""
        raise NotImplementedError(f"{self.name} has no backward")

    @property
    def name(self) -> str:
        """The name under which errors and pictures show this operation."""
        return type(self).__name__

    def save(self, *values: Any) -> None:
        """Keep what `backward` will read; keeps nothing when no graph is recorded."""
        if self._records:
            self._saved = values

    @property
    def saved(self) -> tuple[Any, ...]:
        """What `save` kept."""
        return self._saved

    def release(self) -> None:
        """Let go of the saved arrays and the inputs: after the backward pass, or early by `backward` itself."""
        self._saved = ()
        self.inputs = ()
        self.released = True


def mark_changed(leaf: Tensor) -> None:
    """Say that a leaf's values are about to be written over: see `Tensor.changed`."""
    leaf.changed = next(_numbers)


def summed(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum of an array over axes, as an array also where none are left.

    NumPy adds along leading axes one row after another, and in float32 the millionth addition would have lost three
    digits: there it adds in float64 and rounds once. CuPy adds in a tree, but float16 as float16.
    """
    xp = device.array_module(x)
    if x.dtype.kind != "f":
        return xp.asarray(x.sum(axis=axes, keepdims=keepdims))
    wide = np.float32 if device.is_cuda(x) and x.dtype.itemsize < 8 else np.float64
    return xp.asarray(x.sum(axis=axes, dtype=wide, keepdims=keepdims)).astype(x.dtype, copy=False)


def unbroadcast(dy: Array, shape: tuple[int, ...]) -> Array:
    """Sum dy back to `shape`, undoing NumPy's broadcasting.

    Broadcasting copies an element to many places; the gradient of a copy is the sum over the places.
    An axis that broadcasting put in front is summed away; an axis of length 1 that it stretched is summed to 1.
    """
    if dy.shape == shape:
        return dy
    in_front = dy.ndim - len(shape)
    stretched = tuple(i + in_front for i, n in enumerate(shape) if n == 1 and dy.shape[i + in_front] != 1)
    return summed(dy, tuple(range(in_front)) + stretched, keepdims=True).reshape(shape)
