"""One operation raced by everybody who can do it: whether they are right, and how long they take.

Nobody is dropped in silence. Who cannot take part, fails, is wrong or is stopped says so in its `Runner.trouble`; who
is too slow for the whole race says in its `Runner.note` how often it ran.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import harness
import numpy as np
import report
from conv_cases import Case
from harness import Contender, Pace, Race
from kernel_rows import TOLERANCE
from race_entries import Absent, entries
from roofs import Roofs
from ulps import Agreement, agreement, exact_results, sums_of_terms
from work import Work, work


@dataclass(frozen=True)
class Runner:
    """A contender behind the race.

    trouble: why it has no times, else empty. wrong: whether that is its result. note: what to know of its times.
    """

    name: str
    rounds: list[float] = field(default_factory=list)
    agreement: Agreement | None = None
    trouble: str = ""
    wrong: bool = False
    note: str = ""

    @property
    def room(self) -> str:
        """reference, cpu, cuda, torch or cublas."""
        return self.name.split()[0]

    @property
    def device(self) -> str:
        """Whose limit counts."""
        return "cuda" if self.room in ("cuda", "cublas") or self.name.startswith("torch gpu") else "cpu"


@dataclass(frozen=True)
class Outcome:
    """What was measured of a case. limits: of "cpu", and of "cuda" where there is a GPU."""

    case: Case
    work: Work
    limits: Mapping[str, Roofs]
    runners: list[Runner]

    @property
    def race(self) -> Race:
        """The times of those who have some."""
        return Race({runner.name: runner.rounds for runner in self.runners if runner.rounds})

    @property
    def finished(self) -> list[Runner]:
        """Those who have times, the fastest first."""
        return sorted((r for r in self.runners if r.rounds), key=lambda runner: self.race.seconds(runner.name))

    @property
    def others(self) -> list[Runner]:
        """Those who have none."""
        return [runner for runner in self.runners if not runner.rounds]

    def limit(self, runner: Runner) -> float:
        """Seconds that its device needs at least for the operations of the definition, or for the bytes."""
        return self.limits[runner.device].seconds(self.work.operations, self.work.moved)

    def share(self, runner: Runner) -> float:
        """Of its limit, what it reaches; above 1 where a cache holds the bytes, or an algorithm saves operations."""
        return self.limit(runner) / self.race.seconds(runner.name)

    def rates(self, runner: Runner) -> tuple[float, float]:
        """Operations of the definition and bytes of the minimum, a second."""
        seconds = self.race.seconds(runner.name)
        return self.work.operations / seconds, self.work.moved / seconds

    def as_json(self) -> dict[str, Any]:
        """As a row of bench_kernels.py has it, and what each contender's share, quartiles and ULPs are."""
        kept = self.race.as_json()
        for runner in self.finished:
            operations, moved = self.rates(runner)
            kept[runner.name] |= {
                "quartiles": self.race.quartiles(runner.name),
                "GFLOP/s": operations / 1e9,
                "GB/s": moved / 1e9,
                "of limit": self.share(runner),
                "note": runner.note,
            }
            if runner.agreement:
                (terms, plain), (most, most_plain) = runner.agreement.median, runner.agreement.largest
                kept[runner.name] |= {
                    "ulps of terms": {"median": terms, "largest": most},
                    "ulps": {"median": plain, "largest": most_plain},
                }
        return {
            "kernel": self.case.kernel,
            "shape": self.case.shape,
            "networks": self.case.networks,
            "operations": self.work.operations,
            "bytes": self.work.moved,
            "contenders": kept,
            "without times": {runner.name: runner.trouble for runner in self.others},
        }


