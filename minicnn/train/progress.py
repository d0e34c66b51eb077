"""What the person at the terminal sees while an epoch runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class EpochBar:
    """`with EpochBar(...) as bar:` a bar on the terminal while an epoch runs, and one line that stays after it.

        epoch 3/10:  45%|####5     | 27008/60000 [00:03<00:04, 8093.11 images/s, batch 211/469, loss 0.0812]
        epoch 3/10  loss 0.0755  accuracy 0.9768  val_loss 0.0601  val_accuracy 0.9811  lr 0.05  7.4 s

    Both go to standard error. Where that is not a terminal (a log, a pipe, a notebook's server) or `shown` is False,
    nothing is written.

    epoch: the number of this epoch, from 1. last: the number of the last. batches, images: how many this epoch has.
    """

    def __init__(self, epoch: int, last: int, batches: int, images: int, shown: bool = True) -> None:
        self.title = f"epoch {epoch}/{last}"
        self.batches, self.images, self.shown = batches, images, shown
        self._batch = 0
        self._bar: Any = None

    def __enter__(self) -> EpochBar:
        if self.shown:
            from tqdm import tqdm  # here, because `import minicnn` should not wait for it

            # disable=None: disabled unless standard error is a terminal.
            self._bar = tqdm(desc=self.title, total=self.images, unit=" images", leave=False, disable=None)
            self.shown = not self._bar.disable
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, batch: int, images: int) -> None:
        """So many batches and images were done already, by a run that was stopped."""
        self._batch = batch
        if self.shown:
            self._bar.initial = self._bar.n = images

    def update(self, images: int, means: Mapping[str, float]) -> None:
        """A batch of `images` is done; `means` are those over the epoch so far."""
        if self.shown:
            self._batch += 1
            values = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
            self._bar.set_postfix_str(f"batch {self._batch}/{self.batches}, {values}", refresh=False)
            self._bar.update(images)

    def finish(self, record: Mapping[str, float]) -> None:
        """The epoch is over: replace the bar by a line with its numbers; NaN is what was not measured."""
        if self.shown:
            numbers = {name: value for name, value in record.items() if name not in ("lr", "seconds")}
            values = [f"{name} {value:.4f}" for name, value in numbers.items() if not math.isnan(value)]
            self._bar.close()
            line = "  ".join([self.title, *values, f"lr {record['lr']:.4g}", f"{record['seconds']:.1f} s"])
            self._bar.write(line, file=self._bar.fp)
