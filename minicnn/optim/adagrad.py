"""Adagrad: a learning rate for each weight, which falls with all the gradients that it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import kernels
from .groups import ParameterGroup, Rule, above_0, at_least_0
from .optimizer import Optimizer, Params

Array = Any


class Adagrad(Optimizer):
    """Divide each gradient by the root of the sum of all its squares so far.

        g = dw + weight_decay * w
        square_sum = square_sum + g**2                                               (0 before the first step)
        w = w - lr * g / (sqrt(square_sum) + eps)

    The first step moves every weight by lr, whatever its gradient; in a constant slope the n-th one by lr / sqrt(n).
    A weight that is seldom needed still takes large steps when it is. But the sum never falls, and so the steps die
    away: what RMSprop and Adadelta mend.

    lr: > 0. eps: > 0, keeps the division finite. weight_decay: >= 0, as in SGD. PyTorch's lr_decay is left to a
    schedule.

    Raises ValueError and TypeError for a wrong number.
    Source: Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", section 1.1, equation 1, with the diagonal alone.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"lr": at_least_0, "eps": above_0, "weight_decay": at_least_0}
    kept: ClassVar[tuple[str, ...]] = ("square_sum",)  # of g**2

    def __init__(self, params: Params, lr: float = 0.01, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr, {"eps": eps, "weight_decay": weight_decay})

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        settings = (group.lr, group.eps, group.weight_decay)
        kernels.room(*ws, *dws).adagrad_update(ws, dws, state["square_sum"], *settings)
