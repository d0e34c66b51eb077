"""Do batches come in time? A DataLoader with and without workers, while LeNet-5 trains.

Four kinds of samples: MNIST from memory (plain); the same with rotation, shifts, shear and zoom, by a compiled
transform (augmented); JPEG files that Pillow decodes and shrinks to grey images (photos); MNIST with a transform that
loops over the pixels in Python (python). Training gets the cores that --threads says, whoever else needs them.

The workers are threads, as DataLoader has them, or for comparison forked processes, which leave their images in memory
that they share with the trainer. "ready" trains on one batch again and again: nobody makes batches.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cli
import harness
import report

BATCH_SIZE = 128
SHARED = 1 << 22  # bytes for the images of a batch
WIDTHS = (12, 9, 9, 9, 9)
CASES = ("plain", "augmented", "photos", "python")
PLACES = ("ready", "in line", "1 thread", "2 threads", "1 process", "2 processes")
EPILOGUE = """\
columns:
  ms/step   time of the epoch over its steps, median over the rounds
  /ready    that time over the one of "ready" in the same round, median
  waiting   share of the epoch in which the trainer waits for a batch, median
  first     the wait for the first batch, workers are started in it; median

examples:
  python benchmarks/bench_loader.py
  python benchmarks/bench_loader.py augmented --steps 469
"""


@dataclass(frozen=True)
class Case:
    """Samples as a data set and a transform have them, and how many steps an epoch of them has."""

    name: str
    dataset: Any
    transform: Any
    steps: int

    def loader(self, workers: int) -> Any:
        """A DataLoader of these samples."""
        from minicnn import data

        return data.DataLoader(self.dataset, BATCH_SIZE, True, self.transform, workers=workers)


class Photos:
    """JPEG files, and their numbers as labels."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import numpy as np
        from PIL import Image

        with Image.open(self.folder / f"{index % 64}.jpg") as photo:
            grey = photo.convert("L").resize((28, 28), Image.Resampling.BILINEAR)
        return np.asarray(grey)[..., np.newaxis], index % 10


def write_photos(folder: Path) -> None:
    """64 pictures of 256 x 256 pixels: noise, blurred until it compresses like a photo."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(64):
        coarse = Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8))
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)


def inverted_by_python(image: Any, rng: Any) -> Any:
    """A transform such as one writes without knowing better: a loop over pixels."""
    for row in image:
        for pixel in row:
            pixel[0] = 255 - pixel[0]
    return image


def cases(names: Sequence[str], steps: int, folder: Path) -> Iterator[Case]:
    """Those asked for; slow ones get fewer steps."""
    from minicnn import data

    def digits(steps: int) -> Any:
        train = data.mnist()[0]
        count = steps * BATCH_SIZE
        return data.ArrayDataset(train.images[:count], train.labels[:count])

    few = max(1, steps // 8)
    if "plain" in names:
        yield Case("plain", digits(steps), None, steps)
    if "augmented" in names:
        distortion = data.transforms.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2)
        yield Case("augmented", digits(steps), distortion, steps)
    if "photos" in names:
        write_photos(folder)
        yield Case("photos", Photos(folder, few * BATCH_SIZE), None, few)
    if "python" in names:
        yield Case("python", digits(few), inverted_by_python, few)


# Who makes the batches


def batches_of(case: Case, place: str) -> Iterable[tuple[Any, Any]]:
    """An epoch's batches, made there."""
    if place == "ready":
        return [next(case.loader(0).batches(0))] * case.steps
    if place == "in line":
        return case.loader(0).batches(0)
    workers = int(place[0])
    return by_processes(case.loader(0), workers) if "process" in place else case.loader(workers).batches(0)


_inherited: Any = None  # what a forked process finds here when it begins


def by_processes(loader: Any, workers: int) -> Iterator[tuple[Any, Any]]:
    """The batches of epoch 0 by forked processes, with as many ahead as of threads."""
    import numpy as np

    from minicnn.data.batch import Recipe
    from minicnn.data.prefetch import in_order

    global _inherited
    ahead = workers * loader.prefetch
    places = [mmap.mmap(-1, SHARED) for _ in range(ahead + 2)]
    recipe = Recipe(loader.dataset, loader.transform, loader.batch_transform, loader.seed)
    _inherited = recipe, places
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
    calls = ((_fill, number, indices) for number, indices in enumerate(loader.indices(0)))
    for number, (shape, labels) in enumerate(in_order(pool, calls, ahead)):
        yield np.ndarray(shape, np.float32, places[number % len(places)]), labels


