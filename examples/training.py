"""What the training scripts beside this file share: data sets, options, the folder of a run, Ctrl-C, the report."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import script
import together

import minicnn as mc
from minicnn import data, models, nn, optim
from minicnn.data import transforms
from minicnn.study import plots
from minicnn.train import class_report, confusion_matrix, format_report

CHECKPOINT = "model.safetensors"
DATASETS = ("cifar10", "fashion-mnist", "kmnist", "mnist")
WRITTEN = ("kmnist", "mnist")
# Settings that change no result: a resumed run has its own; and those that it may have its own of, if they are given.
OF_THE_PROCESS = ("debug", "distributed", "threads", "timeout", "workers")
OF_THE_MACHINE = ("data_folder", "device")
Pair = tuple[data.ArrayDataset, data.ArrayDataset]
Tests = data.ArrayDataset | data.DataLoader


# Data


def load_data(settings: argparse.Namespace) -> Pair:
    """The training set and the test set that are wanted."""
    if settings.dataset == "mnist":
        if settings.data_folder is not None:
            raise ValueError(f"MNIST comes with minicnn, nothing is read from {settings.data_folder}: leave out "
                             "--data-folder; files of your own are read by minicnn.data.read_idx")  # fmt: skip
        return data.mnist()
    read = {"cifar10": data.cifar10, "fashion-mnist": data.fashion_mnist, "kmnist": data.kmnist}[settings.dataset]
    with together.main_first(settings):
        return read(settings.data_folder)


def load_photographs(settings: argparse.Namespace) -> Pair:
    """The first `settings.images` of the training set, and of the test set, or all; each (32, 32, 3)."""
    train, test = (_as_photographs(first(part, settings.images)) for part in load_data(settings))
    return train, test


def find_photographs(settings: argparse.Namespace, download: bool) -> None:
    """Write into the settings what is learnt where --dataset does not say: CIFAR-10, or MNIST where that is absent."""
    if settings.dataset is not None:
        return
    try:
        with together.main_first(settings):
            data.cifar10(settings.data_folder, download)
        settings.dataset = "cifar10"
    except OSError as error:
        if settings.data_folder is not None:
            raise
        print(f"MNIST stands in for CIFAR-10: {error}")
        settings.dataset = "mnist"


def first(dataset: data.ArrayDataset, count: int | None) -> data.ArrayDataset:
    """The first `count` images of a data set, as --images says; None for all."""
    if count is not None and count < 1:
        raise ValueError(f"--images expected a number from 1, got {count}")
    return data.ArrayDataset(dataset.images[:count], dataset.labels[:count], dataset.classes)


def _as_photographs(dataset: data.ArrayDataset) -> data.ArrayDataset:
    """Grey images (M, 28, 28, 1) get two pixels of black around them, and three equal channels: (M, 32, 32, 3)."""
    if dataset.images.shape[1:] != (28, 28, 1):
        return dataset
    images = np.pad(dataset.images, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3)
    return data.ArrayDataset(images, dataset.labels, dataset.classes)


def augmentation(settings: argparse.Namespace, images: np.ndarray) -> transforms.Transform | None:
    """With --augment, what a training image becomes, which is another each time. images: (M, H, W, C).

    A photograph is shifted by up to four pixels, and half of them are mirrored, as in Lee, Xie, Gallagher, Zhang, Tu
    2015, "Deeply-Supervised Nets", section 4, which the ResNet paper follows. Clothes are cut out at their edges
    already, and are shifted by up to two. What is written would be other writing in the mirror: it is turned, shifted,
    sheared and stretched a little.
    """
    if not settings.augment:
        return None
    if settings.dataset in WRITTEN:
        return transforms.RandomAffine(rotation=12, shift=0.1, shear=0.15, zoom=0.12, fill="constant")
    crop = transforms.RandomCrop(images.shape[1:3], padding=2 if settings.dataset == "fashion-mnist" else 4)
    return transforms.Compose([crop, transforms.RandomHorizontalFlip()])


# Settings


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The settings from the command line, with the options that every script has; with --resume those of the run that
    goes on."""
    add = parser.add_argument
    add("--data-folder", metavar="FOLDER", help="where the files of the data set are, if not in their usual places")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same run (default: 0)")
    script.add_device(parser)
    script.add_precision(parser)
    add("--kernels", default="cpu", choices=mc.kernels.ROOMS, help="compiled kernels (cpu), or the plain NumPy ones "
        "that are written to be read (reference), many times slower (default: cpu)")  # fmt: skip
    add("--threads", type=int, metavar="N", help="threads of the compiled kernels (default: one for each core; "
        "with --distributed they are divided among the ranks of a machine)")  # fmt: skip
    together.add_option(parser)
    add("--debug", action="store_true", help="look at every number that is computed, and name the layer, operation and "
        "sample that made the first NaN or infinity; slower (see mc.detect_anomaly)")  # fmt: skip
    add("--out", type=Path, metavar="FOLDER", help="where to write (default: a new folder below runs/)")
    add("--resume", type=Path, metavar="FOLDER", help="go on with the run in FOLDER, with its settings; "
        "other options are ignored, but those that change no result: --debug, --threads, --workers, --distributed, "
        "--timeout, and, if they are given, --device and --data-folder; on a CPU it goes on in float32")  # fmt: skip
    parser.set_defaults(script=parser.prog)
    arguments = parser.parse_args()
    return _resumed(parser, arguments) if arguments.resume else arguments


