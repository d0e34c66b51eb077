"""Data-parallel training on one rank and on more, beside PyTorch's DistributedDataParallel with gloo; and on paper.

A rank is a process with one thread, or as many as --threads says, and with images of its own, always as many: two ranks
do twice the work in a step, and would take as long if they cost each other nothing. The ranks of a contender are
started anew in every round, in turn; the losses of their first steps must agree with those of the others.

The ranks of one machine share its memory and its caches, and so a second one costs something even where it says
nothing. Therefore the same processes make steps of three kinds, which take turns every few steps: "alone", one rank
while the others sleep; "silent", all of them, without sums; "summed", as one trains. What a step is longer with sums is
their cost. (Behind the first silent step the ranks' weights differ; how long a step takes does not depend on them.)

From minicnn's step alone, with the time at which each bucket of gradients is ready, and from the speeds of links that
ring.py states, follows how far data parallelism goes: 8, 64 and 512 ranks, each with a machine and a link of its own,
with sums that begin during the backward pass and with sums that begin after it.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import cli
import harness
import launch_ranks
import report
from distributed_result import OURS, PAPER, Result, Said, paper
from harness import Pace
from networks import MODELS, STEPS, TOLERANCE, Task
from rank_work import KINDS
from ring import LINKS
from timeline import timeline

TRAINED = ("lenet5", "resnet18")
WITHOUT_DROPOUT = ("lenet5", "resnet20", "resnet18", "resnet50")  # the libraries draw other random numbers
LAYOUTS = ("torch nchw", "torch nhwc")
WIDTHS = (11, 6, 10, 10, 7, 7, 11, 8)
HEAD = ("", "step", "ms/step", "images/s", "x alone", "sums %", "wait %", "MB/step")
PAPER_WIDTHS = (12, 16, 16, 16)
EPILOGUE = f"""\
columns:
  step                    alone: one rank, the others sleep; silent: all ranks,
                          without sums; summed: all ranks, as one trains
  ms/step                 median over the rounds of the median step of a job, of
                          its slowest rank
  images/s                of all ranks together
  x alone                 that over the images a second of one rank, the median
                          over the rounds
  sums %                  how much of the step would be gone without sums
  wait %                  in how much of the step a rank waited for sums with
                          nothing left to compute: the rank that waits least,
                          for the network alone, and the one that waits most,
                          for a rank that is slower too
  MB/step                 gradients of which a rank has the sum, in 10**6 bytes;
                          in a ring of p ranks it sends 2 (p - 1) / p of it

The losses of {STEPS} steps, means over the ranks, agree when no two differ by more
than {TOLERANCE:g} times the largest of them.

examples:
  python benchmarks/bench_distributed.py
  python benchmarks/bench_distributed.py --model resnet18 --rounds 3 --trace
  python benchmarks/bench_distributed.py --model lenet5 --batch-size 16
