"""What the training scripts beside this file share: data sets, options, the folder of a run, Ctrl-C, the report."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import minicnn as mc
except ImportError as error:
    sys.exit(
        str(error)
        if "checkout" in str(error)
        else f"{error}: install minicnn first, with `pip install -e .` in the folder above examples/"
    )

import numpy as np

from minicnn import data, models, nn, optim
from minicnn.study import plots
from minicnn.train import class_report, confusion_matrix, format_report

CHECKPOINT = "model.safetensors"
DATASETS = ("cifar10", "fashion-mnist", "mnist")
Pair = tuple[data.ArrayDataset, data.ArrayDataset]


# Data


def load_data(settings: argparse.Namespace) -> Pair:
    """The training set and the test set that are wanted."""
    if settings.dataset == "mnist":
        return data.mnist()
    read = data.cifar10 if settings.dataset == "cifar10" else data.fashion_mnist
    return read(settings.data_folder)


def load_photographs(settings: argparse.Namespace) -> Pair:
    """The first `settings.images` of the training set, and of the test set, or all; each (32, 32, 3)."""
    count = settings.images
    if count is not None and count < 1:
        raise ValueError(f"--images expected a number from 1, got {count}")
    train, test = load_data(settings)
    return _as_photographs(train, count), _as_photographs(test, count)


def _as_photographs(dataset: data.ArrayDataset, count: int | None) -> data.ArrayDataset:
    """Grey images (M, 28, 28, 1) get two pixels of black around them, and three equal channels: (M, 32, 32, 3)."""
    images = dataset.images[:count]
    if images.shape[1:] == (28, 28, 1):
        images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3)
    return data.ArrayDataset(images, dataset.labels[:count], dataset.classes)


def augmentation(settings: argparse.Namespace) -> data.loader.Transform | None:
    """With --augment: four pixels of black all around, a crop at random, half of the images mirrored; digits are not.

    Source: Lee, Xie, Gallagher, Zhang, Tu 2015, "Deeply-Supervised Nets", section 4, which the ResNet paper follows.
    """

    def augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        H, W, _ = image.shape
        top, left = rng.integers(9, size=2)
        image = np.pad(image, ((4, 4), (4, 4), (0, 0)))[top : top + H, left : left + W]
        return image[:, ::-1] if mirror and rng.random() < 0.5 else image

    mirror = settings.dataset != "mnist"
    return augment if settings.augment else None


# Settings


def option_parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser that opens its help with a script's first lines, and ends it with the others."""
    description, _, rest = (docstring or "").partition("\n\n")
    return argparse.ArgumentParser(
        description=description, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The settings from the command line, with the options that every script has; with --resume those of the run that
    goes on."""
    add = parser.add_argument
    add("--data-folder", metavar="FOLDER", help="where the files of the data set are, if not in their usual places")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same run (default: 0)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute: cuda is an NVIDIA GPU; "
        "auto takes one if it can be used (default: auto)")  # fmt: skip
    add("--precision", default="float32", choices=["float32", "tf32", "float16"], help="on a GPU: tf32 rounds the "
        "factors of products to 10 binary digits, float16 is mixed precision, with half the memory for images and "
        "what is made of them (default: float32)")  # fmt: skip
    add("--kernels", default="cpu", choices=mc.kernels.ROOMS, help="compiled kernels (cpu), or the plain NumPy ones "
        "that are written to be read (reference), many times slower (default: cpu)")  # fmt: skip
    add("--threads", type=int, metavar="N", help="threads of the compiled kernels (default: one for each core)")
    add("--out", type=Path, metavar="FOLDER", help="where to write (default: a new folder below runs/)")
    add("--resume", type=Path, metavar="FOLDER", help="go on with the run in FOLDER, with its settings; "
        "all other options are ignored")  # fmt: skip
    arguments = parser.parse_args()
    return saved_settings(arguments.resume) if arguments.resume else arguments


def build_model(settings: argparse.Namespace, name: str) -> nn.Module:
    """The network of that name, drawn from the seed, on the device."""
    if settings.epochs < 1:
        raise ValueError(f"--epochs expected a number from 1, got {settings.epochs}")
    device = settings.device
    if device == "auto":
        device = "cuda" if mc.cuda_available() else "cpu"
    if device == "cpu" and settings.precision != "float32":
        raise ValueError(f"--precision {settings.precision} is for a GPU, and this is the device cpu: use float32")
    mc.seed(settings.seed)
    mc.set_float32_matmul_precision("high" if settings.precision == "tf32" else "highest")
    return models.build(name).to(device)


def storage(settings: argparse.Namespace) -> str:
    """The Trainer's precision: TF32 is a matter of the products alone."""
    return "float16" if settings.precision == "float16" else "float32"


def paper_trainer(settings: argparse.Namespace, name: str) -> mc.Trainer:
    """As section 4.2 of the ResNet paper trains on CIFAR-10: a tenth of the rate after half of the epochs, and again
    after three quarters, where the paper has 32,000 and 48,000 of 64,000 steps."""
    model = build_model(settings, name)
    optimizer = optim.SGD(model.parameters(), settings.lr, momentum=0.9, weight_decay=1e-4)
    milestones = sorted({max(1, settings.epochs // 2), max(1, 3 * settings.epochs // 4)})
    schedule = optim.MultiStepLR(optimizer, milestones)
    return mc.Trainer(model, optimizer, schedule=schedule, precision=storage(settings))


def saved_settings(folder: Path) -> argparse.Namespace:
    """The settings with which the run in a folder was begun."""
    if not (folder / "run.json").exists():
        raise ValueError(f"there is nothing to resume in {folder}: it has no run.json")
    settings = json.loads((folder / "run.json").read_text())
    return argparse.Namespace(**settings, out=folder, resume=folder)


def run_folder(settings: argparse.Namespace, name: str) -> Path:
    """The folder to write to; a new one unless it is named, and never one that holds another run."""
    if settings.resume:
        return Path(settings.out)
    stem = name.replace(":", "-")
    number, folder = 1, settings.out or Path("runs") / stem
    while settings.out is None and folder.exists():
        number, folder = number + 1, Path("runs") / f"{stem}-{number + 1}"
    if any((folder / file).exists() for file in ("run.json", CHECKPOINT)):
        raise ValueError(f"{folder} holds a run already: go on with --resume {folder}, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in vars(settings).items() if name not in ("out", "resume")}
    write_text(folder / "run.json", json.dumps(kept, indent=2))
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it, so that no crash leaves half of one."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    os.replace(beside, path)


# Training


def run(script: str, parse_arguments: Callable[[], argparse.Namespace], work: Callable[[Any], None]) -> None:
    """Parse, look whether pictures can be drawn, and work; every fault of the user's is one sentence."""
    try:
        settings = parse_arguments()
        if importlib.util.find_spec("matplotlib") is None:  # said now, and not when the training is done
            raise ImportError('the pictures need matplotlib: pip install "minicnn[plots]"')
        if settings.threads is not None:
            mc.set_threads(settings.threads)
        with mc.kernels.use(settings.kernels):
            work(settings)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
        sys.exit(f"{Path(script).name}: {error}")


def train_and_report(
    settings: argparse.Namespace, trainer: mc.Trainer, loader: data.DataLoader, test: data.ArrayDataset
) -> None:
    """Train for the epochs that are left, saving after each; then say and draw what came of it."""
    folder = run_folder(settings, f"{settings.model}-{settings.dataset}")
    if (folder / CHECKPOINT).exists():
        trainer.load(folder / CHECKPOINT)
    try:
        _train(settings, trainer, loader, test, folder)
    except KeyboardInterrupt:
        sys.exit(f"\nstopped after {trainer.epoch} finished epochs, which are kept: go on with --resume {folder}")
    _report(trainer, test, folder)


def _train(settings: argparse.Namespace, trainer: mc.Trainer, loader: data.DataLoader, test: data.ArrayDataset,
           folder: Path) -> None:  # fmt: skip
    print(mc.summary(trainer.model))
    left = settings.epochs - trainer.epoch
    print(f"\n{left} epochs on {len(loader.dataset)} images of {settings.dataset}, into {folder}")
    if settings.kernels == "cpu":
        print("The kernels are compiled when they are first used, so the first epoch of the first run takes longer.")
    start = time.perf_counter()
    if left > 0:
        trainer.fit(loader, left, validation=test, checkpoint=folder / CHECKPOINT)
    print(f"trained for {time.perf_counter() - start:.1f} s")


def _report(trainer: mc.Trainer, test: data.ArrayDataset, folder: Path) -> None:
    """Print the table of the classes, draw the pictures, write the history."""
    outputs = trainer.predict(test.images)
    confusion = confusion_matrix(test.labels, outputs.argmax(axis=1), outputs.shape[1])
    print("\n" + format_report(class_report(confusion, test.classes)))
    plots.learning_curves(trainer.history, folder / "learning_curves.png")
    plots.confusion_heatmap(confusion, test.classes, folder / "confusion_matrix.png")
    plots.worst_mistakes(test.images, test.labels, outputs, test.classes, folder / "worst_mistakes.png")
    first = next((m for m in trainer.model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None:
        plots.filter_grid(first.weight.numpy(), folder / "filters.png")
    write_text(folder / "history.json", json.dumps(trainer.history, indent=2))
    correct = int(confusion.trace())
    print(f"\ntest accuracy {100 * correct / len(test):.2f} % ({len(test) - correct} of {len(test)} wrong)")
    for path in sorted(folder.iterdir()):
        print(f"  {path}")
