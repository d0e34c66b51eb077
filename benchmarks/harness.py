"""What every benchmark needs: threads, a description of the machine, a fair race, a table, files.

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
import contextlib
import gc
import io
import json
import os
import platform
import secrets
import statistics
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PACKAGES = ("numpy", "numba", "torch")
PLOT_SUFFIXES = (".png", ".svg", ".pdf")
WIDTH = 80
WARM_UP = 0.02  # seconds, in which Linux spreads threads over the cores
BUSY = 0.5  # processes that wanted a core in the minute before this one did
_LOAD = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else "unknown"


# Options and threads


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share; `rounds` is the default of --rounds."""
    paragraphs = "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in description.split("\n\n"))
    result = argparse.ArgumentParser(description=paragraphs, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--threads", type=positive, default=cores(), metavar="N",
                        help="threads of Numba, BLAS and PyTorch alike (default: %(default)s, all cores)")  # fmt: skip
    result.add_argument("--rounds", type=positive, metavar="N",
                        help=f"rounds of one burst a contender (default: {rounds}, with --quick 2)")  # fmt: skip
    result.add_argument("--quick", action="store_true", help="short bursts and 2 rounds: shows that it runs, no more")
    result.add_argument("--no-torch", action="store_true", help="leave PyTorch out, even where it is installed")
    result.add_argument("--json", type=_output, metavar="PATH", help="write the machine and every round to a JSON file")
    result.add_argument("--plot", type=_plot, metavar="PATH",
                        help="draw the ratios, on a logarithmic axis (png, svg, pdf; needs matplotlib)")  # fmt: skip
    result.set_defaults(default_rounds=rounds)
    return result


def start(options: argparse.Namespace) -> None:
    """Give every thread pool `options.threads` threads; starts the script anew where NumPy was loaded with others."""
    wanted = {name: str(options.threads) for name in THREAD_VARIABLES}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
    options.rounds = options.rounds or (2 if options.quick else options.default_rounds)
    from minicnn import kernels

    try:
        kernels.set_threads(options.threads)
    except ValueError as error:
        sys.exit(f"--threads {options.threads}: {error}")
    if has_torch(options):
        import torch

        torch.set_num_threads(options.threads)


def has_torch(options: argparse.Namespace) -> bool:
    """Whether PyTorch takes part."""
    return not options.no_torch and find_spec("torch") is not None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _output(text: str) -> Path:
    """A path that can be written to: better known before minutes of measuring than after."""
    path = Path(text)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written: its folder must exist and be writable")
    return path


def _plot(text: str) -> Path:
    if Path(text).suffix not in PLOT_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text} must end in one of {', '.join(PLOT_SUFFIXES)}")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("matplotlib is not installed: pip install 'minicnn[plots]'")
    return _output(text)


# The machine


def machine(threads: int, precision: str = "float32") -> dict[str, Any]:
    """What a figure means nothing without: processor, cores, system, versions, threads, precision, load.

    "load" is how many processes wanted a core in the minute before the start. Where others are at work figures are
    worth little: threads that wait for one whose core was taken lose far more time than their share.
    """
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": _system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "blas": _blas(),
        "numba threads": _threading_layer(),
        "threads": threads,
        "precision": precision,
        "load": _LOAD,
    }


def describe(described: Mapping[str, Any]) -> str:
    """The machine as lines of `name  value`, with a warning where it was busy."""
    lines = [f"{name:<14} {value}"[:WIDTH] for name, value in described.items()]
    if isinstance(described["load"], float) and described["load"] > BUSY:
        lines.append("note: the machine was busy before the start; measure again when it is quiet")
    return "\n".join(lines)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.machine()}"
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _blas() -> str:
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _threading_layer() -> str:
    """Numba's thread pool, which is known from its first parallel loop on."""
    import numba

    try:
        return str(numba.threading_layer())
    except ValueError:
        return "not started"


# The race


class Disagreement(Exception):
    """Two contenders do not compute the same thing, so comparing their times would say nothing."""


@dataclass(frozen=True)
class Contender:
    """call() does the work that is timed; view(what it returned) is what must agree with the other contenders."""

    call: Callable[[], Any]
    view: Callable[[Any], Any] = lambda result: result


@dataclass(frozen=True)
class Pace:
    """How long a race takes: rounds, seconds of one burst, the most seconds to wait for silence before each."""

    rounds: int
    burst: float = 0.01
    patience: float = 1.0