def _fill(number: int, indices: Any) -> tuple[tuple[int, ...], Any]:
    """Make a batch and leave its images in their place; returns their shape, and the labels."""
    import numpy as np

    recipe, places = _inherited
    x, labels = recipe.batch(0, number, indices)
    np.copyto(np.ndarray(x.shape, np.float32, places[number % len(places)]), x)
    return x.shape, labels


# What is measured


@dataclass(frozen=True)
class Epoch:
    """The seconds of an epoch, those of waiting for batches, and those for the first one."""

    seconds: float
    waiting: float
    first: float


@dataclass(frozen=True)
class Result:
    """For each place the epochs of all rounds."""

    case: Case
    epochs: dict[str, list[Epoch]]

    def rows(self) -> list[tuple[str, ...]]:
        """The table's."""
        return [
            (place, f"{row['step'] * 1e3:.2f}", report.times(row["over ready"]), f"{100 * row['waiting']:.1f} %",
             report.duration(row["first"]))
            for place, row in self.medians().items()
        ]  # fmt: skip

    def medians(self) -> dict[str, dict[str, float]]:
        """The columns of the table, in seconds and ratios."""
        median, found = statistics.median, {}
        for place, epochs in self.epochs.items():
            pairs = zip(epochs, self.epochs["ready"], strict=True)
            found[place] = {
                "step": median(epoch.seconds for epoch in epochs) / self.case.steps,
                "over ready": median(epoch.seconds / ready.seconds for epoch, ready in pairs),
                "waiting": median(epoch.waiting / epoch.seconds for epoch in epochs),
                "first": median(epoch.first for epoch in epochs),
            }
        return found

    def as_json(self) -> dict[str, Any]:
        """What the file keeps: the medians and every round."""
        rounds = {place: [asdict(epoch) for epoch in epochs] for place, epochs in self.epochs.items()}
        return {"case": self.case.name, "steps": self.case.steps, "medians": self.medians(), "rounds": rounds}


def lenet_step() -> Callable[[Any, Any], None]:
    """A training step of LeNet-5."""
    import minicnn as mc
    from minicnn import functional as F
    from minicnn import models, optim

    mc.seed(0)
    model = models.lenet5()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(x: Any, labels: Any) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(mc.tensor(x)), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def train(batches: Iterable[tuple[Any, Any]], step: Callable[[Any, Any], None]) -> Epoch:
    """Train on every batch, with a look at the clock before and after each wait."""
    clock, waits = time.perf_counter, []
    begin = clock()
    iterator = iter(batches)
    while True:
        asked = clock()
        batch = next(iterator, None)
        waits.append(clock() - asked)
        if batch is None:
            return Epoch(clock() - begin, sum(waits), waits[0])
        step(*batch)


def measure(case: Case, rounds: int) -> Result:
    """Epochs in turn, each place once a round, after a look whether all make the same batch, and one to warm up."""
    step = lenet_step()
    harness.agree({place: first(case, place) for place in PLACES}, 0.0)
    train(batches_of(case, "ready"), step)
    found: dict[str, list[Epoch]] = {place: [] for place in PLACES}
    for number in range(rounds):
        turn = number % len(PLACES)
        for place in PLACES[turn:] + PLACES[:turn]:
            found[place].append(train(batches_of(case, place), step))
    return Result(case, found)


def first(case: Case, place: str) -> tuple[Any, ...]:
    """The first batch."""
    x, labels = next(iter(batches_of(case, place)))
    return x.copy(), labels


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    results = []
    print(f"LeNet-5, batches of {BATCH_SIZE}; {options.rounds} rounds\n")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options.cases or CASES, options.steps, Path(folder)):
            results.append(measure(case, options.rounds))
            head = (case.name, "ms/step", "/ready", "waiting", "first")
            print(report.table(head, results[-1].rows(), WIDTHS) + "\n", flush=True)
    described = report.machine(options.threads)
    print(report.describe(described))
    if options.json:
        content = {"machine": described, "settings": {"batch size": BATCH_SIZE, "rounds": options.rounds}}
        report.write_json(options.json, content | {"cases": [result.as_json() for result in results]})
    return 0


def _options() -> argparse.Namespace:
    parser = cli.plain_parser(__doc__ or "")
    parser.epilog = EPILOGUE
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of {', '.join(CASES)} (default: all)")
    parser.add_argument("--steps", type=cli.positive, default=150, metavar="N",
                        help="of an epoch; photos and python get an eighth (default: %(default)s)")  # fmt: skip
    parser.add_argument("--rounds", type=cli.positive, default=5, metavar="N",
                        help="epochs of each place, in turn (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=cli.output_path, metavar="PATH", help="write machine and rounds to a file")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    options.no_torch = True
    return options


if __name__ == "__main__":
    sys.exit(main())
