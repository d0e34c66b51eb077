"""Why an operation makes a NaN or an infinity of finite numbers, where that can be said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..._function import Function
from ...ops import arithmetic, elementwise, norm

Array = Any
Cause = Callable[[Any, Sequence[Array]], str]


def forward_cause(operation: Function, inputs: Sequence[Array], dtype: Any) -> str:
    """For a `forward` of finite inputs. dtype: of the result."""
    return _cause(_FORWARD, operation, inputs) or overflow(dtype)


def backward_cause(operation: Function, inputs: Sequence[Array], dtype: Any) -> str:
    """For a `backward` of a finite gradient. inputs: of the `forward`; empty if they are not known."""
    told = _cause(_BACKWARD, operation, inputs) if inputs else ""
    return told or f"{overflow(dtype)}; gradients that grow from layer to layer explode"


def overflow(dtype: Any) -> str:
    """A result beyond the largest number of a dtype."""
    return f"an overflow: the largest {np.dtype(dtype)} is {float(np.finfo(dtype).max):.3g}"


def _cause(causes: dict[type[Function], Cause], operation: Function, inputs: Sequence[Array]) -> str:
    return next((causes[kind](operation, inputs) for kind in type(operation).__mro__ if kind in causes), "")


def _log(operation: Function, inputs: Sequence[Array]) -> str:
    (x,) = inputs
    if (x < 0).any():
        return f"the logarithm of a negative number, {float(x.min()):.3g}, is no number"
    return (
        "log of 0 is minus infinity: add a small number before it; for the probabilities of a softmax use "
        "F.log_softmax, or F.cross_entropy on the logits"
    )


def _log_backward(operation: Function, inputs: Sequence[Array]) -> str:
    return f"the slope of log is 1 / x, and x is as small as {float(abs(inputs[0]).min()):.3g}: keep x away from 0"


def _exp(operation: Function, inputs: Sequence[Array]) -> str:
    (x,) = inputs
    most = float(np.log(np.finfo(x.dtype).max))
    return (
        f"exp overflows {x.dtype} above {most:.1f}, and x goes up to {float(x.max()):.4g}: subtract the largest x "
        "first, as F.softmax and F.cross_entropy do"
    )


def _divide(operation: Function, inputs: Sequence[Array]) -> str:
    b = inputs[1]
    if (b == 0).any():
        return "division by 0: add a small number to the divisor, or look why it is 0"
    return f"an overflow: the divisor is as small as {float(abs(b).min()):.3g}"


def _sqrt(operation: Function, inputs: Sequence[Array]) -> str:
    return f"the square root of a negative number, {float(inputs[0].min()):.3g}, is no number"


def _sqrt_backward(operation: Function, inputs: Sequence[Array]) -> str:
    (x,) = inputs
    return "the slope of sqrt at 0 is infinite: add a small number before it" if (x == 0).any() else ""


def _power(operation: Any, inputs: Sequence[Array]) -> str:
    (x,), n = inputs, operation.exponent
    if n < 0 and (x == 0).any():
        return f"division by 0: 0 to the power of {n:g}"
    if n % 1 and (x < 0).any():
        return f"a negative number, {float(x.min()):.3g}, to the power of {n:g} is no number"
    return ""


def _power_backward(operation: Any, inputs: Sequence[Array]) -> str:
    if operation.exponent < 1 and (inputs[0] == 0).any():
        return f"the slope of x**{operation.exponent:g} at 0 is infinite: add a small number before it"
    return ""


def _batch_norm(operation: Any, inputs: Sequence[Array]) -> str:
    x = inputs[0]
    constant = (x.reshape(-1, x.shape[-1]).max(axis=0) == x.reshape(-1, x.shape[-1]).min(axis=0)).any()
    if operation.eps == 0 and constant:
        return "division by 0: a channel is the same everywhere, its variance is 0 and eps too: use eps=1e-5"
    return ""


_FORWARD: dict[type[Function], Cause] = {
    elementwise.Log: _log,
    elementwise.Exp: _exp,
    elementwise.Sqrt: _sqrt,
    arithmetic.Divide: _divide,
    arithmetic.Power: _power,
    norm.BatchNorm: _batch_norm,
}
_BACKWARD: dict[type[Function], Cause] = {
    elementwise.Log: _log_backward,
    elementwise.Sqrt: _sqrt_backward,
    arithmetic.Divide: _divide,
    arithmetic.Power: _power_backward,
    norm.BatchNorm: _batch_norm,
}
