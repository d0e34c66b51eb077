"""Learning rates that have a formula: in steps, along a line, an exponential or half a cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ...nn.checks import positive
from ..groups import above_0, at_least_0
from ..optimizer import Optimizer
from .schedule import Schedule


class StepLR(Schedule):
    """The learning rate falls to gamma times what it was after every step_size epochs.

        lr(epoch) = base_lr * gamma ** floor(epoch / step_size)

    step_size: >= 1. gamma: > 0.

    PyTorch's name and meaning. Raises ValueError and TypeError for a wrong number.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("step_size", "gamma")

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.step_size = positive(step_size, "StepLR", "step_size")
        self.gamma = above_0(gamma, "StepLR", "gamma")

    def lr_at(self, count: int, base_lr: float) -> float:
        """The formula above."""
        return base_lr * self.gamma ** (count // self.step_size)


class MultiStepLR(Schedule):
    """The learning rate falls to gamma times what it was at each milestone, and stays there until the next.

        lr(epoch) = base_lr * gamma ** (how many milestones are <= epoch)

    milestones: epochs >= 1, rising: the first ones that are trained with the next rate. gamma: > 0.

    PyTorch's name and meaning. Raises ValueError and TypeError for a wrong number.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("milestones", "gamma")

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.milestones = rising(milestones, "MultiStepLR")
        self.gamma = above_0(gamma, "MultiStepLR", "gamma")

    def lr_at(self, count: int, base_lr: float) -> float:
        """The formula above."""
        return base_lr * self.gamma ** sum(milestone <= count for milestone in self.milestones)


class ExponentialLR(Schedule):
    """The learning rate falls to gamma times what it was after every epoch.

        lr(epoch) = base_lr * gamma ** epoch

    gamma: > 0; with 0.955 it falls to a tenth in 50 epochs.

    PyTorch's name and meaning. Raises ValueError and TypeError for a wrong number.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("gamma",)

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        super().__init__(optimizer)
        self.gamma = above_0(gamma, "ExponentialLR", "gamma")

    def lr_at(self, count: int, base_lr: float) -> float:
        """The formula above."""
        return base_lr * self.gamma**count


class LinearLR(Schedule):
    """The learning rate goes along a straight line from one part of the base rate to another: a warm-up.

        lr(epoch) = base_lr * (start_factor + (end_factor - start_factor) * min(epoch, total_iters) / total_iters)

    Large rates with weights that were just drawn can throw a network to where it does not come back from; so a large
    rate is reached in small steps. The optimizer gets the first of them at once.

    start_factor: in (0, 1]. end_factor: in [0, 1]. total_iters: >= 1, the number of epochs, or steps, of the way.

    PyTorch's name and meaning. Raises ValueError and TypeError for a wrong number.
    Source: Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.2.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        super().__init__(optimizer)
        self.start_factor = above_0(start_factor, "LinearLR", "start_factor")
        self.end_factor = at_least_0(end_factor, "LinearLR", "end_factor")
        if max(self.start_factor, self.end_factor) > 1:
            raise ValueError(f"LinearLR expected factors of at most 1, got {start_factor!r} and {end_factor!r}")
        self.total_iters = positive(total_iters, "LinearLR", "total_iters")
        self.begin()

    def lr_at(self, count: int, base_lr: float) -> float:
        """The formula above."""
        part = min(count, self.total_iters) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


class CosineAnnealingLR(Schedule):
    """The learning rate falls from its first value to eta_min along half a cosine: slowly, faster, slowly.

        lr(epoch) = eta_min + (base_lr - eta_min) / 2 * (1 + cos(pi * epoch / T_max))

    T_max: the number of epochs of the fall, >= 1; usually all that will be trained. After it the cosine rises again.
    eta_min: in [0, base_lr]. The last epoch trains with lr(T_max - 1), which is above it.

    PyTorch's name and meaning. Raises ValueError and TypeError for a wrong number.
    Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", section 3, equation 5,
    without the restarts.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__(optimizer)
        self.T_max = positive(T_max, "CosineAnnealingLR", "T_max")
        self.eta_min = at_least_0(eta_min, "CosineAnnealingLR", "eta_min")
        if self.eta_min > min(self.base_lrs):
            raise ValueError(f"CosineAnnealingLR expected eta_min in [0, lr={min(self.base_lrs)}], got {eta_min!r}")

    def lr_at(self, count: int, base_lr: float) -> float:
        """The formula above."""
        return self.eta_min + (base_lr - self.eta_min) / 2 * (1 + math.cos(math.pi * count / self.T_max))


def rising(milestones: Sequence[int], what: str) -> list[int]:
    """Milestones as a list of whole numbers >= 1, each above the one before; what: the schedule, for the error."""
    listed = [positive(count, what, "each milestone") for count in milestones]
    if listed != sorted(set(listed)):
        raise ValueError(f"{what} expected milestones that rise, got {listed}")
    return listed
