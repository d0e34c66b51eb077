"""Does every network learn? A small one of each family, on handwritten digits.

First it learns 64 digits by heart: SGD with momentum 0.9 in batches of 16, until it knows all of them. Then, with fresh
weights, it sees other digits a few times, and is tested on ones that it never saw. The images are MNIST's, with a black
border to 32 x 32 where the network is made for photographs, as many pixels for each as its image has, and three equal
channels.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cli
import report
from small_networks import Small, small_networks

HEARTFELT = 64  # images to learn by heart
BATCH_SIZE = 16
MOST_EPOCHS = 200  # over these images, before one gives up
HEAD = ("network", "side", "parameters", "by heart", "time", "epochs", "accuracy", "time")
WIDTHS = (23, 4, 10, 10, 7, 6, 8, 5)


@dataclass(frozen=True)
class Result:
    """What a network did. by_heart: epochs until it knew all 64 images; None where it never did. epochs: those over the
    other images, after which it had that accuracy."""

    network: str
    side: int
    parameters: int
    by_heart: int | None
    by_heart_seconds: float
    epochs: int
    accuracy: float
    accuracy_seconds: float

    def cells(self) -> tuple[str, ...]:
        """A line of the table."""
        return (self.network, str(self.side), f"{self.parameters:,}",
                "never" if self.by_heart is None else f"{self.by_heart} epochs", f"{self.by_heart_seconds:.0f} s",
                str(self.epochs), f"{100 * self.accuracy:.1f} %", f"{self.accuracy_seconds:.0f} s")  # fmt: skip


def main() -> int:
    """Read the options, train, print, write. The exit status is 1 where a network did not learn its 64 images."""
    options = _options()
    cli.start(options)
    if options.device == "cuda":
        import gpu_settings

        gpu_settings.require()
    known = small_networks()
    settings = {"images": options.images, "test images": options.test_images}
    rows = {row["network"]: row for row in _kept(options.json, _machine(options), settings)}
    print(report.table_line(HEAD, WIDTHS), flush=True)
    results = []
    for name in options.networks or known:
        results.append(learnt(name, known[name], options))
        print(report.table_line(results[-1].cells(), WIDTHS), flush=True)
        rows[name] = asdict(results[-1])
        described = _machine(options)
        if options.json:  # after each, so that what was measured is kept
            in_order = [rows[each] for each in known if each in rows]
            report.write_json(options.json, {"machine": described, "settings": settings, "networks": in_order})
    print(f"\nFrom {options.images} digits; accuracy on {options.test_images} others.\n")
    print(report.describe(described))
    return int(any(each.by_heart is None for each in results))


def learnt(name: str, small: Small, options: argparse.Namespace) -> Result:
    """Train it twice: by heart, and for the accuracy."""
    import minicnn as mc

    train, test = digits(small.side, options.images, options.test_images)
    epochs = options.epochs or small.epochs
    by_heart, by_heart_seconds = _timed(learn_by_heart, small, options.device)
    accuracy, seconds = _timed(test_accuracy, small, train, test, epochs, options.device)
    parameters = mc.summary(small.build(), train.images.shape[1:]).parameters
    return Result(name, small.side, parameters, by_heart, by_heart_seconds, epochs, accuracy, seconds)


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    return report.machine(options.threads) | (report.gpu() if options.device == "cuda" else {})


def _kept(path: Path | None, machine: dict[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The results that the file has, of other networks; a run of some networks adds to it.

    Exits where they come from another machine, or from other settings.
    """
    if path is None or not path.exists():
        return []
    content = json.loads(path.read_text())
    if content["settings"] != settings or not report.same_machine(content["machine"], machine):
        sys.exit(f"{path} was measured on another machine or with other settings; give another file, or remove it")
    rows: list[dict[str, Any]] = content["networks"]
    return rows


def _options() -> argparse.Namespace:
    names = ", ".join(small_networks())
    result = cli.plain_parser(__doc__ or "")
    result.set_defaults(no_torch=True, rounds=1)
    add = result.add_argument
    add("networks", nargs="*", metavar="NETWORK", help=f"some of {names} (default: all)")
    add("--images", type=cli.positive, default=4000, metavar="N", help="to learn from (default: %(default)s)")
    add("--epochs", type=cli.positive, metavar="N", help="passes over them (default: each network's own number)")
    add("--test-images", type=cli.positive, default=1000, metavar="N", help="to test with (default: %(default)s)")
    cli.add_device(result)
    add("--json", type=cli.output_path, metavar="PATH", help="add the results to a JSON file")
    options = result.parse_args()
    if unknown := set(options.networks) - set(small_networks()):
        result.error(f"there is no {', '.join(sorted(unknown))}; there are {names}")
    return options


def _timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def digits(side: int, count: int, test_count: int) -> tuple[Any, Any]:
    """So many images of MNIST to train with and to test with, each side x side pixels."""
    from minicnn import data

    train, test = data.mnist()
    return tuple(
        data.ArrayDataset(enlarged(part.images[:n], side), part.labels[:n], part.classes)
        for part, n in ((train, count), (test, test_count))
    )


def enlarged(images: Any, side: int) -> Any:
    """Images (M, 28, 28, 1) as they are, or as (M, side, side, 3)."""
    import numpy as np

    if side == 28:
        return images
    images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for axis in (1, 2):
        images = images.repeat(side // 32, axis)
    return images.repeat(3, axis=3)


def learn_by_heart(small: Small, device: str = "cpu") -> int | None:
    """How many epochs until it knows 64 digits; None where it never does."""
    train, _ = digits(small.side, HEARTFELT, 1)
    trainer = _trainer(small, device)
    for epoch in range(1, MOST_EPOCHS + 1):
        trainer.fit(train, 1, batch_size=BATCH_SIZE, progress=False)
        if trainer.evaluate(train)["accuracy"] == 1:
            return epoch
    return None


def test_accuracy(small: Small, train: Any, test: Any, epochs: int, device: str) -> float:
    """The share of the test images that it knows after so many epochs; the rate falls along a cosine."""
    trainer = _trainer(small, device, epochs)
    trainer.fit(train, epochs, batch_size=BATCH_SIZE, progress=False)
    return float(trainer.evaluate(test, batch_size=100)["accuracy"])


def _trainer(small: Small, device: str, epochs: int | None = None) -> Any:
    import minicnn as mc
    from minicnn import optim

    mc.seed(0)
    model = small.build().to(device)
    optimizer = optim.SGD(model.parameters(), small.lr, momentum=0.9)
    return mc.Trainer(model, optimizer, schedule=optim.CosineAnnealingLR(optimizer, epochs) if epochs else None)


if __name__ == "__main__":
    sys.exit(main())
