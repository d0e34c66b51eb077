"""How time and memory of a training step grow with the work: more images, larger images, more threads.

Work is counted in multiply-adds of the forward pass; the backward pass has about twice as many. Each measurement is a
process of its own, as `bench_train.py --separate` has it. Time that grows as the work does has an exponent of 1: below
1 means that small steps are wasteful, above 1 that large ones are.

With --device cuda the steps are those of `bench_train.py --device cuda`, in one process: minicnn's as a CUDA graph, of
PyTorch's, step by step and as a graph in both layouts, the fastest. Memory is what a library's arrays hold at most.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from typing import Any

import alone
import cli
import harness
import plots
import report
from harness import Pace, Race
from networks import MODELS, NAMES, TOLERANCE, Task

ANY_SIZE = ("resnet20", "resnet18", "resnet50", "vgg16")
WIDTHS = (11, 7, 9, 9, 8, 8, 8, 6, 6)
HEAD = ("images", "GMAC", "ours", "torch", "ours/tor", "our MB", "torch MB", "x ours", "x tor")
EPILOGUE = """\
columns:
  images                  images in a step x their width in pixels
  GMAC                    10**9 multiply-adds of the forward pass
  ours, torch             time of a step; of PyTorch's memory layouts the faster
  our MB, torch MB        peak memory of a step, in 10**6 bytes (Linux)
  x ours, x tor           how many times as fast as one thread, on the CPU

examples:
  python benchmarks/bench_scaling.py
  python benchmarks/bench_scaling.py --model resnet20 --batches 16 64 256
  python benchmarks/bench_scaling.py --batches 8 --sizes 64 128 --plot a.png
  python benchmarks/bench_scaling.py --device cuda --model resnet50
"""


@dataclass(frozen=True)
class Point:
    """What was measured of one task on so many threads; on a GPU they are 0."""

    task: Task
    threads: int
    multiply_adds: int
    race: Race
    peaks: dict[str, int | None]

    @property
    def ours(self) -> str:
        """minicnn on the CPU, or on a GPU its graph."""
        return "minicnn cpu" if self.threads else "minicnn graph"

    @property
    def torch(self) -> str | None:
        """The faster of PyTorch's layouts."""
        return self.race.fastest("torch")

    def as_json(self) -> dict[str, Any]:
        """What the file keeps."""
        contenders = self.race.as_json()
        for name, peak in self.peaks.items():
            contenders[name]["peak bytes"] = peak
        return {
            "batch size": self.task.batch,
            "image": self.task.image,
            "threads": self.threads,
            "multiply-adds": self.multiply_adds,
            "contenders": contenders,
            "torch": self.torch,
        }


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    pace = Pace(options.rounds, 0.02, 0, calls=1) if options.quick else Pace(options.rounds, 0.5, calls=1)
    measure, with_torch = _in_separate_processes, cli.has_torch(options)
    if options.device == "cuda":
        from gpu_settings import torch_device

        measure, with_torch = _on_gpu(options), torch_device(options) is not None
    tasks = _tasks(options)
    points: list[Point] = []
    failed: dict[str, str] = {}
    for threads in [0] if options.device == "cuda" else _thread_counts(options.threads):
        print(f"\n{options.model}, a training step, {_where(threads)}")
        print(report.table_line(HEAD, WIDTHS))
        for task in tasks:
            try:
                points.append(measure(task, threads, pace, with_torch))
            except Exception as error:  # whatever it is: it is shown, and the others are measured
                failed[f"{task.batch} x {task.size}, {_where(threads)}"] = harness.said(error)
            else:
                print(report.table_line(_cells(points), WIDTHS), flush=True)
            if options.json:  # after each, so that what was measured is kept
                report.write_json(options.json, _content(options, points, failed))
    growth = _growth(points)
    print("\n" + "\n".join(f"time grows as work ** {each['exponent']:.2f}: {each['series']}" for each in growth))
    described = _machine(options)
    print(f"\n{report.describe(described)}")
    if options.plot and points:
        where = described.get("gpu", described["processor"])
        plots.draw_scaling(options.plot, _lines(points), f"{options.model}, a training step: {where}")
    for name, why in failed.items():
        print(report.filled(f"! {name}: {why}"))
    return int(bool(failed))


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    described = report.machine(options.threads)
    if options.device == "cuda":
        from gpu_settings import describe

        described |= describe(options)
    return described


def _content(options: argparse.Namespace, points: list[Point], failed: dict[str, str]) -> dict[str, Any]:
    """What the file keeps."""
    settings = {"model": options.model, "rounds": options.rounds, "quick": options.quick, "device": options.device}
    return {"machine": _machine(options), "settings": settings, "growth": _growth(points),
            "points": [point.as_json() for point in points], "failed": failed}  # fmt: skip


