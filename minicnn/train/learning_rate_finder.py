"""The learning-rate finder: a short training in which the rate rises until the loss diverges, and which is undone."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import DataLoader
from ..data.loader import Dataset
from ..device import device_of, to_device
from ..nn.checks import positive
from ..optim.groups import above_0
from .evaluation import as_loader, check_labels, evaluating
from .metrics import main_output
from .step import TrainingStep

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any
SMOOTHING = 0.9  # the part of the smoothed loss that a step keeps
DIVERGED = 4.0  # times the least smoothed loss


@dataclass(frozen=True)
class LearningRateCurve:
    """What `find_learning_rate` saw: one number for each step.

    lrs: the learning rates, rising. losses: of the batches, before the step with that rate.
    smoothed: their exponential average, s = 0.9 s + 0.1 loss from 0 on, divided by the 1 - 0.9**t that it lacks after
        t steps.
    diverged: whether it ended because the loss diverged, and not because the rate had reached its end.
    """

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    diverged: bool

    @property
    def least(self) -> int:
        """The number of the step at which the smoothed loss was least."""
        return int(np.argmin(self.smoothed))

    @property
    def fall(self) -> float:
        """The part of its first value that the smoothed loss lost until then. Of a small one the place is chance: a
        network of sigmoids may need thousands of steps before its loss moves, and then more of them tell more."""
        return 1 - self.smoothed[self.least] / self.smoothed[0]

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss was least.

        There the loss no longer falls, and soon diverges; a tenth of it is on the slope, far enough from the edge for
        a whole training. For `OneCycleLR` it is a max_lr.
        """
        return self.lrs[self.least] / 10


def find_learning_rate(
    trainer: Trainer,
    dataset: Dataset | DataLoader,
    batch_size: int | None = None,
    start: float = 1e-5,
    end: float = 10.0,
    steps: int = 200,
) -> LearningRateCurve:
    """Train with a learning rate that rises from step to step, as long as the loss stays sound; then undo all of it.

        lr(i) = start * (end / start) ** (i / (steps - 1))          i = 0, 1, ..., steps - 1

    A rate that is too small changes nothing, one that is too large throws the weights about. Between the two the loss
    falls, and where it falls shows which rates this network, these data and this batch size bear.

    trainer: whose model, loss, optimizer and settings make the steps, one for each batch. Groups with rates of their
        own keep their ratios; the rates named here are the first one's.
    dataset: a data set, which is shuffled, or a DataLoader, drawn from again and again. batch_size: as in `fit`.
    start, end: > 0, end above start. steps: >= 2; it stops earlier where the smoothed loss is more than 4 times its
        least value so far, or the loss is not finite.

    Afterwards everything is as it was, bit for bit: weights, gradients, buffers, Dropout's counters, what the optimizer
    keeps, its rates, epoch and history, and the loader's epoch; so also after an error or Ctrl-C. Schedule, average and
    callbacks see nothing of it. A lazy layer has its values then, those that it would have drawn anyway.

    Raises ValueError and TypeError for a wrong argument, for a Trainer of several ranks, for labels and outputs that do
    not fit; RuntimeError if the loss is not finite at the first step, or was least there: then even `start` is too
    large, or nothing is learnt.

    Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, the "LR range test". There
    the rate rises along a line, and accuracy is shown. That it rises exponentially, and the smoothed loss, are of the
    library fastai; so is a tenth of the least.
    """
    if not isinstance(trainer, TrainingStep):
        raise TypeError(f"find_learning_rate expected a Trainer, got {type(trainer).__name__}")
    if trainer._ranks is not None:
        raise ValueError(
            f"find_learning_rate expected a Trainer of one process, got one of {trainer._ranks.communicator.size} "
            "ranks: find the rate in a script of its own, with batches as large as those of all ranks together"
        )
    rates = _rates(start, end, steps)
    loader = as_loader(dataset, batch_size, shuffle=True)
    _fill(trainer, loader)
    with _undone(trainer, loader), closing(_batches(loader, trainer.epoch)) as batches:
        curve = _rise(trainer, rates, batches)
    if not curve.losses or curve.least == 0:
        raise RuntimeError(
            f"the loss never fell below what it was at the learning rate {start:g}: begin with a smaller start, or see "
            "with mc.study.diagnose(model, images, labels) why nothing is learnt"
        )
    return curve


