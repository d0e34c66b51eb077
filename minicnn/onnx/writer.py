"""The nodes and weights of an ONNX file in the making, and where the axes of every result are in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device import to_device
from ..graph.network import INPUT, Graph, Node, enter
from ..nn import Parameter

Array = Any
Axes = tuple[int, ...]
NCHW: Axes = (0, 3, 1, 2)  # an image (N, H, W, C) in ONNX


@dataclass(frozen=True)
class Value:
    """A result in the file: the tensor `name` is ours, transposed by `axes`.

    So an image is (0, 3, 1, 2) where ONNX wants it (N, C, H, W), and (0, 1, 2, 3) where it lies as it does here.
    Most operations do not mind, and a transpose is written only where one does.
    """

    name: str
    axes: Axes


Translation = Callable[["Writer", Node], Value]


class Writer:
    """Collects what the file will hold.

    nodes, initializers: onnx.NodeProto and onnx.TensorProto, in order. shapes: of our results, for a batch of one.
    """

    def __init__(self, graph: Graph, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.arrays = {name: _as_float32(value) for name, value in graph.values().items()}
        self.shapes = graph.shapes() | {name: array.shape for name, array in self.arrays.items()}
        rank = len(self.shapes[INPUT])
        self._results = {INPUT: Value(INPUT, NCHW if rank == 4 else tuple(range(rank)))}
        self._tensors: dict[tuple[Any, ...], str] = {}  # transposed results, and weights that have been written
        self._taken = {INPUT, *self.arrays, *(node.output for node in graph.nodes)}
        self._prefix = ""  # of what the node under translation emits

    def write(self, node: Node, translation: Translation) -> None:
        """Translate a node. What it computes bears its name, and what comes before that inside it longer ones."""
        self._prefix = node.output
        value = translation(self, node)
        if self.nodes and self.nodes[-1].output[0] == value.name and value.name.startswith(f"{node.output}/"):
            self.nodes[-1].output[0] = self.nodes[-1].name = node.output
            value = Value(node.output, value.axes)
        self._results[node.output] = value

    def axes(self, name: str) -> Axes:
        """Where the axes of a result are now; of a weight, as it lies here."""
        return self._results[name].axes if name in self._results else tuple(range(len(self.shapes[name])))

    def tensor(self, name: str, axes: Axes | None = None) -> str:
        """The name of the tensor that is this result or weight, transposed by `axes`; None: as it lies here."""
        axes = tuple(range(len(self.shapes[name]))) if axes is None else axes
        if name in self.arrays:
            return self.weight(name, self.arrays[name].transpose(axes), axes)
        value = self._results[name]
        if value.axes == axes:
            return value.name
        key = (name, axes)
        if key not in self._tensors:
            self._tensors[key] = self.emit("Transpose", [value.name], perm=[value.axes.index(axis) for axis in axes])
        return self._tensors[key]

    def stretched(self, name: str, axes: Axes) -> str:
        """As `tensor`, for an operand of fewer axes, which broadcasting meets as if it had ones in front."""
        missing = len(axes) - len(self.shapes[name])
        if not missing or not self.shapes[name]:
            return self.tensor(name, axes if not missing else ())
        if name in self.arrays:
            array = self.arrays[name]
            return self.weight(name, array.reshape((1,) * missing + array.shape).transpose(axes), axes)
        longer = self.emit("Unsqueeze", [self.tensor(name), self.constant("axes", range(missing))])
        return self.emit("Transpose", [longer], perm=list(axes))

    def weight(self, name: str, array: Array, axes: Axes) -> str:
        """The tensor that holds a value of the model, under its own name if that is free."""
        key = (name, axes)
        if key not in self._tensors:
            first = not any(other[0] == name for other in self._tensors)
            self._tensors[key] = self._initializer(name if first else enter(name, self._taken), array)
        return self._tensors[key]

    def constant(self, what: str, values: Any) -> str:
        """The tensor that holds numbers of a translation: whole ones as int64, others as float32."""
        array = np.asarray(list(values) if isinstance(values, range) else values)
        return self._initializer(
            enter(f"{self._prefix}/{what}", self._taken),
            array.astype(np.int64 if array.dtype.kind == "i" else np.float32),
        )

    def emit(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Write an ONNX operation of one result, and return the name of that."""
        name = enter(f"{self._prefix}/{kind}", self._taken)
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def _initializer(self, name: str, array: Array) -> str:
        self.initializers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def _as_float32(value: Parameter | Array) -> Array:
    array = to_device(value.data if isinstance(value, Parameter) else value, "cpu")
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array
