"""Training steps on a GPU as a CUDA graph: recorded once, then repeated without Python; see `kernels.cuda.graph`.

The first steps run as they do on the CPU, which compiles every kernel. Then a step is recorded, and from there on a
batch is the numbers of its samples, which are gathered on the GPU, where the data set lies. Outputs and losses are
fetched now and then, for waiting for each would leave the GPU idle. What is computed is bit for bit the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import device
from .._tensor import Tensor
from ..data import ArrayDataset, DataLoader
from ..nn import BatchNorm2d, Module

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any
Record = dict[str, float]

WARM_UP = 2  # steps before one is recorded: the first compiles the kernels and makes the optimizer's state
SECONDS = 0.1  # between two looks at the outputs
KEPT = 256  # batches whose outputs are kept on the GPU between two looks, at most
LARGEST = 1 << 30  # bytes of a data set that is put on the GPU


def can_capture(model: Module, loader: DataLoader) -> bool:
    """Whether the steps of an epoch are all alike, and lie ready on the GPU: a small data set without augmentation.

    A BatchNorm2d with momentum None counts its steps in its arithmetic: no step is like the last one.
    """
    filled = [parameter for parameter in model.parameters() if parameter.is_filled]
    counts = any(isinstance(layer, BatchNorm2d) and layer.momentum is None for layer in model.modules())
    dataset = loader.dataset
    plain = type(loader) is DataLoader and type(dataset) is ArrayDataset and loader.transform is None
    return (
        plain
        and not counts
        and len(filled) > 0
        and filled[0].device == "cuda"
        and isinstance(dataset, ArrayDataset)
        and dataset.images.nbytes <= LARGEST
    )


class CapturedSteps:
    """The training steps of one `fit` on one data set that lies on the GPU."""

    def __init__(self, trainer: Trainer, loader: DataLoader) -> None:
        self.trainer, self.size = trainer, loader.batch_size
        dataset: Any = loader.dataset
        self.true_labels = dataset.labels
        self.images, self.labels = (device.to_device(a, "cuda") for a in (dataset.images, dataset.labels))
        self.xp = device.array_module(self.images)
        self.numbers = self.xp.zeros(self.size, np.int64)  # of the samples in the batch
        self.steps = 0
        self.graph: Any = None
        self.settings: dict[str, Any] = {}
        self.step_counts: list[int] = []
        self.pending: list[tuple[int, Array]] = []  # batch, numbers of its samples: repeated and not yet looked at

    def epoch(self, batches: Iterable[Array], train_on: Callable[[Array, int], Record]) -> Iterator[tuple[int, Record]]:
        """Train on every batch, given by the numbers of its samples; yields its size, loss and metrics.

        train_on: makes a step that is not recorded: one of the first, or the last one where the batch is not full.
        """
        for batch, numbers in enumerate(batches):
            self.steps += 1
            if self.steps <= WARM_UP or len(numbers) != self.size:
                yield from self._look()
                yield len(numbers), train_on(numbers, batch)
            else:
                self._repeat(batch, numbers)
                if len(self.pending) == KEPT or time.perf_counter() - self.last_look > SECONDS:
                    yield from self._look()
        yield from self._look()

    def _repeat(self, batch: int, numbers: Array) -> None:
        """Let the GPU make a step, and keep its loss and outputs there."""
        if not self.pending:
            self._record()
            self.last_look = time.perf_counter()
        loss, outputs = self.graph.result
        self.numbers[...] = self.xp.asarray(numbers)
        self.graph.replay()
        self.losses[len(self.pending)], self.outputs[len(self.pending)] = loss, outputs
        self.pending.append((batch, numbers))

    def _record(self) -> None:
        """Record a step, unless there is one with the settings that the optimizer has now: they are numbers in it."""
        optimizer = self.trainer.optimizer
        settings = {name: getattr(optimizer, name) for name in optimizer.setting_names}
        if self.graph is not None and settings == self.settings:
            return
        counts = self._counts()
        before = [count.copy() for count in counts]
        try:
            self.graph, self.settings = device.recorded(self._step), settings
            self.step_counts = [int(count - old) for count, old in zip(counts, before, strict=True)]
        finally:
            for count, old in zip(counts, before, strict=True):
                count[...] = old  # none of the steps was made yet
        loss, outputs = self.graph.result
        self.losses = self.xp.empty(KEPT, loss.dtype)
        self.outputs = self.xp.empty((KEPT, *outputs.shape), outputs.dtype)

    def _look(self) -> Iterator[tuple[int, Record]]:
        """Wait for the GPU, and measure the batches that it has done meanwhile."""
        pending, self.pending = self.pending, []
        if pending:
            losses = device.to_device(self.losses[: len(pending)], "cpu")
            outputs = device.to_device(self.outputs[: len(pending)], "cpu")
            for count, step in zip(self._counts(), self.step_counts, strict=True):
                count += step * len(pending)
            for i, (batch, numbers) in enumerate(pending):
                loss = self.trainer.check_loss(float(losses[i]), batch)
                yield len(numbers), self.trainer.measure(outputs[i], self.true_labels[numbers], loss)

    def _step(self) -> tuple[Array, Array]:
        """A training step on the samples of `numbers`: the loss and the outputs before it."""
        images, trainer = self.images[self.numbers], self.trainer
        if images.dtype == np.uint8:  # as data.to_input
            images = self.xp.divide(images, np.float32(255), dtype=np.float32)
        weights = next(parameter for parameter in trainer.model.parameters())
        outputs = trainer.model(Tensor(images.astype(weights.dtype, copy=False)))
        loss = trainer.loss(outputs, self.labels[self.numbers])
        trainer.optimizer.zero_grad()
        loss.backward()
        trainer.optimizer.step()
        return loss.data, outputs.data

    def _counts(self) -> list[Array]:
        """The buffers that stay in the CPU's memory: what layers count, such as their steps."""
        buffers = dict(self.trainer.model.named_buffers()).values()
        return [buffer for buffer in buffers if not device.is_cuda(buffer)]
