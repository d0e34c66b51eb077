"""Train a network for CIFAR-10 as the ResNet paper does.

    python examples/train_cifar.py

trains ResNet-20 on the 50,000 photographs of CIFAR-10, shifted and mirrored at
random, prints how well each class of the 10,000 test images is recognised, and
writes into a new folder below runs/ what train_lenet.py writes. The archive is
downloaded once, or put cifar-10-binary.tar.gz or cifar-10-python.tar.gz into a
folder and name it with --data-folder. Where it cannot be had, MNIST is learnt
instead, in minutes with

    python examples/train_cifar.py --images 5000 --epochs 4

Ctrl-C stops it; --resume FOLDER goes on after the last finished epoch, as if it
had never stopped.
"""

import argparse

import script
import training

from minicnn import data, models

IMAGES = (32, 32, 3)  # the shape of an image in CIFAR-10


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line; with --resume those of the run that goes on."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    fitting = [name for name in models.names() if models.input_shape(name) == IMAGES]
    add("--model", default="resnet20", metavar="NAME", help=f"one of {', '.join(fitting)} (default: resnet20)")
    add("--dataset", choices=training.DATASETS, help="what to learn; of the others each image becomes 32 x 32 pixels "
        "with three equal channels (default: cifar10, or mnist without its files)")  # fmt: skip
    add("--images", type=int, metavar="N", help="how many of its images to train with, and at most to "
        "test with (default: all)")  # fmt: skip
    add("--lr", type=float, default=0.1, metavar="RATE", help="learning rate, a tenth after half of the epochs and a "
        "hundredth after three quarters (default: 0.1)")  # fmt: skip
    add("--epochs", type=int, default=164, metavar="N", help="passes over the training images (default: 164, which "
        "are the 64,000 steps of the paper)")  # fmt: skip
    add("--batch-size", type=int, default=128, metavar="N", help="images in a step (default: 128)")
    add("--no-augment", dest="augment", action="store_false", help="leave the training images as they are")
    return training.parse(parser)


def work(settings: argparse.Namespace) -> None:
    """Train, and report."""
    if models.input_shape(settings.model) != IMAGES:
        raise ValueError(f"{settings.model} is made for images {models.input_shape(settings.model)}, not {IMAGES}")
    trainer = training.paper_trainer(settings, settings.model)
    training.find_photographs(settings, download=True)
    train, test = training.load_photographs(settings)
    loader = data.DataLoader(train, settings.batch_size, True, training.augmentation(settings, train.images))
    training.train_and_report(settings, trainer, loader, test)


if __name__ == "__main__":
    training.run(__file__, parse_arguments, work)
