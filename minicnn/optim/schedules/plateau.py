"""A learning rate that falls when training no longer helps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ...nn.checks import real
from ...ops.checks import is_whole
from ..groups import at_least_0
from ..optimizer import Optimizer
from .schedule import Schedule


class ReduceLROnPlateau(Schedule):
    """Multiplies the learning rates by `factor` when a number has not become better for more than `patience` epochs.

        better, mode "min":    value < best * (1 - threshold)    "rel"        value < best - threshold    "abs"
        better, mode "max":    value > best * (1 + threshold)                 value > best + threshold

        lr = max(lr * factor, min_lr)                     a rate that is below min_lr already stays

    It stands for the person who looks at the curve and divides the rate by 10 when it no longer moves.

    monitor: the name in the Trainer's record of an epoch. mode: "min" for a loss, "max" for an accuracy.
    factor: in (0, 1). patience: how many epochs in a row may go by without a better value, >= 0.
    threshold, threshold_mode: what counts as better, >= 0. cooldown: for so many epochs after a reduction none is
    counted, >= 0. min_lr: >= 0, below which no rate falls.

    An epoch whose value is NaN was not validated and does not count; the Trainer warns where it was.

    PyTorch's name and meaning; there NaN counts as not better. Raises ValueError and TypeError for a wrong setting, and
    when it is stepped, or `fit` begins, without the number it monitors.
    Source: Krizhevsky et al. 2012, section 5, describes the rule as it was followed by hand.
    """

    setting_names: ClassVar[tuple[str, ...]] = (
        "monitor", "mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr",
    )  # fmt: skip

    def __init__(
        self,
        optimizer: Optimizer,
        monitor: str = "val_loss",
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(optimizer)
        if not isinstance(monitor, str) or not monitor:
            raise TypeError(f'ReduceLROnPlateau expected monitor to be a name like "val_loss", got {monitor!r}')
        self.monitor = monitor
        self.mode = _one_of(mode, "mode", ("min", "max"))
        self.factor = real(factor, "ReduceLROnPlateau", "factor")
        if not 0 < self.factor < 1:
            raise ValueError(f"ReduceLROnPlateau expected factor in (0, 1), got {factor!r}")
        self.patience = _count(patience, "patience")
        self.threshold = at_least_0(threshold, "ReduceLROnPlateau", "threshold")
        self.threshold_mode = _one_of(threshold_mode, "threshold_mode", ("rel", "abs"))
        self.cooldown = _count(cooldown, "cooldown")
        self.min_lr = at_least_0(min_lr, "ReduceLROnPlateau", "min_lr")
        self.best: float | None = None
        self.bad = 0  # epochs without a better value, in a row
        self.cooling = 0  # epochs in which none is counted

    def step(self, metrics: Mapping[str, float] | None = None) -> None:
        """An epoch is over, with these metrics: reduce the rates if it is time to."""
        value = self._monitored(metrics)
        self.count += 1
        if math.isnan(value):
            return
        if self._is_better(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad > self.patience:
            for group in self.optimizer.groups:
                group.lr = min(group.lr, max(group.lr * self.factor, self.min_lr))
            self.cooling, self.bad = self.cooldown, 0

    def check_record(self, names: Iterable[str]) -> None:
        """Raise as `step` would, before anything is trained; names: of the numbers that a record is going to have."""
        self._monitored(dict.fromkeys(names, math.nan))

    def _monitored(self, metrics: Mapping[str, float] | None) -> float:
        if not isinstance(metrics, Mapping) or self.monitor not in metrics:
            there = ", ".join(map(str, metrics)) if isinstance(metrics, Mapping) else type(metrics).__name__
            raise ValueError(
                f"ReduceLROnPlateau monitors {self.monitor!r}, and got {there or 'nothing'}: give fit a "
                "validation set (for a val_...), or monitor what is there"
            )
        return float(metrics[self.monitor])

    def _is_better(self, value: float) -> bool:
        """The formula above; the first number is better than none."""
        if self.best is None or not math.isfinite(value):
            return math.isfinite(value)
        step = self.threshold if self.mode == "max" else -self.threshold
        bound = self.best * (1 + step) if self.threshold_mode == "rel" else self.best + step
        return value > bound if self.mode == "max" else value < bound

    def state_dict(self) -> dict[str, Any]:
        """As of every schedule, with the best value and the two counters."""
        return {**super().state_dict(), "best": self.best, "bad": self.bad, "cooling": self.cooling}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """As of every schedule."""
        super().load_state_dict(values)
        self.best = None if values["best"] is None else float(values["best"])
        self.bad, self.cooling = int(values["bad"]), int(values["cooling"])

    def check_state_dict(self, values: Mapping[str, Any]) -> None:
        """As of every schedule."""
        super().check_state_dict(values)
        _count(values["bad"], "bad")
        _count(values["cooling"], "cooling")
        if values["best"] is not None:
            real(values["best"], "ReduceLROnPlateau", "best")


def _one_of(value: Any, name: str, choices: tuple[str, str]) -> str:
    if value not in choices:
        raise ValueError(f'ReduceLROnPlateau expected {name} to be "{choices[0]}" or "{choices[1]}", got {value!r}')
    return str(value)


def _count(value: Any, name: str) -> int:
    if not is_whole(value):
        raise TypeError(f"ReduceLROnPlateau expected {name} to be a whole number >= 0, got {value!r}")
    if value < 0:
        raise ValueError(f"ReduceLROnPlateau expected {name} to be a whole number >= 0, got {value!r}")
    return int(value)
