"""Callback: what the Trainer calls while it trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from ..._files import PathLike, claimed

if TYPE_CHECKING:
    from ..trainer import Trainer


Method = TypeVar("Method", bound=Callable[..., None])


def only_looks(method: Method) -> Method:
    """Mark an `on_epoch_end` that changes nothing of the training before its end.

        class Progress(train.Callback):
            @train.only_looks
            def on_epoch_end(self, trainer, record):
                print(trainer.epoch, record["val_loss"])

    Then steps that were recorded on a GPU are repeated in the next epoch, too; behind any other they are recorded anew,
    since it may have changed what is in them: weights that are frozen, settings of a layer or of the optimizer, data.
    The mark is the method's: a subclass that writes its own has to mark that one.
    """
    method.only_looks = True  # type: ignore[attr-defined]
    return method


class Callback:
    """Something that is done beside training; a subclass writes the methods that it needs.

        class Progress(train.Callback):
            def on_epoch_end(self, trainer, record):
                print(trainer.epoch, record["val_loss"])

    A callback may read everything of the Trainer, save it (`trainer.save(path)`) and end the run (`trainer.stop()`).
    What it raises ends the run too. One that changes nothing is faster on a GPU if it says so, see `only_looks`.
    A checkpoint does not know that it has ended the run, nor which settings it has changed: in a run that goes on it
    does so again in `on_fit_begin`.

    Of several ranks every one calls its own, with the numbers of all; one that writes or prints asks `trainer.is_main`
    first. `save` and `evaluate` have to be called on every rank; `stop` on any one ends the run of all.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """`fit` begins; after a `load`, trainer.epoch and trainer.history are those of the file."""

    def on_step_end(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """A step of the optimizer is done, the last one of trainer.batch batches of the epoch.

        record: "loss" and the metrics over the samples of the step, before it, and "lr". A GPU is waited for after each
        step where a callback has this method.
        """

    @only_looks
    def on_epoch_end(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """An epoch is over, number trainer.epoch, counted from 1; a checkpoint is saved after this.

        record: what the history has of it; the "val_..." are NaN in an epoch without validation.
        """

    def on_fit_end(self, trainer: Trainer) -> None:
        """`fit` ends, in whatever way: also by Ctrl-C or an error, and where `on_fit_begin` failed."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs of it, by name: arrays, and what JSON has. It is saved in every checkpoint."""
        return {}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; raises KeyError, TypeError or ValueError, unchanged, if it cannot."""


def checked(callbacks: Any) -> tuple[Callback, ...]:
    """A Trainer's callbacks; raises TypeError for something else, ValueError for one that comes twice."""
    if not isinstance(callbacks, list | tuple) or not all(isinstance(each, Callback) for each in callbacks):
        raise TypeError(f"Trainer expected callbacks to be a list of Callbacks, got {callbacks!r:.80}")
    if len({id(each) for each in callbacks}) < len(callbacks):
        raise ValueError("Trainer got a callback twice, which would be called twice: give it once")
    return tuple(callbacks)


class FileCallback(Callback):
    """A callback that writes a file, which no other run may write meanwhile; of several ranks the main one does.

    path: the file; its folder has to be there. what: it is, for an error. Raises TypeError for what is no path.
    """

    what = "the file"

    def __init__(self, path: PathLike) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"{type(self).__name__} expected the path of a file, got {path!r}")
        self.path = path
        self._claim = ExitStack()

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Take the file; raises as `claimed`."""
        if trainer.is_main:
            self._claim.enter_context(claimed(self.path, self.what))

    def on_fit_end(self, trainer: Trainer) -> None:
        """Let go of it."""
        self._claim.close()
