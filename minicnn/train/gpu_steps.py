"""Training steps on a GPU as a CUDA graph: recorded once, then repeated without Python; see `kernels.cuda.graph`.

The first step runs as it does on the CPU, which compiles every kernel. Then one is recorded, and from there on a batch
is what is written to the arrays that the recorded step reads: the numbers of its samples, if the data set lies on the
GPU, else its images and labels. Outputs and losses are fetched now and then, for waiting for each would leave the GPU
idle. What is computed is bit for bit the same.

A recorded step has the optimizer's settings in it as numbers: it is recorded anew where they have changed, as after an
epoch. Where each step has a learning rate of its own, it ends with the gradients, and Python makes the optimizer's step
behind it. Batches that share a step are not recorded.

All else is in it too: which weights are frozen, what a layer's settings are, where the optimizer's arrays lie. A
callback may change any of that. So with one that is called after each epoch all is made anew in the next one, data set
and all, unless it says that it `only_looks`; with one that is called after each step nothing is recorded.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import device
from .._function import is_observed
from ..data import ArrayDataset, DataLoader, to_input
from ..nn import BatchNorm2d
from .callbacks import Callback
from .epoch import ALONE, Share
from .metrics import main_output

if TYPE_CHECKING:
    from .._tensor import Tensor
    from .trainer import Trainer

Array = Any
Batch = tuple[Array, ...]
Size = tuple[tuple[tuple[int, ...], Any], ...]  # shape and dtype of each array of a batch
Done = tuple[int, dict[str, float], float]  # of a batch: its samples, its loss and metrics, the learning rate

SECONDS = 0.1  # between two looks at the outputs
KEPT = 256  # batches whose outputs are kept on the GPU between two looks, at most
LEAD = 8  # steps that Python asks for before the first of them is done
LARGEST = 1 << 30  # bytes of a data set that is put on the GPU


class Resident:
    """A data set that lies on the GPU: a batch is the numbers of its samples."""

    def __init__(self, dataset: ArrayDataset) -> None:
        images = dataset.images
        if images.dtype != np.uint8:  # those of 0 to 255 stay small, and become floats there
            images = to_input(images, np.arange(len(dataset)))
        self.images, self.labels = (device.to_device(a, "cuda") for a in (images, dataset.labels))
        self.known = dataset.labels

    def batches(self, loader: DataLoader, epoch: int, start: int) -> Iterator[tuple[Batch, Array]]:
        """What goes to the GPU for each batch of an epoch from `start` on, and its labels in the CPU's memory."""
        batches = loader.indices(epoch)[start:]
        ends = np.cumsum([len(numbers) for numbers in batches])
        there: Any = device.to_device(np.concatenate(batches), "cuda") if batches else None  # one copy, not one a step
        for numbers, end in zip(batches, ends, strict=True):
            yield (there[end - len(numbers) : end],), self.known[numbers]

    def inputs(self, numbers: Array) -> tuple[Array, Array]:
        """Images and labels of a batch, of what went there."""
        images = self.images[numbers]
        if images.dtype == np.uint8:  # as to_input
            images = device.array_module(images).divide(images, np.float32(255), dtype=np.float32)
        return images, self.labels[numbers]


class Sent:
    """Batches that the CPU makes, of a large data set or with augmentation: images and labels are copied."""

    def batches(self, loader: DataLoader, epoch: int, start: int) -> Iterator[tuple[Batch, Array]]:
        """As of `Resident`."""
        return (((images, labels), labels) for images, labels in loader.batches(epoch, start))

    def inputs(self, images: Array, labels: Array) -> tuple[Array, Array]:
        """As of `Resident`."""
        return images, labels


def source_of(trainer: Trainer, loader: DataLoader) -> Resident | Sent | None:
    """Where the batches of an epoch come from, if all its steps are alike and on the GPU; else None.

    An ArrayDataset is known as a whole, with its labels, which a recorded step cannot look at. A BatchNorm2d with
    momentum None counts its steps in its arithmetic: no step is like the last one.
    """
    dataset, layers = loader.dataset, trainer.model.modules()
    if (
        type(loader) is not DataLoader
        or type(dataset) is not ArrayDataset  # a subclass may have samples of its own making
        or trainer.place[0] != "cuda"
        or any(isinstance(layer, BatchNorm2d) and layer.momentum is None for layer in layers)
    ):
        return None
    if loader.transform is None and loader.batch_transform is None and dataset.images.nbytes <= LARGEST:
        with suppress(MemoryError):  # there may be room for the batches
            return Resident(dataset)
    return Sent() if _captures(trainer) else None


