"""Adadelta: a step size for each weight, from the size of its past gradients and past steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import kernels
from .groups import ParameterGroup, Rule, above_0, at_least_0, below_1
from .optimizer import Optimizer, Params

Array = Any


class Adadelta(Optimizer):
    """Divide each gradient by its own running size, and multiply it by the running size of the steps.

        g = dw + weight_decay * w
        square_average = rho * square_average + (1 - rho) * g**2                     (0 before the first step)
        delta = sqrt(update_average + eps) / sqrt(square_average + eps) * g
        update_average = rho * update_average + (1 - rho) * delta**2                 (0 before the first step)
        w = w - lr * delta

    lr: > 0. It is 1.0 because Zeiler's algorithm 1 has no learning rate: delta has the unit of a weight already,
        that is the point of the method. A default of 0.001, which one well-known library has, makes steps a thousand
        times smaller than the paper's and learns almost nothing in the usual number of epochs.
    rho: in [0, 1), how much of the averages is kept. eps: > 0; with both averages at 0 it alone makes the first step,
        of about sqrt(eps / (1 - rho)). weight_decay: >= 0, as in SGD.

    Raises ValueError and TypeError for a wrong number.
    Source: Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method", algorithm 1; rho and eps from section 4.1.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": at_least_0,
        "rho": below_1,
        "eps": above_0,
        "weight_decay": at_least_0,
    }
    kept: ClassVar[tuple[str, ...]] = ("square_average", "update_average")  # of g**2, of delta**2

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.95,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, {"rho": rho, "eps": eps, "weight_decay": weight_decay})

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        averages = (state["square_average"], state["update_average"])
        settings = (group.lr, group.rho, group.eps, group.weight_decay)
        kernels.room(*ws, *dws).adadelta_update(ws, dws, *averages, *settings)
