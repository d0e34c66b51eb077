"""Logs: the history as a file, a line an epoch."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..._files import write_whole
from .callback import FileCallback, only_looks

if TYPE_CHECKING:
    from ..trainer import Trainer

History = Mapping[str, list[float]]


class HistoryLog(FileCallback):
    """Writes trainer.history to a file after each epoch, whole each time; a subclass writes `text`.

    So the lines are those of the history, whatever happened: a crash leaves the lines of all epochs before, a resumed
    run drops those of epochs that it trains again, and a metric that joins later has a column from the first line on.
    """

    what = "the log"

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Drop the lines behind the epoch from which a resumed run goes on."""
        super().on_fit_begin(trainer)
        if trainer.history:
            self._write(trainer)

    @only_looks
    def on_epoch_end(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """A line more."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_main:
            write_whole(self.path, self.text(trainer.history).encode(), self.what)

    def text(self, history: History) -> str:
        """What the file has for this history."""
        raise NotImplementedError(f"{type(self).__name__} has no text")


class CSVLog(HistoryLog):
    """The history as a table of comma-separated values: a title line, then a line an epoch; an empty cell is NaN.

    path: the file, which is written over; its folder has to be there.
    """

    def text(self, history: History) -> str:
        """As RFC 4180 has it, but for the line ends."""
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["epoch", *history])
        for epoch, values in enumerate(zip(*history.values(), strict=True), 1):
            table.writerow([epoch, *("" if math.isnan(value) else repr(value) for value in values)])
        return file.getvalue()


class JSONLinesLog(HistoryLog):
    """The history as JSON objects, one a line and epoch: {"epoch": 1, "loss": 0.31, ...}; null is not finite.

    path: as of `CSVLog`.
    """

    def text(self, history: History) -> str:
        """As JSON Lines has it (jsonlines.org)."""
        lines = []
        for epoch, values in enumerate(zip(*history.values(), strict=True), 1):
            finite = [value if math.isfinite(value) else None for value in values]
            lines.append(json.dumps({"epoch": epoch, **dict(zip(history, finite, strict=True))}) + "\n")
        return "".join(lines)
