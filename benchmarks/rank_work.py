"""What a rank of `bench_distributed.py` does and measures; `minicnn_rank.py` and `torch_rank.py` are the two kinds.

Every rank has images of its own, as many as the others. A step is that of `networks.py`: zero_grad, forward,
cross-entropy, backward, SGD with momentum; on several ranks the gradients are averaged meanwhile. Every few steps the
same ranks make as many without a word to each other ("silent"), which shows what the sums cost, beside what ranks on
one machine cost each other anyway; in turn, so that a machine that gets slower counts for both alike. All make the same
number of steps: a sum that one rank does not join would never end.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import Pace
from networks import STEPS, Batch, Task
from timeline import Trace

BURST = 2  # steps of one kind before those of the other
WARM_UP = 2  # steps: in the first the buckets are made


@dataclass(frozen=True)
class RankWork:
    """What a rank does, and how it hears of the others.

    summed(x, labels): a step with the gradients of all ranks, which returns this rank's loss. silent: without theirs.
    gather(number): those of all ranks. trace: of the last summed step, as `timeline.py` draws it; None where nobody
    keeps one. size: bytes of the gradients of a step.
    """

    rank: int
    batches: list[Batch]
    summed: Callable[[Any, Any], Any]
    silent: Callable[[Any, Any], Any]
    gather: Callable[[float], list[float]]
    trace: Callable[[], Trace] | None
    size: int


def share(task: Task, rank: int, ranks: int) -> list[Batch]:
    """The batches of this rank; none is another rank's too, where there are enough."""
    batches = task.batches()
    return batches[rank % len(batches) :: ranks]


def measure(work: RankWork, pace: Pace) -> dict[str, Any]:
    """{"losses" of the first steps, mean over the ranks; "seconds", "silent", "waited" of a step; "bytes"; "trace"}.

    waited: by rank, the seconds in which it had nothing to compute, None where nobody knows; trace: rank 0's, of the
    last step.

    Of each rank the median step counts, and of the ranks the slowest.
    """
    losses = [float(work.summed(*work.batches[0]).item()) for _ in range(STEPS)]
    means = [statistics.fmean(work.gather(loss)) for loss in losses]
    begin = time.perf_counter()
    _steps(work, work.summed, range(WARM_UP))
    wanted = max(pace.calls, math.ceil(pace.burst * WARM_UP / (time.perf_counter() - begin)))
    count = int(work.gather(wanted)[0])  # rank 0 says for all
    seconds, silent, traces = _in_turn(work, count)
    waits = [trace["sums ended"] - trace["pass ended"] for trace in traces]
    return {
        "losses": means,
        "seconds": _slowest(work, seconds),
        "silent": _slowest(work, silent),
        "waited": work.gather(statistics.median(waits)) if waits else None,
        "bytes": work.size,
        "trace": traces[-1] if traces else None,
    }


def _in_turn(work: RankWork, count: int) -> tuple[list[float], list[float], list[Trace]]:
    """Seconds of each of `count` summed steps and as many silent ones, in short bursts, and what the first sent."""
    seconds, silent, traces = [], [], []
    for begin in range(0, count, BURST):
        numbers = range(begin, min(begin + BURST, count))
        summed, sent = _steps(work, work.summed, numbers)
        seconds += summed
        traces += sent
        silent += _steps(work, work.silent, numbers)[0]
    return seconds, silent, traces


def _steps(work: RankWork, step: Callable[[Any, Any], Any], numbers: range) -> tuple[list[float], list[Trace]]:
    """Seconds of each of these steps, the first of which all ranks begin together, and what was sent in it."""
    seconds, traces = [], []
    work.gather(0.0)
    for number in numbers:
        begin = time.perf_counter()
        step(*work.batches[number % len(work.batches)])
        seconds.append(time.perf_counter() - begin)
        if work.trace is not None:
            traces.append(work.trace())
    return seconds, traces


def _slowest(work: RankWork, seconds: list[float]) -> float:
    return max(work.gather(statistics.median(seconds)))
