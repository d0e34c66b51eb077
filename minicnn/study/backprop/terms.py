"""Products of numbers of a recording, and the numbers around one cell of a gradient, from which they are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .recording import RecordedTensor, Recording, Step

Array = Any
Index = tuple[int, ...]

# The derivative of an activation y = f(s), written in y, by the name that layers and Functions have for it.
SLOPES: dict[str, Callable[[float], float]] = {
    "relu": lambda y: float(y > 0),
    "relu6": lambda y: float(0 < y < 6),
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
}


@dataclass(frozen=True)
class Factor:
    """A number in a product.

    name: what it is called in the formula, like "dy" or "w". tensor, index: where it stands in the recording; tensor
    None for one that stands nowhere. gradient: whether in the tensor's gradient, not in its value. Of a slope, `tensor`
    and `index` show the y that it is computed from.
    """

    name: str
    value: float
    tensor: int | None = None
    index: Index = ()
    gradient: bool = False


@dataclass(frozen=True)
class Term:
    """One product.

    place: where it comes from. For windows "window": (oh, ow), "tap": (kh, kw), the cell's place in it; for
    convolutions also "row" and "column" of the number in the im2col matrix (N*OH*OW, KH*KW*C) of its group.
    """

    factors: tuple[Factor, ...]
    place: dict[str, Any] = field(default_factory=dict)

    @property
    def product(self) -> float:
        """In float64."""
        return math.prod(factor.value for factor in self.factors)


def total(terms: Iterable[Term]) -> float:
    """The sum of products, rounded once; NaN where there are infinities of both signs, or more than a float holds."""
    try:
        return math.fsum(term.product for term in terms)
    except (ValueError, OverflowError):
        return math.nan


class Cell:
    """A cell of a gradient, and the numbers around it."""

    def __init__(self, recording: Recording, step: Step, input: int, index: Index) -> None:
        self.step, self.operation, self.input, self.index = step, step.operation, input, index
        self.tensors = recording.tensors
        self.activation: str | None = getattr(step.operation, "activation", None)

    @property
    def output(self) -> RecordedTensor:
        return self.tensors[self.step.output]

    @property
    def gradient(self) -> Array:
        """In the result: the step has parts, so it arrived."""
        assert self.output.gradient is not None
        return self.output.gradient

    @property
    def x(self) -> Array:
        return self.tensors[self.step.inputs[0]].value

    def shape(self, input: int) -> tuple[int, ...]:
        return tuple(self.tensors[self.step.inputs[input]].value.shape)

    def value(self, name: str, input: int, index: Index) -> Factor:
        """A number of an input."""
        t = self.tensors[self.step.inputs[input]]
        return Factor(name, float(t.value[index]), t.id, index)

    def dy(self, index: Index) -> tuple[Factor, ...]:
        """The gradient in the result; and where the step ends in an activation, the slope it is multiplied with."""
        dy = Factor("dy", float(self.gradient[index]), self.output.id, index, gradient=True)
        return (dy,) if self.activation is None else (dy, self.slope(self.activation, index))

    def slope(self, activation: str, index: Index) -> Factor:
        y = float(self.output.value[index])
        return Factor(f"{activation}'", SLOPES[activation](y), self.output.id, index)
