"""Data-parallel training on one rank and on more, beside PyTorch's DistributedDataParallel with gloo; and on paper.

A rank is a process with one thread, or as many as --threads says, and with images of its own, always as many: two ranks
do twice the work in a step, and would take as long if they cost each other nothing. Each job is started anew in every
round, in turn; the losses of its first steps must agree with those of the others on as many ranks.

The ranks of one machine share its memory and its caches, and so a second one costs something even where it says
nothing. Therefore the same ranks also make steps without sums: what a step is longer with them is their cost.

From minicnn's step on one rank, with the time at which each bucket of gradients is ready, and from the speeds of links
that ring.py states, follows how far data parallelism goes: 8, 64 and 512 ranks, each with a machine and a link of its
own, with sums that begin during the backward pass and with sums that begin after it.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import cli
import harness
import launch_ranks
import report
from distributed_result import OURS, PAPER, Job, Result, Said, paper
from harness import Pace
from networks import MODELS, STEPS, TOLERANCE, Task
from ring import LINKS
from timeline import timeline

TRAINED = ("lenet5", "resnet18")
WITHOUT_DROPOUT = ("lenet5", "resnet20", "resnet18", "resnet50")  # the libraries draw other random numbers
LAYOUTS = ("torch nchw", "torch nhwc")
WIDTHS = (11, 5, 10, 10, 9, 7, 11, 8)
HEAD = ("", "ranks", "ms/step", "images/s", "x 1 rank", "sums %", "wait %", "MB/step")
PAPER_WIDTHS = (12, 16, 16, 16)
EPILOGUE = f"""\
columns:
  ms/step                 median over the rounds of the median step of a job, of
                          its slowest rank
  images/s                of all ranks together
  x 1 rank                that over the images a second of one rank, the median
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
    pace = Pace(options.rounds, 0.02, calls=1) if options.quick else Pace(options.rounds, 3.0, calls=5)
    contenders = [OURS, *(LAYOUTS if cli.has_torch(options) else ())]
    jobs = [(name, ranks) for name in contenders for ranks in (1, options.ranks)]
    results = []
    for model in options.model or TRAINED:
        task = Task(model, options.batch_size or MODELS[model][0], models.input_shape(model)[0])
        try:
            results.append(measure(task, jobs, options.threads, pace))
        except RuntimeError as error:  # of a job, with what it said
            sys.exit(f"{model}: {error}")
        _print(results[-1], options.threads)
        if options.trace:
            print("\na step of rank 0, from the beginning of its backward pass to the last sum")
            print(timeline(results[-1].said[results[-1].most][-1]["trace"]))
    print("\n" + "\n".join(report.filled(f"{link.name}: {link.source}.") for link in LINKS))
    last = results[-1].said[results[-1].most][-1]
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
    result.add_argument("--ranks", type=_several, default=2, metavar="N", help="of the larger jobs, on this machine "
                        "(default: %(default)s)")  # fmt: skip
    result.add_argument("--trace", action="store_true", help="draw when each bucket of a step of minicnn was sent and "
                        "when it was summed, beside the backward pass")  # fmt: skip
    return result.parse_args()


def _several(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2 ranks, got {number}: one is always measured")
    return number


def measure(task: Task, jobs: list[Job], threads: int, pace: Pace) -> Result:
    """A process for each rank of each job in each round, one job at a time."""
    said: dict[Job, list[Said]] = {job: [] for job in jobs}
    for number in range(pace.rounds):
        first = number % len(jobs)
        for job in jobs[first:] + jobs[:first]:
            said[job].append(launch_ranks.run(task, *job, threads, pace))
        check(said)
    return Result(task, said)


def check(said: dict[Job, list[Said]]) -> None:
    """Raise Disagreement unless the last losses of jobs with as many ranks agree."""
    import numpy as np

    for ranks in {ranks for _, ranks in said}:
        losses = {name: np.array(each[-1]["losses"]) for (name, n), each in said.items() if n == ranks}
        harness.agree(losses, TOLERANCE)


def _print(result: Result, threads: int) -> None:
    """The table of what was measured, the ratio, and what follows on paper."""
    task, losses = result.task, result.said[result.most][-1]["losses"]
    H, W, C = task.image
    threads_said = f"{threads} thread{'s' * (threads > 1)}"
    print(f"\n{task.model}, batch {task.batch} a rank, images {H} x {W} x {C}, {threads_said} a rank")
    print(f"the losses of {STEPS} steps on {result.most[1]} ranks go from {losses[0]:.4f} to {losses[-1]:.4f}")
    print(report.table(HEAD, [row(result, job) for job in result.said], WIDTHS))
    if result.torch and result.ratio:
        print(f"{result.most[1]} ranks, images a second over {result.torch[0]}: {report.times(result.ratio)}")
    _print_paper(paper(result.step), task.model)
    sys.stdout.flush()


def row(result: Result, job: Job) -> tuple[str, ...]:
    """The line of a job."""
    name, ranks = job
    cells = (name, str(ranks), f"{1e3 * result.seconds(job):,.3f}", f"{result.images(job):,.1f}")
    if ranks == 1:
        return *cells, "-", "-", "-", "-"
    waiting = result.waiting(job)
    shown = "-" if waiting is None else " - ".join(f"{100 * part:.1f}" for part in waiting)
    megabytes = f"{result.said[job][-1]['bytes'] / 1e6:.2f}"
    return *cells, f"{result.speed_up(job):.2f}", f"{100 * result.sums(job):.1f}", shown, megabytes


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
