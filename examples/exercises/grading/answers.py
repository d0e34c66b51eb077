"""Asking a student's function, and holding its answer against what is expected."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

H = 1e-6  # the step of the central differences


class Mistake(Exception):
    """A wrong answer: what was expected, and what came."""


def call(student: ModuleType, name: str, *arguments: Any) -> Any:
    """The answer of the student's function of that name, which must leave its arguments as they are."""
    given = [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]
    answer = function(student, name)(*given)
    for position, (before, after) in enumerate(zip(arguments, given, strict=True)):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after, equal_nan=True):
            raise Mistake(f"{name} wrote into its argument {position + 1}: work on an array of your own")
    return answer


def function(student: ModuleType, name: str) -> Callable[..., Any]:
    """The student's function of that name."""
    found = getattr(student, name, None)
    if not callable(found):
        raise Mistake(f"there is no function {name} in the file")
    return found


def compare(what: str, got: Any, expected: np.ndarray) -> None:
    """Raise Mistake unless `got` is an array of the expected shape, dtype and, but for rounding, values."""
    if got is None:
        raise Mistake(f"{what} expected an array, got None: was `return` forgotten?")
    if not isinstance(got, np.ndarray | np.generic):
        raise Mistake(f"{what} expected an array, got {_said(got)}")
    if got.shape != expected.shape:
        raise Mistake(f"{what} expected the shape {expected.shape}, got {got.shape}")
    if got.dtype != expected.dtype:
        raise Mistake(f"{what} expected the dtype {expected.dtype}, got {got.dtype}")
    digits = 1e-5 if expected.dtype == np.float64 else 1e-3
    wrong = ~np.isclose(got, expected, rtol=digits, atol=digits / 100)
    if wrong.any():
        raise Mistake(_difference(what, np.asarray(got), expected, wrong))


def unpacked(names: tuple[str, ...], got: Any) -> tuple[Any, ...]:
    """The values of those names that a function has returned in a tuple."""
    if not isinstance(got, tuple | list) or len(got) != len(names):
        count = f" of {len(got)}" if isinstance(got, tuple | list) else ""
        raise Mistake(f"expected a tuple of {len(names)}, ({', '.join(names)}), got {_said(got)}{count}")
    return tuple(got)


def slopes(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The gradient of the loss in x by central differences, for a loss whose gradient in y = f(x) is dy.

    Such a loss is L(x) = sum(dy * f(x)), and each slope is (L(x + h) - L(x - h)) / 2h with one element of x moved.
    """
    dx = np.empty_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += H
        below[index] -= H
        dx[index] = (dy * (f(above) - f(below))).sum() / (2 * H)
    return dx


def _said(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _difference(what: str, got: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f"{what}[{', '.join(map(str, first))}]" if first else what
    count = f"{int(wrong.sum())} of {wrong.size} elements of {what} are wrong, the first is\n" if first else ""
    return f"{count}{place}: expected {expected[first]:.6g}\n{' ' * len(place)}       got {got[first]:.6g}"
