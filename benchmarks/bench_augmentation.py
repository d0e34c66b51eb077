"""What augmentation costs: batches of MNIST through each transform, beside a training step of LeNet-5 on such a batch.

A step is zero_grad, forward, cross-entropy, backward, and SGD with momentum 0.9, on all threads. The transforms draw
their numbers anew for each batch, as a loader has them do, and change 28 x 28 bytes; on one thread, as a loader's
thread does it beside a step. Before anything is timed, the pixels are compared with those of the reference room.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import Any

import cli
import harness
import report
from harness import Contender, Pace, Race
from networks import Task

STEP = "LeNet-5 step"
HEAD, WIDTHS = ("a batch through", "time", "images/s", "of a step"), (24, 9, 12, 9)


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    pace = Pace(options.rounds, 0.02, 0, calls=1) if options.quick else Pace(options.rounds, 0.2)
    contenders = {STEP: _step(options.batch_size), **_transforms(options.batch_size)}
    print(f"{options.batch_size} images; {pace.rounds} rounds of a burst each in turn\n")
    race = harness.measure(contenders, pace)
    print(report.table(HEAD, _rows(race, options.batch_size), WIDTHS))
    described = report.machine(options.threads)
    print(f"\n{report.describe(described)}")
    if options.json:
        content = {
            "machine": described,
            "settings": {"batch size": options.batch_size, "rounds": pace.rounds, "quick": options.quick},
            "contenders": race.as_json(),
            "ratios": {name: race.ratio(name, STEP) for name in race.bursts if name != STEP},
        }
        report.write_json(options.json, content)
    return 0


def _options() -> argparse.Namespace:
    result = cli.race_parser(__doc__ or "", rounds=15)
    result.set_defaults(no_torch=True)
    result.add_argument("--batch-size", type=cli.positive, default=128, metavar="N", help="(default: %(default)s)")
    return result.parse_args()


def _rows(race: Race, batch: int) -> list[tuple[str, ...]]:
    def row(name: str) -> tuple[str, ...]:
        seconds = race.seconds(name)
        return name, report.duration(seconds), f"{batch / seconds:,.0f}", report.times(race.ratio(name, STEP))

    return [row(name) for name in race.bursts]


def _step(batch: int) -> Contender:
    """Steps of LeNet-5, a batch after the other of some that were made before."""
    from minicnn import functional as F
    from minicnn import optim, tensor

    task = Task("lenet5", batch, 28)
    model = task.network()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batches = itertools.cycle([(tensor(x), labels) for x, labels in task.batches()])

    def step() -> None:
        x, labels = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return Contender(step)


def _transforms(batch: int) -> dict[str, Contender]:
    from minicnn.data import mnist
    from minicnn.data import transforms as T

    images = mnist()[0].images[:batch]
    pipelines = {
        "all four at once": T.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2),
        "the same, constant": T.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2, fill="constant"),
        "the same, reflect": T.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2, fill="reflect"),
        "elastic distortion": T.ElasticDistortion(),
        "random crop, padding 2": T.RandomCrop(28, padding=2),
        "horizontal flip": T.RandomHorizontalFlip(),
        "cutout": T.Cutout(8),
        "brightness, contrast": T.ColorJitter(0.2, 0.2),
        "random resized crop": T.RandomResizedCrop(28),
    }
    return {name: _augmentation(images, transform) for name, transform in pipelines.items()}


def _augmentation(images: Any, transform: Any) -> Contender:
    import numpy as np

    from minicnn import kernels
    from minicnn.data.transforms import Draws

    indices, epochs = np.arange(len(images)), itertools.count()
    fast = transform.apply(images, Draws(0, 0, indices))
    with kernels.use("reference"):
        harness.agree({"reference": transform.apply(images, Draws(0, 0, indices)), "cpu": fast})
    return Contender(lambda: transform.apply(images, Draws(0, next(epochs), indices)))


if __name__ == "__main__":
    sys.exit(main())
