"""A training step of whole networks, or a forward pass: minicnn's cpu room, its reference room, and PyTorch.

A step is zero_grad, forward, cross-entropy, backward, and SGD with momentum 0.9, float32. All contenders start from
the same weights, and are raced only where the losses of their first steps on one batch agree; dropout is off for those,
since each library draws other random numbers, and on for what is timed. PyTorch runs eagerly, with its images in its
default layout (nchw) and in channels_last (nhwc), of which the faster counts.

Peak memory is measured in a process for each contender: what it holds at most during the steps, above what it held
before there was a network.

With --device cuda minicnn and PyTorch train on a GPU, step by step (eager) and as a CUDA graph, each in both precisions
unless --precision names one; PyTorch with its autotuner (torch.backends.cudnn.benchmark) off, and, in the lines called
tuned, on. Images, gathering of batches and losses stay on the GPU; a step is that of a pass over all batches. Peak
memory is what a library's arrays hold at most there, with what the autotuner tried.

A network whose contenders disagree or fail is named with the reason, and the others are measured; the exit status is 1.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import alone
import cli
import harness
import plots
import report
from harness import Contender, Pace, Race
from networks import MODELS, NAMES, STEPS, TOLERANCE, Task, work
from train_result import Result

BATCHES = (1, 8)  # of a forward pass
TRAINED, INFERRED = ("lenet5", "digit_cnn", "resnet20", "resnet18", "vgg16"), ("resnet50", "vgg16")
GPU_TRAINED = ("lenet5", "resnet50", "digit_cnn", "resnet20", "resnet18", "vgg16")
GPU_BATCHES = {"resnet50": 64}  # where a GPU gets more than MODELS says
EPILOGUE = f"""\
columns:
  ms/step                 median over the rounds of the median step of a burst
  images/s                images in a step over that time
  ours/torch              median over the rounds of the ratio of times; below 1
                          minicnn is faster
  peak MB                 memory of a step, in 10**6 bytes (Linux)
  eager over, graph over  on a GPU: images/s of minicnn, step by step or as a
                          graph, over that of the line's; above 1 minicnn is
                          faster

The losses of {STEPS} steps, or the logits, agree when no two differ by more than
{TOLERANCE:g} times the largest of them.

examples:
  python benchmarks/bench_train.py              {len(TRAINED)} networks, one after another
  python benchmarks/bench_train.py --model resnet18 --batch-size 2
  python benchmarks/bench_train.py --model lenet5 --separate --reference
  python benchmarks/bench_train.py --inference  forward passes of 1 and 8 images
  python benchmarks/bench_train.py --device cuda --json a.json
  python benchmarks/bench_train.py --device cuda --json a.json --add
                                                what the file lacks, if the
                                                first run was cut off
