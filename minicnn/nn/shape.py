"""Layers that move elements and change none."""

import math

from .. import functional as F
from .._tensor import Tensor
from . import checks
from .module import Module


class Flatten(Module):
    """All axes but the first made one: (N, H, W, C) to (N, H * W * C), in row-major order, channels fastest."""

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"Flatten expected a Tensor, got {type(x).__name__}: wrap arrays with mc.tensor(array)")
        if x.ndim == 0:
            raise ValueError("Flatten expected an array of at least one axis (N, ...)")
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Upsample(Module):
    """Each pixel repeated `scale` times down and across: (N, H, W, C) to (N, H*scale, W*scale, C); see `F.upsample`."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = checks.positive(scale, "Upsample", "scale")

    def forward(self, x: Tensor) -> Tensor:
        return F.upsample(x, self.scale)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"
