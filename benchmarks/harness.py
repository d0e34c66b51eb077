"""What every benchmark needs before and while it measures: options, threads, and a fair race.

A race is fair when its contenders compute the same thing, on the same threads, and do not disturb each other:

- `race` compares the results before it times anything, and refuses contenders that disagree.
- Contenders take turns by whole bursts, and none begins before the threads of the last one sleep
  (`wait_for_silence`).
- A round is one burst of each contender, in an order that turns round after round. A ratio is taken within a round
  and the median over the rounds is reported, so that a machine that slows down for a while slows both down.

Nothing heavy is imported at the top: BLAS and OpenMP read the number of threads when they are loaded, so `start` must
be able to set it before NumPy is.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import report

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PLOT_SUFFIXES = (".png", ".svg", ".pdf")
WARM_UP = 0.02  # seconds, in which Linux spreads threads over the cores
GROUP = 0.002  # seconds of calls on a GPU before one waits for them


# Options and threads


def plain_parser(description: str, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark, also of one that times nothing in turns.

    threads: the default of --threads; None for all cores.
    """
    result = argparse.ArgumentParser(
        description=wrapped(description), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = "%(default)s" if threads else "%(default)s, all cores"
    result.add_argument("--threads", type=positive, default=threads or report.cores(), metavar="N",
                        help=f"threads of Numba, BLAS and PyTorch alike (default: {default})")  # fmt: skip
    return result


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options of every race that draws its ratios; `rounds` is the default of --rounds."""
    result = race_parser(description, rounds)
    result.add_argument("--plot", type=plot_path, metavar="PATH",
                        help="draw a picture of the results (png, svg, pdf; needs matplotlib)")  # fmt: skip
    return result


def race_parser(description: str, rounds: int, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options that all races share; `rounds` is the default of --rounds, `threads` of --threads."""
    result = plain_parser(description, threads)
    result.add_argument("--rounds", type=positive, metavar="N",
                        help=f"rounds of one burst a contender (default: {rounds}, with --quick 2)")  # fmt: skip
    result.add_argument("--quick", action="store_true", help="short bursts and 2 rounds: shows that it runs, no more")
    result.add_argument("--no-torch", action="store_true", help="leave PyTorch out, even where it is installed")
    result.add_argument(
        "--json", type=output_path, metavar="PATH", help="write the machine and every round to a JSON file"
    )
    result.set_defaults(default_rounds=rounds)
    return result


def wrapped(description: str) -> str:
    """Its paragraphs in lines as wide as a terminal."""
    return "\n\n".join(textwrap.fill(paragraph, report.WIDTH) for paragraph in description.split("\n\n"))


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option --device; the result is "cpu" or "cuda"."""
    parser.add_argument("--device", type=_device, default="cpu", choices=["cpu", "cuda"], metavar="{cpu,cuda,auto}",
                        help="auto is an NVIDIA GPU if there is one, else the cpu (default: cpu)")  # fmt: skip


def _device(text: str) -> str:
    if text != "auto":
        return text
    from minicnn import cuda_available

    return "cuda" if cuda_available() else "cpu"


def start(options: argparse.Namespace) -> None:
    """Give every thread pool `options.threads` threads; starts the script anew where NumPy was loaded with others."""
    wanted = {name: str(options.threads) for name in THREAD_VARIABLES}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
    options.rounds = options.rounds or (2 if options.quick else options.default_rounds)
    set_threads(options.threads, has_torch(options))


def set_threads(threads: int, with_torch: bool) -> None:
    """Give minicnn's kernels and PyTorch so many threads; ends the script where there are not so many."""
    from minicnn import kernels

    try:
        kernels.set_threads(threads)
    except ValueError as error:
        sys.exit(f"--threads {threads}: {error}")
    if with_torch:
        import torch

        torch.set_num_threads(threads)


def has_torch(options: argparse.Namespace) -> bool:
    """Whether PyTorch takes part."""
    return not options.no_torch and find_spec("torch") is not None


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def output_path(text: str) -> Path:
    """A path that can be written to: better known before minutes of measuring than after."""
    path = Path(text)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written: its folder must exist and be writable")
    return path


def plot_path(text: str) -> Path:
    """The path of a picture, from the command line."""
    return drawn_path(text, PLOT_SUFFIXES, "matplotlib", "plots")


def drawn_path(text: str, suffixes: Sequence[str], package: str, extra: str) -> Path:
    """The path of a file that ends in one of these and that a package writes, which an extra of minicnn installs."""
    if Path(text).suffix not in suffixes:
        raise argparse.ArgumentTypeError(f"{text} must end in one of {', '.join(suffixes)}")
    if find_spec(package) is None:
        raise argparse.ArgumentTypeError(f"{package} is not installed: pip install 'minicnn[{extra}]'")
    return output_path(text)


# The race


class Disagreement(Exception):
    """Two contenders do not compute the same thing, so comparing their times would say nothing."""


@dataclass(frozen=True)
class Contender:
    """call() does the work that is timed; view(what it returned) is what must agree with the other contenders.

    finish: waits until the work is done, on a GPU, where call() only asks for it; None where it is done anyway.
    prepare: sets before a burst what holds for the whole process, as the precision of a library does.
    """

    call: Callable[[], Any]
    view: Callable[[Any], Any] = lambda result: result
    finish: Callable[[], Any] | None = None
    prepare: Callable[[], Any] | None = None

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
