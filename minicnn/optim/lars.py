"""LARS: a learning rate for each layer, for large batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import kernels
from .groups import ParameterGroup, Rule, above_0, at_least_0, below_1
from .optimizer import Optimizer, Params

Array = Any


def _above_0_or_none(value: Any, optimizer: str, name: str) -> float | None:
    return None if value is None else above_0(value, optimizer, name)


class LARS(Optimizer):
    """Gradient descent with momentum, where a step changes the weights of each Parameter by a like part of their size.

        trust = trust_coefficient * |w| / (|dw| + weight_decay * |w|)
        velocity = momentum * velocity + lr * trust * (dw + weight_decay * w)        (0 before the first step)
        w = w - velocity

    |w| is the root of the sum of the squares of a whole Parameter. A batch of thousands allows few steps, so they have
    to be long; but what one layer can take throws another one far off, for |w| / |dw| differs by orders of magnitude
    between the layers. With trust every layer moves by about lr * trust_coefficient of its size.

    lr: > 0, the global learning rate. momentum: in [0, 1). weight_decay: >= 0, as in SGD. trust_coefficient: > 0; or
    None, and trust is 1. That is how biases and the Parameters of batch normalisation are mostly trained, which are few
    and small, in a group of their own:

        LARS([{"params": weights}, {"params": others, "trust_coefficient": None, "weight_decay": 0.0}], lr=1.0)

    trust is 1 as well where |w| is 0 or what it is divided by. As in the paper, and unlike in `SGD`, the learning rate
    stands inside the velocity.

    Raises ValueError and TypeError for a wrong number.
    Source: You, Gitman and Ginsburg 2017, "Large Batch Training of Convolutional Networks", algorithm 1.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "lr": at_least_0,
        "momentum": below_1,
        "weight_decay": at_least_0,
        "trust_coefficient": _above_0_or_none,
    }
    kept: ClassVar[tuple[str, ...]] = ("velocity",)

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float | None = 0.001,
    ) -> None:
        others = {"momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient}
        super().__init__(params, lr, others)

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """The formula above, in place."""
        settings = (group.lr, group.momentum, group.weight_decay, group.trust_coefficient)
        kernels.room(*ws, *dws).lars_update(ws, dws, state["velocity"], *settings)
