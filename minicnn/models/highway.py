"""Highway networks: each layer decides, number by number, how much of its input it passes on unchanged.

A plain layer computes y = H(x). A highway layer has a second one beside it, the transform gate T(x) between 0 and 1:

    y = H(x) * T(x) + x * (1 - T(x))

With the gate shut y = x, and the gradient passes unhindered as well: dx = dy * (1 - T(x)) and what H and T add. The
gate's bias begins below 0, so that a new network is nearly the identity, however deep, and learns where to open. (The
shortcut of ResNet, half a year later, is a gate that is always open for both.)

Source: Srivastava, Greff, Schmidhuber 2015, "Highway Networks" (arXiv 1505.00387) and "Training Very Deep Networks"
(NIPS), sections 2 and 3. What the papers leave open is as in the first author's Caffe model for MNIST.
"""

from .. import nn
from .._tensor import Tensor
from ..nn.init import constant, kaiming_normal, lecun_uniform, normal
from ._catalogue import MNIST, builder
from ._weights import initialize_weights

__all__ = ["highway"]


@builder({"convolutional": MNIST, "fully_connected": MNIST})
def highway(variant: str = "convolutional") -> nn.Sequential:
    """A highway network for images (N, 28, 28, 1) in [0, 1], ending in 10 logits.

    variant: "convolutional", ten layers, 151,690 parameters;
        "fully_connected", as deep as one likes, here fifty layers, 289,660 parameters.

    Raises ValueError for another variant. The two functions below this one show the layers.
    """
    return _convolutional() if variant == "convolutional" else _fully_connected()


def _convolutional(width: int = 32) -> nn.Sequential:
    """Ten layers: 31,650,624 multiply-adds.

    | layer    | what                            | output     | parameters | multiply-adds |
    |----------|---------------------------------|------------|------------|---------------|
    | dropout1 | of a fifth                      | 28, 28, 1  |            |               |
    | conv1    | 32 filters 5 x 5, ReLU          | 24, 24, 32 |        832 |       460,800 |
    | stage1   | 2 highway layers, 32 of 3 x 3   | 24, 24, 32 |     36,992 |    21,233,664 |
    | pool1    | max 3 x 3, stride 2             | 12, 12, 32 |            |               |
    | dropout2 | of three tenths                 | 12, 12, 32 |            |               |
    | stage2   | 3 highway layers                | 12, 12, 32 |     55,488 |     7,962,624 |
    | pool2    | max 3 x 3, stride 2             | 6, 6, 32   |            |               |
    | dropout3 | of four tenths                  | 6, 6, 32   |            |               |
    | stage3   | 3 highway layers                | 6, 6, 32   |     55,488 |     1,990,656 |
    | pool3    | max 2 x 2                       | 3, 3, 32   |            |               |
    | dropout4 | of a half                       | 3, 3, 32   |            |               |
    | flatten  |                                 | 288        |            |               |
    | output   | logits                          | 10         |      2,890 |         2,880 |

    width: filters of all layers, 32 or 16; the paper gives 151 and 39 thousand parameters, here 151,690 and 38,986.
    Weights: uniform with variance 1 / fan-in, of the logits normal with standard deviation 0.1; gates' biases -1.
    """
    model = nn.Sequential(
        {
            "dropout1": nn.Dropout(0.2),
            "conv1": nn.Conv2d(1, width, 5, activation="relu"),
            "stage1": nn.Sequential(*(ConvHighway(width) for _ in range(2))),
            "pool1": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            "dropout2": nn.Dropout(0.3),
            "stage2": nn.Sequential(*(ConvHighway(width) for _ in range(3))),
            "pool2": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            "dropout3": nn.Dropout(0.4),
            "stage3": nn.Sequential(*(ConvHighway(width) for _ in range(3))),
            "pool3": nn.MaxPool2d(2),
            "dropout4": nn.Dropout(0.5),
            "flatten": nn.Flatten(),
            "output": nn.Linear((3, 3, width), 10),
        }
    )
    initialize_weights(model, lecun_uniform)
    model.output.weight.initialize(normal(0.1))
    return model


def _fully_connected(layers: int = 50, width: int = 50) -> nn.Sequential:
    """The network of section 3.1: 284,700 multiply-adds.

    | layer   | what                                   | output | parameters | multiply-adds |
    |---------|----------------------------------------|--------|------------|---------------|
    | flatten |                                        | 784    |            |               |
    | input   | 50 units, ReLU: a plain layer          | 50     |     39,250 |        39,200 |
    | hidden  | 49 highway layers of 50 units          | 50     |    249,900 |       245,000 |
    | output  | logits                                 | 10     |        510 |           500 |

    layers: hidden layers with the plain one; the papers have 10, 20, 50 and 100. width: their units.
    Weights: normal with variance 2 / fan-in; gates' biases -2, with which the paper's best network of this depth began.
    """
    model = nn.Sequential(
        {
            "flatten": nn.Flatten(),
            "input": nn.Linear((28, 28, 1), width, activation="relu"),
            "hidden": nn.Sequential(*(LinearHighway(width) for _ in range(layers - 1))),
            "output": nn.Linear(width, 10),
        }
    )
    return initialize_weights(model, kaiming_normal)


class Highway(nn.Module):
    """y = H(x) T(x) + x (1 - T(x)), all of the same shape (equation 3).

    transform: H, ending in a ReLU. gate: T, ending in a sigmoid. gate_bias: what T's biases are at first.
    """

    def __init__(self, transform: nn.Conv2d | nn.Linear, gate: nn.Conv2d | nn.Linear, gate_bias: float) -> None:
        super().__init__()
        self.transform, self.gate = transform, gate
        assert gate.bias is not None
        gate.bias.initialize(constant(gate_bias))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.transform(x) - x) * self.gate(x)


class ConvHighway(Highway):
    """With 3 x 3 convolutions that keep the size of the image: (N, H, W, C) to (N, H, W, C)."""

    def __init__(self, channels: int, gate_bias: float = -1) -> None:
        transform = nn.Conv2d(channels, channels, 3, padding=1, activation="relu")
        gate = nn.Conv2d(channels, channels, 3, padding=1, activation="sigmoid")
        super().__init__(transform, gate, gate_bias)


class LinearHighway(Highway):
    """With fully connected layers: (N, C) to (N, C)."""

    def __init__(self, units: int, gate_bias: float = -2) -> None:
        transform = nn.Linear(units, units, activation="relu")
        super().__init__(transform, nn.Linear(units, units, activation="sigmoid"), gate_bias)
