"""RMSprop: each gradient divided by its usual size of late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import kernels
from ..nn.checks import flag
from .groups import ParameterGroup, Rule, above_0, at_least_0, below_1
from .optimizer import Optimizer, Params

Array = Any


class RMSprop(Optimizer):
    """Divide each gradient by the root of the running mean of its squares.

        g = dw + weight_decay * w
        square_average = alpha * square_average + (1 - alpha) * g**2                 (0 before the first step)
        delta = g / (sqrt(square_average) + eps)
        velocity = momentum * velocity + delta                                       (0 before the first step)
        w = w - lr * velocity

    Centred, it is divided by the standard deviation of the gradient instead, which is smaller where the gradient keeps
    its direction:

        average = alpha * average + (1 - alpha) * g                                  (0 before the first step)
        delta = g / (sqrt(square_average - average**2) + eps)

    lr: > 0. alpha: in [0, 1), how much of an average is kept. eps: > 0, keeps the division finite. momentum: in [0, 1).
    weight_decay: >= 0, as in SGD. The averages begin with zeros and are not corrected for it, as Adam's are, so the
    first step moves every weight by lr / sqrt(1 - alpha), ten times as far as a later one.

    Raises ValueError and TypeError for a wrong number.
    Sources: Tieleman and Hinton 2012, "Neural Networks for Machine Learning", lecture 6.5; Graves 2013, "Generating
    Sequences With Recurrent Neural Networks", equations 38 to 45 (centred). eps stands outside of the root, as in
    PyTorch.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": at_least_0,
        "alpha": below_1,
        "eps": above_0,
        "weight_decay": at_least_0,
        "momentum": below_1,
        "centered": flag,
    }
    kept: ClassVar[tuple[str, ...]] = ("square_average", "average", "velocity")

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        others = {"alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered}
        super().__init__(params, lr, others)

    def state_names(self, group: ParameterGroup) -> tuple[str, ...]:
        """The running average of g**2, that of g if centred, and with momentum the velocity."""
        average, velocity = ("average",) * group.centered, ("velocity",) * (group.momentum > 0)
        return ("square_average", *average, *velocity)

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        kept = (state["square_average"], state.get("average"), state.get("velocity"))
        settings = (group.lr, group.alpha, group.eps, group.momentum, group.weight_decay)
        kernels.room(*ws, *dws).rmsprop_update(ws, dws, *kept, *settings)
