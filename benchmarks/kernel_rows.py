"""One row of `bench_kernels.py`: who races, whether they agree, and what is shown and kept of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import harness
import numpy as np
import report
from conv_cases import Case
from harness import Contender, Pace, Race
from ulps import distance, exact_results

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu.conv2d import ALGORITHMS

Array = Any

RATIO, SLACK = 1.05, 20e-6
SHORT = 1e-5  # seconds: of a call that PyTorch does in less most of the time is Python's
TOLERANCE = 1e-4  # of the largest number: float32 sums in another order


@dataclass(frozen=True)
class Error:
    """How far a float32 result is from the float64 one.

    relative: the largest difference over the largest number. ulps: the median over the numbers of the difference,
    in units of the last binary digit that float32 has for that number.
    """

    relative: float
    ulps: float


@dataclass(frozen=True)
class Row:
    """What was measured of one case; peak: operations a second that the machine could do."""

    case: Case
    race: Race
    errors: dict[str, Error]
    peak: float
    again: bool = False

    @property
    def torch(self) -> str | None:
        """The faster of PyTorch's memory layouts."""
        return self.race.fastest("torch")

    @property
    def ratios(self) -> dict[str, float]:
        """Time of the cpu room over those of the others."""
        others = {"reference": "reference" if "reference" in self.race.bursts else None, "torch": self.torch}
        return {f"cpu/{name}": self.race.ratio("cpu", other) for name, other in others.items() if other}

    @property
    def short(self) -> bool:
        """Whether it says more of calls than of kernels."""
        return self.torch is not None and self.race.seconds(self.torch) < SHORT

    @property
    def slower(self) -> float:
        """How many seconds cpu takes longer than reference."""
        return self.race.seconds("cpu") - self.race.seconds("reference")

    @property
    def holds(self) -> bool:
        """Whether the fast room is fast enough here."""
        return self.ratios.get("cpu/reference", 0) <= RATIO or self.slower <= SLACK

    def speed(self, name: str) -> float:
        """Floating-point operations a second: a multiply-add is two, whatever the algorithm saves of them."""
        return 2 * self.case.multiply_adds / self.race.seconds(name)

    def cells(self) -> tuple[str, ...]:
        """The row as the table shows it."""
        names = ("reference", "cpu"), ("torch nchw" if "torch nchw" in self.race.bursts else "torch", "torch nhwc")
        ours, theirs = ([self._time(name) for name in each] for each in names)
        ratios = [
            report.times(self.ratios[key]) if key in self.ratios else "-" for key in ("cpu/reference", "cpu/torch")
        ]
        return self.case.shape, *ours, ratios[0], *theirs, ratios[1], "" if self.holds else "!"

    def _time(self, name: str) -> str:
        return report.duration(self.race.seconds(name)) if name in self.race.bursts else "-"

    def details(self) -> Iterator[tuple[str, ...]]:
        """For a matrix product or convolution a line for each contender: time, speed, share of the peak, errors."""
        for name, error in self.errors.items():
            speed = self.speed(name)
            share = f"{100 * speed / self.peak:.0f} %"
            yield (
                f"  {name}",
                self._time(name),
                f"{speed / 1e9:.1f}",
                share,
                f"{error.relative:.1e}",
                f"{error.ulps:.2f}",
            )

    def as_json(self) -> dict[str, Any]:
        """The row as the JSON file keeps it."""
        contenders = self.race.as_json()
        for name, error in self.errors.items():
            contenders[name] |= {"GFLOP/s": self.speed(name) / 1e9, "error": error.relative, "ulps": error.ulps}
        return {
            "kernel": self.case.kernel,
            "shape": self.case.shape,
            "networks": self.case.networks,
            "multiply-adds": self.case.multiply_adds,
            "numbers": self.case.numbers,
            "contenders": contenders,
            "ratios": self.ratios,
            "torch": self.torch,
            "measured again": self.again,
            "holds": self.holds,
        }


