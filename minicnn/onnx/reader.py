"""The tensors of an ONNX file while its operations are followed, and where the axes of each are here."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _function
from .._function import Function
from .._tensor import Tensor
from ..graph.network import INPUT, Graph
from ..graph.recording import Call, Recording
from ..nn import Parameter
from .loading import LIMIT, File, Operation, kind_of
from .regrouping import regroup
from .writer import NCHW, Axes

Array = Any
_TAKEN = frozenset({INPUT, *dir(Graph((), {}, INPUT, (1,)))})  # what no weight of a Graph can be called


@dataclass(frozen=True)
class Value:
    """A tensor of the file: it is `data` transposed by `axes`.

    data: a Tensor, of one sample, where it depends on the network's input; an array where it does not, and then the
        axes are in order. Of a Tensor the first axis is that of the samples, there as here.
    name: of the tensor; of an array that was only moved, the name of what it was.
    flattened: where images have been flattened as they lie here, not as in the file: their shape here and their axes.
    """

    data: Any
    axes: Axes
    name: str
    flattened: tuple[tuple[int, ...], Axes] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file, for one sample."""
        return tuple(self.data.shape[axis] for axis in self.axes)

    @property
    def varies(self) -> bool:
        """Whether it depends on the network's input."""
        return isinstance(self.data, Tensor)


Meaning = Callable[..., "Value | tuple[Value, ...]"]


class Reader:
    """Follows the operations of a file on one sample of zeros, and keeps the weights that they read.

    batch: the number of samples that the file was written for. held: Parameters and buffers by name.
    """

    def __init__(self, file: File, x: Tensor, meanings: Mapping[str, Meaning]) -> None:
        self.file, self.x, self.meanings = file, x, meanings
        self.opset = file.opset
        self.batch = (file.sizes or (None,))[0] or 1
        self.held: dict[str, Parameter | Array] = {}
        self.values = {name: constant(name, array) for name, array in file.constants.items()}
        self.values[file.input] = Value(x, NCHW if x.ndim == 4 else in_order(x.ndim), file.input)
        self.calls: list[Call] = []
        self.now = ""  # the name of what is being computed

    def graph(self) -> Graph:
        """The whole network."""
        # A sample of zeros may well be divided by, or have no logarithm.
        with _function.no_grad(), _function.observe(self.note), np.errstate(all="ignore"):
            for operation in self.file.operations:
                self.now = next((name for name in operation.outputs if name), operation.kind)
                self.follow(operation)
            y = self.result()
        return Recording(self.held, self.x).graph(self.calls, y)

    def note(self, function: Function, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        """Record the call of a Function."""
        self.calls.append(Call(function, inputs, y, self.now))

    def result(self) -> Tensor:
        """What comes out: images as they lie here, anything else as in the file."""
        if self.file.output not in self.values:
            raise ValueError(f"the output {self.file.output!r} is computed by no operation")
        value = self.values[self.file.output]
        if not value.varies:
            raise ValueError(f"the output {self.file.output!r} does not depend on the input")
        return self.image(value) if len(value.axes) == 4 else self.plain(value)

    def follow(self, operation: Operation) -> None:
        """Compute what an operation computes. Raises ValueError or NotImplementedError that names it."""
        try:
            result = self.meanings[operation.kind](self, operation, *self._inputs(operation))
            results = result if isinstance(result, tuple) else (result,)
            for name, value in zip(operation.outputs, results, strict=False):
                self._define(name, value)
        except (ValueError, TypeError, IndexError, OverflowError, MemoryError, NotImplementedError) as error:
            raise kind_of(error)(f"{operation}: {error}") from error

    def _inputs(self, operation: Operation) -> list[Value | None]:
        """The values of the inputs, None for those left out, as many as the operation takes."""
        inputs: list[Value | None] = []
        for name in operation.inputs:
            if name and name not in self.values:
                raise ValueError(
                    f"it reads {name!r}, which is no input or weight, and which no operation before it computes: the "
                    "operations of a file must be in order and without cycles"
                )
            inputs.append(self.values[name] if name else None)
        takes = list(inspect.signature(self.meanings[operation.kind]).parameters.values())[2:]
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in takes):
            least = most = max(len(inputs), 1)
        else:
            least, most = sum(parameter.default is parameter.empty for parameter in takes), len(takes)
        if not least <= len(inputs) <= most or None in inputs[:least]:
            raise ValueError(f"it has {len(inputs)} inputs, some perhaps left out, and needs {least} to {most}")
        return inputs

    def _define(self, name: str, value: Value) -> None:
        if name in self.values:
            raise ValueError(f"its output {name!r} is there already")
        if value.varies and (value.data.shape[0] != 1 or value.axes[0] != 0):
            raise NotImplementedError("it mixes the samples of a batch, or gives up their axis")
        if value.data.size == 0 and value.varies:
            raise ValueError(f"its result is empty, of shape {value.shape}")
        if name:
            self.values[name] = replace(value, name=name) if value.varies else value

    # How a translation asks for what it reads

    def hold(self, value: Value, array: Array, trained: bool) -> Tensor:
        """Values of the file as a Parameter or a buffer of the network, under the name that they have there.

        array: the values as they are wanted here. Those that are wanted twice in the same way are one Parameter.
        """
        if array.dtype != np.float32:
            raise NotImplementedError(f"{value.name!r} is of dtype {array.dtype}, and float32 is supported")
        number, name = 1, value.name
        while name in self.held or name in _TAKEN:
            held = self.held.get(name)
            if held is not None and isinstance(held, Parameter) == trained and _same(held, array):
                return held if isinstance(held, Parameter) else Tensor(held)
            number += 1
            name = f"{value.name}_{number}"
        self.held[name] = holder = Parameter(array) if trained else np.array(array, order="C")
        return holder if isinstance(holder, Parameter) else Tensor(holder)

    def image(self, value: Value) -> Tensor:
        """A tensor (N, C, H, W) of the file as (N, H, W, C)."""
        if len(value.axes) != 4:
            raise NotImplementedError(f"images (N, C, H, W) are supported, and {value.name!r} has shape {value.shape}")
        return self.arranged(value, NCHW)

    def plain(self, value: Value) -> Tensor:
        """A tensor with its elements in the order of the file."""
        return self.arranged(value, in_order(len(value.axes)))

    def settled(self, value: Value) -> Value:
        """The same tensor, without images that have been flattened as they lie here."""
        if value.flattened is None:
            return value
        shape, axes = value.flattened
        data = value.data.reshape(shape).transpose(axes).reshape(value.data.shape)
        return replace(value, data=data, flattened=None)

    def arranged(self, value: Value, axes: Axes) -> Tensor:
        """The data whose transpose by `axes` is the tensor."""
        if not value.varies:
            raise NotImplementedError(f"{value.name!r} does not depend on the network's input, and has to here")
        value = self.settled(value)
        order = tuple(value.axes[axes.index(place)] for place in range(len(axes)))
        return value.data if order == in_order(len(order)) else value.data.transpose(order)

    def operand(self, value: Value, axes: Axes, trained: bool) -> Tensor:
        """As `arranged`, for one side of an operation element by element, which may have fewer axes than the result."""
        missing = len(axes) - len(value.axes)
        if value.varies:
            if missing:
                raise NotImplementedError(
                    f"{value.name!r} of shape {value.shape} is combined with one of {len(axes)} axes"
                )
            return self.arranged(value, axes)
        array = value.data.reshape((1,) * missing + value.data.shape).transpose(inverse(axes))
        array = array.reshape(_without_ones_in_front(array.shape))
        return self.hold(value, array, trained and array.size > 1)

    def axis(self, value: Value, axis: int) -> int:
        """Which axis of the data an axis of the tensor is. Raises NotImplementedError for that of the samples."""
        rank = len(value.axes)
        if not -rank <= axis < rank:
            raise ValueError(f"it has no axis {axis}: {value.name!r} is of shape {value.shape}")
        if value.varies and axis % rank == 0:
            raise NotImplementedError("it works along the axis of the samples")
        return value.axes[axis % rank]

    def reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        """The same elements, in the order of the file, in another shape; see `regroup`."""
        if math.prod(shape) != math.prod(value.shape):
            raise ValueError(f"it makes {tuple(shape)} of {value.name!r}, which has shape {value.shape}")
        if not value.varies:
            return replace(value, data=value.data.reshape(tuple(shape)), axes=in_order(len(shape)))
        if not shape or shape[0] != 1:
            raise NotImplementedError(f"it makes {tuple(shape)} of one sample of shape {value.shape}")
        value = self.settled(value)
        plan = regroup(value.data.shape, value.axes, tuple(shape))
        flattened = (value.data.shape, value.axes) if plan.as_it_lies else None
        data = value.data if plan.order == in_order(len(plan.order)) else value.data.transpose(plan.order)
        return Value(data.reshape(*plan.shape), plan.axes, value.name, flattened)