"""


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    pace = Pace(options.rounds, 0.02, 0, calls=1) if options.quick else Pace(options.rounds, 0.5, calls=1)
    what = "a forward pass" if options.inference else "a training step"
    mode = "a process each, in turn" if options.separate else "one process, bursts in turn"
    print(f"{what}; {pace.rounds} rounds; {mode}")
    results, failed, described = _measured(options, pace)
    print(f"\n{report.describe(described)}")
    if options.plot and results:
        dots = {_named(r.task, r.precision): {k: [v] for k, v in r.ratios.items()} for r in results}
        where = described.get("gpu", f"{described['processor']}, {options.threads} threads")
        plots.draw_ratios(options.plot, dots, f"{what}: {where}")
    for name, why in failed.items():
        print(report.filled(f"! {name}: {why}"))
    return int(bool(failed))


def _measured(options: argparse.Namespace, pace: Pace) -> tuple[list[Result], dict[str, str], dict[str, Any]]:
    """Measure the tasks one by one, printing each and writing the file as it comes.

    Returns the results; {task: why it has none}; the machine.
    """
    from gpu_settings import precisions

    measure = _measurement(options)
    settings = {"inference": options.inference, "rounds": pace.rounds, "separate": options.separate,
                "tolerance": TOLERANCE, "quick": options.quick, "device": options.device}  # fmt: skip
    described = _machine(options, {"not started"})
    content: dict[str, Any] = {"machine": described, "settings": settings, "networks": [], "failed": {}}
    if earlier := cli.earlier(options, content):
        content |= {part: earlier[part] for part in ("networks", "failed")}
    known = {(each["model"], each["batch size"], each["precision"]) for each in content["networks"]}
    results, failed, pools = [], {}, {"not started"}
    for task, precision in itertools.product(_tasks(options), precisions(options)):
        if (task.model, task.batch, precision) in known:
            continue
        name = _named(task, precision)
        content["failed"].pop(name, None)
        try:
            result, pool = measure(task, precision, pace)
        except Exception as error:  # whatever it is: it is shown, and the others are measured
            failed[name] = harness.said(error)
            print("\n" + report.filled(f"! {name}: {failed[name]}"), flush=True)
        else:
            results.append(result)
            pools = pools - {"not started"} | {pool}
            content["networks"].append(result.as_json())
            print(f"\n{result.describe()}", flush=True)
        content |= {"machine": _machine(options, pools), "failed": content["failed"] | failed}
        if options.json:  # after each, so that what was measured is kept
            report.write_json(options.json, content)
    return results, failed, content["machine"]


def _named(task: Task, precision: str) -> str:
    return f"{task.model}, batch {task.batch}, {precision}"


def _machine(options: argparse.Namespace, pools: set[str]) -> dict[str, Any]:
    described = report.machine(options.threads) | {"numba threads": ", ".join(sorted(pools))}
    if options.device == "cuda":
        from gpu_settings import describe

        described |= describe(options)
    return described


def _options() -> argparse.Namespace:
    result = cli.parser(__doc__ or "", rounds=7)
    result.epilog = EPILOGUE
    result.add_argument("--model", action="append", choices=MODELS, metavar="NAME",
                        help=f"{', '.join(MODELS)}; may be given again for more")  # fmt: skip
    result.add_argument("--batch-size", type=cli.positive, metavar="N", help="images a step (default: "
                        f"{', '.join(f'{MODELS[name][0]} for {name}' for name in TRAINED)}; on a GPU "
                        f"{', '.join(f'{batch} for {name}' for name, batch in GPU_BATCHES.items())})")  # fmt: skip
    cli.add_device(result)
    result.add_argument("--precision", choices=["float32", "tf32", "both"], help="of products on a GPU (default: both)")
    cli.add_add(result)
    result.add_argument("--inference", action="store_true", help="a forward pass in evaluation mode, without a graph; "
                        f"default: {' and '.join(INFERRED)}, 1 and 8 images")  # fmt: skip
    result.add_argument("--reference", action="store_true", help="the reference room too: it may take seconds a step")
    result.add_argument("--separate", action="store_true", help="each contender in a process of its own, in turn")
    options = result.parse_args()
    cli.check_add(result, options)
    if options.device == "cuda" and (options.inference or options.separate or options.reference):
        result.error("--device cuda measures training steps in one process: without --inference and its like")
    if options.device == "cpu" and options.precision not in (None, "float32"):
        result.error(f"--precision {options.precision} is for --device cuda: the CPU computes in float32")
    options.precision = options.precision or ("both" if options.device == "cuda" else "float32")
    return options


def _takes_part(name: str, options: argparse.Namespace) -> bool:
    if name == "minicnn reference":
        return bool(options.reference)
    if name == "minicnn optimised":
        return bool(options.inference)
    return name == "minicnn cpu" or cli.has_torch(options)


def _tasks(options: argparse.Namespace) -> list[Task]:
    from minicnn import models

    on_gpu = options.device == "cuda"
    chosen = options.model or (INFERRED if options.inference else GPU_TRAINED if on_gpu else TRAINED)

    def batches(name: str) -> Sequence[int]:
        if options.batch_size:
            return [options.batch_size]
        if options.inference:
            return BATCHES
        return [GPU_BATCHES.get(name, MODELS[name][0]) if on_gpu else MODELS[name][0]]

    return [
        Task(name, batch, models.input_shape(name)[0], options.inference) for name in chosen for batch in batches(name)
    ]


Measure = Callable[[Task, str, Pace], tuple[Result, str]]


def _measurement(options: argparse.Namespace) -> Measure:
    """What measures a task in a precision; it returns the result, and the name of Numba's thread pool."""
    if options.device == "cuda":
        return _on_gpu(options)
    names = [name for name in NAMES if _takes_part(name, options)]
    measure = _in_separate_processes if options.separate else _in_one_process
    return lambda task, precision, pace: measure(task, names, options.threads, pace)


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


def _on_gpu(options: argparse.Namespace) -> Measure:
    """The measurement on a GPU, in one process but for PyTorch with its autotuner on."""
    import gpu_networks
    import gpu_settings

    gpu_settings.start(options)
    torch = gpu_settings.torch_device(options)
    tuned = gpu_settings.tuned(torch)
    names = gpu_networks.names(torch is not None, tuned is not None)

    def measure(task: Task, precision: str, pace: Pace) -> tuple[Result, str]:
        try:
            race, peaks, losses = gpu_networks.measure(task, names, precision, pace, torch or "cuda", tuned)
        finally:
            gpu_settings.give_back(torch)
        return Result(task, race, dict(peaks), losses, precision), "not started"

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


if __name__ == "__main__":
    sys.exit(main())