@dataclass(frozen=True)
class Race:
    """What was measured: for each contender the median seconds of a call in each round's burst."""

    bursts: dict[str, list[float]]

    def seconds(self, name: str) -> float:
        """The median over the rounds."""
        return statistics.median(self.bursts[name])

    def ratio(self, name: str, baseline: str) -> float:
        """Time of `name` over time of `baseline`: the median of the ratios within each round."""
        pairs = zip(self.bursts[name], self.bursts[baseline], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def as_json(self) -> dict[str, Any]:
        """Seconds, and every round that they are the median of."""
        return {name: {"seconds": self.seconds(name), "rounds": rounds} for name, rounds in self.bursts.items()}


def race(contenders: Mapping[str, Contender], pace: Pace, compare: Callable[[dict[str, Any]], None]) -> Race:
    """Compare the contenders' first results, then measure `pace.rounds` rounds.

    compare: is given {name: viewed result}, and raises Disagreement unless they agree (see `agree`).
    """
    compare({name: contender.view(contender.call()) for name, contender in contenders.items()})
    bursts: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(pace.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            wait_for_silence(pace.patience)
            bursts[name].append(burst(contenders[name].call, pace.burst))
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


def burst(call: Callable[[], Any], seconds: float, at_least: int = 3) -> float:
    """Call again and again for that many seconds; returns the median seconds of a call.

    Before the clock runs there are up to WARM_UP seconds of calls: they bring back to the caches what others have
    pushed out, and the threads, which may all have been woken on one core, spread over the cores.
    Each result is given back before the next call, and Python's garbage collector rests meanwhile.
    """
    clock = time.perf_counter
    collecting = gc.isenabled()
    gc.disable()
    try:
        _repeat(call, clock() + min(WARM_UP, 2 * seconds), 1)
        return statistics.median(_repeat(call, clock() + seconds, at_least))
    finally:
        if collecting:
            gc.enable()


def _repeat(call: Callable[[], Any], end: float, at_least: int) -> list[float]:
    """The seconds of each call until the clock shows `end`."""
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < at_least or begin < end:
        call()
        now = time.perf_counter()
        times.append(now - begin)
        begin = now
    return times


def quickest(contenders: Mapping[str, Contender], pace: Pace) -> str:
    """The name of the contender with the fastest burst out of two: one library's layouts race each other first."""
    times: dict[str, float] = {}
    for name, contender in contenders.items():
        wait_for_silence(pace.patience)
        times[name] = min(burst(contender.call, pace.burst / 2) for _ in range(2))
    return min(times, key=times.__getitem__)


def agree(results: Mapping[str, Any], tolerance: float = 1e-4) -> None:
    """Raise Disagreement unless every result has the first one's shapes and values.

    results: {name: an array, a number, or a tuple of them}; integers must be equal, and floats must not differ by
    more than `tolerance` times the largest magnitude in the first contender's array. A tuple may be shorter than the
    first one's: what a library does not return is not compared.
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
                scale, difference = float(np.abs(a).max()), float(np.abs(a - b).max())
                if not difference <= tolerance * scale:  # a NaN disagrees too
                    raise Disagreement(f"{where}: by {difference:.3g}, with values up to {scale:.3g}")


def _arrays(result: Any) -> tuple[Any, ...]:
    import numpy as np

    return tuple(np.asarray(array) for array in (result if isinstance(result, tuple) else (result,)))


# What comes out


def duration(seconds: float) -> str:
    """Three digits and a unit, at most eight characters: "12.3 us"."""
    unit, size = next((u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("us", 0.0)) if seconds >= 0.9995 * s)
    size = size or 1e-6
    number = seconds / size
    return f"{number:.{0 if number >= 99.95 else 1 if number >= 9.995 else 2}f} {unit}"


def times(ratio: float) -> str:
    """A ratio in at most six characters: "0.0123", "0.987", "12.3"."""
    return f"{ratio:.{4 if ratio < 0.0995 else 3 if ratio < 9.995 else 1 if ratio < 999.5 else 0}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Columns side by side, one space apart: the first flush left, the others flush right; a long cell is cut."""
    return "\n".join(table_line(row, widths) for row in (head, *rows))


def table_line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One line of such a table."""
    cells = [f"{cell[:width]:<{width}}" if i == 0 else f"{cell[:width]:>{width}}"
             for i, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
    return " ".join(cells).rstrip()


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON; at any moment the file is the old one or the new one, both whole."""
    _write(path, (json.dumps(content, indent=1) + "\n").encode())


def write_plot(path: Path, bars: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Draw {label: {series: ratio}} as horizontal bars on a logarithmic axis, with a line at 1."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    series = list(dict.fromkeys(name for ratios in bars.values() for name in ratios))
    figure = Figure(figsize=(8, 1.2 + 0.17 * len(bars) * max(1, len(series))), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / max(1, len(series))
    for i, name in enumerate(series):
        known = [(y, ratios[name]) for y, ratios in enumerate(bars.values()) if name in ratios]
        # A bar on a logarithmic axis has no zero to stand on: it stands on 1, where both are equally fast.
        axes.barh([y + i * height for y, _ in known], [ratio - 1 for _, ratio in known], height, left=1, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1, color="#222222", linewidth=0.8)
    axes.set_yticks([y + 0.4 - height / 2 for y in range(len(bars))], list(bars), fontsize=7)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlabel("time ratio; left of 1, the one named first is faster")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:], dpi=120)
    _write(path, picture.getvalue())


def _write(path: Path, content: bytes) -> None:
    """Put `content` at `path` by way of a file beside it."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
