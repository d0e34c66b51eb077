"""Adam: momentum, divided by the usual size of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import kernels
from .groups import ParameterGroup, Rule, above_0, at_least_0, two_below_1
from .optimizer import Optimizer, Params

Array = Any


class Adam(Optimizer):
    """Divide the running mean of each gradient by the root of the running mean of its squares.

        g = dw + weight_decay * w
        average = beta1 * average + (1 - beta1) * g                                  (0 before the first step)
        square_average = beta2 * square_average + (1 - beta2) * g**2                 (0 before the first step)
        delta = average / (1 - beta1**t) / (sqrt(square_average / (1 - beta2**t)) + eps)
        w = w - lr * delta

    t counts the steps from 1. Since the averages begin with zeros they are too small at first; 1 - beta**t is what the
    weights of the gradients in them add up to, and the quotient is a true mean. No weight moves much further than lr,
    however large its gradient: lr has the unit of a weight.

    lr: > 0. betas: two numbers in [0, 1), how much is kept of the mean and of that of the squares. eps: > 0, keeps the
    division finite. weight_decay: >= 0, added to the gradient as in SGD; being divided with it, it is no longer what it
    is there, which AdamW mends.

    Raises ValueError and TypeError for a wrong number.
    Source: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": at_least_0,
        "betas": two_below_1,
        "eps": above_0,
        "weight_decay": at_least_0,
    }
    kept: ClassVar[tuple[str, ...]] = ("average", "square_average", "steps")  # of g, of g**2; t
    counters: ClassVar[tuple[str, ...]] = ("steps",)
    decoupled: ClassVar[bool] = False  # whether weight decay passes by the averages

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, {"betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        kept = (state["average"], state["square_average"], state["steps"])
        settings = (group.lr, *group.betas, group.eps, group.weight_decay, self.decoupled)
        kernels.room(*ws, *dws).adam_update(ws, dws, *kept, *settings)
