"""How soon a small network knows 99 % of the test digits of MNIST.

Three convolutions with batch norm, the first two of which take every second
pixel instead of pooling, and a linear layer; two passes over the training
images. Each seed is a training of its own: other first weights, another order
of the images. A first training, which is not counted, compiles the kernels and
makes the memory warm.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import script

import minicnn as mc
from minicnn import data, nn, optim

RATES = (0.1, 0.01)  # of each pass
BATCH_SIZE = 64
WANTED = 0.99


def main() -> None:
    """Train once for each seed, and print seconds and accuracy; every fault of the user's is one sentence."""
    parser = script.option_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="how many trainings (default: 20)")
    script.add_device(parser)
    script.add_precision(parser)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the machine and every training to a file")
    options = parser.parse_args()
    device = script.chosen_device(options.device)
    with script.faults_in_one_sentence(__file__):
        if options.seeds < 1:
            raise ValueError(f"--seeds expected a number from 1, got {options.seeds}")
        train, test = data.mnist()
        train_once(-1, device, options.precision, train, test)
        results = []
        for seed in range(options.seeds):
            results.append(train_once(seed, device, options.precision, train, test))
            seconds, accuracy = results[-1]
            print(f"seed {seed:<4} {seconds:7.3f} s   test accuracy {100 * accuracy:.2f} %", flush=True)
            if options.json:
                keep(options.json, results, device, options.precision)
    times, accuracies = zip(*results, strict=True)
    reached = sum(accuracy >= WANTED for accuracy in accuracies)
    print(f"\nmedian    {statistics.median(times):7.3f} s   test accuracy {100 * statistics.median(accuracies):.2f} %")
    print(f"{reached} of {options.seeds} reached {100 * WANTED:.0f} %, on device {device}, {options.precision}")


def train_once(seed: int, device: str, precision: str, train: data.ArrayDataset,
               test: data.ArrayDataset) -> tuple[float, float]:  # fmt: skip
    """Seconds of training and testing, and the accuracy on the test images."""
    trainer = make_trainer(seed, device, precision)
    start = time.perf_counter()
    trainer.fit(train, len(RATES), batch_size=BATCH_SIZE, progress=False)
    accuracy = trainer.evaluate(test, batch_size=1000)["accuracy"]
    return time.perf_counter() - start, accuracy


def keep(path: Path, results: Sequence[tuple[float, float]], device: str, precision: str) -> None:
    """Write seconds and accuracies of the seeds so far, and the machine, as the benchmarks write theirs."""
    folder = str(Path(__file__).resolve().parents[1] / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    import report

    seconds, accuracies = zip(*results, strict=True)
    described = report.machine(report.cores(), precision) | (report.gpu() if device == "cuda" else {})
    report.write_json(path, {
        "machine": described,
        "settings": {"device": device, "wanted": WANTED, "epochs": len(RATES), "batch size": BATCH_SIZE},
        "seconds": seconds,
        "accuracies": accuracies,
        "median seconds": statistics.median(seconds),
        "reached": sum(accuracy >= WANTED for accuracy in accuracies),
    })  # fmt: skip


def make_trainer(seed: int, device: str, precision: str) -> mc.Trainer:
    """The network of that seed, and how it is trained."""
    mc.seed(seed % 2**32)
    script.set_precision(precision, device)
    model = network().to(device)
    optimizer = optim.SGD(model.parameters(), RATES[0], momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = optim.CosineAnnealingLR(optimizer, T_max=1, eta_min=RATES[1])  # a pass at each end
    return mc.Trainer(model, optimizer, schedule=schedule, precision=script.storage(precision))


def network() -> nn.Sequential:
    """28 x 28 pixels -> 12 x 12 -> 4 x 4 -> 2 x 2 of 24, 48 and 48 channels -> 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 5, stride=2, bias=False),
        nn.BatchNorm2d(24, activation="relu"),
        nn.Conv2d(24, 48, 5, stride=2, bias=False),
        nn.BatchNorm2d(48, activation="relu"),
        nn.Conv2d(48, 48, 3, bias=False),
        nn.BatchNorm2d(48, activation="relu"),
        nn.Flatten(),
        nn.Linear(4 * 48, 10),
    )


if __name__ == "__main__":
    main()