def measure(case: Case, pace: Pace, peak: float, with_torch: bool, attempts: int = 2) -> Row:
    """Race the rooms, the cpu room's algorithms, and PyTorch; a row that does not hold is measured again.

    Raises harness.Disagreement, naming the case, where they do not compute the same.
    """
    arguments = case.arguments(np.random.default_rng(0))
    compare = Exact(case, arguments) if case.multiply_adds else Alike()
    for attempt in range(attempts):
        contenders = dict(_rooms(case, arguments))
        if with_torch:
            from kernel_torch import counterparts

            layouts = counterparts(case, arguments)
            contenders |= {f"torch {layout}".rstrip(): contender for layout, contender in layouts.items()}
        try:
            race = harness.race(contenders, replace(pace, rounds=3 * pace.rounds) if attempt else pace, compare)
        except harness.Disagreement as error:
            raise harness.Disagreement(f"{case.name}: {error}") from error
        row = Row(case, race, compare.errors, peak, bool(attempt))
        if row.holds:
            break
    return row


def _rooms(case: Case, arguments: tuple[Any, ...]) -> Iterator[tuple[str, Contender]]:
    """The kernel in both rooms on the same arrays, and the cpu room's algorithms; what is written into is copied.

    The layers of a network are many and large: there the reference does not race.
    """
    for name, room in (("reference", reference), ("cpu", cpu)):
        if not (room is reference and case.networks):
            yield name, in_room(room, case, arguments)
    kernel = getattr(cpu, case.kernel)
    for algorithm, by_name in by_algorithm(case, arguments, ALGORITHMS):
        if accepts(kernel, by_name):
            yield f"cpu {algorithm}", by_kernel(kernel, by_name, ())


def in_room(room: Any, case: Case, arguments: tuple[Any, ...]) -> Contender:
    """The kernel of a room of NumPy arrays, with arrays of its own where it writes into them."""
    own = case.own(arguments)
    return by_kernel(getattr(room, case.kernel), own, case.written(own))


def by_algorithm(
    case: Case, arguments: tuple[Any, ...], algorithms: Sequence[str]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Of a convolution each algorithm but "auto", and the arguments that ask for it by name."""
    for algorithm in algorithms if case.kernel.startswith("conv2d") else ():
        if algorithm != "auto":
            yield algorithm, tuple(algorithm if isinstance(a, str) else a for a in arguments)


def accepts(kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Whether the algorithm serves this shape: where it does not, asking for it is a ValueError."""
    try:
        kernel(*arguments)
    except ValueError:
        return False
    return True


def by_kernel(kernel: Callable[..., Any], arguments: tuple[Any, ...], written: tuple[Any, ...]) -> Contender:
    """A kernel that returns its results, or leaves them in the arrays `written`."""
    return Contender(lambda: kernel(*arguments), lambda result: written or result)


class Alike:
    """Compares the contenders with each other."""

    def __init__(self) -> None:
        self.errors: dict[str, Error] = {}

    def __call__(self, results: dict[str, Any]) -> None:
        harness.agree(results, TOLERANCE)


class Exact:
    """Compares the contenders with what the reference makes of the same arguments in float64.

    tolerance(name): what a contender may be off by.
    """

    def __init__(
        self, case: Case, arguments: tuple[Any, ...], tolerance: Callable[[str], float] = lambda name: TOLERANCE
    ) -> None:
        self._tolerance = tolerance
        (self._exact,) = exact_results(case, arguments)
        self.errors: dict[str, Error] = {}

    def __call__(self, results: dict[str, Array]) -> None:
        for name, result in results.items():
            harness.agree({"the float64 reference": self._exact, name: result}, self._tolerance(name))
        self.errors = {name: error(result, self._exact) for name, result in results.items()}


def error(result: Array, exact: Array) -> Error:
    """The errors of a float32 array, given the float64 one."""
    relative = np.abs(result - exact).max() / np.abs(exact).max()
    return Error(float(relative), float(np.median(distance(result, exact, exact))))


# Groups of rows, of whatever device


def groups(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """The rows of each kernel; a network's layers are in a group for each network, short calls in one of their own."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for label in row.case.networks or ("short" if row.short else "",):
            found.setdefault(f"{row.case.kernel} {label}".rstrip(), []).append(row)
    return found


def ratios(rows: Sequence[Any]) -> dict[str, list[float]]:
    """{"cpu/reference": the ratios of the rows that have one, ...}"""
    keys = dict.fromkeys(key for row in rows for key in row.ratios)
    return {key: [row.ratios[key] for row in rows if key in row.ratios] for key in keys}


def mean_ratios(rows: Sequence[Any]) -> dict[str, float]:
    """{"cpu/reference": their geometric mean, ...}"""
    return {key: statistics.geometric_mean(each) for key, each in ratios(rows).items()}
