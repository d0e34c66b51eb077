"""Train LeNet-5 on MNIST, and keep what a person wants to see.

    python examples/train_lenet.py

trains on all 60,000 digits, prints how well each class of the 10,000 test
digits is recognised, and writes into a new folder below runs/:

    learning_curves.png    loss and accuracy, epoch by epoch
    confusion_matrix.png   which digit was taken for which
    filters.png            what the first layer looks for
    worst_mistakes.png     the digits that the network got most wrong
    history.json           the numbers behind the curves
    model.safetensors      the weights, and all that is needed to go on
    run.json               the settings

Ctrl-C stops it; --resume FOLDER goes on after the last finished epoch, as if it
had never stopped. The Keras digit network as its authors train it:

    python examples/train_lenet.py --model digit_cnn --optimizer adadelta \\
        --weight-decay 0 --batch-size 128 --epochs 12

and LeNet with sigmoids, as a textbook has it, on Fashion-MNIST:

    python examples/train_lenet.py --model lenet5:d2l --lr 0.2 --epochs 10 \\
        --dataset fashion-mnist
"""

import argparse

import script
import together
import training

import minicnn as mc
from minicnn import data, models, optim
from minicnn import functional as F

IMAGES = (28, 28, 1)  # the shape of an image in both datasets
# The learning rate of SGD and the weight decay with which each form of LeNet-5 learns well, and any other model.
# Sigmoids saturate early, and decay would keep the weights there; the 1998 loss starts near 80, not near 2.
RECIPES = {"lenet5": (0.1, 5e-4), "lenet5:d2l": (0.1, 0.0), "lenet5:1998": (0.003, 0.0)}
OTHERS = (0.05, 5e-4)


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line; with --resume those of the run that goes on."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    fitting = [name for name in models.names() if models.input_shape(name) == IMAGES]
    add("--model", default="lenet5", metavar="NAME", help=f"one of {', '.join(fitting)} (default: lenet5)")
    add("--dataset", default="mnist", choices=["mnist", "fashion-mnist", "kmnist"],
        help="what to learn (default: mnist)")  # fmt: skip
    add("--optimizer", default="sgd", choices=["sgd", "adadelta"], help="default: sgd, with momentum 0.9 (Nesterov)")
    add("--lr", type=float, metavar="RATE", help="learning rate at the start; it falls to 0 along a cosine "
        "(default: 1.0 for adadelta, for sgd what suits the model, 0.1 for lenet5)")  # fmt: skip
    add("--weight-decay", type=float, metavar="RATE", help="L2 penalty on all weights (default: what suits the "
        "model, 5e-4 for lenet5)")  # fmt: skip
    add("--epochs", type=int, default=15, metavar="N", help="passes over the training images (default: 15)")
    add("--batch-size", type=int, default=64, metavar="N", help="images in a step (default: 64)")
    add("--augment", action="store_true", help="show the network each image changed a little, each time in another "
        "way")  # fmt: skip
    return training.parse(parser)


def make_trainer(settings: argparse.Namespace) -> mc.Trainer:
    """The model, its optimizer and its schedule."""
    if models.input_shape(settings.model) != IMAGES:
        raise ValueError(f"{settings.model} is made for images {models.input_shape(settings.model)}, not {IMAGES}")
    model = training.build_model(settings, settings.model)
    rate, decay = RECIPES.get(settings.model, OTHERS)
    decay = decay if settings.weight_decay is None else settings.weight_decay
    if settings.optimizer == "sgd":
        lr = rate if settings.lr is None else settings.lr
        optimizer: optim.Optimizer = optim.SGD(model.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=decay)
    else:
        lr = 1.0 if settings.lr is None else settings.lr
        optimizer = optim.Adadelta(model.parameters(), lr, weight_decay=decay)
    loss = models.map_criterion if settings.model == "lenet5:1998" else F.cross_entropy
    schedule = optim.CosineAnnealingLR(optimizer, settings.epochs)
    return mc.Trainer(model, optimizer, loss, schedule=schedule, precision=script.storage(settings.precision),
                      communicator=together.ranks(settings))  # fmt: skip


def work(settings: argparse.Namespace) -> None:
    """Train, and report."""
    trainer = make_trainer(settings)
    train, test = training.load_data(settings)
    transform = training.augmentation(settings, train.images)
    loader = data.DataLoader(train, settings.batch_size, shuffle=True, transform=transform, workers=1)
    training.train_and_report(settings, trainer, loader, test)


if __name__ == "__main__":
    training.run(__file__, parse_arguments, work)
