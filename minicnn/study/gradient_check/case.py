"""One gradient that is wrong, with all that can be known about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .check import Tolerance
from .differences import Array, Place, Problem, central_differences, jacobian

LARGEST = 4000  # elements whose derivatives are all computed for a diagnosis


@dataclass(frozen=True)
class Finding:
    """A cause, and the evidence for it; both are sentences."""

    cause: str
    evidence: str


@dataclass(frozen=True)
class Case:
    """The gradient of sum(dy * y) in the variable x, as backward gave it and as it should be.

    name: that of x. x, got, expected: of one shape. y, dy: the result, and the gradient with which backward began.
    arrived: False if backward gave None. jacobian: (x.size, y.size), see `differences.jacobian`; None if too large.
    """

    problem: Problem
    tolerance: Tolerance
    name: str
    x: Array
    y: Array
    dy: Array
    got: Array
    arrived: bool
    expected: Array
    jacobian: Array | None

    @cached_property
    def error(self) -> Array:
        """What came, less what was expected."""
        with np.errstate(invalid="ignore"):
            return self.got - self.expected

    @cached_property
    def wrong(self) -> Array:
        """Where gradcheck complains."""
        return self.tolerance.wrong(self.got, self.expected)

    @cached_property
    def present(self) -> Array:
        """Where there is anything to be right or wrong about: a gradient that is, or should be, other than 0."""
        size = np.maximum(np.abs(self.got), np.abs(self.expected))
        return size > 1e-6 * size.max()

    @cached_property
    def worst(self) -> list[Place]:
        """The wrong elements, the largest error first; eight at most."""
        size = np.where(self.wrong, np.nan_to_num(np.abs(self.error), nan=np.inf), -1).reshape(-1)
        order = np.argsort(-size, kind="stable")[: min(8, int(self.wrong.sum()))]
        return [tuple(int(i) for i in np.unravel_index(k, self.x.shape)) for k in order]

    def same(self, a: Array, b: Array) -> bool:
        """Whether two gradients are one: central differences are not exact, measured by the largest number in them."""
        return bool((np.abs(a - b) <= self.tolerance.atol + self.tolerance.rtol * np.abs(b).max(initial=0)).all())

    def is_got(self, other: Array) -> bool:
        """Whether `other` is what backward gave, and not what is right: the trace of a mistake that would give it."""
        return self.same(self.got, other) and not self.same(self.expected, other)

    def gradient_from(self, dy: Array) -> Array:
        """What the gradient would be, were dy the gradient with which backward began."""
        assert self.jacobian is not None
        return (self.jacobian @ dy.reshape(-1)).reshape(self.x.shape)

    @property
    def label(self) -> str:
        """A short name, for formulas."""
        return label(self.name)

    def others(self) -> Iterator[tuple[str, Array]]:
        """The other variables."""
        return ((name, a) for name, a in self.problem.variables.items() if name != self.name)


def label(name: str) -> str:
    """What stands in brackets behind a name, "x" in "input 0 (x)", or the name."""
    return name.partition("(")[2].rstrip(")") or name


def case_of(problem: Problem, tolerance: Tolerance, name: str) -> Case | None:
    """The case of that variable; None if it has too many elements to look at each of them."""
    y, dy, gradients = problem.gradients()
    x, got = problem.variables[name], gradients[name]
    if x.size > LARGEST:
        return None
    derivatives = jacobian(problem.result, x, tolerance.eps, y.size)
    if derivatives is None:
        expected = np.array(central_differences(lambda: float((problem.result() * dy).sum()), x, tolerance.eps))
    else:
        expected = derivatives @ dy.reshape(-1)
    arrived = np.zeros(x.shape) if got is None else got
    return Case(problem, tolerance, name, x, y, dy, arrived, got is not None, expected.reshape(x.shape), derivatives)
