"""An epoch under way: how far it has come, and a batch's part in a step."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ops.checks import is_whole
from .metrics import RunningMeans


@dataclass(frozen=True)
class Share:
    """A batch's part in a step of the optimizer, which several batches may make together.

    weight: of the batch's mean loss in the mean over all samples of the step: its samples / all of them.
    """

    weight: float = 1.0
    is_first: bool = True
    is_last: bool = True


ALONE = Share()
DATA = {"samples", "batch_size", "batches", "shuffle", "seed", "accumulate"}  # what `Plan.data` has


class EpochState:
    """How far an epoch has come: what a run that is stopped in its middle needs to go on with its next batch.

    batch: how many batches are done. means: of the loss and the metrics over them. lr: what the last step was made
    with; 0 before the first. data: `Plan.data` of the epoch; {} before it began.
    """

    def __init__(self) -> None:
        self.batch = 0
        self.means = RunningMeans()
        self.lr = 0.0
        self.data: dict[str, int] = {}
        self._seconds, self._began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long this epoch was trained, in all runs that had a part in it."""
        return self._seconds + time.perf_counter() - self._began

    def check(self, data: dict[str, int], measured: Sequence[str]) -> None:
        """Raise ValueError where the epoch began with other data than it shall go on with, or with other metrics: their
        means would be of a part of it. measured: "loss" and the metrics."""
        if self.batch and set(self.means.sums) != set(measured):
            raise ValueError(
                f"the epoch was stopped after batch {self.batch} of {self.data['batches']}, with the metrics "
                f"{', '.join(self.means.sums)}, and cannot go on with {', '.join(measured)}: give the Trainer those "
                "that it began with, and others from the next epoch on"
            )
        if self.batch and (other := [name for name in data if data[name] != self.data[name]]):
            theirs = ", ".join(f"{name}={self.data[name]}" for name in other)
            ours = ", ".join(f"{name}={data[name]}" for name in other)
            raise ValueError(
                f"the epoch was stopped after batch {self.batch} of {self.data['batches']}, with {theirs}, and cannot "
                f"go on with {ours}: give fit the data, batch size, seed and accumulate that it began with"
            )

    def begin(self, data: dict[str, int]) -> None:
        """Start the clock; data: as of `check`."""
        self.data, self._began = data, time.perf_counter()

    def add(self, values: Mapping[str, float], samples: int, lr: float) -> None:
        """A batch is done, with this loss, these metrics and this learning rate."""
        self.batch, self.lr = self.batch + 1, lr
        self.means.add(values, samples)

    def state_dict(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        means = {"sums": self.means.sums, "samples": self.means.samples}
        return {"batch": self.batch, **means, "lr": self.lr, "seconds": self.seconds, "data": self.data}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> EpochState:
        """The state of which `state_dict` was taken; raises KeyError, TypeError or ValueError for something else."""
        state = cls()
        state.batch, state.lr, state.data = values["batch"], float(values["lr"]), dict(values["data"])
        state.means = RunningMeans(values["sums"], values["samples"])
        state._seconds = float(values["seconds"])
        if not (is_whole(state.batch) and is_whole(state.means.samples) and _is_sound(state)):
            raise ValueError(f"wrong: the epoch under way, {dict(values)!r:.100}")
        return state


def _is_sound(state: EpochState) -> bool:
    """Whether an epoch has not begun, or is where it can be, with all that belongs to it."""
    if state.batch == 0:
        return True
    numbers = all(is_whole(number) for number in state.data.values())
    return numbers and set(state.data) == DATA and 0 < state.batch <= state.data["batches"]


def extended(history: Mapping[str, list[float]], epoch: int, record: Mapping[str, float]) -> dict[str, list[float]]:
    """The history with the record of an epoch more, number `epoch` counted from 0; NaN where one has no number."""
    empty, names = [math.nan] * epoch, dict.fromkeys([*history, *record])
    return {name: [*history.get(name, empty), record.get(name, math.nan)] for name in names}
