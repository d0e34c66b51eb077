"""What TF32 and float16 cost and save on a GPU: the accuracy that networks reach, and the memory of a training step.

LeNet-5 and ResNet-20 learn the digits of MNIST, ResNet-20 with a border of 2 pixels and in three equal channels, or
with --cifar10 photographs. There is a training for each seed and precision; those of one seed begin with the same
weights and see the same images in the same order. Accuracy is that on the test images after the last epoch, by the same
precision. Memory is what the arrays of a few steps hold at most, without the data set, one launch after the other.

Wanted is a mean accuracy of float16 that is at most 0.1 points below that of float32, in two thirds of the memory. It
needs a GPU. The file of --json is written after each training: a run that was cut off goes on with --add.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cli
import gpu_memory
import numpy as np
import report

import minicnn as mc
from minicnn import data, models, optim
from minicnn.device import check_device

PRECISIONS = ("float32", "tf32", "float16")
NETWORKS = ("lenet5", "resnet20")
BATCH = 128
RATE, DECAY = 0.1, 5e-4
STEPS = 3  # whose memory is measured: the optimizer's state is there from the first one on
POINTS, SHARE = 0.1, 2 / 3  # that may be lost, that may be left
WIDTHS = (10, 10, 10, 10, 16, 9, 9)
HEAD = ("", "accuracy", "lowest", "highest", "points", "peak MB", "of it")
EPILOGUE = """\
columns:
  accuracy                mean over the seeds, in percent
  points                  what float32 is exceeded by: mean over the seeds, and
                          its standard error
  peak MB                 memory of a step, in 10**6 bytes
  of it                   that over the memory of float32

examples:
  python benchmarks/bench_precision.py
  python benchmarks/bench_precision.py --model lenet5 --seeds 20 --json a.json
  python benchmarks/bench_precision.py --json a.json --add
"""


@dataclass(frozen=True)
class Result:
    """What was measured of one network: accuracies of the seeds, 0 to 1, and peak bytes of a step, by precision."""

    model: str
    accuracies: dict[str, list[float]]
    peaks: dict[str, int]

    def points(self, precision: str) -> tuple[float, float]:
        """Mean and standard error of the accuracy above that of float32, in points; NaN of a single seed or none."""
        pairs = zip(self.accuracies[precision], self.accuracies["float32"], strict=False)  # the last may be to come
        found = [100 * (a - b) for a, b in pairs]
        error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else float("nan")
        return statistics.mean(found) if found else float("nan"), error

    def share(self, precision: str) -> float:
        """Memory over that of float32."""
        return self.peaks[precision] / self.peaks["float32"]

    @property
    def holds(self) -> bool:
        """Whether float16 is as good and as small as wanted."""
        return self.points("float16")[0] >= -POINTS and self.share("float16") <= SHARE

    def row(self, precision: str) -> tuple[str, ...]:
        """The table's."""
        found = [100 * accuracy for accuracy in self.accuracies[precision]]
        numbers = (f"{number:.2f}" for number in (statistics.mean(found), min(found), max(found)))
        mean, error = self.points(precision)
        first = precision == "float32"
        points, share = ("-", "-") if first else (f"{mean:+.3f} +- {error:.3f}", report.times(self.share(precision)))
        return precision, *numbers, points, f"{self.peaks[precision] / 1e6:,.1f}", share

    def as_json(self) -> dict[str, Any]:
        """What the file keeps."""
        precisions = {
            precision: {
                "accuracies": self.accuracies[precision],
                "points": self.points(precision)[0] if self.accuracies[precision] else None,
                "peak bytes": self.peaks[precision],
            }
            for precision in PRECISIONS
        }
        return {"model": self.model, "precisions": precisions, "holds": self.holds}


def main() -> int:
    """Read the options, train, print, write. Returns the exit status."""
    options = _options()
    results: list[Result] = []
    try:
        check_device(options.device)
        described = report.machine(report.cores(), ", ".join(PRECISIONS)) | report.gpu()
        settings = {"epochs": options.epochs, "seeds": options.seeds, "batch size": BATCH, "rate": RATE,
                    "cifar10": options.cifar10 is not None}  # fmt: skip
        content: dict[str, Any] = {"machine": described, "settings": settings, "networks": []}
        earlier = {each["model"]: each for each in (cli.earlier(options, content) or content)["networks"]}
        for model in options.model or NETWORKS:
            results.append(_measure(model, options, content, earlier))
            _print(results[-1], options)
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        sys.exit(f"bench_precision.py: {error}")
    print(f"\n{report.describe(described)}")
    return 1 if options.strict and not all(result.holds for result in results) else 0


