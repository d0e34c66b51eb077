"""Monitor: whether a number of the record is better than it ever was."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ...nn.checks import real

DIRECTIONS = {"loss": "min", "accuracy": "max"}  # what is known of a name by its end


class Monitor:
    """Watches one number of the Trainer's record of an epoch.

        better, mode "min":    value < best - min_delta
        better, mode "max":    value > best + min_delta

    name: its key, "val_loss" say. mode: "min" where smaller is better, else "max". min_delta: >= 0. owner: for errors.

    Raises TypeError and ValueError for anything else, and for a loss that shall become large or an accuracy small.
    """

    def __init__(self, name: str, mode: str, min_delta: float, owner: str) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f'{owner} expected monitor to be a name like "val_loss", got {name!r}')
        if mode not in ("min", "max"):
            raise ValueError(f'{owner} expected mode to be "min" or "max", got {mode!r}')
        for end, direction in DIRECTIONS.items():
            if name.endswith(end) and mode != direction:
                raise ValueError(f'{owner} got mode="{mode}" for {name}: use mode="{direction}"')
        if real(min_delta, owner, "min_delta") < 0:
            raise ValueError(f"{owner} expected min_delta >= 0, got {min_delta!r}")
        self.name, self.mode, self.min_delta, self.owner = name, mode, float(min_delta), owner
        self.best: float | None = None

    def check(self, names: Collection[str]) -> None:
        """Raise ValueError where the record of an epoch, with these names, has no such number."""
        if self.name not in names:
            raise ValueError(
                f"{self.owner} monitors {self.name!r}, and the record has {', '.join(names)}: "
                "give fit a validation set (for a val_...), or monitor one of these"
            )

    def improves(self, record: Mapping[str, float]) -> bool | None:
        """Whether the number in this record is the best so far, which it then is; None where it was not measured.

        Raises as `check`.
        """
        self.check(record)
        value = float(record[self.name])
        if math.isnan(value):
            return None
        sign = 1 if self.mode == "min" else -1
        if self.best is not None and sign * value >= sign * self.best - self.min_delta:
            return False
        self.best = value
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best value, and of which number it is."""
        return {"monitor": self.name, "mode": self.mode, "best": self.best}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Take over the best value of another run, which may be infinite; raises for one of another number, or for
        what is none. At first a state did not say of which number it is: that is then taken to be this one."""
        name, mode = values.get("monitor", self.name), values.get("mode", self.mode)
        if (name, mode) != (self.name, self.mode):
            raise ValueError(
                f"{self.owner} was saved with monitor={name!r}, mode={mode!r} and has monitor={self.name!r}, "
                f"mode={self.mode!r}: give the Trainer the same callbacks in the same order, or none of this class"
            )
        best = values["best"]
        if best is not None and not (isinstance(best, float) and math.isinf(best)):
            best = real(best, self.owner, "best")
        self.best = best
