"""Schedule: what all schedules share. It counts, sets the rates that belong to the count, and saves where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from ...nn.checks import real
from ...ops.checks import is_whole
from ..optimizer import Optimizer

# Of optimizers whose schedule begins with other rates than it found: those it has set, and those it found.
_begun: WeakKeyDictionary[Optimizer, tuple[list[float], list[float]]] = WeakKeyDictionary()


class Schedule:
    """Sets an optimizer's learning rates, that of each of its groups, as training goes on; a subclass writes `lr_at`.

    optimizer: its groups' rates at construction become `base_lrs`. Where a schedule made just before has changed them
        already, as a warm-up does, those that it found.

    count: how often it was stepped. What it counts it does not know: the Trainer steps it once after each epoch, or
    after each step of the optimizer, as its schedule_interval says; a loop of your own has to do the same.
    """

    setting_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.base_lrs = _found_rates(optimizer)
        self.count = 0

    def lr_at(self, count: int, base_lr: float) -> float:
        """The learning rate after `count` steps of the schedule, of a group whose base rate is base_lr."""
        raise NotImplementedError(f"{type(self).__name__} has no lr_at")

    def apply(self, count: int) -> None:
        """Give the optimizer what belongs to that count: here each group its rate."""
        for group, base_lr in zip(self.optimizer.groups, self.base_lrs, strict=True):
            group.lr = self.lr_at(count, base_lr)

    def begin(self) -> None:
        """What a constructor ends with if the first rates are not those that it found: sets them."""
        found = _found_rates(self.optimizer)
        self.apply(0)
        _begun[self.optimizer] = [group.lr for group in self.optimizer.groups], found

    def step(self, metrics: Mapping[str, float] | None = None) -> None:
        """An epoch, or a step, is over: give the optimizer what belongs to the next one.

        metrics: what was measured in it by name, the Trainer's record; only `ReduceLROnPlateau` looks at it.
        """
        self.apply(self.count + 1)
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """The count, the base rates and the settings: numbers, names and lists of them, which JSON can hold."""
        settings = {name: getattr(self, name) for name in self.setting_names}
        return {"count": self.count, "base_lrs": list(self.base_lrs), **settings}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; raises as `check_state_dict`, and then nothing has been changed.

        The optimizer's learning rates are part of the optimizer's own state.
        """
        self.check_state_dict(values)
        values = _of_today(values)
        self.count, self.base_lrs = int(values["count"]), [float(base_lr) for base_lr in values["base_lrs"]]

    def check_state_dict(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError or TypeError, saying why, if `load_state_dict` would refuse these values."""
        kind, values = type(self).__name__, _of_today(values)
        if values.keys() != self.state_dict().keys():
            raise ValueError(f"{kind} expected the state {sorted(self.state_dict())}, got {sorted(values)}")
        if not is_whole(values["count"]) or values["count"] < 0:
            raise ValueError(f"{kind} expected count >= 0, got {values['count']!r}")
        rates, groups = values["base_lrs"], len(self.base_lrs)
        if not isinstance(rates, list) or len(rates) != groups or any(real(r, kind, "base_lrs") < 0 for r in rates):
            raise ValueError(f"{kind} expected base_lrs to be a list of {groups} numbers >= 0, got {rates!r}")
        for name in self.setting_names:
            if values[name] != getattr(self, name):
                raise ValueError(
                    f"{kind} was saved with {name}={values[name]!r} and has {name}={getattr(self, name)!r}: resume "
                    "with the same; for another schedule load first, then make a new schedule and a new Trainer"
                )


def _found_rates(optimizer: Optimizer) -> list[float]:
    """The rates of the groups; those from before, if they are still the ones with which another schedule begins."""
    now = [group.lr for group in optimizer.groups]
    begun, found = _begun.get(optimizer, (now, now))
    return list(found) if now == begun else now


def _of_today(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schedule's state in today's form: at first it held an "epoch", and the "base_lr" of one group."""
    values = dict(values)
    if "epoch" in values:
        values["count"] = values.pop("epoch")
    if "base_lr" in values:
        values["base_lrs"] = [values.pop("base_lr")]
    return values