def constant(name: str, array: Array) -> Value:
    """A value that does not depend on the input."""
    return Value(np.asarray(array), in_order(np.ndim(array)), name)


def fixed(value: Value, what: str) -> Array:
    """The array of a value that must not depend on the input."""
    if value.varies:
        raise NotImplementedError(f"its {what} depends on the network's input, which is not supported")
    return value.data


def wholes(node: Operation, value: Value | None, name: str) -> tuple[int, ...]:
    """A list of whole numbers (a shape, axes): an input or, in older files, an attribute; empty where it is neither."""
    if value is None:
        return node.wholes(name)
    array = fixed(value, name)
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 64:
        raise ValueError(f"expected its {name} to be a list of whole numbers, got {array.dtype} of shape {array.shape}")
    return tuple(int(n) for n in array.reshape(-1))


def number(value: Value, what: str) -> float:
    """One number that an operation reads."""
    array = fixed(value, what)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise ValueError(f"expected its {what} to be one number, got {array.dtype} of shape {array.shape}")
    return float(array.reshape(()))


def check_size(shape: Iterable[int]) -> None:
    """Raise ValueError for what would fill the memory."""
    shape = tuple(shape)
    if any(n < 0 for n in shape) or 4 * math.prod(shape) > LIMIT:
        raise ValueError(f"it makes an array of the impossible shape {shape}")


def in_order(rank: int) -> Axes:
    """The axes as they come."""
    return tuple(range(rank))


def inverse(axes: Axes) -> Axes:
    """The order that undoes another."""
    return tuple(axes.index(place) for place in range(len(axes)))


def _same(held: Parameter | Array, array: Array) -> bool:
    return np.array_equal(held.data if isinstance(held, Parameter) else held, array)


def _without_ones_in_front(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, 1, 1, C) as (C,): a weight bears no axes that say nothing."""
    first = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    return shape[first:]
