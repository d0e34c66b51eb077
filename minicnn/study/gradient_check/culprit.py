"""In which operation a wrong gradient is made: each one that was recorded is checked by itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..._function import Function, observe
from ..._tensor import Tensor
from .check import Tolerance, Wrong, wrong_gradients
from .differences import Array, Problem, argument_names

SAMPLED = 40  # elements of each input of an operation: few, for a network may have hundreds of operations


@dataclass(frozen=True)
class Fault:
    """An operation whose backward is wrong: the `number`-th of `count`.

    problem: it alone, as a function of those inputs that wanted a gradient. wrong: what was found at some elements.
    """

    problem: Problem
    wrong: dict[str, Wrong]
    operation: str
    number: int
    count: int

    @property
    def is_all(self) -> bool:
        """Whether the function that was to be checked is this operation and no more."""
        return self.count == 1 and self.operation.endswith("backward")


@dataclass(frozen=True)
class _Call:
    function: Function
    arrays: tuple[Array, ...]  # copies: a layer may write into its statistics afterwards


def culprit(asked: Problem, tolerance: Tolerance) -> Fault | None:
    """The operation nearest to the result whose own backward is wrong; None if each is right by itself."""
    calls: list[_Call] = []

    def note(function: Function, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad and output.dtype == np.float64:
            calls.append(_Call(function, tuple(np.array(x.data) for x in inputs)))

    with observe(note):
        asked.gradients()
    for k, call in reversed(list(enumerate(calls, 1))):
        for function, part in _parts(call.function):
            problem = _alone(function, call)
            if wrong := wrong_gradients(problem, tolerance, SAMPLED):
                return Fault(problem, wrong, f"{function.name}.backward{part}", k, len(calls))
    return None


def _parts(function: Function) -> Iterator[tuple[Function, str]]:
    """The operation to be called again: first without the activation that is fused into it, if there is one."""
    again = _again(function)
    activation = getattr(again, "activation", None)
    if activation is not None:
        plain = _again(function)
        plain.activation = None  # type: ignore[attr-defined]
        yield plain, f" (not in its {activation})"
    yield again, "" if activation is None else f" (in its {activation})"


def _alone(function: Function, call: _Call) -> Problem:
    """The function, on the inputs of a call, as a function of those that wanted a gradient."""
    names = argument_names(call.function.forward, len(call.arrays))
    needed = zip(call.function.needs_gradient, call.arrays, strict=True)
    wanted = [i for i, (needs, a) in enumerate(needed) if needs and a.dtype == np.float64]

    def fn(*tensors: Tensor) -> Tensor:
        inputs = [Tensor(a) for a in call.arrays]
        for i, tensor in zip(wanted, tensors, strict=True):
            inputs[i] = tensor
        return _again(function)(*inputs)

    return Problem(fn, {names[i]: call.arrays[i].copy() for i in wanted}, {})


def _again(function: Function) -> Function:
    """A Function with the same settings that has not served its one call."""
    again = copy.copy(function)
    for name in ("number", "inputs", "input_kinds", "needs_gradient", "released", "_saved", "_records"):
        vars(again).pop(name, None)
    return again
