"""A function of arrays, and its derivatives by central differences: without any backward pass."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._function import no_grad
from ..._tensor import Tensor
from ...nn import Module, Parameter

Array = np.ndarray[Any, Any]
Place = tuple[int, ...]
LARGEST_JACOBIAN = 4_000_000  # elements: 32 MB of float64


@dataclass(frozen=True)
class Problem:
    """A function with the arrays at which it is to be differentiated.

    fn: takes one Tensor for each of `inputs`. inputs: arrays, by the names that errors use; the float ones are float64.
    parameters: those of a Module, float64, by name; `fn` reads them by itself.
    """

    fn: Callable[..., Tensor]
    inputs: dict[str, Array]
    parameters: dict[str, Parameter]

    @property
    def variables(self) -> dict[str, Array]:
        """Every float array."""
        own = {name: a for name, a in self.inputs.items() if a.dtype.kind == "f"}
        return own | {name: parameter.data for name, parameter in self.parameters.items()}

    def result(self) -> Array:
        """The function's value where its variables are now."""
        with no_grad():
            return np.array(self.fn(*map(Tensor, self.inputs.values())).data)  # a copy: it may be a view of an input

    def gradients(self) -> tuple[Array, Array, dict[str, Array | None]]:
        """The result y, the weights dy of its elements, and backward's gradient of sum(dy * y) in each variable.

        dy is drawn from [-1, 1], always the same. A gradient is None where none arrived.
        """
        for parameter in self.parameters.values():
            parameter.grad = None
        tensors = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in self.inputs.values()]
        y = self.fn(*tensors)
        if y.dtype != np.float64:
            raise AssertionError(f"fn returned {y.dtype} for float64 inputs: it loses precision on the way")
        dy = np.random.default_rng(0).uniform(-1, 1, y.shape)
        if y.requires_grad:  # else its way from the variables is cut, and no gradient arrives
            y.backward(dy)
        leaves = [t for t in tensors if t.requires_grad] + list(self.parameters.values())
        return np.array(y.data), dy, {name: leaf.grad for name, leaf in zip(self.variables, leaves, strict=True)}


def problem(fn: Callable[..., Tensor], inputs: Sequence[Any]) -> Problem:
    """Copies of everything in float64: what is moved to and fro is nobody's.

    Raises RuntimeError for a Module with a layer that does not know its sizes yet.
    """
    arrays = [np.array(x.numpy() if isinstance(x, Tensor) else x) for x in inputs]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    named = dict(zip(argument_names(fn.forward if isinstance(fn, Module) else fn, len(arrays)), arrays, strict=True))
    if not isinstance(fn, Module):
        return Problem(fn, named, {})
    model = copy.deepcopy(fn).to("cpu", np.float64)
    return Problem(model, named, {name: p for name, p in model.named_parameters() if p.requires_grad})


def central_differences(f: Callable[[], Any], x: Array, eps: float, places: Sequence[Place] | None = None) -> list[Any]:
    """(f(x + h) - f(x - h)) / 2h for one element of x after the other; x is moved in place and put back.

    f: what the numbers in x at this moment come to, a number or an array. eps: the step h.
    places: the elements that are wanted, None for all in row-major order.
    """
    derivatives = []
    for place in np.ndindex(x.shape) if places is None else places:
        kept = x[place]
        x[place] = kept + eps
        above = f()
        x[place] = kept - eps
        below = f()
        x[place] = kept
        derivatives.append((above - below) / (2 * eps))
    return derivatives


def jacobian(f: Callable[[], Array], x: Array, eps: float, result_size: int) -> Array | None:
    """J[i, j] = the derivative of element j of f's result in element i of x; None if that were too many numbers.

    With it every question "what would the gradient be if only these elements of the result counted" has its answer:
    the gradient of sum(dy * y) is J @ dy.
    """
    if x.size * result_size > LARGEST_JACOBIAN:
        return None
    return np.array([row.reshape(-1) for row in central_differences(f, x, eps)]).reshape(x.size, result_size)


def argument_names(fn: Callable[..., Any], count: int) -> list[str]:
    """ "input 0 (x)", or "input 0" where fn does not say what it calls it."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # a callable that Python cannot look into
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [f"input {i} ({named[i]})" if i < len(named) else f"input {i}" for i in range(count)]
