"""One cycle: a learning rate that rises far, and falls further."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ...nn.checks import flag, positive, real
from ..groups import ParameterGroup, Settings, above_0, below_1
from ..optimizer import Optimizer
from .schedule import Schedule


class OneCycleLR(Schedule):
    """The learning rate rises from max_lr / div_factor to max_lr, and falls to a far smaller one; momentum does the
    opposite.

        top = pct_start * total_steps - 1,  last = total_steps - 1

        lr(t) = low + (max_lr - low) / 2 * (1 - cos(pi * t / top))                          t <= top
        lr(t) = end + (max_lr - end) / 2 * (1 + cos(pi * (t - top) / (last - top)))         after it

        low = max_lr / div_factor,  end = low / final_div_factor

    A large rate is itself a regulariser, and passes quickly over flat regions; what it cannot learn, small rates at
    the end do. With a large rate less momentum is stable.

    max_lr: the peak, > 0, or a list of one for each of the optimizer's groups; their own rates are not used.
    total_steps: how often it will be stepped, >= 1: mostly all batches of all epochs, with the Trainer's
        schedule_interval="step".
    pct_start: in [0, 1], the part of them in which the rate rises.
    cycle_momentum: whether momentum (of Adam and its kin the first of the betas) goes from max_momentum down to
        base_momentum, and back, along the same halves of a cosine. Both in [0, 1).
    div_factor, final_div_factor: > 0.

    PyTorch's name and meaning, with anneal_strategy="cos". Raises ValueError and TypeError for a wrong number, for an
    optimizer without momentum unless cycle_momentum=False, and when stepped more than total_steps times.

    Sources: Smith and Topin 2018, "Super-convergence: very fast training of neural networks using large learning
    rates"; Smith 2018, "A disciplined approach to neural network hyper-parameters: part 1", section 4.3 (momentum).
    There the rate moves along straight lines.
    """

    setting_names: ClassVar[tuple[str, ...]] = (
        "total_steps", "pct_start", "cycle_momentum", "base_momentum", "max_momentum", "div_factor", "final_div_factor",
    )  # fmt: skip

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int,
        pct_start: float = 0.3,
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        super().__init__(optimizer)
        self.base_lrs = _one_a_group(max_lr, len(self.base_lrs))
        self.total_steps = positive(total_steps, "OneCycleLR", "total_steps")
        self.pct_start = real(pct_start, "OneCycleLR", "pct_start")
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"OneCycleLR expected pct_start in [0, 1], got {pct_start!r}")
        self.cycle_momentum = flag(cycle_momentum, "OneCycleLR", "cycle_momentum")
        self.base_momentum = below_1(base_momentum, "OneCycleLR", "base_momentum")
        self.max_momentum = below_1(max_momentum, "OneCycleLR", "max_momentum")
        self.div_factor = above_0(div_factor, "OneCycleLR", "div_factor")
        self.final_div_factor = above_0(final_div_factor, "OneCycleLR", "final_div_factor")
        if self.cycle_momentum and not {"momentum", "betas"} & set(optimizer.rules):
            raise ValueError(
                f"OneCycleLR found neither momentum nor betas in {type(optimizer).__name__}: use cycle_momentum=False"
            )
        if self.cycle_momentum:
            self._check_momenta()
        self.begin()

    def _check_momenta(self) -> None:
        """Raise ValueError where a group does not take one of them, as Nesterov's needs some: now, since the least one
        is only reached in the middle of the training."""
        for group in self.optimizer.groups:
            for momentum in (self.base_momentum, self.max_momentum):
                self.optimizer.checked({**group.settings, **self._momentum(group, momentum)})

    def _momentum(self, group: ParameterGroup, momentum: float) -> Settings:
        """The setting of a group that holds it."""
        if "momentum" in self.optimizer.rules:
            return {"momentum": momentum}
        return {"betas": (momentum, *group.betas[1:])}

    def lr_at(self, count: int, base_lr: float) -> float:
        """The formula above; base_lr is the peak."""
        low = base_lr / self.div_factor
        return self._between(count, low, base_lr, low / self.final_div_factor)

    def apply(self, count: int) -> None:
        """Set the rate and, if asked to, the momentum of each group."""
        if count > self.total_steps:
            raise ValueError(
                f"OneCycleLR was made for {self.total_steps} steps and is over: make it with the total_steps of the "
                "whole training, counted in what the Trainer's schedule_interval says"
            )
        super().apply(count)
        if not self.cycle_momentum:
            return
        momentum = self._between(count, self.max_momentum, self.base_momentum, self.max_momentum)
        for group in self.optimizer.groups:
            group.assign({**group.settings, **self._momentum(group, momentum)})

    def _between(self, count: int, first: float, middle: float, end: float) -> float:
        """From `first` to `middle`, which is reached at `top`, and on to `end`, along two halves of a cosine."""
        top, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if count <= top:
            return _half_cosine(first, middle, count / top if top > 0 else 1.0)
        # After the last step nothing more is trained: it stays at the end.
        return _half_cosine(middle, end, min(1.0, (count - top) / (last - top)) if last > top else 1.0)


def _half_cosine(start: float, end: float, part: float) -> float:
    """From start (part 0) to end (part 1): slowly, faster, slowly."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))


def _one_a_group(max_lr: float | Sequence[float], groups: int) -> list[float]:
    listed = list(max_lr) if isinstance(max_lr, list | tuple) else [max_lr] * groups
    if len(listed) != groups:
        raise ValueError(f"OneCycleLR expected one max_lr for each of the {groups} groups, got {max_lr!r}")
    return [above_0(rate, "OneCycleLR", "max_lr") for rate in listed]