def _options() -> argparse.Namespace:
    result = cli.parser(__doc__ or "", rounds=1)
    result.epilog = EPILOGUE
    result.add_argument("--model", default="resnet18", choices=ANY_SIZE, metavar="NAME",
                        help=f"one of {', '.join(ANY_SIZE)} (default: %(default)s)")  # fmt: skip
    result.add_argument("--batches", type=cli.positive, nargs="+", metavar="N", help="images in a step, at the "
                        "network's own size (default: 1, 2, 4 ... up to twice what bench_train.py has)")  # fmt: skip
    result.add_argument("--sizes", type=cli.positive, nargs="+", metavar="N", help="pixels of an image's side, "
                        "in batches as bench_train.py has them (default: 2/7, 3/7 ... 7/7 of its own)")  # fmt: skip
    cli.add_device(result)
    result.add_argument("--precision", default="float32", choices=["float32", "tf32"], help="of products on a GPU")
    return result.parse_args()


def _tasks(options: argparse.Namespace) -> list[Task]:
    """More images, then larger ones."""
    from minicnn import models

    batch, size = MODELS[options.model][0], models.input_shape(options.model)[0]
    batches = options.batches or [2**i for i in range(batch.bit_length() + 1)]
    sizes = options.sizes or [size * i // 7 for i in range(2, 8)]
    tasks = [Task(options.model, n, size) for n in batches] + [Task(options.model, batch, n) for n in sizes]
    return list(dict.fromkeys(tasks))


def _thread_counts(most: int) -> list[int]:
    """1, 2, 4 ... and the most."""
    return sorted({*(2**i for i in range(most.bit_length()) if 2**i <= most), most})


def _where(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}" if threads else "on a GPU"


def _on_gpu(options: argparse.Namespace) -> Any:
    """The measurement on a GPU, in one process."""
    import gpu_networks
    import gpu_settings

    gpu_settings.start(options)

    def measure(task: Task, threads: int, pace: Pace, with_torch: bool) -> Point:
        race, peaks, _ = gpu_networks.measure(task, gpu_networks.names(with_torch), options.precision, pace)
        return Point(task, threads, task.multiply_adds(), race, dict(peaks))

    return measure


def _in_separate_processes(task: Task, threads: int, pace: Pace, with_torch: bool) -> Point:
    names = [name for name in NAMES if name == "minicnn cpu" or (with_torch and name.startswith("torch"))]
    bursts: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, int | None] = {}
    for _ in range(pace.rounds):
        said = {name: alone.measure(task, name, threads, pace) for name in names}
        # The first loss alone: later ones, which bench_train.py compares too, spread with the rounding on small images.
        harness.agree({name: each["compared"][0] for name, each in said.items()}, TOLERANCE)
        for name, each in said.items():
            bursts[name].append(each["seconds"])
            peaks[name] = each["bytes"]
    return Point(task, threads, task.multiply_adds(), Race(bursts), peaks)


def _cells(points: list[Point]) -> tuple[str, ...]:
    """The line of the last point."""
    point = points[-1]
    ours, theirs = point.ours, point.torch
    one = next((other for other in points if (other.task, other.threads) == (point.task, 1)), None)
    ratio = report.times(point.race.ratio(ours, theirs)) if theirs else "-"
    return (
        f"{point.task.batch} x {point.task.size}",
        f"{point.multiply_adds / 1e9:.3f}",
        report.duration(point.race.seconds(ours)),
        report.duration(point.race.seconds(theirs)) if theirs else "-",
        ratio,
        *(_megabytes(point.peaks[name]) if name else "-" for name in (ours, theirs)),
        *(_speed_up(one, point, name) if one and name else "-" for name in (ours, theirs)),
    )


def _megabytes(peak: int | None) -> str:
    return "-" if peak is None else f"{peak / 1e6:,.0f}"


def _speed_up(one: Point, many: Point, name: str) -> str:
    """PyTorch's faster layout may be another one on one thread: then it is that one."""
    first = one.torch if name.startswith("torch") else name
    return report.times(one.race.seconds(first or name) / many.race.seconds(name))


def _lines(points: list[Point]) -> dict[str, list[tuple[int, float, int | None]]]:
    """{"minicnn cpu, 2 threads": [(multiply-adds, seconds, peak bytes), ...]} by rising work; "torch" is the faster."""
    lines: dict[str, list[tuple[int, float, int | None]]] = {}
    for point in sorted(points, key=lambda point: (point.threads, point.multiply_adds)):
        for label, name in ((point.ours, point.ours), ("torch", point.torch)):
            if name:
                line = lines.setdefault(f"{label}, {_where(point.threads)}", [])
                line.append((point.multiply_adds, point.race.seconds(name), point.peaks[name]))
    return lines


def _growth(points: list[Point]) -> list[dict[str, Any]]:
    """For each line the exponent e of seconds = constant * work ** e, by least squares of the logarithms."""
    return [
        {"series": label, "exponent": slope([math.log(work) for work, *_ in line], [math.log(s) for _, s, _ in line])}
        for label, line in _lines(points).items()
        if len({work for work, *_ in line}) > 1
    ]


def slope(xs: list[float], ys: list[float]) -> float:
    """Of the straight line y = a + slope * x that is nearest to the points."""
    x0, y0 = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - x0) * (y - y0) for x, y in zip(xs, ys, strict=True)) / sum((x - x0) ** 2 for x in xs)


if __name__ == "__main__":
    sys.exit(main())
