"""Making a trained network quicker: fewer operations, each with more to do while its numbers are in the cache."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .. import _function
from .._tensor import Tensor
from ..nn import Module, Parameter
from ..ops import activation, arithmetic, conv, linear, movement, norm, pool
from .network import INPUT, Graph, Node, again, renewed, rewritten
from .recording import trace

Array = Any

# What an activation is called as a part of another operation, and which operations can take it as their last step.
_ACTIVATIONS = {activation.ReLU: "relu", activation.Tanh: "tanh", activation.Sigmoid: "sigmoid"}
_TAKERS = {
    conv.Conv2d: ("relu", "tanh", "sigmoid"),
    linear.Linear: ("relu", "tanh", "sigmoid"),
    norm.BatchNormInference: ("relu",),
}

# What changes nothing where the result has the shape of the one input.
_MOVERS = (movement.Reshape, movement.Pad, movement.Upsample, movement.Concatenate, pool.AdaptiveAvgPool2d)


def optimize_for_inference(model: Module, input_shape: Sequence[int] | None = None) -> Graph:
    """The same network with fewer operations, for evaluation; the model itself stays as it is.

    input_shape: of one sample, without the axis N; None for the model's own.

    The model is traced (see `trace`), and then:
    - what depends on Parameters alone is computed once, and what changes nothing is left out;
    - a batch normalisation that follows a convolution or a fully connected layer is folded into its weight and bias,
          s = gamma / sqrt(var + eps),  w' = w * s,  b' = (b - mean) * s + beta,
      where nobody else reads the layer's result. One that adds a residual stays: it passes over the images once, as
      the addition would have to. For that it also takes over an addition that follows it;
    - an activation becomes the last step of the layer before it, where nobody else reads that layer's result.

    A normalisation before a convolution stays, since the convolution's border of zeros is not normalised.

    The result equals the model's but for rounding. Its `changes` say what was done, and so does printing it; its
    Parameters ask for no gradient. Raises as `trace` does.
    """
    graph = simplified(trace(model, input_shape))
    joined = _Joiner(graph)
    values = {}
    for name, value in joined.values.items():
        values[name] = renewed(value) if isinstance(model, Graph) else value  # a Graph stays as it is too
        if isinstance(value, Parameter):
            values[name].requires_grad = False
    return rewritten(graph, joined.written.values(), values, joined.output, [*graph.changes, *joined.changes()])


def simplified(graph: Graph) -> Graph:
    """The same Graph without the operations that need no input, and those that change nothing."""
    values, changes = dict(graph.values()), list(graph.changes)
    nodes: list[Node] = []
    shapes = graph.shapes()
    same: dict[str, str] = {}  # what stands for a result that is no other
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        if all(name in values for name in node.inputs):
            values[node.output] = _computed(node, values)
            changes.append(f"{node.output} depends on no input, and was computed once")
        elif isinstance(node.operation, _MOVERS) and [node.shape] == [shapes[name] for name in node.inputs]:
            same[node.output] = node.inputs[0]
            changes.append(f"{node.output} changed nothing, and is left out")
        else:
            nodes.append(node)
    return rewritten(graph, nodes, values, same.get(graph.output, graph.output), changes)


def _computed(node: Node, values: dict[str, Parameter | Array]) -> Array:
    """The result of an operation on values."""
    inputs = [values[name] for name in node.inputs]
    with _function.no_grad():
        y = again(node.operation)(*[value if isinstance(value, Tensor) else Tensor(value) for value in inputs])
    return y.data.copy()


class _Joiner:
    """The nodes, some of them made one with the node whose result they read."""

    def __init__(self, graph: Graph) -> None:
        self.values, self.shapes = dict(graph.values()), graph.shapes()
        self.reads = Counter(name for node in graph.nodes for name in node.inputs)
        self.reads[graph.output] += 1
        self.readers: dict[str, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for name in node.inputs:
                self.readers[name].append(node)
        self.written: dict[str, Node] = {}  # by its result's name, in order
        self.taken_in: dict[str, list[str]] = {}
        self.renamed: dict[str, str] = {}  # results that now bear the name of the node which took them in
        for node in graph.nodes:
            self.add(replace(node, inputs=tuple(self.renamed.get(name, name) for name in node.inputs)))
        self.output = self.renamed.get(graph.output, graph.output)

    def changes(self) -> list[str]:
        """A sentence for each node that took in others."""
        return [f"{name} took in {_listed(others)}" for name, others in self.taken_in.items()]

    def add(self, node: Node) -> None:
        """Write a node, or let the one before it take it in."""
        for name in node.inputs:
            before = self.written.get(name)
            if before is not None and self.reads[name] == 1:
                joined = self.fold(before, node) or self.activate(before, node) or self.add_residual(before, node)
                if joined is not None:
                    # Written here, not where the first of the two was: what the second reads besides is there now.
                    del self.written[name]
                    self.written[name] = joined
                    self.taken_in.setdefault(name, []).append(node.output)
                    self.renamed[node.output], self.reads[name] = name, self.reads[node.output]
                    return
        self.written[node.output] = node

    def fold(self, layer: Node, normalisation: Node) -> Node | None:
        """A convolution or fully connected layer with the batch normalisation of its result in its weights."""
        settings, inputs = layer.settings(), normalisation.inputs
        if not isinstance(layer.operation, conv.Conv2d | linear.Linear) or settings["activation"] is not None:
            return None
        if not isinstance(normalisation.operation, norm.BatchNormInference) or inputs[0] != layer.output:
            return None
        if len(inputs) > 5 or self.will_add(normalisation) or not self.holds(*layer.inputs[1:], *inputs[1:]):
            return None
        w, *b = (self.array(name) for name in layer.inputs[1:])
        gamma, beta, mean, var = (self.array(name) for name in inputs[1:])
        scale = gamma * (var + normalisation.operation.eps) ** -0.5
        weight = self.hold(layer, "weight", w * scale)
        bias = self.hold(layer, "bias", (b[0] - mean if b else -mean) * scale + beta)
        operation = again(layer.operation, activation=normalisation.operation.activation)
        return replace(layer, operation=operation, inputs=(layer.inputs[0], weight, bias))

    def will_add(self, normalisation: Node) -> bool:
        """Whether its one reader is the addition of something that is there already: one pass over both then."""
        readers = self.readers[normalisation.output]
        if self.reads[normalisation.output] != 1 or not readers or normalisation.settings()["activation"] is not None:
            return False
        others = [self.renamed.get(name, name) for name in readers[0].inputs if name != normalisation.output]
        return self.is_sum(readers[0], others) and (others[0] in self.written or others[0] == INPUT)

    def add_residual(self, normalisation: Node, addition: Node) -> Node | None:
        """A batch normalisation with the addition of a residual to its result."""
        operation = normalisation.operation
        if not isinstance(operation, norm.BatchNormInference) or operation.activation is not None:
            return None
        others = [name for name in addition.inputs if name != normalisation.output]
        if len(normalisation.inputs) > 5 or not self.is_sum(addition, others):
            return None
        return replace(normalisation, inputs=(*normalisation.inputs, *others))

    def activate(self, layer: Node, activated: Node) -> Node | None:
        """A layer with the activation of its result."""
        name = _ACTIVATIONS.get(type(activated.operation))
        if name not in _TAKERS.get(type(layer.operation), ()) or layer.settings()["activation"] is not None:
            return None
        return replace(layer, operation=again(layer.operation, activation=name))

    def is_sum(self, node: Node, others: list[str]) -> bool:
        """Whether a node adds one other result, of its own shape."""
        return isinstance(node.operation, arithmetic.Add) and [self.shapes.get(name) for name in others] == [node.shape]

    def holds(self, *names: str) -> bool:
        """Whether all these are values, not results."""
        return all(name in self.values for name in names)

    def array(self, name: str) -> Array:
        """A value in float64, so that folding rounds once."""
        value = self.values[name]
        return (value.data if isinstance(value, Parameter) else value).astype("float64")

    def hold(self, layer: Node, what: str, array: Array) -> str:
        """Keep the layer's new weight or bias, and return its name: the old one's, unless others read that too."""
        like = self.values[layer.inputs[1]]
        number, name = 1, f"{layer.output}.{what}"
        while name in self.values and not (name in layer.inputs and self.reads[name] == 1):
            number += 1
            name = f"{layer.output}.{what}_{number}"
        self.values[name] = renewed(like, array.astype(like.dtype))
        return name


def _listed(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
