"""TensorBoardLog: the history as TensorBoard shows it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

    Needs tensorboardX: raises ImportError where it is missing; OSError, naming the folder, where nothing can be written
    there.
    """

    what = "the TensorBoard log"

    def __init__(self, folder: PathLike) -> None:
        try:
            # Not its SummaryWriter: that writes in a thread, whose errors nobody hears, and behind a queue, at which
            # one would wait for ever for a thread that has ended.
            from tensorboardX import event_file_writer, summary
            from tensorboardX.proto import event_pb2
        except ImportError as error:
            raise ImportError('TensorBoardLog needs tensorboardX: pip install "minicnn[tensorboard]"') from error
        self.folder = Path(folder)
        super().__init__(self.folder / "events")
        self._make_writer, self._scalar, self._events = event_file_writer.EventsWriter, summary.scalar, event_pb2
        self._writer: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin anew, with the epochs that were."""
        if not trainer.is_main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        super().on_fit_begin(trainer)
        for file in self.folder.glob(f"events.out.tfevents.*{SUFFIX}"):
            file.unlink()
        with self._named():
            self._writer = self._make_writer(str(self.folder / "events"), SUFFIX)
            # A TensorBoard that is open already forgets what it has read of the old files from this step on.
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            self._write(1, session_log=start)
            for epoch in range(trainer.epoch):
                self._add({name: values[epoch] for name, values in trainer.history.items()}, epoch + 1)
            self._writer.flush()

    @only_looks
    def on_epoch_end(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """A point more on every curve."""
        if trainer.is_main:
            with self._named():
                self._add(record, trainer.epoch)
                self._writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        try:
            with self._named():
                if writer is not None:
                    writer.close()
        finally:
            super().on_fit_end(trainer)

    def _add(self, record: Mapping[str, float], epoch: int) -> None:
        for name, value in record.items():
            if not math.isnan(value):
                self._write(epoch, summary=self._scalar(name, value))

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._events.Event(step=step, wall_time=time.time(), **content))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What cannot be written names the folder."""
        try:
            yield
        except OSError as error:
            said = f"{error.strerror or error}: {self.what} was not written"
            raise OSError(error.errno, said, str(self.folder)) from error
