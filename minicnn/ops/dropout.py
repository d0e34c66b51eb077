"""Dropout with a mask that can be drawn again."""

import numbers
from typing import Any

from .. import _random, kernels
from .._function import Function
from .._tensor import Tensor
from .checks import check_float, is_whole

Array = Any


class Dropout(Function):
    """See `dropout`."""

    def __init__(self, p: float, seed: int, layer: int, step: int, first_sample: int) -> None:
        self.draw = (p, seed, layer, step, first_sample)

    def forward(self, x: Array) -> Array:
        return kernels.room(x).dropout_forward(x, *self.draw)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        # The mask is a function of numbers: it is drawn again instead of being kept.
        return (kernels.room(dy).dropout_backward(dy, *self.draw),)


def dropout(
    x: Tensor, p: float = 0.5, layer: int = 0, step: int = 0, first_sample: int = 0, seed: int | None = None
) -> Tensor:
    """Set each element to 0 with probability p and multiply the others by 1 / (1 - p); x of any shape (N, ...).

    Forward: y = x * mask / (1 - p). Backward: dx = dy * mask / (1 - p).

    The mask is Philox4x32-10 of (seed, layer, step, first_sample + n, element): the same numbers give the same
    mask on every device and after a resume, so a layer must count its steps (`nn.Dropout` does). `first_sample` is the
    number of x[0] within the whole batch. seed None takes the one that `mc.seed` set.

    Raises ValueError unless 0 <= p < 1. Source: Srivastava et al. 2014, section 10 (the scaling at training time).
    """
    check_float(x, "dropout")
    if isinstance(p, bool) or not isinstance(p, numbers.Real) or not 0 <= p < 1:
        raise ValueError(f"dropout expected a probability 0 <= p < 1, got {p!r}")
    seed = _random.current_seed() if seed is None else seed
    counts = {"layer": layer, "step": step, "first_sample": first_sample}
    for name, value in counts.items():
        if not is_whole(value) or not 0 <= value < 2**32:
            raise ValueError(f"dropout expected {name} to be a whole number from 0 to 2**32 - 1, got {value!r}")
    if not is_whole(seed) or not 0 <= seed < 2**64:
        raise ValueError(f"dropout expected seed to be a whole number from 0 to 2**64 - 1, got {seed!r}")
    if x.ndim == 0:
        raise ValueError("dropout expected an array of at least one axis (N, ...)")
    return x if p == 0 or x.size == 0 else Dropout(float(p), int(seed), int(layer), int(step), int(first_sample))(x)
