"""A fair race, which every benchmark runs that compares.

A race is fair when its contenders compute the same thing, on the same threads, and do not disturb each other:

- `race` compares the results before it times anything, and refuses contenders that disagree.
- Contenders take turns by whole bursts, and none begins before the threads of the last one sleep
  (`wait_for_silence`).
- A round is one burst of each contender, in an order that turns round after round. A ratio is taken within a round
  and the median over the rounds is reported, so that a machine that slows down for a while slows both down.

NumPy is imported where it is needed first: see `cli`.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WARM_UP = 0.02  # seconds, in which Linux spreads threads over the cores
GROUP = 0.002  # seconds of calls on a GPU before one waits for them


class Disagreement(Exception):
    """Two contenders do not compute the same thing, so comparing their times would say nothing."""


def said(error: Exception) -> str:
    """Why there are no times, in a sentence."""
    plain = isinstance(error, Disagreement | ValueError | RuntimeError | MemoryError) and str(error)
    return str(error) if plain else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Contender:
    """call() does the work that is timed; view(what it returned) is what must agree with the other contenders.

    finish: waits until the work is done, on a GPU, where call() only asks for it; None where it is done anyway.
    prepare: sets before a burst what holds for the whole process, as the precision of a library does.
    timed: is `burst` of a contender that lives in another process.
    """

    call: Callable[[], Any]
    view: Callable[[Any], Any] = lambda result: result
    finish: Callable[[], Any] | None = None
    prepare: Callable[[], Any] | None = None
    timed: Callable[[Pace], float] | None = None

    def first(self) -> Any:
        """What the first call returns, as it is compared."""
        if self.prepare is not None:
            self.prepare()
        return self.view(self.call())


@dataclass(frozen=True)
class Pace:
    """How long a race takes.

    rounds: bursts of each contender. burst: its seconds. patience: the most seconds to wait for silence before each.
    calls: how many calls a burst has at least, after at least one to warm up.
    """

    rounds: int
    burst: float = 0.01
    patience: float = 1.0
    calls: int = 3


@dataclass(frozen=True)
class Race:
    """What was measured: for each contender the median seconds of a call in each round's burst."""

    bursts: dict[str, list[float]]

    def seconds(self, name: str) -> float:
        """The median over the rounds."""
        return statistics.median(self.bursts[name])

    def quartiles(self, name: str) -> tuple[float, float]:
        """The lower and the upper one over the rounds; of one round both are that round's."""
        rounds = self.bursts[name]
        if len(rounds) == 1:
            return rounds[0], rounds[0]
        lower, _, upper = statistics.quantiles(rounds, method="inclusive")
        return lower, upper

    def ratio(self, name: str, baseline: str) -> float:
        """Time of `name` over time of `baseline`: the median of the ratios within each round."""
        pairs = zip(self.bursts[name], self.bursts[baseline], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def fastest(self, library: str) -> str | None:
        """The contender of the least seconds whose name begins with a library's; None if there is none."""
        return min((name for name in self.bursts if name.startswith(library)), key=self.seconds, default=None)

    def as_json(self) -> dict[str, Any]:
        """Seconds, and every round that they are the median of, with four digits."""
        digits = lambda seconds: float(f"{seconds:.4g}")  # noqa: E731
        return {
            name: {"seconds": digits(self.seconds(name)), "rounds": [digits(seconds) for seconds in rounds]}
            for name, rounds in self.bursts.items()
        }


def race(contenders: Mapping[str, Contender], pace: Pace, compare: Callable[[dict[str, Any]], None]) -> Race:
    """Compare the contenders' first results, then measure `pace.rounds` rounds.

    compare: is given {name: viewed result}, and raises Disagreement unless they agree (see `agree`).
    """
    compare({name: contender.first() for name, contender in contenders.items()})
    return measure(contenders, pace)


def measure(contenders: Mapping[str, Contender], pace: Pace) -> Race:
    """Time `pace.rounds` rounds of contenders that are known to agree."""
    bursts: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(pace.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            wait_for_silence(pace.patience)
            bursts[name].append(burst(contenders[name], pace))
    return Race(bursts)


def wait_for_silence(patience: float) -> None:
    """Wait until no thread of this process computes, at most so many seconds.

    The workers of a pool spin after their last task before they sleep, those of OpenBLAS for a tenth of a second and
    more: a kernel of another pool that is timed meanwhile finds one core less.
    """
    end = time.monotonic() + patience
    busy = 1.0
    while busy > 0.1 and time.monotonic() < end:
        before, start = time.process_time(), time.monotonic()
        time.sleep(0.01)
        busy = (time.process_time() - before) / (time.monotonic() - start)


def burst(contender: Contender, pace: Pace) -> float:
    """Call again and again for as long as the pace says; returns the median seconds of a call.

    Before the clock runs there are up to WARM_UP seconds of calls: they bring back to the caches what others have
    pushed out, and the threads, which may all have been woken on one core, spread over the cores.
    Each result is given back before the next call, and Python's garbage collector rests meanwhile.
    """
    if contender.timed is not None:
        return contender.timed(pace)
    clock = time.perf_counter
    collecting = gc.isenabled()
    gc.disable()
    if contender.prepare is not None:
        contender.prepare()
    try:
        _repeat(contender, clock() + min(WARM_UP, 2 * pace.burst), 1)
        return statistics.median(_repeat(contender, clock() + pace.burst, pace.calls))
    finally:
        if collecting:
            gc.enable()


def _repeat(contender: Contender, end: float, at_least: int) -> list[float]:
    """The seconds of each call until the clock shows `end`; of calls that must be waited for their mean over a group.

    The groups double in length until the wait, of some ten microseconds, is no matter beside them.
    """
    times: list[float] = []
    group = 1
    begin = time.perf_counter()
    while len(times) < at_least or begin < end:
        for _ in range(group):
            contender.call()
        if contender.finish is not None:
            contender.finish()
        now = time.perf_counter()
        times.append((now - begin) / group)
        if contender.finish is not None and now - begin < GROUP:
            times.clear()
            group *= 2
        begin = time.perf_counter()
    return times


def agree(results: Mapping[str, Any], tolerance: float = 1e-4, scales: Sequence[Any] | None = None) -> None:
    """Raise Disagreement unless every result has the first one's shapes and values.

    results: {name: an array, a number, or a tuple of them}; integers must be equal, and floats must not differ by
    more than `tolerance` times the largest magnitude in the first contender's array. A tuple may be shorter than the
    first one's: what a library does not return is not compared.
    scales: arrays, one for each of the first contender's, whose largest magnitude counts instead of its own.
    """
    import numpy as np

    (first, expected), *others = ((name, _arrays(result)) for name, result in results.items())
    for name, arrays in others:
        for i, (a, b) in enumerate(zip(expected, arrays, strict=False)):
            where = f"{name} and {first} disagree in result {i}"
            if a.shape != b.shape:
                raise Disagreement(f"{where}: shapes {b.shape} and {a.shape}")
            if a.dtype.kind in "iub":
                if not np.array_equal(a, b):
                    raise Disagreement(f"{where}: {np.count_nonzero(a != b)} of {a.size} integers")
            elif a.size:
                scale = float(np.abs(scales[i] if scales else a).max())
                difference = float(np.abs(a - b).max())
                if not difference <= tolerance * scale:  # a NaN disagrees too
                    what = "terms that add up" if scales else "values up"
                    raise Disagreement(f"{where}: by {difference:.3g}, with {what} to {scale:.3g}")


def _arrays(result: Any) -> tuple[Any, ...]:
    import numpy as np

    return tuple(np.asarray(array) for array in (result if isinstance(result, tuple) else (result,)))
