"""Schedules: the learning rate as a function of the epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..nn.checks import positive, real
from ..ops.checks import is_whole
from .optimizer import Optimizer


class Schedule:
    """Sets an optimizer's learning rate after each epoch; a subclass writes `lr_at`.

    optimizer: its lr at construction becomes `base_lr`, the rate of epoch 0.
    The Trainer calls `step` once after each epoch; a loop of your own has to do the same.
    """

    setting_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.base_lr = optimizer.lr
        self.epoch = 0

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} has no lr_at")

    def step(self) -> None:
        """An epoch is over: give the optimizer the next one's learning rate."""
        self.optimizer.lr = self.lr_at(self.epoch + 1)
        self.epoch += 1

    def state_dict(self) -> dict[str, Any]:
        """The epochs done, the first learning rate and the settings, as numbers."""
        settings = {name: getattr(self, name) for name in self.setting_names}
        return {"epoch": self.epoch, "base_lr": self.base_lr, **settings}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; raises as `check_state_dict`, and then nothing has been changed.

        The optimizer's learning rate is part of the optimizer's own state.
        """
        self.check_state_dict(values)
        self.epoch, self.base_lr = int(values["epoch"]), float(values["base_lr"])

    def check_state_dict(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError or TypeError, saying why, if `load_state_dict` would refuse these values."""
        kind = type(self).__name__
        if values.keys() != self.state_dict().keys():
            raise ValueError(f"{kind} expected the state {sorted(self.state_dict())}, got {sorted(values)}")
        if not is_whole(values["epoch"]) or values["epoch"] < 0 or real(values["base_lr"], kind, "base_lr") < 0:
            raise ValueError(f"{kind} expected epoch and base_lr >= 0, got {values['epoch']!r}, {values['base_lr']!r}")
        for name in self.setting_names:
            if values[name] != getattr(self, name):
                raise ValueError(
                    f"{kind} was saved with {name}={values[name]!r} and has {name}={getattr(self, name)!r}: resume "
                    "with the same; for another schedule load first, then make a new schedule and a new Trainer"
                )


class CosineAnnealingLR(Schedule):
    """The learning rate falls from its first value to eta_min along half a cosine: slowly, faster, slowly.

        lr(epoch) = eta_min + (base_lr - eta_min) / 2 * (1 + cos(pi * epoch / T_max))

    T_max: the number of epochs of the fall, >= 1; usually all that will be trained. After it the cosine rises again.
    eta_min: in [0, base_lr]. The last epoch trains with lr(T_max - 1), which is above it.

    PyTorch's name and meaning, stepped once an epoch. Raises ValueError and TypeError for a wrong number.
    Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", section 3, equation 5,
    without the restarts.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__(optimizer)
        self.T_max = positive(T_max, "CosineAnnealingLR", "T_max")
        self.eta_min = real(eta_min, "CosineAnnealingLR", "eta_min")
        if not 0 <= self.eta_min <= self.base_lr:
            raise ValueError(f"CosineAnnealingLR expected eta_min in [0, lr={self.base_lr}], got {eta_min!r}")

    def lr_at(self, epoch: int) -> float:
        """The formula above."""
        return self.eta_min + (self.base_lr - self.eta_min) / 2 * (1 + math.cos(math.pi * epoch / self.T_max))


class MultiStepLR(Schedule):
    """The learning rate falls to gamma times what it was at each milestone, and stays there until the next.

        lr(epoch) = base_lr * gamma ** (how many milestones are <= epoch)

    milestones: epochs >= 1, rising: the first ones that are trained with the next rate. gamma: > 0.

    PyTorch's name and meaning, stepped once an epoch. Raises ValueError and TypeError for a wrong number.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("milestones", "gamma")

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.milestones = [positive(epoch, "MultiStepLR", "each milestone") for epoch in milestones]
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"MultiStepLR expected milestones that rise, got {self.milestones}")
        self.gamma = real(gamma, "MultiStepLR", "gamma")
        if self.gamma <= 0:
            raise ValueError(f"MultiStepLR expected gamma > 0, got {gamma!r}")

    def lr_at(self, epoch: int) -> float:
        """The formula above."""
        return self.base_lr * self.gamma ** sum(milestone <= epoch for milestone in self.milestones)
