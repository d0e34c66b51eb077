"""The products that made one number of a gradient: the chain rule, written out for one cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..._function import Function
from ...ops import activation, conv, linear, loss, movement, norm, pool
from ...ops.checks import is_whole
from . import layer_terms, window_terms
from .recording import Recording, Step
from .terms import Cell, Index, Term, total


@dataclass(frozen=True)
class Products:
    """What made one number of the gradient that a step gives to one of its inputs.

    node, input, index: the step, the number of its input, the cell. name: of the gradient, like "dw".
    terms: the products. engine: the number that the engine's `backward` returned for the cell.
    """

    node: int
    input: int
    index: Index
    name: str
    terms: tuple[Term, ...]
    engine: float

    @property
    def total(self) -> float:
        """The sum of the products, rounded once: what `engine` is but for float32's rounding on the way."""
        return total(self.terms)

    def column_sums(self) -> dict[tuple[int, int], float]:
        """For a convolution's dx: the numbers of the matrix dy @ w.T, by (row, column), that col2im adds up."""
        columns: dict[tuple[int, int], list[Term]] = {}
        for term in self.terms:
            columns.setdefault((term.place["row"], term.place["column"]), []).append(term)
        return {place: total(terms) for place, terms in columns.items()}


def products(recording: Recording, node: int, input: int, index: Sequence[int]) -> Products:
    """The products that made dinput[index], the part of the gradient that step `node` gives to its input.

    node: the id of a Step. input: the number of its input: 0 for x, of a layer 1 for w and 2 for b. index: the cell.

    Where several steps read one tensor, this explains one part of its gradient; the parts of all of them add up.
    Raises ValueError for a step that is not explained (see `kind`), or whose input got no gradient; IndexError for a
    node, an input or a cell that is not there.
    """
    if not is_whole(node) or not 0 <= node < len(recording.steps):
        raise IndexError(f"products expected a step from 0 to {len(recording.steps) - 1}, got {node!r}")
    step = recording.steps[node]
    explain = _EXPLAINED.get(type(step.operation))
    if explain is None:
        known = ", ".join(sorted(function.__name__ for function in _EXPLAINED))
        raise ValueError(f"products explains {known}; step {node} is a {step.operation.name}")
    if not is_whole(input) or not 0 <= input < len(step.inputs):
        raise IndexError(f"{step.operation.name} has inputs from 0 to {len(step.inputs) - 1}, got {input!r}")
    part = step.parts[input] if step.parts else None
    if part is None:
        raise ValueError(f"input {input} of step {node}, a {step.operation.name}, received no gradient")
    cell = tuple(index)
    if len(cell) != part.ndim or not all(is_whole(i) and 0 <= i < n for i, n in zip(cell, part.shape, strict=True)):
        raise IndexError(f"expected a cell of an array of shape {part.shape}, got {cell}")
    cell = tuple(int(i) for i in cell)
    terms = tuple(explain(Cell(recording, step, input, cell)))
    return Products(step.id, int(input), cell, f"d{step.arguments()[input]}", terms, float(part[cell]))


def kind(step: Step) -> str | None:
    """How the gradients of a step are explained: by the name of its function, like "conv2d"; None if they are not."""
    explain = _EXPLAINED.get(type(step.operation))
    return None if explain is None or not step.parts else explain.__name__


_EXPLAINED: dict[type[Function], Callable[[Cell], Iterable[Term]]] = {
    conv.Conv2d: window_terms.conv2d,
    linear.Linear: layer_terms.linear,
    pool.MaxPool2d: window_terms.max_pool2d,
    pool.SumPool2d: window_terms.sum_pool2d,
    pool.AvgPool2d: window_terms.avg_pool2d,
    pool.AdaptiveAvgPool2d: window_terms.adaptive_avg_pool2d,
    activation.ReLU: layer_terms.relu,
    activation.ReLU6: layer_terms.relu6,
    activation.Tanh: layer_terms.tanh,
    activation.Sigmoid: layer_terms.sigmoid,
    movement.Reshape: layer_terms.reshape,
    loss.CrossEntropy: layer_terms.cross_entropy,
    norm.BatchNorm: layer_terms.batch_norm,
    norm.BatchNormInference: layer_terms.batch_norm,
}
