"""The degradation experiment of the ResNet paper: deeper networks train worse.

    python examples/degradation.py

trains four networks side by side: plain ones with 20 and 56 layers, and with
the cure, shortcuts, ResNet-20 and ResNet-56. The plain network with 56 layers
could do what the one with 20 can, if its other layers learnt to leave their
input as it is; yet it makes more mistakes, and already on the images that it is
trained with, so overfitting is not why. Written after every epoch, into a new
folder below runs/:

    errors.png         training and test error of the four, epoch by epoch
    history.json       the numbers
    NAME.safetensors   each network, so that the run can go on

Without --dataset it takes CIFAR-10 if its files are there, else MNIST, padded
to 32 x 32 pixels. Ctrl-C stops it; --resume FOLDER goes on. A few thousand
images show the effect. The paper's own figure takes a GPU:

    python examples/degradation.py --dataset cifar10 --images 50000 \\
        --epochs 164 --batch-size 128 --lr 0.1 --augment
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import script
import training

import minicnn as mc
from minicnn import data
from minicnn.study import plots

NETWORKS = ("plain20", "plain56", "resnet20", "resnet56")


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line; with --resume those of the run that goes on."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    add("--dataset", choices=training.DATASETS, help="what to learn (default: see below)")
    add("--images", type=int, default=4000, metavar="N", help="how many of its images to train with, and at most to "
        "test with (default: 4000)")  # fmt: skip
    add("--epochs", type=int, default=24, metavar="N", help="passes over these images (default: 24)")
    add("--batch-size", type=int, default=50, metavar="N", help="images in a step (default: 50)")
    add("--lr", type=float, default=0.05, metavar="RATE", help="learning rate, a tenth after half of the epochs and a "
        "hundredth after three quarters (default: 0.05)")  # fmt: skip
    add("--augment", action="store_true", help="shift and mirror the training images at random")
    return training.parse(parser)


def work(settings: argparse.Namespace) -> None:
    """Train all four, an epoch of each in turn, and keep what was measured after each."""
    training.find_photographs(settings, download=False)
    train, test = training.load_photographs(settings)
    trainers = {name: training.paper_trainer(settings, name) for name in NETWORKS}
    loader = data.DataLoader(train, settings.batch_size, True, training.augmentation(settings, train.images))
    folder = training.run_folder(settings, f"degradation-{settings.dataset}")
    for name, trainer in trainers.items():
        if (folder / f"{name}.safetensors").exists():
            trainer.load(folder / f"{name}.safetensors")
    print(f"{len(train)} images of {settings.dataset}, {settings.epochs} epochs, into {folder}")
    try:
        while behind := [name for name in NETWORKS if trainers[name].epoch < settings.epochs]:
            name = min(behind, key=lambda name: trainers[name].epoch)
            start = time.perf_counter()
            trainers[name].fit(loader, 1, validation=test, checkpoint=folder / f"{name}.safetensors", progress=False)
            print(f"{line(name, trainers[name])}   {time.perf_counter() - start:6.1f} s", flush=True)
            keep(trainers, folder)
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; finished epochs are kept: go on with --resume {folder}")
    print("\n" + "\n".join(line(name, trainer) for name, trainer in trainers.items()))


def line(name: str, trainer: mc.Trainer) -> str:
    """A network's errors in its last epoch."""
    last = {key: values[-1] for key, values in trainer.history.items()}
    return (
        f"{name:<9} epoch {trainer.epoch:>3}   training error {100 - 100 * last['accuracy']:5.1f} %   "
        f"test error {100 - 100 * last['val_accuracy']:5.1f} %"
    )


def keep(trainers: Mapping[str, mc.Trainer], folder: Path) -> None:
    """The picture and the numbers so far."""
    if not all(trainer.is_main for trainer in trainers.values()):
        return
    histories = {name: trainer.history for name, trainer in trainers.items() if trainer.epoch}
    plots.error_curves(histories, folder / "errors.png")
    training.write_text(folder / "history.json", json.dumps(histories, indent=2))


if __name__ == "__main__":
    training.run(__file__, parse_arguments, work)
