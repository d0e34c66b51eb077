"""The plan of a `fit`: its data and settings, and what follows from them for each batch and epoch."""

from __future__ import annotations

from dataclasses import dataclass

from .._files import PathLike
from ..data import DataLoader
from ..nn.checks import flag, positive
from .epoch import ALONE, Share
from .evaluation import check_labels


@dataclass(frozen=True)
class Plan:
    """What every epoch of a `fit` does: its data and settings, as of `Trainer.fit`; last: the number of the last epoch.

    accumulate: how many batches share a step. The last step of an epoch has those that remain.
    Raises TypeError and ValueError for settings that cannot be meant.
    """

    loader: DataLoader
    tests: DataLoader | None
    last: int
    accumulate: int
    validate_every: int
    checkpoint: PathLike | None
    checkpoint_every: int | None
    progress: bool

    def __post_init__(self) -> None:
        flag(self.progress, "fit", "progress")
        if positive(self.validate_every, "fit", "validate_every") > 1 and self.tests is None:
            raise ValueError(
                f"fit got validate_every={self.validate_every} and nothing to validate with: give it validation too"
            )
        if self.checkpoint_every is not None:
            positive(self.checkpoint_every, "fit", "checkpoint_every")
            if self.checkpoint is None:
                raise ValueError(
                    f"fit got checkpoint_every={self.checkpoint_every} and no place to save: give it checkpoint too"
                )

    @property
    def images(self) -> int:
        """How many images an epoch trains on."""
        return min(len(self.loader) * self.loader.batch_size, len(self.loader.dataset))

    def images_before(self, batch: int) -> int:
        """How many images stand before a batch."""
        return min(batch * self.loader.batch_size, self.images)

    def share(self, batch: int) -> Share:
        """The part of a batch in its step; a smaller last batch has a smaller one."""
        if self.accumulate == 1:
            return ALONE
        first = batch - batch % self.accumulate
        behind = min(first + self.accumulate, len(self.loader))
        start, end = self.images_before(batch), self.images_before(batch + 1)
        of_step = self.images_before(behind) - self.images_before(first)
        return Share((end - start) / of_step, is_first=batch == first, is_last=batch == behind - 1)

    def saves_after(self, batch: int) -> bool:
        """Whether a checkpoint is due in the middle of the epoch, after this batch; at its end there is one anyway."""
        if self.checkpoint_every is None or batch == len(self.loader) - 1:
            return False
        return (batch + 1) % (self.checkpoint_every * self.accumulate) == 0

    def validates(self, epoch: int) -> bool:
        """Whether the validation set is measured after an epoch, which is counted from 1."""
        return self.tests is not None and epoch % self.validate_every == 0

    def check_labels(self, K: int) -> None:
        """Raise ValueError for a label of any sample that a model of K outputs has none for."""
        for loader in (self.loader, self.tests):
            if loader is not None:
                check_labels(loader, K)

    def data(self) -> dict[str, int]:
        """What has to be the same for an epoch to go on in its middle."""
        loader = self.loader
        return {
            "samples": len(loader.dataset),
            "batch_size": loader.batch_size,
            "batches": len(loader),
            "shuffle": int(loader.shuffle),
            "seed": loader.seed,
            "accumulate": self.accumulate,
        }