"""


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    from minicnn import models

    if missing := launch_ranks.why_no_mpi():
        sys.exit(missing)
    pace = Pace(options.rounds, 0.02, calls=1) if options.quick else Pace(options.rounds, 3.0, calls=8)
    contenders = [OURS, *(LAYOUTS if cli.has_torch(options) else ())]
    results = []
    for model in options.model or TRAINED:
        task = Task(model, options.batch_size or MODELS[model][0], models.input_shape(model)[0])
        try:
            results.append(measure(task, contenders, options, pace))
        except RuntimeError as error:  # of a job, with what it said
            sys.exit(f"{model}: {error}")
        _print(results[-1], options.threads)
        if options.trace:
            print("\na step of rank 0, from the beginning of its backward pass to the last sum")
            print(timeline(results[-1].said[OURS][-1]["trace"]))
    print("\n" + "\n".join(report.filled(f"{link.name}: {link.source}.") for link in LINKS))
    last = results[-1].said[OURS][-1]
    described = {**report.machine(options.threads), **{name: last[name] for name in ("numba threads", "mpi")}}
    print(f"\n{report.describe(described)}")
    if options.json:
        settings = {"rounds": options.rounds, "quick": options.quick, "ranks": options.ranks}
        content = {"machine": described, "settings": settings, "results": [each.as_json() for each in results]}
        report.write_json(options.json, content)
    return 0


def _options() -> argparse.Namespace:
    result = cli.race_parser(__doc__ or "", rounds=5, threads=1)
    result.epilog = EPILOGUE
    result.add_argument("--model", action="append", choices=WITHOUT_DROPOUT, metavar="NAME", help=f"one of "
                        f"{', '.join(WITHOUT_DROPOUT)}; may be given again for more (default: "
                        f"{' and '.join(TRAINED)})")  # fmt: skip
    result.add_argument("--batch-size", type=cli.positive, metavar="N", help="images a step and rank (default: "
                        f"{', '.join(f'{MODELS[name][0]} for {name}' for name in TRAINED)})")  # fmt: skip
    result.add_argument("--ranks", type=_several, default=2, metavar="N", help="all on this machine (default: "
                        "%(default)s)")  # fmt: skip
    result.add_argument("--trace", action="store_true", help="draw when each bucket of a step of minicnn was sent and "
                        "when it was summed, beside the backward pass")  # fmt: skip
    return result.parse_args()


def _several(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2 ranks, got {number}: one is always measured")
    return number


def measure(task: Task, contenders: list[str], options: argparse.Namespace, pace: Pace) -> Result:
    """A process for each rank of each contender in each round, one contender at a time."""
    said: dict[str, list[Said]] = {name: [] for name in contenders}
    for number in range(pace.rounds):
        first = number % len(contenders)
        for name in contenders[first:] + contenders[:first]:
            said[name].append(launch_ranks.run(task, name, options.ranks, options.threads, pace))
        check(said)
    return Result(task, options.ranks, said)


def check(said: dict[str, list[Said]]) -> None:
    """Raise Disagreement unless the last losses of all contenders agree."""
    import numpy as np

    harness.agree({name: np.array(each[-1]["losses"]) for name, each in said.items()}, TOLERANCE)


def _print(result: Result, threads: int) -> None:
    """The table of what was measured, the ratio, and what follows on paper."""
    task, losses = result.task, result.said[OURS][-1]["losses"]
    H, W, C = task.image
    threads_said = f"{threads} thread{'s' * (threads > 1)}"
    print(f"\n{task.model}, batch {task.batch} a rank, images {H} x {W} x {C}, {threads_said} a rank")
    print(f"the losses of {STEPS} steps on {result.ranks} ranks go from {losses[0]:.4f} to {losses[-1]:.4f}")
    print(report.table(HEAD, [row(result, name, kind) for name in result.said for kind in KINDS], WIDTHS))
    if result.torch and result.ratio:
        print(f"{result.ranks} ranks, images a second over {result.torch}: {report.times(result.ratio)}")
    _print_paper(paper(result.step), task.model)
    sys.stdout.flush()


def row(result: Result, name: str, kind: str) -> tuple[str, ...]:
    """The line of a contender's steps of one kind."""
    times, images = f"{1e3 * result.seconds(name, kind):,.3f}", f"{result.images(name, kind):,.1f}"
    cells = (name, kind, times, images, "-" if kind == "alone" else f"{result.speed_up(name, kind):.2f}")
    if kind != "summed":
        return *cells, "-", "-", "-"
    waiting = result.waiting(name)
    shown = "-" if waiting is None else " - ".join(f"{100 * part:.1f}" for part in waiting)
    return *cells, f"{100 * result.sums(name):.1f}", shown, f"{result.said[name][-1]['bytes'] / 1e6:.2f}"


def _print_paper(worked_out: dict[str, Any], model: str) -> None:
    step = worked_out["step"]
    size = sum(bucket["size"] for bucket in step["buckets"]) / 1e6
    text = (
        f"on paper, from a step of {report.duration(step['seconds'])}, {size:.2f} MB in {len(step['buckets'])} sums, "
        f"the first after {report.duration(step['buckets'][0]['ready'])}, the backward pass over after "
        f"{report.duration(step['backward_end'])}; efficiency in % with sums during the pass, and after it"
    )
    print("\n" + report.filled(text))
    lines = [(link["name"], *_efficiencies(link["efficiency"])) for link in worked_out["links"]]
    print(report.table((model, *(f"{ranks} ranks" for ranks in PAPER)), lines, PAPER_WIDTHS))
    print("\n".join(report.filled(link["bends"]) for link in worked_out["links"]))


def _efficiencies(kinds: dict[str, dict[int, float]]) -> list[str]:
    during, after = kinds["overlapped"], kinds["after the backward pass"]
    return [f"{100 * during[ranks]:.1f} / {100 * after[ranks]:.1f}" for ranks in PAPER]


if __name__ == "__main__":
    sys.exit(main())
