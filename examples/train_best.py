"""Train a residual network for small grey images, with all that helps it.

    python examples/train_best.py
    python examples/train_best.py --dataset fashion-mnist

Eight convolutions, four of them in two residual blocks, with batch norm; images
that are changed at random each time; label smoothing; a learning rate that
rises and falls once, step by step; and the average of the weights over the last
steps, which is what is tested. The script writes into a new folder below runs/
what train_lenet.py writes.

Ctrl-C stops it; --resume FOLDER goes on after the last finished epoch, as if it
had never stopped.
"""

import argparse
from functools import partial

import script
import together
import training

import minicnn as mc
from minicnn import data, nn, optim
from minicnn import functional as F
from minicnn.data import transforms

# Channels of the first convolution: clothes want a larger network.
WIDTHS = {"mnist": 16, "fashion-mnist": 24, "kmnist": 16}


class Residual(nn.Module):
    """x + f(x), f two convolutions of C to C channels; Page 2018, "How to train your ResNet"."""

    def __init__(self, C: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*convolution(C, C), *convolution(C, C))

    def forward(self, x: mc.Tensor) -> mc.Tensor:
        """The sum; its shape is that of x."""
        return x + self.body(x)


def convolution(C: int, O: int) -> tuple[nn.Module, nn.Module]:
    """3 x 3, from C to O channels, batch normalisation, ReLU."""
    return nn.Conv2d(C, O, 3, padding=1, bias=False), nn.BatchNorm2d(O, activation="relu")


def network(C: int) -> nn.Sequential:
    """28 x 28 pixels -> 14 x 14 -> 7 x 7 -> 3 x 3, of C, 2C, 4C and 8C channels -> 10 classes."""
    return nn.Sequential(
        *convolution(1, C),
        *convolution(C, 2 * C), nn.MaxPool2d(2), Residual(2 * C),
        *convolution(2 * C, 4 * C), nn.MaxPool2d(2),
        *convolution(4 * C, 8 * C), nn.MaxPool2d(2), Residual(8 * C),
        nn.GlobalAvgPool2d(),
        nn.Dropout(0.2),
        nn.Linear(8 * C, 10),
    )  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line; with --resume those of the run that goes on."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    add("--dataset", default="mnist", choices=list(WIDTHS), help="what to learn (default: mnist)")
    add("--images", type=int, metavar="N", help="how many of its images to train with (default: all)")
    add("--width", type=int, metavar="N", help="channels of the first convolution (default: 16; 24 for fashion-mnist)")
    add("--lr", type=float, default=0.2, metavar="RATE", help="the largest learning rate (default: 0.2)")
    add("--epochs", type=int, default=10, metavar="N", help="passes over the training images (default: 10)")
    add("--batch-size", type=int, default=128, metavar="N", help="images in a step (default: 128)")
    parser.set_defaults(model="residual", augment=True)
    settings = training.parse(parser)
    settings.width = WIDTHS[settings.dataset] if settings.width is None else settings.width
    return settings


def make_trainer(settings: argparse.Namespace, device: str, batches: int) -> mc.Trainer:
    """The network and what trains it. batches: how many an epoch has, since the rate changes after each."""
    if settings.width < 1:
        raise ValueError(f"--width expected a number from 1, got {settings.width}")
    model = network(settings.width).to(device)
    model.input_shape = (28, 28, 1)
    # Decay pulls at the filters alone: of a bias, or of what batch normalisation scales, small is no better.
    filters = [p for p in model.parameters() if len(p.known_shape) > 1]
    others = [p for p in model.parameters() if len(p.known_shape) == 1]
    groups = [{"params": filters, "weight_decay": 5e-4}, {"params": others}]
    optimizer = optim.SGD(groups, settings.lr, momentum=0.9, nesterov=True)
    return mc.Trainer(
        model,
        optimizer,
        partial(F.cross_entropy, label_smoothing=0.1),
        schedule=optim.OneCycleLR(optimizer, settings.lr, settings.epochs * batches),
        schedule_interval="step",
        average=optim.WeightAverage(model, decay=0.998),
        precision=script.storage(settings.precision),
        communicator=together.ranks(settings),
    )


def work(settings: argparse.Namespace) -> None:
    """Train, and report."""
    device = training.begin(settings)
    train, test = training.load_data(settings)
    train = training.first(train, settings.images)
    transform = training.augmentation(settings, train.images)
    if settings.dataset == "fashion-mnist":  # what hides parts of a digit makes another one of some
        transform = transforms.Compose([transform, transforms.Cutout(8)])
    loader = data.DataLoader(train, settings.batch_size, shuffle=True, transform=transform, drop_last=True, workers=1)
    training.train_and_report(settings, make_trainer(settings, device, len(loader)), loader, test)


if __name__ == "__main__":
    training.run(__file__, parse_arguments, work)
