"""A whole training step of LeNet-5: minicnn's cpu room, its reference room, and PyTorch.

A step is zero_grad, forward, cross-entropy, backward, and SGD with momentum 0.9, float32, on images of MNIST. Before
the clock runs, each contender takes 5 steps from the same weights on the same batches, and the losses must agree. A
burst lasts half a second, so the slow reference room takes fewer steps in each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import harness
from harness import Contender, Pace, Race

LR, MOMENTUM = 0.05, 0.9
COMPARED_STEPS, BATCHES = 5, 32
TOLERANCE = 1e-4  # of the largest of the losses: float32 sums in another order, five steps long
WIDTHS = (24, 12, 12, 12)
EPILOGUE = f"""\
columns:
  ms/step                 median over the rounds of the median step of a burst
  images/s                batch size over that time
  ours/torch              median over the rounds of the ratio of times; below 1
                          minicnn is faster

The losses of {COMPARED_STEPS} steps agree when no two differ by more than {TOLERANCE:g} times the
largest of them. PyTorch runs eagerly, in the faster of its default layout
(nchw) and channels_last (nhwc).

examples:
  python benchmarks/bench_lenet.py
  python benchmarks/bench_lenet.py --batch-size 1 --threads 1
  python benchmarks/bench_lenet.py --separate   a process for each contender in
                                                each round, in turn: no thread
                                                pool ever meets another's
"""

Step = Callable[[], Any]


# The contenders: each is a function that takes one training step and returns the loss, not yet read.


def minicnn_step(room: str, batches: list[tuple[Any, Any]]) -> Step:
    """The step in one of minicnn's rooms."""
    import minicnn as mc
    from minicnn import functional as F
    from minicnn import kernels, optim

    model = _model()
    optimizer = optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    tensors, turn = [(mc.tensor(x), labels) for x, labels in batches], _turns(len(batches))

    def step() -> Any:
        x, labels = tensors[turn()]
        with kernels.use(room):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
        return loss

    return step


def torch_step(layout: str, batches: list[tuple[Any, Any]]) -> Step:
    """The step in PyTorch, eager, with its images and weights in memory as `layout` says."""
    import torch
    from torch.nn import functional as F

    memory = torch.contiguous_format if layout == "nchw" else torch.channels_last
    model = _torch_model().to(memory_format=memory)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    tensors = [
        # (N, H, W, C) -> (N, C, H, W)
        (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=memory), torch.from_numpy(labels))
        for x, labels in batches
    ]
    turn = _turns(len(batches))

    def step() -> Any:
        x, labels = tensors[turn()]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def _model() -> Any:
    """LeNet-5 with the weights that everyone starts from."""
    import minicnn as mc
    from minicnn import models

    mc.seed(0)
    return models.lenet5()


