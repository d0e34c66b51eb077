"""What a rank of `bench_distributed.py` does and measures; `minicnn_rank.py` and `torch_rank.py` are the two kinds.

Every rank has images of its own, as many as the others. A step is that of `networks.py`: zero_grad, forward,
cross-entropy, backward, SGD with momentum. There are three kinds: "summed", with the gradients of all ranks;
"silent", in which all ranks work but say nothing, which shows what the sums cost, beside what ranks on one machine cost
each other anyway; and "alone", in which rank 0 does the same while the others sleep. They take turns every few steps,
so that a machine that gets slower, or has neighbours for a while, is so for all three. All ranks make the same number
of summed steps: a sum that one rank does not join would never end.
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

KINDS = ("alone", "silent", "summed")  # of steps
BURST = 2  # steps of one kind before those of the next
WARM_UP = 2  # steps: in the first the buckets are made


@dataclass(frozen=True)
class RankWork:
    """What a rank does, and how it hears of the others.

    summed(x, labels): a step with the gradients of all ranks, which returns this rank's loss. silent: with its own.
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
    """{"losses" of the first steps, mean over the ranks; seconds of a step "summed", "silent", "alone"; "waited";
    "bytes"; "trace"}.

    waited: by rank, the seconds in which it had nothing to compute, None where nobody knows; trace: rank 0's, of the
    last summed step.

    Of each rank the median step counts, and of the ranks the slowest.
    """
    losses = [float(work.summed(*work.batches[0]).item()) for _ in range(STEPS)]
    means = [statistics.fmean(work.gather(loss)) for loss in losses]
    wanted = max(pace.calls, math.ceil(pace.burst * WARM_UP / sum(_steps(work, work.summed, range(WARM_UP)))))
    count = int(work.gather(wanted)[0])  # rank 0 says for all
    seconds, traces = _in_turn(work, count)
    waits = [trace["sums ended"] - trace["pass ended"] for trace in traces]
    return {
        "losses": means,
        "summed": _slowest(work, seconds["summed"]),
        "silent": _slowest(work, seconds["silent"]),
        "alone": statistics.median(seconds["alone"]) if work.rank == 0 else None,
        "waited": work.gather(statistics.median(waits)) if waits else None,
        "bytes": work.size,
        "trace": traces[-1] if traces else None,
    }


def _in_turn(work: RankWork, count: int) -> tuple[dict[str, list[float]], list[Trace]]:
    """Seconds of each of `count` steps of each kind, in short bursts, and what the summed ones sent. Of the steps that
    rank 0 makes alone the others have none."""
    seconds: dict[str, list[float]] = {kind: [] for kind in reversed(KINDS)}
    traces: list[Trace] = []
    for begin in range(0, count, BURST):
        numbers = range(begin, min(begin + BURST, count))
        for kind, times in seconds.items():
            work.gather(0.0)  # all begin together
            if kind == "alone" and work.rank > 0:
                # Longer than that takes: a rank that looked for the others meanwhile would keep its core busy.
                time.sleep(1.2 * sum(seconds["silent"][-len(numbers) :]))
            elif kind == "summed":
                times += _steps(work, work.summed, numbers, traces)
            else:
                times += _steps(work, work.silent, numbers)
    return seconds, traces


def _steps(
    work: RankWork, step: Callable[[Any, Any], Any], numbers: range, traces: list[Trace] | None = None
) -> list[float]:
    """Seconds of each of these steps; what each sent is added to `traces`."""
    seconds = []
    for number in numbers:
        begin = time.perf_counter()
        step(*work.batches[number % len(work.batches)])
        seconds.append(time.perf_counter() - begin)
        if traces is not None and work.trace is not None:
            traces.append(work.trace())
    return seconds


def _slowest(work: RankWork, seconds: list[float]) -> float:
    return max(work.gather(statistics.median(seconds)))
