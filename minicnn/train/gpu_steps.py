"""Training steps on a GPU as a CUDA graph: recorded once, then repeated without Python; see `kernels.cuda.graph`.

The first step runs as it does on the CPU, which compiles every kernel. Then one is recorded, and from there on a batch
is the numbers of its samples, which are gathered on the GPU, where the data set lies. Outputs and losses are
fetched now and then, for waiting for each would leave the GPU idle. What is computed is bit for bit the same.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import device
from ..data import ArrayDataset, DataLoader, to_input
from ..nn import BatchNorm2d
from .metrics import main_output

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any
Record = dict[str, float]

SECONDS = 0.1  # between two looks at the outputs
KEPT = 256  # batches whose outputs are kept on the GPU between two looks, at most
LARGEST = 1 << 30  # bytes of a data set that is put on the GPU


def on_gpu(trainer: Trainer, loader: DataLoader) -> bool:
    """Whether all steps of an epoch are alike, and can be made of what lies on the GPU: a small data set as it is.

    A BatchNorm2d with momentum None counts its steps in its arithmetic: no step is like the last one.
    """
    dataset, layers = loader.dataset, trainer.model.modules()
    return (
        type(loader) is DataLoader
        and type(dataset) is ArrayDataset  # a subclass may have samples of its own making
        and loader.transform is None
        and dataset.images.nbytes <= LARGEST
        and any(parameter.is_filled and parameter.device == "cuda" for parameter in trainer.model.parameters())
        and not any(isinstance(layer, BatchNorm2d) and layer.momentum is None for layer in layers)
    )


class GpuSteps:
    """The training steps of one `fit` on a data set that lies on the GPU.

    trainer: whose model, loss and optimizer make the steps. check: called at the first step of each size with the
    number of the model's outputs, to look at all labels: a recorded step cannot.
    """

    def __init__(self, trainer: Trainer, dataset: ArrayDataset, check: Callable[[int], None]) -> None:
        self.trainer, self.check, self.capture = trainer, check, trainer.capture
        self.true_labels = dataset.labels
        images = dataset.images
        if images.dtype != np.uint8:  # those of 0 to 255 stay small, and become floats there
            images = to_input(images, np.arange(len(dataset)))
        self.images, self.labels = (device.to_device(a, "cuda") for a in (images, dataset.labels))
        self.sizes: dict[int, Step] = {}
        self.count = 0

    def epoch(self, batches: Iterable[Array]) -> Iterator[tuple[int, Record]]:
        """Train on every batch, given by the numbers of its samples; yields its size, loss and metrics."""
        pending: list[tuple[int, Array]] = []  # batch, numbers of its samples: nobody has looked at them yet
        last_look = time.perf_counter()
        for batch, numbers in enumerate(batches):
            size = len(numbers)
            other = bool(pending) and len(pending[0][1]) != size
            if other or len(pending) == KEPT or time.perf_counter() - last_look > SECONDS:
                yield from self._look(pending)
                pending, last_look = [], time.perf_counter()
            if size not in self.sizes:
                self.sizes[size] = Step(self, size)
            self.sizes[size].run(numbers, len(pending))
            pending.append((batch, numbers))
            self.count += 1
        yield from self._look(pending)

    def _look(self, pending: list[tuple[int, Array]]) -> Iterator[tuple[int, Record]]:
        """Wait for the GPU, and measure the batches that it has done meanwhile."""
        if pending:
            losses, outputs = self.sizes[len(pending[0][1])].fetch(len(pending))
            for i, (batch, numbers) in enumerate(pending):
                loss = self.trainer.check_loss(float(losses[i]), batch)
                yield len(numbers), self.trainer.measure(outputs[i], self.true_labels[numbers], loss)


class Step:
    """A training step on batches of one size: made once by Python, then recorded."""

    def __init__(self, steps: GpuSteps, size: int) -> None:
        self.steps, self.trainer = steps, steps.trainer
        self.xp = device.array_module(steps.images)
        self.numbers = self.xp.zeros(size, np.int64)  # of the samples in the batch
        self.graph: Any = None
        self.settings: dict[str, Any] = {}
        self.made = False

    def run(self, numbers: Array, slot: int) -> None:
        """Ask the GPU for a step on these samples, and to keep its loss and outputs in a slot."""
        self.numbers[...] = self.xp.asarray(numbers)
        if self.made and self.steps.capture:
            self._record()
        if self.graph is None:
            result = self._step()
        else:
            result = self.graph.result
            self.graph.replay(self.steps.count - self.begin)
            for count, step in zip(self._counts(), self.advance, strict=True):
                count += step
        if not self.made:
            loss, outputs = result
            self.steps.check(outputs.shape[1])
            self.losses = self.xp.empty(KEPT, loss.dtype)
            self.outputs = self.xp.empty((KEPT, *outputs.shape), outputs.dtype)
            self.made = True
        self.losses[slot], self.outputs[slot] = result

    def fetch(self, slots: int) -> tuple[Array, Array]:
        """The losses and outputs in the first slots, in the CPU's memory."""
        return device.to_device(self.losses[:slots], "cpu"), device.to_device(self.outputs[:slots], "cpu")

    def _record(self) -> None:
        """Record the step, unless one is there with the settings that the optimizer has now: they are numbers in it."""
        optimizer = self.trainer.optimizer
        settings = {name: getattr(optimizer, name) for name in optimizer.setting_names}
        if self.graph is not None and settings == self.settings:
            return
        counts = self._counts()
        before = [count.copy() for count in counts]
        try:
            graph = device.recorded(self._step)
            self.advance = [int(count - old) for count, old in zip(counts, before, strict=True)]
            if max(self.advance, default=0) > 1:
                raise RuntimeError("a layer counts its uses and is used twice, which a CUDA graph cannot repeat")
        except RuntimeError as error:
            warnings.warn(f"{error}; training goes on without one, more slowly", stacklevel=2)
            graph, self.steps.capture = None, False
        for count, old in zip(counts, before, strict=True):
            count[...] = old  # recorded is not done
        self.graph, self.settings, self.begin = graph, settings, self.steps.count

    def _step(self) -> tuple[Array, Array]:
        """The loss and the outputs before the step."""
        images, trainer = self.steps.images[self.numbers], self.trainer
        if images.dtype == np.uint8:  # as to_input
            images = self.xp.divide(images, np.float32(255), dtype=np.float32)
        weights = next(trainer.model.parameters())
        outputs = trainer.forward(images.astype(weights.dtype, copy=False))
        loss = trainer.loss(outputs, self.steps.labels[self.numbers])
        trainer.update(loss)
        return loss.data, main_output(outputs).data

    def _counts(self) -> list[Array]:
        """The buffers that stay in the CPU's memory: what layers count, such as their steps."""
        return [buffer for buffer in self.trainer.model.buffers() if not device.is_cuda(buffer)]
