"""One of the two towers of AlexNet, as in 2012: half of the filters of each layer, on a rank of its own.

Layers 2, 4 and 5 read what their own tower has made; layer 3 and the fully connected ones read both halves (Krizhevsky
et al. 2012, section 3.2 and figure 2). Their exchanges stand in the table below as `Both`; `NormOverBorder` exchanges
four channels. The modules have the numbers that they have in the grouped network, models.alexnet(variant="2012"), and
each weight and bias is the tower's part of the grouped one along the last axis, drawn with the same numbers.
"""

from __future__ import annotations

import numpy as np
import script  # noqa: F401  before minicnn: it says what to do where that is missing

import minicnn as mc
from minicnn import nn
from minicnn.distributed import Communicator
from minicnn.distributed.exchange import exchange_channels, join_channels
from minicnn.models.alexnet import response_norm
from minicnn.nn import init

FILTERS = (96, 256, 384, 384, 256)  # of the five convolutions, in both towers together
POSITIVE = ("features.4", "features.10", "features.12", "classifier.0", "classifier.3")  # their biases begin with 1


class Both(nn.Module):
    """y = the channels of both towers. received: how many bytes of them came from the other one in the last call."""

    received = 0

    def __init__(self, communicator: Communicator) -> None:
        super().__init__()
        self.communicator = communicator

    def forward(self, x: mc.Tensor) -> mc.Tensor:
        return self._counted(x, exchange_channels(x, self.communicator))

    def _counted(self, x: mc.Tensor, y: mc.Tensor) -> mc.Tensor:
        self.received = y.data.nbytes - x.data.nbytes
        return y


class Join(Both):
    """y = the logits of both towers, of which both compute the loss."""

    def forward(self, x: mc.Tensor) -> mc.Tensor:
        return self._counted(x, join_channels(x, self.communicator))


class NormOverBorder(Both):
    """Response normalisation of the tower's channels, with windows that reach two channels into the other tower.

    So do those of the grouped network, which knows no border there. The paper's stay within a tower: the two
    "communicate only in certain layers" (section 3.2), the third convolution and the fully connected ones.
    """

    def __init__(self, communicator: Communicator) -> None:
        super().__init__(communicator)
        self.norm = response_norm()

    def forward(self, x: mc.Tensor) -> mc.Tensor:
        C = x.shape[-1]
        y = self.norm(self._counted(x, exchange_channels(x, self.communicator, reach=self.norm.size // 2)))
        return y[..., :C] if self.communicator.is_main else y[..., -C:]


def tower(
    communicator: Communicator, num_classes: int, filters: tuple[int, ...] = FILTERS, hidden: int = 4096, side: int = 6
) -> nn.Sequential:
    """This rank's tower of AlexNet, from images (N, 227, 227, 3) to the logits (N, num_classes) on both ranks.

    Both ranks call it, after the same `mc.seed`. filters, hidden: of both towers together, even. side: rows and columns
    that the last pooling leaves, 6 of 227.
    """
    if num_classes < 2:
        raise ValueError(f"AlexNet's two towers expected two classes or more, got {num_classes}: each has a part")
    c, half = communicator, hidden // 2
    f1, f2, f3, f4, f5 = (number // 2 for number in filters)
    classes = num_classes // 2 if c.rank == 1 else num_classes - num_classes // 2
    features = _numbered(
        nn.Conv2d(3, f1, 11, stride=4), nn.ReLU(), NormOverBorder(c), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(f1, f2, 5, padding=2), nn.ReLU(), NormOverBorder(c), nn.MaxPool2d(3, stride=2),
        Both(c), nn.Conv2d(2 * f2, f3, 3, padding=1), nn.ReLU(),
        nn.Conv2d(f3, f4, 3, padding=1), nn.ReLU(),
        nn.Conv2d(f4, f5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        Both(c),
    )  # fmt: skip
    classifier = _numbered(
        nn.Linear((side, side, 2 * f5), half), nn.ReLU(), Both(c), nn.Dropout(0.5),
        nn.Linear(2 * half, half), nn.ReLU(), Both(c), nn.Dropout(0.5),
        nn.Linear(2 * half, classes), Join(c),
    )  # fmt: skip
    model = nn.Sequential({"features": features, "flatten": nn.Flatten(), "classifier": classifier})
    for name, parameter in model.named_parameters():
        layer, _, kind = name.rpartition(".")
        bias = init.constant(1) if layer in POSITIVE else init.zeros
        parameter.initialize(_own_part(init.normal(0.01) if kind == "weight" else bias, c, parameter.shape[-1]))
    return model


def _numbered(*modules: nn.Module) -> nn.Sequential:
    """The modules under their numbers in the grouped network; it has no exchanges: these get the next one's number."""
    names: dict[str, nn.Module] = {}
    number = 0
    for module in modules:
        exchanges = type(module) in (Both, Join)
        names[f"exchange_{number}" if exchanges else str(number)] = module
        number += not exchanges
    return nn.Sequential(names)


def _own_part(initializer: init.Initializer, communicator: Communicator, own: int) -> init.Initializer:
    """The initialiser that draws what the grouped network would, and keeps this rank's part of the last axis."""
    lengths = communicator.gather(own)
    start = sum(lengths[: communicator.rank])

    def draw(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        return initializer((*shape[:-1], sum(lengths)), generator)[..., start : start + own]

    return draw


def grouped_state(model: nn.Sequential, communicator: Communicator) -> dict[str, np.ndarray]:
    """The state_dict of the grouped network: both towers' weights. Both ranks call it."""
    state = model.state_dict()
    return {name: exchange_channels(mc.tensor(value), communicator).numpy() for name, value in state.items()}


def bytes_exchanged(model: nn.Sequential, communicator: Communicator, images: mc.Tensor) -> dict[str, tuple[int, int]]:
    """What the two ranks send each other in a training step on these images (N, H, W, 3), together: for the name of
    each module that exchanges, bytes forward and bytes backward. Both ranks call it; leaves the model in evaluation
    mode.

    Backward goes the gradient in each number that came; that in the logits both know, and Join sends nothing.
    """
    with mc.no_grad():
        model.eval()(images)
    exchanges = {name: module for name, module in model.named_modules() if isinstance(module, Both)}
    forward = {name: sum(communicator.gather(module.received)) for name, module in exchanges.items()}
    return {name: (forward[name], 0 if isinstance(exchanges[name], Join) else forward[name]) for name in exchanges}