def run(case: Case, pace: Pace, limits: Mapping[str, Roofs], with_torch: bool, patience: float) -> Outcome:
    """Compare everybody with float64, then race those who are right; each has `patience` seconds of its own.

    A GPU takes part if its limits are known.
    """
    arguments = case.arguments(np.random.default_rng(0))
    judge = Judge(case, arguments)
    ready: dict[str, tuple[Contender, float]] = {}
    runners: dict[str, Runner] = {}
    for name, enter in entries(case, arguments, with_torch, "cuda" in limits):
        try:
            contender, seconds, agrees = _tried(name, enter, judge, patience)
        except Exception as error:  # whatever it is: it is shown, and the others race
            wrong = isinstance(error, harness.Disagreement)
            runners[name] = Runner(name, trouble=_said(error, patience), wrong=wrong)
        else:
            ready[name], runners[name] = (contender, seconds), Runner(name, agreement=agrees)
    for name, (rounds, note) in timed(ready, pace, patience).items():
        runners[name] = replace(runners[name], rounds=rounds, note=note)
    return Outcome(case, judge.work, limits, list(runners.values()))


# Who is right


class Judge:
    """Knows what the float64 reference makes of the arguments."""

    def __init__(self, case: Case, arguments: tuple[Any, ...]) -> None:
        self._exact = exact_results(case, arguments)
        self._terms = sums_of_terms(case, arguments, self._exact)
        narrow = tuple(a.astype(np.float32) if a.dtype.kind == "f" else a for a in self._exact)
        self.work: Work = work(case.kernel, arguments, narrow)

    def __call__(self, name: str, result: Any) -> Agreement:
        """Raises harness.Disagreement for a result that is not the exact one but for rounding."""
        harness.agree({"the float64 reference": self._exact, name: result}, TOLERANCE, self._terms)
        return agreement(result if isinstance(result, tuple) else (result,), self._exact, self._terms)


def _tried(
    name: str, enter: Callable[[], Contender], judge: Judge, patience: float
) -> tuple[Contender, float, Agreement]:
    """The contender, the seconds of a call, and how well it agrees. The first call may compile, but in NumPy's room."""
    contender, slow_room = enter(), name.startswith("reference")
    with at_most(patience) if slow_room else contextlib.nullcontext():
        begin = time.perf_counter()
        result = contender.first()
        seconds = time.perf_counter() - begin
    agrees = judge(name, result)
    return contender, seconds if slow_room else _seconds(contender), agrees


def _seconds(contender: Contender) -> float:
    begin = time.perf_counter()
    contender.call()
    if contender.finish is not None:
        contender.finish()
    return time.perf_counter() - begin


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block when so many seconds are over; Python notices between two calls of NumPy.

    Where the system has no such alarm (Windows) the block runs to its end.
    """
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _said(error: Exception, patience: float) -> str:
    """Why there are no times."""
    if isinstance(error, TimeoutError):
        return f"stopped in its first call, for which it had {report.duration(patience)} (--patience)"
    if isinstance(error, Absent | harness.Disagreement | ValueError | RuntimeError):
        return str(error)
    return f"{type(error).__name__}: {error}"


# Who is fast


def timed(
    ready: Mapping[str, tuple[Contender, float]], pace: Pace, patience: float
) -> dict[str, tuple[list[float], str]]:
    """{name: (the seconds of each round, a note)}; ready: contenders, and the seconds that a call took.

    Whoever would need more than its patience for all rounds does not take turns with the others: it gets fewer rounds
    of one call each, and if there is no time even for that its first call is all that is known.
    """
    slow = {name for name, (_, seconds) in ready.items() if seconds * (pace.calls + 1) * pace.rounds > patience}
    quick = {name: contender for name, (contender, _) in ready.items() if name not in slow}
    bursts = harness.measure(quick, pace).bursts if quick else {}
    found = {name: (rounds, "") for name, rounds in bursts.items()}
    for name in slow:
        contender, seconds = ready[name]
        rounds = min(pace.rounds, int(patience / (2 * seconds)))  # a call to warm up, and one that counts
        if rounds:
            once = replace(pace, rounds=rounds, burst=0, calls=1)
            calls = "round of one call" if rounds == 1 else "rounds of one call"
            found[name] = harness.measure({name: contender}, once).bursts[name], f"slow, {rounds} {calls}"
        else:
            found[name] = [seconds], "too slow for more than one call, its first"
    return {name: found[name] for name in ready}
