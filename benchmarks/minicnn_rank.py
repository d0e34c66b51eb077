"""minicnn's rank of `bench_distributed.py`: what the Trainer does with a batch on several ranks."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from networks import MODELS, MOMENTUM, Task
from rank_work import WARM_UP, RankWork, share
from ring import Bucket, Step
from timeline import Trace

import minicnn as mc
from minicnn import functional as F
from minicnn import optim
from minicnn.distributed.communicator import Alone
from minicnn.distributed.gradients import GradientBuckets

OBSERVED = 5  # steps, of whose times the medians count


class MinicnnRank:
    """A network, its optimizer, and the buckets in which its gradients are summed."""

    def __init__(self, task: Task) -> None:
        self.communicator = mc.distributed.init()
        self.model = task.network()
        self.optimizer = optim.SGD(self.model.parameters(), lr=MODELS[task.model][1], momentum=MOMENTUM)
        self.buckets = GradientBuckets(self.optimizer.params, self.communicator)
        rank, ranks = self.communicator.rank, self.communicator.size
        self.batches = [(mc.tensor(x), labels) for x, labels in share(task, rank, ranks)]
        self.clocks = (0.0, 0.0, 0.0)  # of the last step with sums: its begin, its backward pass's, its end

    def summed(self, x: Any, labels: Any) -> Any:
        """A step with the gradients of all ranks, which have equally many images: each counts 1 / ranks."""
        begin = time.perf_counter()
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), labels)
        backward = time.perf_counter()
        with self.buckets.summing():
            loss.backward(np.full(loss.shape, 1 / self.communicator.size, loss.dtype))
        self.optimizer.step()
        self.clocks = begin, backward, time.perf_counter()
        return loss

    def silent(self, x: Any, labels: Any) -> Any:
        """A step with this rank's gradients."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def work(self) -> RankWork:
        """What is measured."""
        return RankWork(
            rank=self.communicator.rank,
            batches=self.batches,
            summed=self.summed,
            silent=self.silent,
            gather=self.communicator.gather,
            trace=self._trace,
            size=sum(parameter.data.nbytes for parameter in self.optimizer.params),
        )

    def _trace(self) -> Trace:
        trace = self.buckets.trace
        sent = [{"bytes": each.bytes, "started": each.started, "done": each.done} for each in trace.buckets]
        return {"pass ended": trace.pass_ended, "sums ended": trace.sums_ended, "buckets": sent}

    def observed(self) -> Step | None:
        """When the buckets of a step are ready where nothing is sent: the medians over some steps of rank 0, for which
        the others wait; None on these."""
        communicator, over = self.communicator, np.zeros(1, np.float32)
        if not communicator.is_main:
            request = communicator.start_broadcast(over)
            while not request.done():
                time.sleep(0.01)  # a rank that looked all the time would keep its core busy
            return None
        self.buckets = GradientBuckets(self.optimizer.params, Alone(communicator.timeout))
        steps = [self._looked_at() for _ in range(WARM_UP + OBSERVED)]
        communicator.broadcast(over)
        return median_step(steps[WARM_UP:])

    def _looked_at(self) -> Step:
        self.summed(*self.batches[0])
        (begin, backward, end), trace = self.clocks, self.buckets.trace
        buckets = tuple(Bucket(sent.bytes, backward - begin + sent.started) for sent in trace.buckets)
        # What is left when the pass is over is sent a little later: until then the rank is at work, too.
        return Step(end - begin, max(backward - begin + trace.pass_ended, buckets[-1].ready), buckets)


def median_step(steps: list[Step]) -> Step:
    """The step whose every time is the median of these, which have the same buckets."""
    buckets = tuple(
        Bucket(same[0].size, statistics.median(bucket.ready for bucket in same))
        for same in zip(*(step.buckets for step in steps), strict=True)
    )
    seconds, ends = ([getattr(step, name) for step in steps] for name in ("seconds", "backward_end"))
    return Step(statistics.median(seconds), statistics.median(ends), buckets)
