"""gradcheck: a backward pass against central differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._tensor import Tensor
from ...ops.checks import is_whole
from .differences import Array, Place, Problem, central_differences, problem


@dataclass(frozen=True)
class Tolerance:
    """eps, rtol and atol of `gradcheck`."""

    eps: float
    rtol: float
    atol: float

    def wrong(self, got: Array, expected: Array) -> Array:
        """Where two gradients differ; NaN differs from everything."""
        with np.errstate(invalid="ignore"):
            return ~(np.abs(got - expected) <= self.atol + self.rtol * np.abs(expected))


@dataclass(frozen=True)
class Wrong:
    """A gradient that is wrong at `count` of the `checked` elements; what came and was expected at the worst."""

    count: int
    checked: int
    worst: Place
    got: float
    expected: float


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: Sequence[Any],
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    elements: int | None = None,
) -> bool:
    """Compare the gradients of `fn` with central differences, in float64; True, or an error that explains.

    fn: takes one Tensor for each input and returns a Tensor of any shape. A Module is checked in its Parameters too: a
        copy of it in float64, in the mode (training or evaluation) that it is in.
    inputs: arrays, or Tensors whose values are taken, of which every float one is checked, element by element;
        integer ones are passed on as they are.
    eps: the step h of the central difference (f(x + h) - f(x - h)) / 2h, whose error is of order h**2.
    rtol, atol: an element passes if |got - expected| <= atol + rtol * |expected|.
    elements: check at most so many elements of each array, drawn at random but always the same ones; None for all.
        Each takes two forward passes.

    The result is reduced to one number by fixed weights r drawn from [-1, 1], L = sum(r * fn(inputs)), so that
    one backward pass checks every output at once. fn must be deterministic, and smooth at the inputs: at a kink
    (ReLU at 0, a tie of max pooling) the two differ although both are right.

    Raises AssertionError with the input, the element, what came and what was expected; with a map of the error over the
    tensor, the operation whose backward is wrong, and the likely cause where the evidence speaks for one.
    TypeError without an input of floats, ValueError for elements that are no whole number >= 1, RuntimeError for a
    Module that has not seen an input yet and does not know its sizes.
    """
    if elements is not None and (not is_whole(elements) or elements < 1):
        raise ValueError(f"gradcheck expected elements >= 1, or None for all, got {elements!r}")
    asked, tolerance = problem(fn, inputs), Tolerance(eps, rtol, atol)
    if not asked.variables:
        raise TypeError("gradcheck expected at least one input of floats")
    wrong = wrong_gradients(asked, tolerance, elements)
    if wrong:
        from .report import explain  # only who meets a mistake needs it

        raise AssertionError(explain(asked, wrong, tolerance))
    return True


def wrong_gradients(asked: Problem, tolerance: Tolerance, elements: int | None) -> dict[str, Wrong]:
    """The variables whose gradients differ from central differences."""
    _, dy, gradients = asked.gradients()

    def loss() -> float:
        return float((asked.result() * dy).sum())

    found = {}
    for name, x in asked.variables.items():
        places = _chosen(x.shape, elements)
        expected = np.array(central_differences(loss, x, tolerance.eps, places))
        gradient = gradients[name]
        got = np.array([0.0 if gradient is None else gradient[place] for place in places])
        wrong = tolerance.wrong(got, expected)
        if wrong.any():
            with np.errstate(invalid="ignore"):
                size = np.nan_to_num(np.abs(got - expected), nan=np.inf)
            k = int(np.argmax(np.where(wrong, size, -1)))
            found[name] = Wrong(int(wrong.sum()), len(places), places[k], float(got[k]), float(expected[k]))
    return found


def _chosen(shape: tuple[int, ...], elements: int | None) -> list[Place]:
    """At most so many places in an array, in row-major order."""
    size = math.prod(shape)
    if elements is None or elements >= size:
        return list(np.ndindex(shape))
    numbers = np.sort(np.random.default_rng(0).choice(size, elements, replace=False))
    return [tuple(int(i) for i in np.unravel_index(k, shape)) for k in numbers]
