"""Gradient descent, with or without momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import kernels
from ..nn.checks import flag
from .groups import ParameterGroup, Rule, Settings, at_least_0, below_1
from .optimizer import Optimizer, Params

Array = Any


class SGD(Optimizer):
    """Stochastic gradient descent: a step against the gradient of one batch.

        g = dw + weight_decay * w
        velocity = momentum * velocity + g                       (0 before the first step)
        w = w - lr * velocity                                    with nesterov: w - lr * (g + momentum * velocity)

    Without momentum: w = w - lr * g.

    lr: > 0. momentum: in [0, 1), usually 0.9: how much of the last direction is kept. In a constant slope the steps
    grow to lr / (1 - momentum) times the gradient. nesterov: look ahead along the velocity; needs momentum.
    weight_decay: >= 0, pulls every weight to 0 (the gradient of weight_decay / 2 * |w|**2).

    The learning rate stands outside the velocity, as in PyTorch; where it stands inside, changing it acts later.
    Raises ValueError and TypeError for a wrong number.

    Sources: Robbins and Monro 1951; Polyak 1964 (momentum); Sutskever, Martens, Dahl and Hinton 2013, "On the
    importance of initialization and momentum in deep learning", section 2, equations 1 to 4 (both forms);
    Krogh and Hertz 1991 (weight decay).
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": at_least_0,
        "momentum": below_1,
        "nesterov": flag,
        "weight_decay": at_least_0,
    }
    kept: ClassVar[tuple[str, ...]] = ("velocity",)

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay})

    @classmethod
    def checked(cls, settings: Settings) -> Settings:
        """As of every Optimizer; and there is nothing to look ahead along without momentum."""
        kept = super().checked(settings)
        if kept["nesterov"] and kept["momentum"] == 0:
            raise ValueError("SGD expected momentum > 0 with nesterov=True, got momentum=0: use momentum=0.9")
        return kept

    def state_names(self, group: ParameterGroup) -> tuple[str, ...]:
        """The velocity, which only momentum needs."""
        return self.kept if group.momentum else ()

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        settings = (group.lr, group.momentum, group.nesterov, group.weight_decay)
        kernels.room(*ws, *dws).sgd_update(ws, dws, state.get("velocity"), *settings)