def _rates(start: float, end: float, steps: int) -> list[float]:
    start, end = (above_0(rate, "find_learning_rate", name) for rate, name in ((start, "start"), (end, "end")))
    if end <= start:
        raise ValueError(f"find_learning_rate expected end above start, got start={start!r} and end={end!r}")
    if positive(steps, "find_learning_rate", "steps") < 2:
        raise ValueError(f"find_learning_rate expected at least 2 steps, got {steps!r}")
    return [start * (end / start) ** (i / (steps - 1)) for i in range(steps)]


def _fill(trainer: Trainer, loader: DataLoader) -> None:
    """Check that labels and outputs fit, with a forward pass that changes nothing, but that lazy layers get values."""
    with closing(_batches(loader, trainer.epoch)) as batches, evaluating(trainer.model):
        outputs = trainer._outputs(next(batches)[0])
    check_labels(loader, main_output(outputs).shape[1])


def _batches(loader: DataLoader, epoch: int) -> Generator[tuple[Array, Array], None, None]:
    """The batches of one epoch after the other, without an end; the loader counts none of them."""
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def _rise(trainer: Trainer, rates: list[float], batches: Iterator[tuple[Array, Array]]) -> LearningRateCurve:
    """Train with one rate after the other."""
    groups = trainer.optimizer.groups
    first = groups[0].lr
    ratios = [group.lr / first if first else 1.0 for group in groups]
    curve = LearningRateCurve([], [], [], diverged=False)
    average = 0.0
    for step, (lr, (x, labels)) in enumerate(zip(rates, batches, strict=False), start=1):
        for group, ratio in zip(groups, ratios, strict=True):
            group.lr = lr * ratio
        loss = _step(trainer, x, labels)
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING**step)
        if not math.isfinite(loss) or smoothed > DIVERGED * min(curve.smoothed, default=math.inf):
            return LearningRateCurve(curve.lrs, curve.losses, curve.smoothed, diverged=True)
        curve.lrs.append(lr)
        curve.losses.append(loss)
        curve.smoothed.append(smoothed)
    return curve


def _step(trainer: Trainer, x: Array, labels: Array) -> float:
    """One step on a batch; the loss before it."""
    with np.errstate(all="ignore"):  # that numbers overflow at the end is what is looked for
        loss = trainer._loss(trainer._outputs(x), labels)
        value = loss.item()
        if math.isfinite(value):
            trainer.update(loss)
    return value


@contextmanager
def _undone(trainer: Trainer, loader: DataLoader) -> Iterator[None]:
    """Training mode; afterwards the trainer's parts are as they were, whatever has happened."""
    model, optimizer = trainer.model, trainer.optimizer
    values = {name: array.copy() for name, array in _arrays(trainer).items()}
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    state, schedule, average = optimizer.state_dict(), trainer.schedule, trainer.average
    try:
        trainer.schedule = trainer.average = None
        model.train()
        yield
    finally:
        for name, array in _arrays(trainer).items():
            array[...] = to_device(values[name], device_of(array))
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, training in modes:
            module.training = training
        trainer.schedule, trainer.average = schedule, average
        optimizer.load_state_dict(state)


def _arrays(trainer: Trainer) -> dict[str, Array]:
    """The values of all Parameters, and all buffers."""
    parameters = {name: parameter.data for name, parameter in trainer.model.named_parameters() if parameter.is_filled}
    return parameters | dict(trainer.model.named_buffers())