def _captures(trainer: Trainer) -> bool:
    """Whether steps may be recorded: those of one batch each, into which nobody looks."""
    return trainer.capture and trainer.accumulate == 1 and not sees_steps(trainer)


def sees_steps(trainer: Trainer) -> bool:
    """Whether a callback is called after each step, which may look at all that the step has done, and change it."""
    return any(type(each).on_step_end is not Callback.on_step_end for each in trainer.callbacks)


def may_change(trainer: Trainer) -> bool:
    """Whether a callback may change what a step does between one epoch and the next."""
    marked = (getattr(type(each).on_epoch_end, "only_looks", False) for each in trainer.callbacks)
    return sees_steps(trainer) or not all(marked)


class GpuSteps:
    """The training steps of one `fit`, or of an epoch of it.

    trainer: whose model, loss and optimizer make the steps. source: of the batches. check: called at the first step of
    each size with the number of the model's outputs, to look at all labels: a recorded step cannot.
    """

    def __init__(self, trainer: Trainer, source: Resident | Sent, check: Callable[[int], None]) -> None:
        self.trainer, self.source, self.check = trainer, source, check
        self.capture = _captures(trainer) and not is_observed()
        self.sizes: dict[Size, Step] = {}
        self.count = 0

    def epoch(
        self,
        batches: Iterable[tuple[Batch, Array]],
        start: int = 0,
        share: Callable[[int], Share] = lambda batch: ALONE,
        is_watched: Callable[[int], bool] = lambda batch: False,
    ) -> Iterator[Done]:
        """Train on every batch, as `source.batches` has them from number `start` on; yields what came of each.

        share: of a batch, by its number. is_watched: whether nothing may be done behind a batch before it was yielded.
        """
        # Without them Python would be hundreds of steps ahead, with a batch in memory for each. When a loss is seen to
        # be NaN, up to two looks' steps have been made behind it.
        marks = [device.mark() for _ in range(LEAD)]
        pending: list[tuple[int, Array, float]] = []  # batch, labels, learning rate: nobody has looked at them yet
        done: Iterator[Done] = iter(())  # fetched; measured one a step, while the GPU is at work
        last_size: Size = ()  # that of the pending ones
        last_look = time.perf_counter()
        for batch, (arrays, labels) in enumerate(batches, start):
            size = tuple((array.shape, array.dtype) for array in arrays)
            if size != last_size or len(pending) == KEPT or time.perf_counter() - last_look > SECONDS:
                yield from done
                done = self._look(pending, last_size)
                pending, last_look, last_size = [], time.perf_counter(), size
            if size not in self.sizes:
                self.sizes[size] = Step(self.trainer, self.source, arrays)
            lr, mark = self.trainer.optimizer.lr, marks[batch % LEAD]
            mark.synchronize()
            self.sizes[size].run(self, arrays, labels, len(pending), share(batch))
            mark.record()
            pending.append((batch, labels, lr))
            self.count += 1
            yield from islice(done, 1)
            if is_watched(batch):
                yield from done
                yield from self._look(pending, size)
                pending = []
        yield from done
        yield from self._look(pending, last_size)

    def give_up_recording(self) -> None:
        """Make all steps one launch after the other from now on. They need the memory of what was recorded."""
        self.capture = False
        for step in self.sizes.values():
            step.graph = None
        self.trainer.optimizer.zero_grad()  # the gradients are in that memory
        device.give_back_recorded()

    def _look(self, pending: list[tuple[int, Array, float]], size: Size) -> Iterator[Done]:
        """Wait for the GPU, and fetch what came of the batches of that size that it has done; they are still to be
        measured."""
        if not pending:
            return iter(())
        losses, outputs = self.sizes[size].fetch(len(pending))
        return self._measured(pending, losses, outputs)

    def _measured(self, pending: list[tuple[int, Array, float]], losses: Array, outputs: Array) -> Iterator[Done]:
        for i, (batch, labels, lr) in enumerate(pending):
            loss = self.trainer.check_loss(float(losses[i]), batch)
            yield len(labels), self.trainer.measure(outputs[i], labels, loss), lr