def _torch_model() -> Any:
    """The same network in PyTorch with the same weights, its axes turned to PyTorch's order."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip
    for ours, theirs in zip(_model().parameters(), model.parameters(), strict=True):
        w = ours.numpy()
        if w.shape == (400, 120):
            # What is flattened here is (5, 5, 16), and there (16, 5, 5): the rows stand in another order.
            w = w.reshape(5, 5, 16, 120).transpose(2, 0, 1, 3).reshape(400, 120)
        # (KH, KW, C, O) -> (O, C, KH, KW); (in, out) -> (out, in)
        w = w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T
        theirs.data = torch.from_numpy(w.copy())
    return model


def _batches(size: int) -> list[tuple[Any, Any]]:
    """The first batches of MNIST: x (N, 28, 28, 1) float32 in [0, 1], labels (N,)."""
    from minicnn import data

    train, _ = data.mnist()
    loader = iter(data.DataLoader(train, size))
    return [next(loader) for _ in range(min(BATCHES, len(train) // size))]


def _turns(count: int) -> Callable[[], int]:
    """A function that returns 0, 1, ... count - 1, 0, 1, ..."""
    number = -1

    def turn() -> int:
        nonlocal number
        number = (number + 1) % count
        return number

    return turn


# Measuring


def first_losses(step: Step) -> list[float]:
    """The losses of the first steps."""
    return [float(step().item()) for _ in range(COMPARED_STEPS)]


def check_losses(losses: dict[str, list[float]]) -> None:
    """Raise harness.Disagreement unless all contenders had the same losses."""
    harness.agree(losses, TOLERANCE)


def _in_one_process(names: list[str], options: argparse.Namespace, pace: Pace) -> tuple[Race, dict[str, Any]]:
    """Burst by burst; returns the race and the machine."""
    batches = _batches(options.batch_size)
    steps = {name: _step(name, batches) for name in names}
    check_losses({name: first_losses(step) for name, step in steps.items()})
    contenders = {name: Contender(step) for name, step in steps.items()}
    layouts = {name: contender for name, contender in contenders.items() if name.startswith("torch")}
    for name in layouts.keys() - {harness.quickest(layouts, pace)} if layouts else ():
        del contenders[name]
    race = harness.race(contenders, pace, compare=lambda results: None)  # the losses were compared above
    return race, harness.machine(options.threads)


def _in_separate_processes(names: list[str], options: argparse.Namespace, pace: Pace) -> tuple[Race, dict[str, Any]]:
    """A process for each contender in each round, one at a time; returns the race and the machine."""
    bursts: dict[str, list[float]] = {name: [] for name in names}
    losses: dict[str, list[float]] = {}
    described = harness.machine(options.threads)
    for number in range(pace.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            command = [sys.executable, __file__, "--alone", name, "--threads", str(options.threads),
                       "--batch-size", str(options.batch_size), *(["--quick"] if options.quick else [])]  # fmt: skip
            answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            bursts[name].append(answer["seconds"])
            losses[name] = answer["losses"]
            if name == "minicnn cpu":  # only there is Numba at work
                described |= {"numba threads": answer["numba threads"]}
        check_losses(losses)
    race = Race(bursts)
    layouts = [name for name in names if name.startswith("torch")]
    slower = sorted(layouts, key=race.seconds)[1:]
    return Race({name: times for name, times in bursts.items() if name not in slower}), described


def _alone(name: str, options: argparse.Namespace, pace: Pace) -> None:
    """Measure one contender and print its losses and its burst, for the process that asked."""
    step = _step(name, _batches(options.batch_size))
    losses = first_losses(step)
    seconds, described = harness.burst(step, pace.burst), harness.machine(options.threads)
    print(json.dumps({"losses": losses, "seconds": seconds, "numba threads": described["numba threads"]}))


def _step(name: str, batches: list[tuple[Any, Any]]) -> Step:
    """The contender of that name: "minicnn cpu", "minicnn reference", "torch nchw" or "torch nhwc"."""
    library, kind = name.split()
    return minicnn_step(kind, batches) if library == "minicnn" else torch_step(kind, batches)


# Options and results


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    harness.start(options)
    pace = Pace(options.rounds, 0.02, 0) if options.quick else Pace(options.rounds, 0.5)
    if options.alone:
        _alone(options.alone, options, pace)
        return 0
    names = ["minicnn cpu", "minicnn reference"]
    names += ["torch nchw", "torch nhwc"] if harness.has_torch(options) else []
    measure = _in_separate_processes if options.separate else _in_one_process
    race, described = measure(names, options, pace)
    rows = _rows(race, options.batch_size)
    mode = "a process each, in turn" if options.separate else "one process, bursts in turn"
    print(f"LeNet-5, a training step at batch {options.batch_size}; {pace.rounds} rounds; {mode}\n")
    print(harness.table(("", "ms/step", "images/s", "ours/torch"), rows, WIDTHS))
    print(f"\n{harness.describe(described)}")
    ratios = _ratios(race)
    if options.json:
        settings = {"batch size": options.batch_size, "rounds": pace.rounds, "separate": options.separate,
                    "loss tolerance": TOLERANCE, "quick": options.quick}  # fmt: skip
        content = {"machine": described, "settings": settings, "contenders": race.as_json(), "ratios": ratios}
        harness.write_json(options.json, content)
    if options.plot:
        title = f"LeNet-5, batch {options.batch_size}: {described['processor']}, {described['threads']} threads"
        harness.write_plot(options.plot, {name: {"time ratio": ratio} for name, ratio in ratios.items()}, title)
    return 0


def _options() -> argparse.Namespace:
    result = harness.parser(__doc__ or "", rounds=7)
    result.epilog = EPILOGUE
    result.add_argument(
        "--batch-size", type=harness.positive, default=128, metavar="N", help="images a step (default: 128)"
    )
    result.add_argument("--separate", action="store_true", help="each contender in a process of its own, in turn")
    result.add_argument("--alone", help=argparse.SUPPRESS)
    return result.parse_args()


def _ratios(race: Race) -> dict[str, float]:
    """Our time over PyTorch's where it takes part, and the fast room's over the reference's."""
    theirs = next((name for name in race.bursts if name.startswith("torch")), None)
    ratios = {"minicnn cpu/minicnn reference": race.ratio("minicnn cpu", "minicnn reference")}
    for ours in ("minicnn cpu", "minicnn reference") if theirs else ():
        ratios[f"{ours}/torch"] = race.ratio(ours, theirs or "")
    return ratios


def _rows(race: Race, batch_size: int) -> list[tuple[str, ...]]:
    ratios = _ratios(race)
    rows: list[tuple[str, ...]] = []
    for name in race.bursts:
        seconds, ratio = race.seconds(name), ratios.get(f"{name}/torch")
        shown = harness.times(ratio) if ratio else "-"
        rows.append((name, f"{seconds * 1e3:.3f}", f"{batch_size / seconds:,.0f}", shown))
    return rows


if __name__ == "__main__":
    sys.exit(main())
