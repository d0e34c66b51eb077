"""Gradient clipping: between `loss.backward()` and `optimizer.step()`, a bound on how far one batch can lead.

A steep wall in the loss gives a gradient that is right about the direction and absurd about the distance. Clipping
keeps the direction, or most of it, and bounds the distance.

Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks", section 3.2,
algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import device
from .._tensor import Tensor
from ..nn import Parameter
from ..nn.checks import real

Array = Any

TINY = 1e-6  # keeps a gradient of 0 from dividing by 0, as in PyTorch


def clip_grad_norm(params: Iterable[Parameter], max_norm: float) -> Array:
    """Shrink all gradients together so that their common norm is at most max_norm; the direction stays.

        norm = sqrt(sum of dw**2 over every element of every Parameter)
        dw = dw * min(1, max_norm / (norm + 1e-6))                          in place

    params: those whose gradients are meant (model.parameters()); one without a gradient is left out. max_norm: > 0.

    Returns the norm before clipping, one float64 where the gradients are: on a GPU it is not waited for, and
    `float(norm)` would. Squares are summed in float64, so that the norm of finite float32 gradients is finite. A NaN
    or an infinity among them makes NaN of all: the Trainer finds it in the weights.

    PyTorch's nn.utils.clip_grad_norm_ with norm_type 2. Raises ValueError and TypeError for a wrong number or what is
    no Parameter, RuntimeError where there is no gradient.
    """
    if real(max_norm, "clip_grad_norm", "max_norm") <= 0:
        raise ValueError(f"clip_grad_norm expected max_norm > 0, got {max_norm!r}")
    gradients = _gradients(params, "clip_grad_norm")
    xp = device.array_module(gradients[0])
    norm = xp.sqrt(sum(xp.square(dw, dtype=np.float64).sum() for dw in gradients))
    factor = xp.minimum(max_norm / (norm + TINY), 1)
    factors = {dtype: factor.astype(dtype) for dtype in {dw.dtype for dw in gradients}}
    for dw in gradients:
        dw *= factors[dw.dtype]  # by 1 too, which changes no bit: to ask first would wait for the GPU
    return norm


def clip_grad_value(params: Iterable[Parameter], limit: float) -> None:
    """Bring each element of the gradients into [-limit, limit], by itself; the direction may change.

        dw = max(-limit, min(limit, dw))                                    in place

    params: as of `clip_grad_norm`. limit: > 0. A NaN stays one.

    PyTorch's nn.utils.clip_grad_value_. Raises as `clip_grad_norm`.
    """
    if real(limit, "clip_grad_value", "limit") <= 0:
        raise ValueError(f"clip_grad_value expected limit > 0, got {limit!r}")
    for dw in _gradients(params, "clip_grad_value"):
        device.array_module(dw).clip(dw, -float(limit), float(limit), out=dw)


def _gradients(params: Iterable[Parameter], what: str) -> list[Array]:
    """The gradients that there are, of one device, each once."""
    # A Tensor can be iterated too, row by row, which nobody means here.
    listed = [] if isinstance(params, Tensor) or not isinstance(params, Iterable) else list(params)
    if not listed or not all(isinstance(parameter, Parameter) for parameter in listed):
        raise TypeError(f"{what} expected Parameters, got {params!r:.80}: pass model.parameters()")
    once = {id(parameter): parameter for parameter in listed}
    gradients = [parameter.grad for parameter in once.values() if parameter.grad is not None]
    if not gradients:
        raise RuntimeError(f"{what} found no gradients: call loss.backward() first")
    device.check_same(gradients, what)
    return gradients
