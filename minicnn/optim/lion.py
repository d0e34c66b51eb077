"""Lion: steps of one length, along the sign of the momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import kernels
from .groups import ParameterGroup, Rule, at_least_0, two_below_1
from .optimizer import Optimizer, Params

Array = Any


class Lion(Optimizer):
    """Move every weight by lr, up or down.

        direction = sign(beta1 * average + (1 - beta1) * dw)
        w = w - lr * (direction + weight_decay * w)
        average = beta2 * average + (1 - beta2) * dw                                 (0 before the first step)

    The formula was not thought of but found, by a search over programs. The direction looks at the new gradient more
    than the average that is kept does, which is in spirit what Nesterov's form does. One array is kept for each
    Parameter, where Adam keeps two.

    lr: > 0. The paper takes a third to a tenth of AdamW's, since its steps are longer: each is as long as Adam's
    longest. weight_decay: >= 0, decoupled as in AdamW, and then three to ten times as large. betas: two numbers in
    [0, 1).

    Raises ValueError and TypeError for a wrong number.
    Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2; lr and weight_decay from
    section 5.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"lr": at_least_0, "betas": two_below_1, "weight_decay": at_least_0}
    kept: ClassVar[tuple[str, ...]] = ("average",)  # of the gradient

    def __init__(
        self,
        params: Params,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, {"betas": betas, "weight_decay": weight_decay})

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        settings = (group.lr, *group.betas, group.weight_decay)
        kernels.room(*ws, *dws).lion_update(ws, dws, state["average"], *settings)
