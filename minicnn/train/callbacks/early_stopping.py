"""EarlyStopping: the end of a run that no longer gets better."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...nn.checks import flag, positive
from ...ops.checks import is_whole
from .callback import Callback, only_looks
from .monitor import Monitor

if TYPE_CHECKING:
    from ..trainer import Trainer

Array = Any
WEIGHTS, AVERAGES = "weights.", "averages."


class EarlyStopping(Callback):
    """Ends the run when a number has not become better for so long, and puts back the weights it was best with.

    monitor: the number's name in the record of an epoch. mode: "min" where smaller is better, "max" for an accuracy.
    patience: how many measurements in a row without a better value end the run, >= 1. An epoch without validation is
        none of a "val_...", nor is one that measured NaN, of which the Trainer warns.
    min_delta: by how much a better value has to be better, >= 0.
    restore: whether the run ends with the weights (and averages) of its best epoch. Only a run that is ended here does.

    The best weights are in every checkpoint, beside the current ones. A run that was ended stays ended, also when it is
    resumed: to train on, make the Trainer with an EarlyStopping of more patience, which still knows them, or without.

    Raises TypeError and ValueError for a wrong setting, and where the record lacks the number.
    Source: Prechelt 1998, "Early stopping - but when?", section 2.2, criterion UP.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        mode: str = "min",
        min_delta: float = 0.0,
        restore: bool = True,
    ) -> None:
        self.monitor = Monitor(monitor, mode, min_delta, "EarlyStopping")
        self.patience = positive(patience, "EarlyStopping", "patience")
        self.restore = flag(restore, "EarlyStopping", "restore")
        self.waited = 0  # measurements without a better value, in a row
        self._best: dict[str, Array] = {}

    def on_fit_begin(self, trainer: Trainer) -> None:
        """A run that was ended is not trained on, and one whose record will lack the number is not begun."""
        self.monitor.check(trainer.recorded)
        if self.waited >= self.patience:
            warnings.warn(
                f"EarlyStopping ended this run after epoch {trainer.epoch}, and nothing is trained: "
                "to go on, make the Trainer with an EarlyStopping of more patience, or without",
                stacklevel=3,
            )
            trainer.stop()

    @only_looks
    def on_epoch_end(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """Keep the weights of a better epoch; count the others."""
        better = self.monitor.improves(record)
        if better is None:
            return
        self.waited = 0 if better else self.waited + 1
        if better and self.restore:
            self._best = _weights_of(trainer)
        if self.waited >= self.patience:
            trainer.stop(then=lambda: self._put_back(trainer))

    def _put_back(self, trainer: Trainer) -> None:
        """Give model and average the values of the best epoch."""
        weights, averages = _of_kind(self._best, WEIGHTS), _of_kind(self._best, AVERAGES)
        if weights:
            trainer.model.load_state_dict(weights)
        if averages and trainer.average is not None:
            trainer.average.load_state_dict(averages)

    def state_dict(self) -> dict[str, Any]:
        """The best value and of which number, how long ago it was, and the weights."""
        return {**self.monitor.state_dict(), "waited": self.waited, **self._best}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """As of every callback."""
        if not is_whole(values["waited"]) or values["waited"] < 0:
            raise ValueError(f"EarlyStopping expected waited >= 0, got {values['waited']!r}")
        self.monitor.load_state_dict(values)
        self.waited = values["waited"]
        self._best = {name: array for name, array in values.items() if name.startswith((WEIGHTS, AVERAGES))}


def _weights_of(trainer: Trainer) -> dict[str, Array]:
    """Copies of the weights, where they are, and of the averages."""
    weights = {f"{WEIGHTS}{name}": array for name, array in trainer.model.state_dict().items()}
    averages = {} if trainer.average is None else trainer.average.state_dict()
    return weights | {f"{AVERAGES}{name}": array for name, array in averages.items()}


def _of_kind(best: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """What stands under the prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in best.items() if name.startswith(prefix)}
