"""A training step of whole networks, or a forward pass: minicnn's cpu room, its reference room, and PyTorch.

A step is zero_grad, forward, cross-entropy, backward, and SGD with momentum 0.9, float32. All contenders start from
the same weights, and are raced only where the losses of their first steps on one batch agree; dropout is off for those,
since each library draws other random numbers, and on for what is timed. PyTorch runs eagerly, with its images in its
default layout (nchw) and in channels_last (nhwc), of which the faster counts.

Peak memory is measured in a process for each contender: what it holds at most during the steps, above what it held
before there was a network.

With --device cuda minicnn and PyTorch train on a GPU, step by step (eager) and as a CUDA graph; PyTorch with its
autotuner (torch.backends.cudnn.benchmark) off and TF32 as --precision says. Images, gathering of batches and losses
stay on the GPU; a step is that of a pass over all batches. Peak memory is what a library's arrays hold at most there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from typing import Any

import alone
import cli
import harness
import plots
import report
from harness import Contender, Pace, Race
from networks import MODELS, NAMES, STEPS, TOLERANCE, Task, work

BATCHES = (1, 8)  # of a forward pass
TRAINED, INFERRED = ("lenet5", "digit_cnn", "resnet20", "resnet18", "vgg16"), ("resnet50", "vgg16")
WIDTHS = (20, 12, 12, 12, 12)
EPILOGUE = f"""\
columns:
  ms/step                 median over the rounds of the median step of a burst
  images/s                images in a step over that time
  ours/torch              median over the rounds of the ratio of times; below 1
                          minicnn is faster
  peak MB                 memory of a step, in 10**6 bytes (Linux)

The losses of {STEPS} steps, or the logits, agree when no two differ by more than
{TOLERANCE:g} times the largest of them.

examples:
  python benchmarks/bench_train.py              {len(TRAINED)} networks, one after another
  python benchmarks/bench_train.py --model resnet18 --batch-size 2
  python benchmarks/bench_train.py --model lenet5 --separate --reference
  python benchmarks/bench_train.py --inference  forward passes of 1 and 8 images
  python benchmarks/bench_train.py --device cuda --model lenet5 --model resnet50
"""


@dataclass(frozen=True)
class Result:
    """What was measured of one task: times, peak memory by contender, and what was compared before."""

    task: Task
    race: Race
    peaks: dict[str, int | None]
    compared: list[float]

    @property
    def torch(self) -> str | None:
        """The faster of PyTorch's layouts."""
        layouts = [name for name in self.race.bursts if name.startswith("torch")]
        return min(layouts, key=self.race.seconds, default=None)

    @property
    def ratios(self) -> dict[str, float]:
        """Our time over PyTorch's where it takes part, and the fast room's over the reference's."""
        ours = [name for name in self.race.bursts if name.startswith("minicnn")]
        found = {f"{name}/torch": self.race.ratio(name, self.torch) for name in ours if self.torch}
        for name in self.race.bursts:
            if name.startswith("torch ") and "minicnn graph" in ours:
                found[f"minicnn graph/{name}"] = self.race.ratio("minicnn graph", name)
        if "minicnn reference" in ours:
            found["minicnn cpu/minicnn reference"] = self.race.ratio("minicnn cpu", "minicnn reference")
        return found

    def rows(self) -> list[tuple[str, ...]]:
        """The table's."""
        rows: list[tuple[str, ...]] = []
        for name in self.race.bursts:
            seconds, ratio, peak = self.race.seconds(name), self.ratios.get(f"{name}/torch"), self.peaks[name]
            shown = report.times(ratio) if ratio else "-"
            megabytes = "-" if peak is None else f"{peak / 1e6:,.0f}"
            rows.append((name, f"{seconds * 1e3:,.3f}", f"{self.task.batch / seconds:,.1f}", shown, megabytes))
        return rows

    def as_json(self) -> dict[str, Any]:
        """What the file keeps."""
        contenders = self.race.as_json()
        for name, peak in self.peaks.items():
            contenders[name]["peak bytes"] = peak
        return {
            "model": self.task.model,
            "batch size": self.task.batch,
            "image": self.task.image,
            "multiply-adds": self.task.multiply_adds(),
            "losses": None if self.task.inference else self.compared,
            "contenders": contenders,
            "ratios": self.ratios,
            "torch": self.torch,
        }


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    pace = Pace(options.rounds, 0.02, 0, calls=1) if options.quick else Pace(options.rounds, 0.5, calls=1)
    names = [name for name in NAMES if _takes_part(name, options)]
    what = "a forward pass" if options.inference else "a training step"
    mode = "a process each, in turn" if options.separate else "one process, bursts in turn"
    print(f"{what}; {pace.rounds} rounds; {mode}")
    measure = _in_separate_processes if options.separate else _in_one_process
    if options.device == "cuda":
        import gpu_networks
        from gpu_settings import torch_device

        measure, names = _on_gpu(options), gpu_networks.names(torch_device(options) is not None)
    results, pools = [], {"not started"}
    for task in _tasks(options):
        result, pool = measure(task, names, options.threads, pace)
        results.append(result)
        pools = pools - {"not started"} | {pool}
        _print(result)
    described = report.machine(options.threads) | {"numba threads": ", ".join(sorted(pools))}
    if options.device == "cuda":
        from gpu_settings import describe

        described |= describe(options)
    print(f"\n{report.describe(described)}")
    if options.json:
        settings = {"inference": options.inference, "rounds": pace.rounds, "separate": options.separate,
                    "tolerance": TOLERANCE, "quick": options.quick, "device": options.device}  # fmt: skip
        content = {"machine": described, "settings": settings, "networks": [result.as_json() for result in results]}
        report.write_json(options.json, content)
    if options.plot:
        dots = {f"{r.task.model}, batch {r.task.batch}": {k: [v] for k, v in r.ratios.items()} for r in results}
        plots.draw_ratios(options.plot, dots, f"{what}: {described['processor']}, {options.threads} threads")
    return 0


