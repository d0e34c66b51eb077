"""AdamW: Adam with a weight decay that is one."""

from __future__ import annotations

from typing import ClassVar

from .adam import Adam
from .optimizer import Params


class AdamW(Adam):
    """Adam, with each weight drawn to 0 by a fixed part of itself, beside the step and not through it.

        average, square_average and delta as in Adam, with g = dw
        w = w - lr * (delta + weight_decay * w)

    In Adam the decay is divided by the size of the gradient like the rest: weights with large gradients hardly decay.
    Here all of them decay at one rate. In SGD there is no difference.

    lr, betas, eps: as in Adam. weight_decay: >= 0. As in PyTorch lr is a factor of the decay too; in the paper only
    the schedule's part of lr is.

    Raises ValueError and TypeError for a wrong number.
    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
    """

    decoupled: ClassVar[bool] = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
