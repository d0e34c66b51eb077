"""Recording what a model computes: one sample goes through it, and each Function that is called becomes a Node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import _function, nn
from .._function import Function
from .._tensor import Tensor
from ..nn import Module, Parameter
from ..nn.sample import run_sample, sample
from ..ops.movement import Reshape
from .network import INPUT, Graph, Node, enter, needed, renewed

Array = Any


def trace(model: Module, input_shape: Sequence[int] | None = None) -> Graph:
    """The operations that a model computes in evaluation mode, as a Graph with copies of its Parameters and buffers.

    input_shape: of one sample, without the axis N, like (28, 28, 1); None for the model's own.

    One sample of zeros goes through the model (see `run_sample`), and every call of a Function is recorded. The Graph
    serves any number of samples: a reshape of what depends on them keeps its first axis free, which therefore has to
    be that of the batch. What Python computes in between, without Functions, is not seen: a branch is recorded as the
    sample took it, and an array that a `forward` makes becomes a constant. A Graph is returned as it is.

    Raises TypeError for what is no Module, and for a model that does not return one Tensor; ValueError for a shape
    that the model refuses, and for a result that does not depend on the input.
    """
    if isinstance(model, Graph):
        return model
    x = sample(model, input_shape, "trace")
    with watched(model) as calls:
        y = run_sample(model, x, "trace")
    if not isinstance(y, Tensor):
        raise TypeError(f"trace expected a model that returns one Tensor, got {type(y).__name__}")
    return Recording(holders(model), x).graph(calls, y)


@contextmanager
def watched(model: Module) -> Iterator[list[Call]]:
    """`with watched(model) as calls:` notes every call of a Function, in order; `model` gives the Modules' names."""
    calls: list[Call] = []
    inside: list[str] = [""]  # the Modules that are being called, outer ones first
    names = {id(module): name for name, module in model.named_modules()}

    def note(operation: Function, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(Call(operation, inputs, output, inside[-1]))

    def enter(module: Module) -> None:
        inside.append(names.get(id(module), inside[-1]))

    def leave(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        inside.pop()

    with _function.observe(note), nn.observe(leave, before=enter):
        yield calls


def holders(model: Module) -> dict[str, Parameter | Array]:
    """The Parameters and buffers of a model by their dotted names."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@dataclass(frozen=True)
class Call:
    """A call of a Function, and the Module in whose `forward` it stood. Holds the arrays, so that no id comes twice."""

    operation: Function
    inputs: tuple[Tensor, ...]
    output: Tensor
    module: str


class Recording:
    """Gives every array its name, and makes Nodes of calls.

    holders: the Parameters and buffers by name. x: what went in.
    """

    def __init__(self, holders: dict[str, Parameter | Array], x: Tensor) -> None:
        self.input_shape = x.shape[1:]
        # Of arrays, since one array may come in several Tensors; and of results, whose array may be an input's.
        self.names = {id(x.data): INPUT}
        self.holders = dict(holders)
        for name, holder in self.holders.items():
            if not isinstance(holder, Parameter) or holder.is_filled:
                self.names[id(holder.data if isinstance(holder, Parameter) else holder)] = name
        self.taken = {INPUT, *self.holders, *dir(Module)}  # a result may become a buffer, and those are no methods
        self.varying = {INPUT}  # what depends on the input
        self.nodes: list[Node] = []

    def graph(self, calls: list[Call], y: Tensor) -> Graph:
        """The Graph of these calls whose result is y, without those that y does not need."""
        for call in calls:
            self.add(call)
        output = self.name(y)
        if output not in self.varying:
            raise ValueError("trace: the model's result does not depend on its input by way of minicnn's Functions")
        nodes, values = needed(self.nodes, self.holders, output)
        return Graph(nodes, {name: renewed(value) for name, value in values.items()}, output, self.input_shape)

    def add(self, call: Call) -> None:
        """Write a call as a Node, with a name for its result."""
        inputs = tuple(self.name(x) for x in call.inputs)
        operation, shape = call.operation, call.output.shape
        output = enter(call.module or operation.name.lower(), self.taken)
        if self.varying & set(inputs):
            self.varying.add(output)
            if isinstance(operation, Reshape):
                operation = Reshape((-1, *shape[1:]))
        self.names[id(call.output)] = output
        self.names.setdefault(id(call.output.data), output)
        self.nodes.append(Node(operation, inputs, output, call.module, shape))

    def name(self, x: Tensor) -> str:
        """The name of a Tensor's array; one that is met here for the first time is a constant."""
        if id(x) in self.names:
            return self.names[id(x)]
        if id(x.data) not in self.names:
            self.names[id(x.data)] = name = enter("constant", self.taken)
            self.holders[name] = x.data
        return self.names[id(x.data)]
