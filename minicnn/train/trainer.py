"""The Trainer: the loop over epochs and batches, and what has to be right around it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import Any

import numpy as np

from .. import functional as F
from .._files import PathLike, claimed
from ..data import DataLoader, to_input
from ..data.loader import Dataset
from ..device import explaining
from ..distributed import Communicator
from ..nn import Module
from ..nn.checks import flag, positive
from ..optim import Optimizer, ReduceLROnPlateau, Schedule, WeightAverage
from .callbacks.callback import Callback, checked
from .checkpoint import load_checkpoint, save_checkpoint
from .ensemble import Views, checked_views, log_mean_softmax
from .epoch import EpochState, extended
from .evaluation import BATCH_SIZE, as_loader, evaluating, loaders
from .gpu_steps import GpuSteps, may_change, sees_steps, source_of
from .metrics import Metric, RunningMeans, main_output
from .plan import Plan
from .progress import EpochBar
from .ranks import ranks_of
from .step import Loss, TrainingStep

Array = Any
Record = dict[str, float]


class Trainer(TrainingStep):
    """Trains a classifier, and measures, saves and resumes it.

    model: a Module that returns (N, K), one row of K outputs for each image; or a tuple that begins with it, which the
        loss gets as it is (auxiliary heads; see `models.googlenet`), while the metrics see the first.
    optimizer: made of the model's Parameters.
    loss: loss(outputs, labels) -> Tensor of one element, the mean over the batch. One with options is set with
        functools.partial(F.cross_entropy, label_smoothing=0.1). In an epoch, `evaluate`, `accumulate` and on ranks a
        batch counts by its samples: that is exact for a mean over samples, which a loss with class weights is not.
    metrics: "accuracy", "top5_accuracy", or functions metric(outputs, labels) -> number of NumPy arrays, outputs (N, K)
        and labels (N,), or (N, K) where a batch_transform mixes them; a mean over the batch too. A function's name is
        its key in the history.
    schedule: of this optimizer, stepped after each epoch; None leaves the learning rate alone.
    capture: whether steps on a GPU are recorded as a CUDA graph where they are all alike: on batches that a DataLoader
        makes of an ArrayDataset, with one batch a step and no callback that is called after each step. The result is
        the same, bit for bit.
    precision: "float32", or on a GPU "float16": images, everything that is computed from them and its gradients are
        float16, half as large; sums, weights and what the optimizer keeps stay float32. The
        gradients of the loss are multiplied by LOSS_SCALE on their way back, since small ones would become 0, and
        divided at the end (Micikevicius et al. 2018, "Mixed Precision Training", sections 3.1 and 3.2).
    callbacks: each a `Callback`, called in this order; at the end of `fit` in the reverse one, as they began.
    schedule_interval: "epoch", or "step": the schedule is stepped after each step of the optimizer, which Python
        then makes behind what is recorded, as that would have its learning rate in it.
    accumulate: how many batches share a step. Their gradients are added, each batch weighted by its samples: the step
        is that of one large batch, if the loss is a mean over samples and no layer looks at the whole batch, as
        BatchNorm2d does. The last step of an epoch has the batches that remain. Such steps are not recorded.
    clip_norm: bound of the norm of all gradients together, see `optim.clip_grad_norm`; None leaves them alone.
    average: a WeightAverage of this model, updated after each step; `evaluate` and `predict` then use the averages.
    communicator: the ranks of the job (`distributed.init()`), which then train together, see `ranks.Ranks`. Each runs
        the same script; a batch is split among them, and `fit`, `evaluate` and `save` have to be called by all. The
        step is that of the whole batch if the loss is a mean over samples. One that divides by something else, as
        F.cross_entropy with class weights divides by their sum, does so on each rank for its own part: give it labels
        as rows (N, K), for which it divides by N.

    epoch: how many epochs are done. batch: how many batches of the next one. history: one number an epoch under "loss",
    "accuracy", "val_loss", "val_accuracy", "lr" (what its last step was made with) and "seconds"; NaN where an epoch
    had none, as without validation. "loss" and "accuracy" are means over the epoch, taken while the weights changed.
    recorded: under which of these names each epoch of the present `fit` has a number.

    Raises TypeError and ValueError for parts that do not belong together.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Loss = F.cross_entropy,
        metrics: Sequence[str | Metric] = ("accuracy",),
        schedule: Schedule | None = None,
        capture: bool = True,
        precision: str = "float32",
        *,
        callbacks: Sequence[Callback] = (),
        schedule_interval: str = "epoch",
        accumulate: int = 1,
        clip_norm: float | None = None,
        average: WeightAverage | None = None,
        communicator: Communicator | None = None,
    ) -> None:
        super().__init__(model, optimizer, loss, metrics, schedule, schedule_interval, precision, clip_norm, average)
        self.callbacks = checked(callbacks)
        self.accumulate = positive(accumulate, "Trainer", "accumulate")
        self.capture = flag(capture, "Trainer", "capture")
        self._gpu_steps: GpuSteps | None = None
        self._ranks = ranks_of(self, communicator)
        self.history: dict[str, list[float]] = {}
        self.recorded: list[str] = []
        self._stopping = False
        self._afterwards: list[Callable[[], None]] = []  # what `stop` was given

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints: rank 0, or the only one."""
        return self._ranks is None or self._ranks.communicator.is_main

    @property
    def batch(self) -> int:
        """How many batches of the epoch under way are done."""
        return self.under_way.batch

    def fit(
        self,
        train: Dataset | DataLoader,
        epochs: int,
        batch_size: int | None = None,
        validation: Dataset | DataLoader | None = None,
        checkpoint: PathLike | None = None,
        progress: bool = True,
        *,
        checkpoint_every: int | None = None,
        validate_every: int = 1,
    ) -> dict[str, list[float]]:
        """Train for `epochs` more epochs, in training mode; returns the history of all epochs so far.

        train: a data set, which is shuffled, or a DataLoader. validation: likewise, not shuffled, measured after each
            epoch. batch_size: for data sets; None means 128. A DataLoader has its own, which a validation set then
            shares.
        checkpoint: where to save after each epoch, over what stands there; no other run may save there meanwhile.
        progress: show a bar and a line an epoch, if standard error is a terminal.
        checkpoint_every: save in the middle of an epoch too, after each so many of its steps; None does not.
        validate_every: measure the validation set after each so many epochs, counted from the first of all.

        An epoch that `load` brought in its middle goes on there, and counts as one of the `epochs`. A callback may end
        the run earlier (`stop`).
        Ctrl-C passes through as KeyboardInterrupt, with the last finished epoch in `checkpoint`, or a part of the next
        one: `load` goes on there. Raises RuntimeError where the loss or a weight is no longer finite (before it is
        saved) or where there is nothing to train; ValueError for labels or outputs that do not fit, and where a number
        is monitored that no epoch will have; BlockingIOError if another run saves to `checkpoint`; another OSError if
        saving fails. Warns where a number that was measured is NaN.
        """
        loader, tests = loaders(train, validation, batch_size)
        last = self.epoch + positive(epochs, "fit", "epochs")
        plan = Plan(loader, tests, last, self.accumulate, validate_every, checkpoint, checkpoint_every, progress)
        self.under_way.check(plan.data(), ["loss", *self.metrics])
        if not any(parameter.requires_grad for parameter in self.optimizer.params):
            raise RuntimeError("fit found nothing to train: no Parameter of the optimizer has requires_grad=True")
        self._gpu_steps, self._stopping, self._afterwards = None, False, []
        self.recorded = self._names(plan)
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.check_record(self.recorded)
        with ExitStack() as at_the_end:
            if checkpoint is not None and self.is_main:
                at_the_end.enter_context(claimed(checkpoint, "the checkpoint"))
            if self._ranks is not None:
                at_the_end.enter_context(self._ranks.together(plan))
            for callback in self.callbacks:
                at_the_end.callback(callback.on_fit_end, self)
                callback.on_fit_begin(self)
            while self.epoch < plan.last and not self._shall_stop():
                with explaining(), self._forgotten_if_broken_off():
                    self._run_epoch(plan)
        return {name: list(values) for name, values in self.history.items()}

    def _shall_stop(self) -> bool:
        return self._stopping if self._ranks is None else self._ranks.any(self._stopping)

    def stop(self, then: Callable[[], None] | None = None) -> None:
        """Ask `fit` to end after this epoch; for callbacks. then: what is called when all of them have seen the epoch,
        before its checkpoint is saved."""
        self._stopping = True
        self._afterwards += [] if then is None else [then]

    def evaluate(self, dataset: Dataset | DataLoader, batch_size: int | None = None) -> dict[str, float]:
        """The loss and the metrics over all samples, in evaluation mode: {"loss": ..., "accuracy": ...}.

        dataset, batch_size: as in `fit`. A smaller last batch counts by its samples. With an `average` it is the
        averages that are measured, as in `predict`. Of several ranks each measures a part, with the running statistics
        of all of them; raises ValueError, on every rank, if they have different data.
        """
        loader = as_loader(dataset, batch_size, shuffle=False)
        if self._ranks is not None:
            self._ranks.average_statistics()
        means = RunningMeans()
        with self._evaluating():
            for x, labels in loader if self._ranks is None else self._ranks.parts(loader):
                outputs = self._outputs(x)
                loss = self._loss(outputs, labels).item()
                means.add(self.measure(main_output(outputs).numpy(), labels, loss), len(labels))
        return (means if self._ranks is None else self._ranks.total(means)).values()

    def predict(self, images: Array, batch_size: int | None = None, views: Views | None = None) -> Array:
        """The model's outputs (N, K) for images (N, H, W, C), uint8 or floats, in evaluation mode, as a NumPy array.

        They are what the model returns, mostly logits: `.argmax(axis=1)` is the predicted class, and softmax
        (F.softmax) makes probabilities of them.

        views: views(images) -> (V, n, h, w, C), V views of each of n images, say `lambda x: ten_crop(x, 224)`; the
        result is then the logarithm of the mean of the V probabilities. Source: Krizhevsky et al. 2012, "ImageNet
        Classification with Deep Convolutional Neural Networks", section 4.1.
        """
        if not isinstance(images, np.ndarray):
            hint = ": use dataset.images" if hasattr(images, "images") else ""
            raise TypeError(f"predict expected an array of images (N, H, W, C), got {type(images).__name__}{hint}")
        size = BATCH_SIZE if batch_size is None else positive(batch_size, "predict", "batch_size")
        if images.size == 0:
            raise ValueError(f"predict expected at least one image, got an array of shape {images.shape}")
        parts = []
        with self._evaluating():
            for start in range(0, len(images), size):
                batch = images[start : start + size]
                numbers = np.arange(start, start + len(batch))
                seen = batch[np.newaxis] if views is None else checked_views(views, batch)  # (V, n, h, w, C)
                outputs = [main_output(self._outputs(to_input(view, numbers))) for view in seen]
                parts.append((outputs[0] if views is None else log_mean_softmax(outputs)).numpy())
        return np.concatenate(parts)

    def save(self, path: PathLike) -> None:
        """Write everything that a run needs to go on into one safetensors file; see `checkpoint.save_checkpoint`.

        Between epochs; a callback may do so after any step. After an interrupted epoch the weights are ahead of
        `epoch`, which is then trained again. Of several ranks rank 0 writes, and the others wait until it has done so
        or has failed; only there the error is raised, which ends the job unless the script catches it.
        """
        if self._ranks is not None:
            self._ranks.average_statistics()
        try:
            if self.is_main:
                save_checkpoint(path, self)
        finally:  # also after an error: a script that goes on would find the others still waiting here
            if self._ranks is not None:
                self._ranks.communicator.barrier()

    def load(self, path: PathLike) -> None:
        """Go on where a file was saved, bit for bit as if the run had never stopped; see `checkpoint.load_checkpoint`.

        Model, optimizer, schedule, average and callbacks are made as they were for the run that was saved; their
        numbers, and the engine's seed, are then those of the file. A DataLoader keeps the seed that was in force when
        it was made. Of several ranks each reads the file, which may have been saved by another number of them.
        """
        load_checkpoint(path, self)

    def _run_epoch(self, plan: Plan) -> None:
        """Train on every batch that is left, measure, and keep what came of it."""
        with EpochBar(self.epoch + 1, plan.last, len(plan.loader), plan.images, plan.progress and self.is_main) as bar:
            bar.begin(self.batch, plan.images_before(self.batch))
            self._train(plan, bar)
            self.check_weights()
            if self._ranks is not None:
                self._ranks.average_statistics()
            measured = {**self.under_way.means.values(), **self._validated(plan)}
            self._warn_of_nan(measured)
            record = dict.fromkeys(self.recorded, math.nan) | measured  # NaN in an epoch without validation
            record |= {"lr": self.under_way.lr, "seconds": self.under_way.seconds}
            self._finish_epoch(record if self._ranks is None else self._ranks.of_main(record))
            if plan.checkpoint is not None:
                self.save(plan.checkpoint)
            bar.finish({name: values[-1] for name, values in self.history.items()})

    def _train(self, plan: Plan, bar: EpochBar) -> None:
        """Train on every batch that is left of the epoch."""
        self.under_way.begin(plan.data())
        self.model.train()
        step = RunningMeans()
        with closing(self._steps(plan)) as steps:  # whatever happens: a loader's workers end with it
            for samples, values, lr in steps:
                self.under_way.add(values, samples, lr)
                bar.update(samples, self.under_way.means.values())
                step.add(values, samples)
                if plan.share(self.batch - 1).is_last:
                    self._after_step(plan, {**step.values(), "lr": lr})
                    step = RunningMeans()

    def _after_step(self, plan: Plan, record: Record) -> None:
        for callback in self.callbacks:
            callback.on_step_end(self, record)
        if plan.checkpoint is not None and plan.saves_after(self.batch - 1):
            self.check_weights()
            self.save(plan.checkpoint)

    def _steps(self, plan: Plan) -> Generator[tuple[int, Record, float], None, None]:
        """Train on the batches that are left; yields for each its samples, its loss and metrics, the learning rate."""
        if self._ranks is not None:
            yield from self._ranks.steps(plan)
            return
        start, loader = self.batch, plan.loader
        if self._gpu_steps is None or may_change(self):
            self._gpu_steps = None  # its memory is free for the next one
            if (source := source_of(self, loader)) is not None:
                self._gpu_steps = GpuSteps(self, source, plan.check_labels)
        if self._gpu_steps is not None:
            batches = self._gpu_steps.source.batches(loader, self.epoch, start)
            yield from self._gpu_steps.epoch(batches, start, plan.share, self._is_watched(plan))
            return
        # The epoch's number gives the order and the augmentation: a resumed run sees what the uninterrupted one saw.
        for batch, (x, labels) in enumerate(loader.batches(self.epoch, start), start):
            lr, check = self.optimizer.lr, plan.check_labels if batch == start else None
            yield len(labels), self._train_on(x, labels, batch, plan.share(batch), check), lr

    def _is_watched(self, plan: Plan) -> Callable[[int], bool]:
        """Whether somebody looks at the weights right after a batch: then a GPU has to be waited for."""
        watching = sees_steps(self)
        return lambda batch: plan.saves_after(batch) or (watching and plan.share(batch).is_last)

    def _names(self, plan: Plan) -> list[str]:
        """What `_run_epoch` will put into its record."""
        measured = ["loss", *self.metrics]
        return [*measured, *(f"val_{name}" for name in measured if plan.tests is not None), "lr", "seconds"]

    def _validated(self, plan: Plan) -> Record:
        """The loss and the metrics of the validation set as "val_loss" and so on; none in an epoch without."""
        if plan.tests is None or not plan.validates(self.epoch + 1):
            return {}
        plan.tests.epoch = self.epoch
        return {f"val_{name}": value for name, value in self.evaluate(plan.tests).items()}

    def _warn_of_nan(self, measured: Record) -> None:
        """Warn of a number that is NaN: whoever monitors it takes it for one that was not measured.

        No error, as training itself is sound: its own loss and the weights have been checked. The text is the same in
        every epoch, so that Python shows it once.
        """
        for name in [name for name, value in measured.items() if math.isnan(value) and self.is_main]:
            warnings.warn(
                f"{name} was measured and is nan: callbacks and schedules that monitor it pass over such an epoch; let "
                "a metric return a number for every batch, and look for infinities in the model where a loss is nan",
                stacklevel=4,  # the line that calls fit
            )

    def _finish_epoch(self, record: Record) -> None:
        """Count the epoch and write it into the history; the next learning rate; the callbacks."""
        self.history = extended(self.history, self.epoch, record)
        self.epoch += 1
        self.under_way = EpochState()
        if self.schedule is not None and self.schedule_interval == "epoch":
            self.schedule.step(record)
        for callback in self.callbacks:
            callback.on_epoch_end(self, record)
        while self._afterwards:
            self._afterwards.pop(0)()

    @contextmanager
    def _forgotten_if_broken_off(self) -> Iterator[None]:
        """An epoch that does not come to its end is trained again: a schedule of steps goes back to its first one."""
        epoch, schedule = self.epoch, self.schedule if self.schedule_interval == "step" else None
        done = math.ceil(self.batch / self.accumulate)  # steps of this epoch that `load` brought
        first = 0 if schedule is None else schedule.count - done
        try:
            yield
        finally:
            if self.epoch == epoch:
                self.under_way = EpochState()
                if schedule is not None:
                    schedule.count = first
                    schedule.apply(first)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """The model as it is measured: in evaluation mode, without a graph, with the averages where there are some."""
        averaged = self.average.applied() if self.average is not None and self.average.is_filled else nullcontext()
        with explaining(), evaluating(self.model), averaged:
            yield