def _options() -> argparse.Namespace:
    result = argparse.ArgumentParser(
        description=cli.wrapped(__doc__ or ""),
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--model", action="append", choices=NETWORKS, metavar="NAME",
                        help=f"{' or '.join(NETWORKS)} (default: both)")  # fmt: skip
    result.add_argument("--cifar10", metavar="FOLDER", help="where CIFAR-10 is, which ResNet-20 then learns")
    result.add_argument("--epochs", type=cli.positive, default=5, metavar="N", help="of each training (default: 5)")
    result.add_argument("--seeds", type=cli.positive, default=5, metavar="N", help="trainings of each precision "
                        "(default: 5)")  # fmt: skip
    result.add_argument("--json", type=cli.output_path, metavar="PATH", help="write the machine and every training "
                        "to a JSON file")  # fmt: skip
    result.add_argument("--strict", action="store_true", help="exit with status 1 where it does not hold")
    cli.add_device(result, "cuda")
    cli.add_add(result)
    options = result.parse_args()
    if options.device == "cpu":
        result.error("TF32 and float16 are a GPU's, and this is the device cpu: use --device cuda")
    cli.check_add(result, options)
    return options


def _measure(model: str, options: argparse.Namespace, content: dict[str, Any], earlier: dict[str, Any]) -> Result:
    """Train with each seed and precision that `earlier` lacks; what comes of it is written training by training."""
    photographs = options.cifar10 is not None and model == "resnet20"
    train, test = data.cifar10(options.cifar10) if photographs else digits(model)
    few = data.ArrayDataset(train.images[: STEPS * BATCH], train.labels[: STEPS * BATCH])
    peaks = {precision: peak_bytes(model, precision, few) for precision in PRECISIONS}
    kept = earlier[model]["precisions"] if model in earlier else {}
    accuracies = {precision: list(kept.get(precision, {}).get("accuracies", ())) for precision in PRECISIONS}
    result = Result(model, accuracies, peaks)
    for _ in trainings(result, train, test, options.seeds, options.epochs):
        if options.json:
            earlier[model] = result.as_json()
            report.write_json(options.json, content | {"networks": list(earlier.values())})
    return result


def trainings(
    result: Result, train: data.ArrayDataset, test: data.ArrayDataset, seeds: int, epochs: int, capture: bool = True
) -> Iterator[None]:
    """Train with each seed and precision that the result lacks. After each its accuracy is there, and printed."""
    for seed in range(seeds):
        for precision, found in result.accuracies.items():
            if len(found) > seed:
                continue
            trainer = make_trainer(result.model, precision, seed, epochs, capture)
            trainer.fit(train, epochs, batch_size=BATCH, progress=False)
            found.append(trainer.evaluate(test, batch_size=1000)["accuracy"])
            print(f"{result.model:<10} seed {seed:<3} {precision:<8} {100 * found[-1]:.2f} %", flush=True)
            yield


def digits(model: str) -> Sequence[data.ArrayDataset]:
    """MNIST for training and testing, as large as the network's images."""
    H, _, C = models.input_shape(model)
    border = (H - 28) // 2
    sides = (0, 0), (border, border), (border, border), (0, 0)
    return [data.ArrayDataset(np.repeat(np.pad(each.images, sides), C, axis=3), each.labels) for each in data.mnist()]


def peak_bytes(model: str, precision: str, few: data.ArrayDataset) -> int:
    """Memory of steps on a few batches: images, weights, gradients, velocities, what lies between layers, scratch."""

    def steps() -> None:
        make_trainer(model, precision, 0, 1, capture=False).fit(few, 1, batch_size=BATCH, progress=False)

    return gpu_memory.peak("minicnn", steps)


def make_trainer(model: str, precision: str, seed: int, epochs: int, capture: bool = True) -> mc.Trainer:
    """A new network on the GPU, and how it learns."""
    mc.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    mc.seed(seed)
    network = models.build(model).to("cuda")
    optimizer = optim.SGD(network.parameters(), RATE, momentum=0.9, nesterov=True, weight_decay=DECAY)
    schedule = optim.CosineAnnealingLR(optimizer, epochs)
    mixed = "float16" if precision == "float16" else "float32"
    return mc.Trainer(network, optimizer, schedule=schedule, capture=capture, precision=mixed)


def _print(result: Result, options: argparse.Namespace) -> None:
    print(f"\n{result.model}, batches of {BATCH}; epochs: {options.epochs}, seeds: {options.seeds}")
    print(report.table(HEAD, [result.row(precision) for precision in PRECISIONS], WIDTHS))
    says = "holds" if result.holds else "does not hold"
    print(f"at most {POINTS} points less, in {SHARE:.3f} of the memory: {says} for float16\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