class Step:
    """A training step on batches of one size, such as this one: made once by Python, then recorded.

    It has no reference to the GpuSteps: the GPU's memory is free as soon as nobody has those, not when Python looks
    for cycles.
    """

    def __init__(self, trainer: Trainer, source: Resident | Sent, batch: Batch) -> None:
        self.trainer, self.source = trainer, source
        self.batch = tuple(device.to_device(array, "cuda").copy() for array in batch)  # what the recorded step reads
        self.is_whole = trainer.schedule_interval == "epoch"  # or the optimizer's part is not recorded
        self.graph: Any = None
        self.settings: list[dict[str, Any]] = []
        self.made = False

    def run(self, steps: GpuSteps, batch: Batch, labels: Array, slot: int, share: Share) -> None:
        """Ask the GPU for a step on this batch, and to keep its loss and outputs in a slot.

        steps: that it is one of. labels: of the batch, in the CPU's memory.
        """
        for here, array in zip(self.batch, batch, strict=True):
            here[...] = device.to_device(array, "cuda")
        graph = self._recorded(steps) if steps.capture and self._is_plain(labels, share) else None
        result = self._step(share) if graph is None else self._repeated(graph, steps.count - self.begin)
        if not self.made:
            loss, outputs = result
            steps.check(outputs.shape[1])
            xp = device.array_module(loss)
            self.losses = xp.empty(KEPT, loss.dtype)
            self.outputs = xp.empty((KEPT, *outputs.shape), outputs.dtype)
            self.made = True
        self.losses[slot], self.outputs[slot] = result

    def fetch(self, slots: int) -> tuple[Array, Array]:
        """The losses and outputs in the first slots, in the CPU's memory."""
        return device.to_device(self.losses[:slots], "cpu"), device.to_device(self.outputs[:slots], "cpu")

    def _is_plain(self, labels: Array, share: Share) -> bool:
        """Whether a recorded step does for a batch: it has the step for itself, and an output for every label. Of one
        without, as a batch_transform may give, the loss says so; while it is repeated it looks at nothing."""
        return self.made and share is ALONE and (labels.ndim > 1 or labels.max() < self.outputs.shape[-1])

    def _recorded(self, steps: GpuSteps) -> Any:
        """The step recorded with the settings that the optimizer has now: they are numbers in it. None if it cannot."""
        settings = [group.settings for group in self.trainer.optimizer.groups] if self.is_whole else []
        if self.graph is not None and settings == self.settings:
            return self.graph
        # The buffers that stay in the CPU's memory: what layers count, such as their steps.
        self.counts = counts = [buffer for buffer in self.trainer.model.buffers() if not device.is_cuda(buffer)]
        before = [count.copy() for count in counts]
        self.graph = None  # its memory is free for the next one
        try:
            graph = device.recorded(self._recordable)
            self.advance = [int(count - old) for count, old in zip(counts, before, strict=True)]
            if max(self.advance, default=0) > 1:
                raise RuntimeError("a layer counts its uses and is used twice, which a CUDA graph cannot repeat")
        except RuntimeError as error:
            warnings.warn(f"{error}; training goes on without one, more slowly", stacklevel=2)
            graph = None
        finally:
            for count, old in zip(counts, before, strict=True):
                count[...] = old  # recorded is not done
        self.graph, self.settings, self.begin = graph, settings, steps.count
        if graph is None:  # the error, which had a hold on what was recorded, is gone
            steps.give_up_recording()
        return graph

    def _step(self, share: Share) -> tuple[Array, Array]:
        """A step by Python. Returns the loss, and the outputs before the step."""
        loss, outputs = self._loss()
        self.trainer.update(loss, share)
        return loss.data, outputs.data

    def _loss(self) -> tuple[Tensor, Tensor]:
        """The loss of the batch, and the outputs."""
        images, labels = self.source.inputs(*self.batch)
        outputs = self.trainer.forward(images.astype(self.trainer.place[1], copy=False))
        return self.trainer.loss(outputs, labels), main_output(outputs)

    def _recordable(self) -> tuple[tuple[Array, Array], list[Array | None]]:
        """What is recorded: the step, or its part up to the gradients, which are returned too."""
        loss, outputs = self._loss()
        self.trainer.add_gradients(loss)
        if self.is_whole:
            self.trainer.step()
        gradients = [] if self.is_whole else [each.grad for each in self.trainer.optimizer.params]
        return (loss.data, outputs.data), gradients

    def _repeated(self, graph: Any, steps: int) -> tuple[Array, Array]:
        """A step by the graph; steps: made since it was recorded. Returns what `_step` does."""
        graph.replay(steps)
        for count, advance in zip(self.counts, self.advance, strict=True):
            count += advance
        result, gradients = graph.result
        if not self.is_whole:
            for parameter, gradient in zip(self.trainer.optimizer.params, gradients, strict=True):
                parameter.grad = gradient  # now it may be that of a batch of another size
            self.trainer.step()
        return result
