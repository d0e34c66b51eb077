"""LeNet-5 of 1998, and the two LeNet-5 that textbooks and libraries mean. Those before it stand in lenet_early.py."""

from .. import nn
from ..nn.init import xavier_uniform
from ._catalogue import MNIST, builder
from ._weights import initialize_weights
from .lenet_1998 import (
    C3_TABLE,
    GreyLevels,
    SquashedConv2d,
    SquashedLinear,
    Subsampling,
    TableConv2d,
)
from .lenet_output import EuclideanRBF

__all__ = ["lenet5"]


@builder({"keras": MNIST, "d2l": MNIST, "1998": MNIST})
def lenet5(variant: str = "keras") -> nn.Sequential:
    """LeNet-5 for images (N, 28, 28, 1) in [0, 1], ending in 10 logits.

    variant: "keras", with tanh, dense connections and plain average pooling, 61,706 parameters;
        "d2l", the same shapes with sigmoid, as in the book Dive into Deep Learning;
        "1998", the network of the paper, with its connection table, trainable subsampling and RBF output, 60,000.

    Raises ValueError for another name. The three functions below this one show the layers.
    """
    return {"keras": _keras, "d2l": _d2l, "1998": _paper}[variant]()


def _keras() -> nn.Sequential:
    """LeNet-5 as Keras users write it.

    | layer               | what                          | output    | parameters | multiply-adds |
    |---------------------|-------------------------------|-----------|------------|---------------|
    | conv2d              | 6 filters 5 x 5, same, tanh   | 28, 28, 6 |        156 |       117,600 |
    | average_pooling2d   | 2 x 2                         | 14, 14, 6 |            |               |
    | conv2d_1            | 16 filters 5 x 5, tanh        | 10, 10, 16|      2,416 |       240,000 |
    | average_pooling2d_1 | 2 x 2                         | 5, 5, 16  |            |               |
    | flatten             |                               | 400       |            |               |
    | dense               | tanh                          | 120       |     48,120 |        48,000 |
    | dense_1             | tanh                          | 84        |     10,164 |        10,080 |
    | dense_2             | logits                        | 10        |        850 |           840 |
    | total               |                               |           |     61,706 |       416,520 |

    Weights: Xavier uniform, biases 0: Keras' own default.
    """
    model = nn.Sequential(
        {
            "conv2d": nn.Conv2d(1, 6, 5, padding="same", activation="tanh"),
            "average_pooling2d": nn.AvgPool2d(2),
            "conv2d_1": nn.Conv2d(6, 16, 5, activation="tanh"),
            "average_pooling2d_1": nn.AvgPool2d(2),
            "flatten": nn.Flatten(),
            "dense": nn.Linear((5, 5, 16), 120, activation="tanh"),
            "dense_1": nn.Linear(120, 84, activation="tanh"),
            "dense_2": nn.Linear(84, 10),
        }
    )
    return initialize_weights(model, xavier_uniform)


def _d2l() -> nn.Sequential:
    """LeNet-5 of Dive into Deep Learning (Zhang, Lipton, Li, Smola), section 7.6: as above, with sigmoid for tanh.

    The activations are Modules of their own, as there, so that the Parameters are called 0, 3, 7, 9 and 11.
    Weights: Xavier uniform, as there.
    """
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear((5, 5, 16), 120),
        nn.Sigmoid(),
        nn.Linear(120, 84),
        nn.Sigmoid(),
        nn.Linear(84, 10),
    )
    return initialize_weights(model, xavier_uniform)


def _paper() -> nn.Sequential:
    """LeNet-5 of LeCun, Bottou, Bengio, Haffner 1998, section II.B and figure 2.

    | layer   | what                                                | output     | parameters | multiply-adds |
    |---------|-----------------------------------------------------|------------|------------|---------------|
    | input   | border of 2, background -0.1, foreground 1.175      | 32, 32, 1  |            |               |
    | c1      | 6 filters 5 x 5                                     | 28, 28, 6  |        156 |       117,600 |
    | s2      | 2 x 2 added, times a coefficient, plus a bias       | 14, 14, 6  |         12 |         1,176 |
    | c3      | 16 maps 5 x 5, connected by table I                 | 10, 10, 16 |      1,516 |       150,000 |
    | s4      | as s2                                               | 5, 5, 16   |         32 |           400 |
    | c5      | 120 filters 5 x 5                                   | 1, 1, 120  |     48,120 |        48,000 |
    | flatten |                                                     | 120        |            |               |
    | f6      |                                                     | 84         |     10,164 |        10,080 |
    | output  | minus the squared distance to the digits of fig. 3  | 10         |      fixed |           840 |
    | total   |                                                     |            |     60,000 |       328,096 |

    All layers from c1 to f6 end in the squashing function 1.7159 tanh(2/3 x). Weights: uniform within 2.4 / fan-in.
    The paper trained it with the loss `map_criterion` (equation 9).
    """
    return nn.Sequential(
        {
            "input": GreyLevels(background=-0.1, foreground=1.175, border=2),
            "c1": SquashedConv2d(1, 6, 5),
            "s2": Subsampling(6),
            "c3": TableConv2d(C3_TABLE, 5),
            "s4": Subsampling(16),
            "c5": SquashedConv2d(16, 120, 5),
            "flatten": nn.Flatten(),
            "f6": SquashedLinear(120, 84),
            "output": EuclideanRBF(),
        }
    )
