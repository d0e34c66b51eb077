"""Gradient descent, with or without momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from .. import kernels
from ..nn import Parameter
from ..nn.checks import flag, real
from .optimizer import Optimizer

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

    setting_names: ClassVar[tuple[str, ...]] = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.momentum = real(momentum, "SGD", "momentum")
        self.nesterov = flag(nesterov, "SGD", "nesterov")
        self.weight_decay = real(weight_decay, "SGD", "weight_decay")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"SGD expected momentum in [0, 1), got {momentum!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD expected momentum > 0 with nesterov=True, got momentum=0: use momentum=0.9")
        if self.weight_decay < 0:
            raise ValueError(f"SGD expected weight_decay >= 0, got {weight_decay!r}")

    @property
    def state_names(self) -> tuple[str, ...]:
        """The velocity, which only momentum needs."""
        return ("velocity",) if self.momentum else ()

    def update(self, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        velocities = state["velocity"] if self.momentum else None
        settings = (self.lr, self.momentum, self.nesterov, self.weight_decay)
        kernels.room(*ws, *dws).sgd_update(ws, dws, velocities, *settings)
