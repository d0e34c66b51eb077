"""The dropout layer, which counts its steps."""

from typing import Any

import numpy as np

from .. import _part, _random
from .. import functional as F
from .._tensor import Tensor
from . import checks
from .module import Module

Array = Any


class Dropout(Module):
    """In training set each element to 0 with probability p and divide the others by 1 - p; in evaluation y = x.

    p: 0 <= p < 1. x: of any shape (N, ...).

    The mask is a function of the seed in force when the layer was made, of the layer's construction number and of
    `counter`, the number of its training steps so far: a buffer that `state_dict` leaves out, as torch has none, and
    that a checkpoint keeps, so that a resumed run goes on with the same masks.

    Raises TypeError and ValueError for a wrong p. Source: Srivastava et al. 2014, sections 4 and 10; see `F.dropout`.
    """

    counter: Array

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = checks.real(p, "Dropout", "p")
        if not 0 <= self.p < 1:
            raise ValueError(f"Dropout expected a probability 0 <= p < 1, got {p!r}")
        self.seed, self.layer = _random.current_seed(), _random.next_construction_number()
        self.register_buffer("counter", np.array(0, np.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        first = _part.current().first  # of several ranks each draws for its samples what one rank would
        y = F.dropout(x, self.p, self.layer, int(self.counter), first, self.seed)
        self.counter[...] += 1
        return y

    def extra_repr(self) -> str:
        return f"p={self.p}"
