"""BestCheckpoint: the file of the best epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..._files import PathLike
from .callback import FileCallback, only_looks
from .monitor import Monitor

if TYPE_CHECKING:
    from ..trainer import Trainer


class BestCheckpoint(FileCallback):
    """Saves the Trainer whenever a number of the record is better than in all epochs before, over what stands there.

    path: the file, another one than fit's `checkpoint`, which is of the last epoch. monitor: the number's name. mode:
    "min" where smaller is better, "max" for an accuracy.

    Put it behind the other callbacks: its file has their states as they are then.
    Raises TypeError and ValueError for a wrong setting, and where the record lacks the number; OSError as `save`.
    """

    what = "the best checkpoint"

    def __init__(self, path: PathLike, monitor: str = "val_loss", mode: str = "min") -> None:
        super().__init__(path)
        self.monitor = Monitor(monitor, mode, 0.0, "BestCheckpoint")

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Take the file, if there is going to be something to save."""
        self.monitor.check(trainer.recorded)
        super().on_fit_begin(trainer)

    @only_looks
    def on_epoch_end(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """Save what is better."""
        if self.monitor.improves(record):
            trainer.save(self.path)

    def state_dict(self) -> dict[str, Any]:
        """The best value, and of which number."""
        return self.monitor.state_dict()

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """As of every callback."""
        self.monitor.load_state_dict(values)
