"""TensorBoardLog: the history as TensorBoard shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._files import PathLike
from .callback import FileCallback, only_looks

if TYPE_CHECKING:
    from ..trainer import Trainer

SUFFIX = ".minicnn"  # of the names of our own event files


class TensorBoardLog(FileCallback):
    """Writes every number of the history as a scalar of TensorBoard, the epoch being the step.

    folder: of the event files, made if it is missing; `tensorboard --logdir` shows it. Each `fit` begins a new file
    with all epochs so far, and removes those that this class wrote there before: so no epoch stands twice, and what a
    killed run wrote behind its last checkpoint is gone.

    Needs tensorboardX: raises ImportError where it is missing; OSError where the folder cannot be made.
    """

    what = "the TensorBoard log"

    def __init__(self, folder: PathLike) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError('TensorBoardLog needs tensorboardX: pip install "minicnn[tensorboard]"') from error
        self.folder = Path(folder)
        super().__init__(self.folder / "events")
        self._make_writer: Any = SummaryWriter
        self._writer: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin anew, with the epochs that were."""
        if not trainer.is_main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        super().on_fit_begin(trainer)
        for file in self.folder.glob(f"events.out.tfevents.*{SUFFIX}"):
            file.unlink()
        # purge_step: a TensorBoard that is open already forgets what it has read of the old files.
        self._writer = self._make_writer(str(self.folder), purge_step=1, filename_suffix=SUFFIX)
        for epoch in range(trainer.epoch):
            self._add({name: values[epoch] for name, values in trainer.history.items()}, epoch + 1)
        self._writer.flush()

    @only_looks
    def on_epoch_end(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """A point more on every curve."""
        if trainer.is_main:
            self._add(record, trainer.epoch)
            self._writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        super().on_fit_end(trainer)

    def _add(self, record: Mapping[str, float], epoch: int) -> None:
        for name, value in record.items():
            if not math.isnan(value):
                self._writer.add_scalar(name, value, epoch)