def _options() -> argparse.Namespace:
    result = cli.parser(__doc__ or "", rounds=7)
    result.epilog = EPILOGUE
    result.add_argument("--model", action="append", choices=MODELS, metavar="NAME",
                        help=f"{', '.join(MODELS)}; may be given again for more")  # fmt: skip
    result.add_argument("--batch-size", type=cli.positive, metavar="N", help="images a step (default: "
                        f"{', '.join(f'{MODELS[name][0]} for {name}' for name in TRAINED)})")  # fmt: skip
    cli.add_device(result)
    result.add_argument("--precision", default="float32", choices=["float32", "tf32"], help="of products on a GPU")
    result.add_argument("--inference", action="store_true", help="a forward pass in evaluation mode, without a graph; "
                        f"default: {' and '.join(INFERRED)}, 1 and 8 images")  # fmt: skip
    result.add_argument("--reference", action="store_true", help="the reference room too: it may take seconds a step")
    result.add_argument("--separate", action="store_true", help="each contender in a process of its own, in turn")
    options = result.parse_args()
    if options.device == "cuda" and (options.inference or options.separate or options.reference):
        result.error("--device cuda measures training steps in one process: without --inference and its like")
    return options


def _takes_part(name: str, options: argparse.Namespace) -> bool:
    if name == "minicnn reference":
        return bool(options.reference)
    if name == "minicnn optimised":
        return bool(options.inference)
    return name == "minicnn cpu" or cli.has_torch(options)


def _tasks(options: argparse.Namespace) -> list[Task]:
    from minicnn import models

    chosen = options.model or (INFERRED if options.inference else TRAINED)
    return [
        Task(name, batch, models.input_shape(name)[0], options.inference)
        for name in chosen
        for batch in (
            [options.batch_size] if options.batch_size else BATCHES if options.inference else MODELS[name][:1]
        )
    ]


def _in_one_process(task: Task, names: list[str], threads: int, pace: Pace) -> tuple[Result, str]:
    """Burst by burst; returns the result, and the name of Numba's thread pool. Memory needs processes after all."""
    works = {name: work(task, name) for name in names}
    compared = {name: each.compared() for name, each in works.items()}
    harness.agree(compared, TOLERANCE)
    contenders = {name: Contender(each.call) for name, each in works.items()}
    race = harness.race(contenders, pace, compare=lambda results: None)  # done above
    del works, contenders  # the next processes may need their memory
    once = Pace(1, 0, 0, calls=1)  # after a step that warms up, and leaves the optimizer its state
    peaks = {name: alone.measure(task, name, threads, once, compare=False)["bytes"] for name in names}
    return Result(task, race, peaks, compared[names[0]].tolist()), report.machine(threads)["numba threads"]


def _on_gpu(options: argparse.Namespace) -> Any:
    """The measurement on a GPU, in one process."""
    import gpu_networks
    import gpu_settings

    gpu_settings.start(options)

    def measure(task: Task, names: list[str], threads: int, pace: Pace) -> tuple[Result, str]:
        race, peaks, losses = gpu_networks.measure(task, names, options.precision, pace)
        return Result(task, race, dict(peaks), losses), "not started"

    return measure


def _in_separate_processes(task: Task, names: list[str], threads: int, pace: Pace) -> tuple[Result, str]:
    """A process for each contender in each round, one at a time."""
    said: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(pace.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            said[name].append(alone.measure(task, name, threads, pace))
        harness.agree({name: each[-1]["compared"] for name, each in said.items()}, TOLERANCE)
    race = Race({name: [each["seconds"] for each in bursts] for name, bursts in said.items()})
    peaks = {name: _median([each["bytes"] for each in bursts]) for name, bursts in said.items()}
    ours = said["minicnn cpu"][-1]
    return Result(task, race, peaks, ours["compared"]), ours["numba threads"]


def _median(peaks: list[int | None]) -> int | None:
    known = [peak for peak in peaks if peak is not None]
    return int(statistics.median(known)) if known else None


def _print(result: Result) -> None:
    task, losses = result.task, result.compared
    H, W, C = task.image
    print(f"\n{task.model}, batch {task.batch}, images {H} x {W} x {C}")
    if not task.inference:
        print(f"the losses of {STEPS} steps without dropout agree, from {losses[0]:.4f} to {losses[-1]:.4f}")
    head = ("", "ms/image" if task.inference and task.batch == 1 else "ms/step", "images/s", "ours/torch", "peak MB")
    print(report.table(head, result.rows(), WIDTHS), flush=True)


if __name__ == "__main__":
    sys.exit(main())
