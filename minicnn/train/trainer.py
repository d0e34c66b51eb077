"""The Trainer: the loop over epochs and batches, and what has to be right around it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import functional as F
from .._files import PathLike, check_place
from .._function import no_grad
from .._tensor import Tensor
from ..data import ArrayDataset, DataLoader, to_input
from ..data.loader import Dataset
from ..device import array_module, device_of, to_device
from ..nn import Module
from ..nn.checks import flag, positive
from ..optim import Optimizer, Schedule
from .checkpoint import load_checkpoint, save_checkpoint
from .gpu_steps import GpuSteps, source_of
from .metrics import Metric, RunningMeans, named_metrics
from .progress import EpochBar

Array = Any
Loss = Callable[[Tensor, Array], Tensor]
BATCH_SIZE = 128
LOSS_SCALE = 1024.0  # a power of 2: it costs no digit


class Trainer:
    """Trains a classifier, and measures, saves and resumes it.

    model: a Module that returns (N, K), one row of K outputs for each image.
    optimizer: made of the model's Parameters.
    loss: loss(outputs, labels) -> Tensor of one element, the mean over the batch.
    metrics: "accuracy", or functions metric(outputs, labels) -> number of NumPy arrays (N, K) and (N,), a mean over the
        batch too; a function's name is its key in the history.
    schedule: of this optimizer, stepped after each epoch; None leaves the learning rate alone.
    capture: whether steps on a GPU are recorded as a CUDA graph where they are all alike: on batches that a DataLoader
        makes of an ArrayDataset. The result is the same, bit for bit.
    precision: "float32", or on a GPU "float16": images, everything that is computed from them and its gradients are
        float16, half as large; sums, weights and what the optimizer keeps stay float32. The
        gradients of the loss are multiplied by LOSS_SCALE on their way back, since small ones would become 0, and
        divided at the end (Micikevicius et al. 2018, "Mixed Precision Training", sections 3.1 and 3.2).

    epoch: how many epochs are done. history: one number an epoch under "loss", "accuracy", "val_loss", "val_accuracy",
    "lr" (what the epoch was trained with) and "seconds"; NaN where an epoch had none, as without validation.
    "loss" and "accuracy" are means over the epoch, taken while the weights changed.

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
    ) -> None:
        for name, part, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
            if not isinstance(part, kind):
                raise TypeError(f"Trainer expected {name} to be of class {kind.__name__}, got {type(part).__name__}")
        if not callable(loss):
            raise TypeError(f"Trainer expected loss to be a function of (outputs, labels), got {loss!r}")
        if schedule is not None and not isinstance(schedule, Schedule):
            raise TypeError(f"Trainer expected schedule to be a Schedule or None, got {type(schedule).__name__}")
        if schedule is not None and schedule.optimizer is not optimizer:
            raise ValueError("Trainer got a schedule of another optimizer: make it of the one that trains")
        # It may hold a part of them (fine-tuning), but what is not the model's would not be saved with it.
        if not {id(p) for p in optimizer.params} <= {id(p) for p in model.parameters()}:
            raise ValueError("the optimizer holds Parameters that are not this model's: make it of model.parameters()")
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = named_metrics(metrics)
        self.schedule = schedule
        if precision not in ("float32", "float16"):
            raise ValueError(f'Trainer expected precision to be "float32" or "float16", got {precision!r}')
        self.capture = flag(capture, "Trainer", "capture")
        self.precision = precision
        self._gpu_steps: GpuSteps | None = None
        self.epoch = 0
        self.history: dict[str, list[float]] = {}

    def fit(
        self,
        train: Dataset | DataLoader,
        epochs: int,
        batch_size: int | None = None,
        validation: Dataset | DataLoader | None = None,
        checkpoint: PathLike | None = None,
        progress: bool = True,
    ) -> dict[str, list[float]]:
        """Train for `epochs` more epochs, in training mode; returns the history of all epochs so far.

        train: a data set, which is shuffled, or a DataLoader. validation: likewise, not shuffled, measured after each
            epoch. batch_size: for data sets; None means 128. A DataLoader has its own, which a validation set then
            shares.
        checkpoint: where to save after each epoch, over what stands there.
        progress: show a bar and a line an epoch, if standard error is a terminal.

        Ctrl-C passes through as KeyboardInterrupt, with the last finished epoch in `checkpoint`: `load` goes on there.
        Raises RuntimeError where the loss or a weight is no longer finite (before it is saved) or where there is
        nothing to train; ValueError for labels or outputs that do not fit; OSError if saving fails.
        """
        epochs = positive(epochs, "fit", "epochs")
        flag(progress, "fit", "progress")
        loader = _loader(train, batch_size, shuffle=True)
        tests = validation if isinstance(validation, DataLoader) else None
        if validation is not None and tests is None:
            tests = _loader(validation, loader.batch_size, shuffle=False)
        if checkpoint is not None:
            check_place(checkpoint, "the checkpoint")
        if not any(parameter.requires_grad for parameter in self.optimizer.params):
            raise RuntimeError("fit found nothing to train: no Parameter of the optimizer has requires_grad=True")
        last, self._gpu_steps = self.epoch + epochs, None
        while self.epoch < last:
            images = min(len(loader) * loader.batch_size, len(loader.dataset))
            with EpochBar(self.epoch + 1, last, len(loader), images, progress) as bar:
                record = self._run_epoch(loader, tests, bar)
                self._finish_epoch(record)
                if checkpoint is not None:
                    self.save(checkpoint)
                bar.finish(record)
        return {name: list(values) for name, values in self.history.items()}

    def evaluate(self, dataset: Dataset | DataLoader, batch_size: int | None = None) -> dict[str, float]:
        """The loss and the metrics over all samples, in evaluation mode: {"loss": ..., "accuracy": ...}.

        dataset, batch_size: as in `fit`. A smaller last batch counts by its samples.
        """
        loader = _loader(dataset, batch_size, shuffle=False)
        means = RunningMeans()
        with _evaluating(self.model):
            for x, labels in loader:
                outputs = self._outputs(x)
                means.add(self.measure(outputs.numpy(), labels, self._loss(outputs, labels).item()), len(labels))
        return means.values()

    def predict(self, images: Array, batch_size: int | None = None) -> Array:
        """The model's outputs (N, K) for images (N, H, W, C), uint8 or floats, in evaluation mode, as a NumPy array.

        They are what the model returns, mostly logits: `.argmax(axis=1)` is the predicted class, and softmax
        (F.softmax) makes probabilities of them.
        """
        if not isinstance(images, np.ndarray):
            hint = ": use dataset.images" if hasattr(images, "images") else ""
            raise TypeError(f"predict expected an array of images (N, H, W, C), got {type(images).__name__}{hint}")
        size = BATCH_SIZE if batch_size is None else positive(batch_size, "predict", "batch_size")
        if images.size == 0:
            raise ValueError(f"predict expected at least one image, got an array of shape {images.shape}")
        parts = []
        with _evaluating(self.model):
            for start in range(0, len(images), size):
                numbers = np.arange(start, min(start + size, len(images)))
                parts.append(self._outputs(to_input(images[start : start + size], numbers)).numpy())
        return np.concatenate(parts)

    def save(self, path: PathLike) -> None:
        """Write everything that a run needs to go on into one safetensors file; see `checkpoint.save_checkpoint`.

        Between epochs. After an interrupted epoch the weights are ahead of `epoch`, which is then trained again.
        """
        save_checkpoint(path, self)

    def load(self, path: PathLike) -> None:
        """Go on where a file was saved, bit for bit as if the run had never stopped; see `checkpoint.load_checkpoint`.

        Model, optimizer and schedule are made as they were for the run that was saved; their numbers, and the engine's
        seed, are then those of the file. A DataLoader keeps the seed that was in force when it was made.
        """
        load_checkpoint(path, self)

    def _run_epoch(self, loader: DataLoader, tests: DataLoader | None, bar: EpochBar) -> dict[str, float]:
        """Train on every batch once, then measure; what goes into the history."""
        start = time.perf_counter()
        datasets = [loader.dataset] if tests is None else [loader.dataset, tests.dataset]
        # The epoch's number gives the order and the augmentation: a resumed run sees what the uninterrupted one saw.
        loader.epoch = self.epoch
        self.model.train()
        means = RunningMeans()
        for count, record in self._steps(loader, datasets):
            means.add(record, count)
            bar.update(count, means.values())
        self._check_weights()
        record = means.values()
        if tests is not None:
            tests.epoch = self.epoch
            record |= {f"val_{name}": value for name, value in self.evaluate(tests).items()}
        return {**record, "lr": self.optimizer.lr, "seconds": time.perf_counter() - start}

    def _steps(self, loader: DataLoader, datasets: list[Dataset]) -> Iterator[tuple[int, dict[str, float]]]:
        """Train on every batch; yields its size, its loss and its metrics."""

        def check(K: int) -> None:
            for dataset in datasets:
                _check_labels(dataset, K)

        if self._gpu_steps is None and (source := source_of(self, loader)) is not None:
            self._gpu_steps = GpuSteps(self, source, check)
        if self._gpu_steps is not None:
            yield from self._gpu_steps.epoch(self._gpu_steps.source.batches(loader))
            return
        for batch, (x, labels) in enumerate(loader):
            yield len(labels), self._train_on(x, labels, batch, check)

    def _train_on(self, x: Array, labels: Array, batch: int, check: Callable[[int], None]) -> dict[str, float]:
        """One step of the optimizer; the loss and the metrics before it. check: of the labels, given the outputs."""
        outputs = self._outputs(x)
        if batch == 0:
            check(outputs.shape[1])
        loss = self._loss(outputs, labels)
        value = self.check_loss(loss.item(), batch)
        if not loss.requires_grad:
            raise RuntimeError("the loss does not depend on the weights: is fit inside no_grad, or a layer detached?")
        self.update(loss)
        return self.measure(outputs.numpy(), labels, value)

    def update(self, loss: Tensor) -> None:
        """A step of the optimizer along the gradients of this loss."""
        self.optimizer.zero_grad()
        if self.precision == "float32":
            loss.backward()
        else:
            loss.backward(array_module(loss.data).full(loss.shape, LOSS_SCALE, dtype=loss.dtype))
            for parameter in self.optimizer.params:
                if parameter.grad is not None:
                    parameter.grad *= 1 / LOSS_SCALE
        self.optimizer.step()

    def forward(self, x: Array) -> Tensor:
        """What the model returns for images on its device, computed in `precision`, of the dtype of x."""
        if self.precision == "float32":
            return self.model(Tensor(x))
        if device_of(x) == "cpu":
            raise RuntimeError('precision="float16" is for a GPU: move the model with .to("cuda"), or use "float32"')
        outputs = self.model(Tensor(x.astype(np.float16)))
        return outputs.to(dtype=x.dtype) if isinstance(outputs, Tensor) else outputs

    def _outputs(self, x: Array) -> Tensor:
        """What the model returns for a batch, brought to the model's device and dtype."""
        first = next((p.data for p in self.model.parameters() if p.is_filled), x)
        device = "cpu" if first is x else Tensor(first).device
        outputs = self.forward(to_device(x.astype(first.dtype, copy=False), device))
        if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(x):
            got = f"shape {outputs.shape}" if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                f"the Trainer expected the model to return a Tensor (N, K), a row for each of the {len(x)} images of "
                f"{x.shape}, got {got}: end it with nn.Flatten() and nn.Linear(None, K), say"
            )
        return outputs

    def _loss(self, outputs: Tensor, labels: Array) -> Tensor:
        loss = self.loss(outputs, labels)
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"the Trainer expected the loss to be a Tensor of one element, got {got}: use .mean()")
        return loss

    def measure(self, outputs: Array, labels: Array, loss: float) -> dict[str, float]:
        """The loss and the metrics of one batch, from its outputs (N, K) and labels (N,) as NumPy arrays."""
        return {"loss": loss, **{name: float(f(outputs, labels)) for name, f in self.metrics.items()}}

    def check_loss(self, loss: float, batch: int) -> float:
        """The loss of a batch as it is; raises RuntimeError if it is not finite."""
        if not math.isfinite(loss):
            raise RuntimeError(
                f"the loss became {loss} in epoch {self.epoch + 1}, batch {batch + 1}: try a smaller learning rate "
                f"than {self.optimizer.lr:g}, and look for infinities in the model; go on from a checkpoint with load"
            )
        return loss

    def _check_weights(self) -> None:
        """Raise RuntimeError for a weight that is not finite: the last step of an epoch may have spoilt it."""
        named = {name: p.data for name, p in self.model.named_parameters() if p.is_filled}
        for name, array in (named | dict(self.model.named_buffers())).items():
            if not array_module(array).isfinite(array).all():
                raise RuntimeError(
                    f"{name} is no longer finite after epoch {self.epoch + 1}, which was not saved: "
                    f"try a smaller learning rate than {self.optimizer.lr:g}; go on from a checkpoint with load"
                )

    def _finish_epoch(self, record: Mapping[str, float]) -> None:
        """Count the epoch, write it into the history, and give the optimizer the next learning rate."""
        empty = [math.nan] * self.epoch
        names = dict.fromkeys([*self.history, *record])
        self.history = {name: [*self.history.get(name, empty), record.get(name, math.nan)] for name in names}
        self.epoch += 1
        if self.schedule is not None:
            self.schedule.step()


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode without a graph; afterwards every Module has the mode again that it had."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with no_grad():
            yield
    finally:
        for module, training in before:
            module.training = training


def _loader(source: Any, batch_size: int | None, shuffle: bool) -> DataLoader:
    """A DataLoader as it is; a data set in a new one."""
    if not isinstance(source, DataLoader):
        return DataLoader(source, BATCH_SIZE if batch_size is None else batch_size, shuffle=shuffle)
    if batch_size is not None:
        raise ValueError(f"batch_size={batch_size} was given beside a DataLoader, which has its own: give one of them")
    return source


def _check_labels(dataset: Dataset, K: int) -> None:
    """Raise ValueError for a label that the model has no output for: at the first batch, not in some later one."""
    if not isinstance(dataset, ArrayDataset):
        return
    wrong = np.flatnonzero(dataset.labels >= K)
    if wrong.size:
        raise ValueError(
            f"the model has {K} outputs, for the labels 0 to {K - 1}; sample {wrong[0]} of the data set has the label "
            f"{dataset.labels[wrong[0]]}: give the last layer more outputs, or number the classes from 0"
        )
