"""Training on several ranks: each computes a part of every batch, and all make the same step.

What a rank does alone is a matter of its samples: forward, loss, backward. What all have to know is summed: gradients
(`distributed.gradients`), losses and metrics. Everything else then follows by itself: from the same weights and the
same gradients every rank makes the same step, bit for bit, keeps the same history and decides the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .._part import Part, bounds, computing
from ..data import DataLoader
from ..device import array_module, device_of, to_device
from ..distributed.agreement import check_same
from ..distributed.communicator import Communicator
from ..distributed.failures import sentence
from ..distributed.gradients import GradientBuckets
from ..distributed.statistics import average_statistics, own_statistics
from ..ops.sync_norm import merged_moments
from .beginning import begin_together, described_data
from .epoch import Share
from .metrics import RunningMeans
from .plan import Plan

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any
STATISTICS = ("running_mean", "running_var")
Done = tuple[int, dict[str, float], float]  # of a batch: its samples, its loss and metrics, the learning rate


class Ranks:
    """What a Trainer does with the other ranks of a job.

    Every method is collective: all ranks call it, in the same order.
    """

    def __init__(self, trainer: Trainer, communicator: Communicator) -> None:
        self.trainer, self.communicator = trainer, communicator
        self.part = communicator.rank, communicator.size

    @contextmanager
    def together(self, plan: Plan) -> Iterator[None]:
        """`with ranks.together(plan):` all ranks have begun alike, and every step is one of all of them.

        An error is said at once with the rank's name, and passes through: where the script then waits for the others,
        as by `save` in a `finally`, the error that ends the job is another one.
        """
        if plan.loader.batch_size < self.communicator.size:
            raise ValueError(
                f"fit got batches of {plan.loader.batch_size} samples for {self.communicator.size} ranks, and each "
                "needs one: a batch is that of all ranks together, so make it larger, or start fewer ranks"
            )
        begin_together(self.trainer, plan, self.communicator)
        self.trainer._buckets = GradientBuckets(self.trainer.optimizer.params, self.communicator)
        try:
            yield
        except Exception as error:
            print(f"rank {self.communicator.rank}: {sentence(type(error), error)}", file=sys.stderr, flush=True)
            raise
        finally:
            self.trainer._buckets = None

    def steps(self, plan: Plan) -> Iterator[Done]:
        """Train on this rank's part of the batches that are left; yields for each what came of all of it."""
        trainer, start = self.trainer, self.trainer.batch
        for batch, (x, labels) in enumerate(plan.loader.batches(trainer.epoch, start, self.part), start):
            lr, check = trainer.optimizer.lr, plan.check_labels if batch == start else None
            share, part, samples = self._of_batch(plan, batch)
            # Of a batch with less samples than ranks all hear the first label: some have none of their own.
            label = self.communicator.gather(labels[:1])[0] if samples < self.communicator.size else None
            own = RunningMeans()
            with computing(part), self._explaining(batch, samples, len(labels)):
                if part.is_idle:
                    self._go_along(x, label, share)
                else:
                    own.add(trainer._train_on(x, labels, batch, share, check), len(labels))
            means = self.total(own)
            yield means.samples, means.values(), lr

    def _of_batch(self, plan: Plan, batch: int) -> tuple[Share, Part, int]:
        """This rank's part in the step, and in the batch, of so many samples: its mean loss counts by its own."""
        share, samples = plan.share(batch), plan.images_before(batch + 1) - plan.images_before(batch)
        begin, end = bounds(samples, *self.part)
        weight = share.weight * (end - begin) / samples
        return Share(weight, share.is_first, share.is_last), Part(begin, is_idle=begin == end), samples

    @contextmanager
    def _explaining(self, batch: int, samples: int, own: int) -> Iterator[None]:
        """Where batch normalisation refuses the one sample that this rank has: what is to be done. The batch alone has
        more, so that one process would train; and larger maps have several values of a channel in one sample too."""
        try:
            yield
        except ValueError as error:
            if own != 1 or samples == 1 or "BatchNorm2d in training expected more than one value" not in str(error):
                raise
            raise ValueError(
                f"of the {samples} samples of batch {batch + 1} rank {self.communicator.rank} has one alone, which "
                "BatchNorm2d cannot normalise: use a DataLoader with drop_last=True, another batch size, or layers of "
                f"nn.SyncBatchNorm. {error}"
            ) from error

    def _go_along(self, x: Array, label: Array, share: Share) -> None:
        """A batch too small for this rank: it does with black images what the others do with theirs, at weight 0.

        So it takes part in what synchronised layers say to each other, and its dropout counts on. Two images, since
        batch normalisation needs more than one value. What it learns of them it forgets. Their loss is taken as that of
        the others, or the backward pass would go another way: they have the label (1,) or (1, K) of a sample of the
        batch, which the loss takes there too.
        """
        gradients = [(parameter, parameter.grad) for parameter in self.trainer.model.parameters()]
        layers = own_statistics(self.trainer.model).values()
        before = [(array, array.copy()) for layer in layers for array in (layer.running_mean, layer.running_var)]
        outputs = self.trainer._outputs(np.zeros((2, *x.shape[1:]), x.dtype))
        for array, values in before:  # before the step, at which a WeightAverage reads them
            array[...] = values
        self.trainer.update(self.trainer._loss(outputs, np.repeat(label, 2, axis=0)), share)
        for parameter, dw in gradients if not share.is_last else ():  # the sums of the last are those of all ranks
            parameter.grad = dw if not share.is_first else None

    def parts(self, loader: DataLoader) -> Iterator[tuple[Array, Array]]:
        """As an iteration over a loader, of this rank's parts; those without samples are left out.

        The parts make up a batch if all ranks draw the same one: in rank 0's order, of data that are the same.
        """
        check_same(self.communicator, "evaluate: ", {"data": described_data(loader)})
        loader.seed, loader.epoch = self.communicator.gather((loader.seed, loader.epoch))[0]
        epoch, loader.epoch = loader.epoch, loader.epoch + 1
        return (batch for batch in loader.batches(epoch, part=self.part) if len(batch[0]))

    def total(self, own: RunningMeans) -> RunningMeans:
        """The loss and the metrics over the samples of all ranks, of those over this rank's."""
        names = ["loss", *self.trainer.metrics]
        sums = [float(own.samples), *(own.sums.get(name, 0.0) for name in names)]
        w = next(self.trainer.model.parameters()).data
        total = array_module(w).asarray(np.array(sums, np.float64))
        self.communicator.all_reduce(total)
        samples, *values = to_device(total, "cpu").tolist()
        return RunningMeans(dict(zip(names, values, strict=True)), int(samples))

    def average_statistics(self) -> None:
        """Give every rank's batch normalisation the running statistics of all ranks, also those that a WeightAverage
        has of them; see `distributed.statistics`."""
        average_statistics(self.trainer.model, self.communicator)
        layers = own_statistics(self.trainer.model)
        averages = {} if self.trainer.average is None else self.trainer.average.state_dict()
        if self.trainer.average is not None and averages and layers:
            for name, layer in layers.items():
                keys, device = [f"{name}.{kind}" for kind in STATISTICS], device_of(layer.running_mean)
                mean, var = (to_device(averages[key], device) for key in keys)  # a file brings them on the CPU
                _, *merged = merged_moments(self.communicator, 1, mean, var)
                averages |= {key: array.astype(mean.dtype) for key, array in zip(keys, merged, strict=True)}
            self.trainer.average.load_state_dict(averages)

    def of_main(self, record: Mapping[str, float]) -> dict[str, float]:
        """Rank 0's record of an epoch: seconds are not alike everywhere."""
        return dict(self.communicator.gather(dict(record))[0])

    def any(self, asked: bool) -> bool:
        """Whether any rank has asked for something."""
        return any(self.communicator.gather(asked))


def ranks_of(trainer: Trainer, communicator: Any) -> Ranks | None:
    """What a Trainer does with other ranks; None where there are none."""
    if communicator is not None and not isinstance(communicator, Communicator):
        raise TypeError(
            f"Trainer expected communicator to be what distributed.init() returns, got {type(communicator).__name__}"
        )
    return None if communicator is None or communicator.size == 1 else Ranks(trainer, communicator)