def _resumed(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> argparse.Namespace:
    """The settings of the run that goes on, with those of the command line that it may have."""
    saved, given = saved_settings(arguments.resume), vars(arguments)
    if getattr(saved, "script", parser.prog) != parser.prog:
        raise ValueError(f"{arguments.resume} holds a run of {saved.script}: go on with it by that script")
    named = vars(parser.parse_args(namespace=argparse.Namespace(**dict.fromkeys(OF_THE_MACHINE))))  # None: not given
    own = {name for name in OF_THE_PROCESS if name in given} | {name for name in OF_THE_MACHINE if named[name]}
    if "device" not in own and getattr(saved, "device", "auto") == "cuda" and not mc.cuda_available():
        raise RuntimeError(f"the run in {arguments.resume} was begun with --device cuda, and there is no GPU here that "
                           "can be used: go on with --device cpu")  # fmt: skip
    # An option that the script did not have when the run was begun has the value that it has now.
    return argparse.Namespace(**{**given, **vars(saved), **{name: given[name] for name in own}})


def begin(settings: argparse.Namespace) -> str:
    """Seed and precision are set, and the device, "cpu" or "cuda", is returned; a run that goes on does so on a CPU in
    float32, in which its weights are saved."""
    if settings.epochs < 1:
        raise ValueError(f"--epochs expected a number from 1, got {settings.epochs}")
    device = script.chosen_device(settings.device)
    if getattr(settings, "resume", None) and device == "cpu" and settings.precision != "float32":
        print(f"The run in {settings.resume} was begun in {settings.precision}, which is for a GPU: on the CPU it goes "
              "on in float32.")  # fmt: skip
        settings.precision = "float32"
    script.set_precision(settings.precision, device)
    mc.seed(settings.seed)
    return device


def build_model(settings: argparse.Namespace, name: str) -> nn.Module:
    """The network of that name, drawn from the seed, on the device."""
    device = begin(settings)
    return models.build(name).to(device)


def paper_trainer(settings: argparse.Namespace, name: str) -> mc.Trainer:
    """As section 4.2 of the ResNet paper trains on CIFAR-10: a tenth of the rate after half of the epochs, and again
    after three quarters, where the paper has 32,000 and 48,000 of 64,000 steps."""
    model = build_model(settings, name)
    optimizer = optim.SGD(model.parameters(), settings.lr, momentum=0.9, weight_decay=1e-4)
    milestones = sorted({max(1, settings.epochs // 2), max(1, 3 * settings.epochs // 4)})
    schedule = optim.MultiStepLR(optimizer, milestones)
    return mc.Trainer(model, optimizer, schedule=schedule, precision=script.storage(settings.precision),
                      communicator=together.ranks(settings))  # fmt: skip


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
    ranks = together.ranks(settings)
    if ranks is None:
        return _new_folder(settings, name)
    return Path(ranks.gather(str(_new_folder(settings, name)) if ranks.is_main else None)[0])


def _new_folder(settings: argparse.Namespace, name: str) -> Path:
    stem = name.replace(":", "-")
    number, folder = 1, settings.out or Path("runs") / stem
    while settings.out is None and folder.exists():
        number, folder = number + 1, Path("runs") / f"{stem}-{number + 1}"
    if any((folder / file).exists() for file in ("run.json", CHECKPOINT)):
        raise ValueError(f"{folder} holds a run already: go on with --resume {folder}, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in vars(settings).items() if name not in ("out", "resume", *OF_THE_PROCESS)}
    write_text(folder / "run.json", json.dumps(kept, indent=2))
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it, so that no crash leaves half of one."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    os.replace(beside, path)


# Training


def run(file: str, parse_arguments: Callable[[], argparse.Namespace], work: Callable[[Any], None]) -> None:
    """Parse, look whether pictures can be drawn, and work; every fault of the user's is one sentence."""
    with script.faults_in_one_sentence(file):
        settings = parse_arguments()
        script.need_matplotlib()
        debug = getattr(settings, "debug", False)  # scripts that do not train have no such option
        with (
            together.begun(settings),
            mc.kernels.use(settings.kernels),
            mc.detect_anomaly() if debug else contextlib.nullcontext(),
        ):
            work(settings)


def train_and_report(
    settings: argparse.Namespace, trainer: mc.Trainer, loader: data.DataLoader, test: data.ArrayDataset
) -> None:
    """Train for the epochs that are left; then say and draw what came of it."""
    folder = train(settings, trainer, loader, test)
    report(trainer, test.images, test.labels, trainer.predict(test.images), test.classes, folder)


def train(settings: argparse.Namespace, trainer: mc.Trainer, loader: data.DataLoader, test: Tests) -> Path:
    """Train for the epochs that are left, saving after each; returns the folder of the run, on rank 0 alone."""
    folder = run_folder(settings, f"{settings.model}-{Path(settings.dataset).name}")
    if (folder / CHECKPOINT).exists():
        trainer.load(folder / CHECKPOINT)
    try:
        _train(settings, trainer, loader, test, folder)
    except KeyboardInterrupt:
        # The trainer counts an epoch before it saves it, so the file alone says which ones are kept.
        kept = (folder / CHECKPOINT).exists()
        if kept:
            trainer.load(folder / CHECKPOINT)
        epochs = trainer.epoch if kept else 0
        sys.exit(f"\nstopped after {epochs} finished epochs, which are kept: go on with --resume {folder}")
    together.end_others(trainer)
    return folder


def _train(settings: argparse.Namespace, trainer: mc.Trainer, loader: data.DataLoader, test: Tests,
           folder: Path) -> None:  # fmt: skip
    print(mc.summary(trainer.model))
    left = settings.epochs - trainer.epoch
    print(f"\n{left} epochs on {len(loader.dataset)} images of {settings.dataset}, into {folder}")
    if settings.kernels == "cpu":
        print("Kernels are compiled at their first use: the first epoch of all takes longer.")
    sys.stdout.flush()  # into a log, which else shows nothing for hours
    trainer.callbacks = (*trainer.callbacks, script.EpochLine())
    start = time.perf_counter()
    if left > 0:
        trainer.fit(loader, left, validation=test, checkpoint=folder / CHECKPOINT)
    print(f"trained for {time.perf_counter() - start:.1f} s")


def report(trainer: mc.Trainer, images: np.ndarray, labels: np.ndarray, outputs: np.ndarray,
           classes: Sequence[str] | None, folder: Path) -> None:  # fmt: skip
    """Print the table of the classes, draw the pictures, write the history.

    images, labels, outputs: (N, H, W, C), (N,) and (N, K), of the test.
    """
    confusion = confusion_matrix(labels, outputs.argmax(axis=1), outputs.shape[1])
    print("\n" + format_report(class_report(confusion, classes)))
    plots.learning_curves(trainer.history, folder / "learning_curves.png")
    plots.confusion_heatmap(confusion, classes, folder / "confusion_matrix.png")
    plots.worst_mistakes(images, labels, outputs, classes, folder / "worst_mistakes.png")
    first = next((m for m in trainer.model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None:
        plots.filter_grid(first.weight.numpy(), folder / "filters.png")
    write_text(folder / "history.json", json.dumps(trainer.history, indent=2))
    correct = int(confusion.trace())
    count = len(labels)
    print(f"\ntest accuracy {100 * correct / count:.2f} % ({count - correct} of {count} wrong)")
    for path in sorted(folder.iterdir()):
        print(f"  {path}")
