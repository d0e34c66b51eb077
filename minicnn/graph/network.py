"""Graph: a network as the list of its operations, which runs like the model that it was recorded from."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._function import Function
from .._tensor import Tensor
from ..nn import Module, Parameter

Array = Any
INPUT = "x"  # the name of what goes into a Graph


def enter(name: str, taken: set[str]) -> str:
    """The name, or if it is taken, with the first number that is free; it is taken afterwards."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


@dataclass(frozen=True)
class Node:
    """One operation of a Graph.

    operation: the Function with its settings. It is not called itself, but copied for each call.
    inputs: the names of what goes in, in the order of the Function's `forward`.
    output: the name of what comes out: the Module's, with a number where the Module has made more than one result.
    module: the dotted name of the Module whose `forward` called the operation; "" for the model itself.
    shape: of the result, for a batch of one.
    """

    operation: Function
    inputs: tuple[str, ...]
    output: str
    module: str
    shape: tuple[int, ...]

    def settings(self) -> dict[str, Any]:
        """The operation's own attributes, such as a stride, without those that every Function has."""
        return settings(self.operation)

    def __str__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in self.settings().items() if value is not None]
        return f"{self.output} = {self.operation.name}({', '.join([*self.inputs, *settings])})  -> {self.shape}"


class Graph(Module):
    """A network as a list of operations: graph(x) runs them in order, for any number of images of `input_shape`.

    nodes: the operations, each after those whose results it reads. What several read (the input of a residual block)
        is a name that stands in several `inputs`; the network's own input is called "x".
    output: the name of the result. input_shape: of one sample, (H, W, C) for images.
    changes: sentences that say what has been rewritten since the recording; see `optimize_for_inference`.

    Parameters bear the dotted names that they had in the model, in `state_dict` too; arrays that the operations read
    besides (running means, constants) are buffers. So `parameters`, `to` and `load_state_dict` work as everywhere.
    Whatever depends on the mode computes as in evaluation: `train` changes nothing.

    Calling it raises TypeError for another dtype than the Parameters', ValueError for images of another shape: sizes
    such as the padding of "same" were settled for that one.
    """

    input_shape: tuple[int, ...]

    def __init__(
        self,
        nodes: Iterable[Node],
        values: Mapping[str, Parameter | Array],
        output: str,
        input_shape: tuple[int, ...],
        changes: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.nodes, self.output = tuple(nodes), output
        self.input_shape, self.changes = input_shape, tuple(changes)
        self._held = tuple(values)
        self._last_reads = _last_reads(self.nodes, output)
        for name, value in values.items():
            if name == INPUT or name in vars(self) or hasattr(type(self), name):
                what = "calls its input" if name == INPUT else "has an attribute"
                raise ValueError(f"a Graph {what} {name!r} already: give that of the model another name")
            if not isinstance(value, Parameter):
                self._buffers[name] = True  # without register_buffer, which refuses names with dots
            setattr(self, name, value)

    def values(self) -> dict[str, Parameter | Array]:
        """Parameters and buffers by name."""
        return {name: vars(self)[name] for name in self._held}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the input and of every result, by name, for a batch of one."""
        return {INPUT: (1, *self.input_shape), **{node.output: node.shape for node in self.nodes}}

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        tensors = {n: value if isinstance(value, Tensor) else Tensor(value) for n, value in self.values().items()}
        tensors[INPUT] = x
        for node, last_reads in zip(self.nodes, self._last_reads, strict=True):
            tensors[node.output] = again(node.operation)(*[tensors[name] for name in node.inputs])
            for name in last_reads:  # its memory may serve the next result
                del tensors[name]
        return tensors[self.output]

    def _check(self, x: Any) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"Graph expected a Tensor, got {type(x).__name__}: wrap arrays with mc.tensor(array)")
        dtype = next((p.dtype for p in self.parameters()), x.dtype)
        if x.dtype != dtype:
            raise TypeError(f'Graph expected an input of {dtype}, got {x.dtype}: convert with .to(dtype="{dtype}")')
        if x.shape[1:] != self.input_shape or x.size == 0:
            raise ValueError(
                f"Graph expected samples of the size that it was traced with, {self.input_shape}, got shape {x.shape}: "
                "trace the model with that size as input_shape"
            )

    def __repr__(self) -> str:
        lines = [f"Graph of {len(self.nodes)} operations on {INPUT} {self.input_shape}", *map(str, self.nodes)]
        lines += ["changes:", *self.changes] if self.changes else []
        return "\n  ".join(lines)


def settings(operation: Function) -> dict[str, Any]:
    """A Function's own attributes, such as a stride, without those that every Function has."""
    return {name: value for name, value in vars(operation).items() if not hasattr(Function, name)}


def again(operation: Function, **others: Any) -> Function:
    """A Function with the same settings, but for those given, that has not been called."""
    new: Function = object.__new__(type(operation))
    vars(new).update(settings(operation), **others)
    return new


def needed(
    nodes: Iterable[Node], values: Mapping[str, Parameter | Array], output: str
) -> tuple[list[Node], dict[str, Parameter | Array]]:
    """The nodes that `output` depends on, and the values that they read, in the order of the first reading."""
    wanted, kept = {output}, []
    for node in reversed(list(nodes)):
        if node.output in wanted:
            wanted.update(node.inputs)
            kept.append(node)
    kept.reverse()
    return kept, {name: values[name] for node in kept for name in node.inputs if name in values}


def rewritten(
    graph: Graph, nodes: Iterable[Node], values: Mapping[str, Parameter | Array], output: str, changes: Iterable[str]
) -> Graph:
    """A Graph for the same input, with what is needed of these nodes and values."""
    return Graph(*needed(nodes, values, output), output, graph.input_shape, changes)


def renewed(holder: Parameter | Array, array: Array | None = None) -> Parameter | Array:
    """A Parameter, or an array, like `holder` with memory of its own; with the values of `array` if one is given."""
    array = (holder.data if isinstance(holder, Parameter) else holder) if array is None else array
    if not isinstance(holder, Parameter):
        return array.copy()
    parameter = copy.copy(holder)  # not a new one, which would take a number, and move the random numbers behind it
    parameter.data, parameter.grad = array.copy(), None
    return parameter


def _last_reads(nodes: tuple[Node, ...], output: str) -> list[list[str]]:
    """For each node the results that nobody reads after it."""
    results, result = {INPUT, *(node.output for node in nodes)}, []
    seen = {output}
    for node in reversed(nodes):
        last = sorted((set(node.inputs) & results) - seen)
        seen.update(last)
        result.append(last)
    return result[::-1]
