"""Find a learning rate: it rises from step to step until the loss diverges.

    python examples/find_learning_rate.py --model lenet5

trains LeNet-5 for at most 200 steps on MNIST, prints at which rate the loss was
least and which one is suggested, and draws the curve into a PNG. The weights
are of no use afterwards: train with the rate that was found, for example

    python examples/train_lenet.py --lr RATE
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import script
import training

import minicnn as mc
from minicnn import data, models, optim
from minicnn import functional as F
from minicnn.study import plots
from minicnn.train import LearningRateCurve, find_learning_rate

DIGITS, PHOTOGRAPHS = (28, 28, 1), (32, 32, 3)
OPTIMIZERS = {
    "sgd": partial(optim.SGD, momentum=0.9, nesterov=True),
    "adadelta": optim.Adadelta,
    "adamw": optim.AdamW,
    "lion": optim.Lion,
}


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    add("--model", default="lenet5", metavar="NAME", help="a network of minicnn.models for images of 28 x 28 x 1 or "
        "32 x 32 x 3 (default: lenet5)")  # fmt: skip
    add("--dataset", default="mnist", choices=training.DATASETS, help="what to learn (default: mnist)")
    add("--data-folder", metavar="FOLDER", help="where the files of the data set are, if not in their usual places")
    add("--optimizer", default="sgd", choices=OPTIMIZERS, help="default: sgd, with momentum 0.9 (Nesterov)")
    add("--weight-decay", type=float, default=5e-4, metavar="RATE", help="L2 penalty on all weights (default: 5e-4)")
    add("--batch-size", type=int, default=64, metavar="N", help="images in a step (default: 64)")
    add("--start", type=float, default=1e-5, metavar="RATE", help="the first learning rate (default: 1e-5)")
    add("--end", type=float, default=10.0, metavar="RATE", help="the last one (default: 10)")
    add("--steps", type=int, default=200, metavar="N", help="from the first to the last (default: 200)")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same curve (default: 0)")
    add("--out", type=Path, default=Path("learning_rate.png"), metavar="FILE", help="default: learning_rate.png")
    script.add_device(parser)
    return parser.parse_args()


def search(settings: argparse.Namespace) -> LearningRateCurve:
    """Make what is to be trained, and let its rate rise."""
    train = images_for(settings)
    model = training.build_model(argparse.Namespace(**vars(settings), epochs=1, precision="float32"), settings.model)
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), settings.start, weight_decay=settings.weight_decay)
    loss = models.map_criterion if settings.model == "lenet5:1998" else F.cross_entropy
    trainer = mc.Trainer(model, optimizer, loss)
    return find_learning_rate(trainer, train, settings.batch_size, settings.start, settings.end, settings.steps)


def images_for(settings: argparse.Namespace) -> data.ArrayDataset:
    """The training set, in the shape that the model is made for."""
    shape = models.input_shape(settings.model)
    if shape == PHOTOGRAPHS:
        return training.load_photographs(argparse.Namespace(**vars(settings), images=None))[0]
    if shape != DIGITS or settings.dataset == "cifar10":
        raise ValueError(f"{settings.model} is made for images {shape}: there are none of {settings.dataset}")
    return training.load_data(settings)[0]


def work(settings: argparse.Namespace) -> None:
    """Search, draw and print."""
    if settings.out.is_dir() or not settings.out.absolute().parent.is_dir():  # said now, and not when all is done
        raise ValueError(f"--out expected a file in a folder that there is, got {settings.out}")
    curve = search(settings)
    plots.learning_rate_curve(curve, settings.out)
    ended = "the loss diverged" if curve.diverged else "the rate had reached its end"
    print(f"{len(curve.lrs)} steps, from {curve.lrs[0]:.2g} to {curve.lrs[-1]:.2g}: then {ended}")
    print(f"the smoothed loss began at {curve.smoothed[0]:.3f} and was least, {curve.smoothed[curve.least]:.3f}, "
          f"at the learning rate {curve.lrs[curve.least]:.2g}")  # fmt: skip
    if curve.fall < 0.1:
        print("It hardly fell, so where it was least is chance: more --steps may tell more")
    print(f"suggestion: {curve.suggestion:.2g}   ({settings.out})")


if __name__ == "__main__":
    with script.faults_in_one_sentence(__file__):
        work(parse_arguments())
