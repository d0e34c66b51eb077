"""Several schedules, one after the other: a warm-up, and what follows it."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..optimizer import Optimizer
from .decay import rising
from .plateau import ReduceLROnPlateau
from .schedule import Schedule


class SequentialLR(Schedule):
    """Follows one schedule until a milestone, then the next one from its beginning, and so on.

        warm_up = optim.LinearLR(optimizer, start_factor=0.1, total_iters=5)
        fall = optim.CosineAnnealingLR(optimizer, T_max=85)
        schedule = optim.SequentialLR(optimizer, [warm_up, fall], milestones=[5])

    schedules: of this optimizer, made just before this one, stepped by nobody else: all of them go by the rates that
        the optimizer had before the first one was made. No ReduceLROnPlateau, which does not follow a count.
    milestones: counts >= 1, rising: the first ones of the second schedule, of the third ...: one fewer than schedules.

    PyTorch's name and meaning. Raises ValueError and TypeError for what is not so.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("milestones",)

    def __init__(self, optimizer: Optimizer, schedules: Sequence[Schedule], milestones: Sequence[int]) -> None:
        super().__init__(optimizer)
        self.schedules = _checked_schedules(schedules, optimizer)
        self.milestones = rising(milestones, "SequentialLR")
        if len(self.milestones) != len(self.schedules) - 1:
            raise ValueError(
                f"SequentialLR expected one milestone fewer than schedules, got {len(self.milestones)} for "
                f"{len(self.schedules)} schedules"
            )
        self.begin()

    def apply(self, count: int) -> None:
        """Let the schedule whose turn it is set its rates."""
        place = bisect(self.milestones, count)
        own = count - [0, *self.milestones][place]
        self.schedules[place].apply(own)
        self.schedules[place].count = own

    def state_dict(self) -> dict[str, Any]:
        """As of every schedule, with the states of those that it follows."""
        parts = [{"class": type(schedule).__name__, **schedule.state_dict()} for schedule in self.schedules]
        return {**super().state_dict(), "schedules": parts}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """As of every schedule."""
        super().load_state_dict(values)
        for schedule, state in zip(self.schedules, values["schedules"], strict=True):
            schedule.load_state_dict(_without_class(state))

    def check_state_dict(self, values: Mapping[str, Any]) -> None:
        """As of every schedule."""
        super().check_state_dict(values)
        kinds = [type(schedule).__name__ for schedule in self.schedules]
        states = values["schedules"]
        if not isinstance(states, list) or not all(isinstance(state, Mapping) for state in states):
            raise TypeError(f"SequentialLR expected schedules to be a list of states, got {states!r:.80}")
        if (saved := [state.get("class") for state in states]) != kinds:
            raise ValueError(f"SequentialLR of {', '.join(kinds)} cannot use the state of {', '.join(map(str, saved))}")
        for schedule, state in zip(self.schedules, values["schedules"], strict=True):
            schedule.check_state_dict(_without_class(state))


def _without_class(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "class"}


def _checked_schedules(schedules: Sequence[Schedule], optimizer: Optimizer) -> list[Schedule]:
    if not isinstance(schedules, list | tuple) or not schedules:
        raise TypeError(f"SequentialLR expected a list of schedules, got {schedules!r}")
    for schedule in schedules:
        if not isinstance(schedule, Schedule) or isinstance(schedule, ReduceLROnPlateau):
            raise TypeError(f"SequentialLR expected schedules that follow a count, got {type(schedule).__name__}")
        if schedule.optimizer is not optimizer:
            raise ValueError(f"SequentialLR got a {type(schedule).__name__} of another optimizer: make it of this one")
    return list(schedules)
