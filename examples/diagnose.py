"""What keeps a network from learning? One batch of digits tells.

    python examples/diagnose.py --sick dead-relu

makes a network that is ill in one way, and prints what is found, from one
forward and one backward pass and a few steps, in a sentence each. Without
--sick it looks at a network that is well, or at the one that --model names:

    python examples/diagnose.py --model resnet20
    python examples/diagnose.py --weights runs/lenet5-mnist --lr 0.1
    python examples/diagnose.py --model net.py:build --input-shape 28 28 1

In a script of your own it is minicnn.study.diagnose(model, images, labels).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import script

import minicnn as mc
from minicnn import data, models, nn, optim, study
from minicnn import functional as F
from minicnn.study import sources

Array = Any


def hidden(activation: str = "relu", depth: int = 3) -> nn.Sequential:
    """A fully connected network for digits."""
    layers = (nn.Linear(784 if i == 0 else 64, 64, activation=activation) for i in range(depth))
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10))


def dead_relu() -> nn.Module:
    """biases so low that the units of a layer are 0 for every image"""
    model = hidden()
    model[2].bias.initialize(nn.init.constant(-100))
    return model


def scaled(model: nn.Module, factor: float) -> nn.Module:
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            parameter.data *= np.float32(factor)
    return model


def saturated() -> nn.Module:
    """weights so large that tanh is at its ends"""
    return scaled(hidden("tanh"), 60)


def growing() -> nn.Module:
    """weights so large that activations grow from layer to layer"""
    return scaled(hidden(depth=6), 8)


def vanishing() -> nn.Module:
    """ten layers of sigmoids, as before 2006"""
    return hidden("sigmoid", depth=10)


def softmax() -> nn.Module:
    """a softmax before cross_entropy"""
    return nn.Sequential(hidden(), nn.Softmax())


class Detached(nn.Module):
    """a body whose result is detached"""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = hidden(), nn.Linear(10, 10)

    def forward(self, x: mc.Tensor) -> mc.Tensor:
        return self.head(self.body(x).detach())


# By name: what makes the network, and what changes the digits (images, labels).
Change = Callable[[Array, Array], tuple[Array, Array]]
SICK: dict[str, tuple[Callable[[], nn.Module], Change | None, str]] = {
    "dead-relu": (dead_relu, None, str(dead_relu.__doc__)),
    "saturated": (saturated, None, str(saturated.__doc__)),
    "growing": (growing, None, str(growing.__doc__)),
    "vanishing": (vanishing, None, str(vanishing.__doc__)),
    "softmax": (softmax, None, str(softmax.__doc__)),
    "detached": (Detached, None, str(Detached.__doc__)),
    "bytes": (hidden, lambda x, labels: (x.astype(np.float32), labels), "pixels from 0 to 255 as floats"),
    "labels": (hidden, lambda x, labels: (x, labels + 1), "classes numbered from 1"),
    "small-rate": (hidden, None, "a learning rate of 1e-7"),
}


def parse_arguments() -> argparse.Namespace:
    """What is to be looked at."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    add("--sick", choices=SICK, metavar="NAME", help="one of: " + "; ".join(f"{n}, {s[2]}" for n, s in SICK.items()))
    add("--model", metavar="NAME", help="of minicnn.models, or FILE.py:FUNCTION (default: the run's, or lenet5)")
    add("--weights", metavar="RUN", help="the folder of a run, or what load_pretrained takes (default: as drawn)")
    add("--input-shape", nargs=3, type=int, metavar=("H", "W", "C"), help="if the model does not say it")
    add("--dataset", choices=sources.DATASETS, help="(default: the run's, or mnist)")
    add("--data-folder", metavar="FOLDER", help="where its files are, if not in their usual places")
    add("--batch-size", type=int, default=64, metavar="N", help="images of the training set (default: 64)")
    add("--lr", type=float, metavar="RATE", help="judge this learning rate too, of SGD with momentum 0.9")
    script.add_device(parser)
    return parser.parse_args()


def subject(options: argparse.Namespace) -> tuple[nn.Module, Array, Array, str | None]:
    """The model, the batch, and the model's name if it has one."""
    if options.batch_size < 1:
        raise ValueError(f"--batch-size expected a number from 1, got {options.batch_size}")
    if options.sick is not None:
        make, change, _ = SICK[options.sick]
        train, _ = data.mnist()
        images, labels = train.images[: options.batch_size], train.labels[: options.batch_size]
        return make(), *((images, labels) if change is None else change(images, labels)), None
    source = sources.load(options.model, options.weights, options.input_shape and tuple(options.input_shape))
    train, _ = sources.dataset(source, options.dataset, options.data_folder)
    images = sources.fitted(train.images[: options.batch_size], source.shape)
    name = options.model or source.settings.get("model")
    return source.model, images, train.labels[: options.batch_size], name


def main() -> None:
    """Say what is found; every fault of the user's is one sentence."""
    with script.faults_in_one_sentence(__file__):
        options = parse_arguments()
        mc.seed(0)
        model, images, labels, name = subject(options)
        model.to(script.chosen_device(options.device))
        lr = 1e-7 if options.sick == "small-rate" else options.lr
        optimizer = None if lr is None else optim.SGD(model.parameters(), lr, momentum=0.9)
        losses = {"lenet5:1998": models.map_criterion, "googlenet": models.googlenet_loss}
        print(study.diagnose(model, images, labels, losses.get(name, F.cross_entropy), optimizer))


if __name__ == "__main__":
    main()
