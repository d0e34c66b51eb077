"""LeNet-1 of 1989 and LeNet-4 of 1995: what led to LeNet-5, built from the same parts (lenet_1998.py)."""

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ._catalogue import MNIST, builder
from .lenet_1998 import H3_TABLE, GreyLevels, SquashedConv2d, Subsampling, TableConv2d, fan_in_uniform

__all__ = ["lenet1", "lenet4"]

# A column for each of the 16 maps of C3, a row for each of the 8 maps of S2; X is a connection. Ours: the papers give
# none. Each map sees three, the first eight maps neighbours, the others not; they come from three maps of C1.
LENET4_TABLE = (
    "X.....XXX..X..X.",
    "XX.....X.X..X..X",
    "XXX.....X.X..X..",
    ".XXX.....X.X..X.",
    "..XXX.....X.X..X",
    "...XXX..X..X.X..",
    "....XXX..X..X.X.",
    ".....XXX..X..X.X",
)


@builder(MNIST)
def lenet1() -> nn.Sequential:
    """The network of 1989 that the 1998 paper calls LeNet-1, for images (N, 28, 28, 1) in [0, 1], ending in 10 logits.

    | layer   | what                                          | output     | parameters | multiply-adds |
    |---------|-----------------------------------------------|------------|------------|---------------|
    | input   | background -1, foreground 1                   | 28, 28, 1  |            |               |
    | h1      | 4 filters 5 x 5                               | 24, 24, 4  |        104 |        57,600 |
    | h2      | 2 x 2 added, times a coefficient, plus a bias | 12, 12, 4  |          8 |           576 |
    | h3      | 12 maps 5 x 5, connected by table 1           | 8, 8, 12   |        512 |        32,000 |
    | h4      | as h2                                         | 4, 4, 12   |         24 |           192 |
    | output  | 10 filters 4 x 4: fully connected             | 1, 1, 10   |      1,930 |         1,920 |
    | flatten |                                               | 10         |            |               |
    | total   |                                               |            |      2,578 |        92,288 |

    h1 to h4 end in the squashing function. In 1989 the output did too, and was trained on the squared error from
    targets of +1 and -1; here it ends in logits, like every model. Weights: uniform within 2.4 / fan-in.
    Source: LeCun, Boser, Denker, Henderson, Howard, Hubbard, Jackel 1989, "Handwritten Digit Recognition with a
    Back-Propagation Network", NIPS 2, section 4 and table 1.
    """
    output = nn.Conv2d(12, 10, 4)
    for parameter in output.parameters():
        parameter.initialize(fan_in_uniform(4 * 4 * 12))
    return nn.Sequential(
        {
            "input": GreyLevels(background=-1.0, foreground=1.0),
            "h1": SquashedConv2d(1, 4, 5),
            "h2": Subsampling(4),
            "h3": TableConv2d(H3_TABLE, 5),
            "h4": Subsampling(12),
            "output": output,
            "flatten": nn.Flatten(),
        }
    )


@builder(MNIST)
def lenet4() -> nn.Sequential:
    """LeNet-4, for images (N, 28, 28, 1) in [0, 1], ending in 10 logits.

    | layer   | what                                                  | output     | parameters | multiply-adds |
    |---------|-------------------------------------------------------|------------|------------|---------------|
    | input   | border of 2, background -0.1, foreground 1.175        | 32, 32, 1  |            |               |
    | c1      | 4 filters 5 x 5                                       | 28, 28, 4  |        104 |        78,400 |
    | s2      | 2 maps for each of c1: 2 x 2 added, times a           | 14, 14, 8  |         16 |         1,568 |
    |         | coefficient, plus a bias                              |            |            |               |
    | c3      | 16 maps 5 x 5, each connected to 3                    | 10, 10, 16 |      1,216 |       120,000 |
    | s4      | as s2, but 1 map for each                             | 5, 5, 16   |         32 |           400 |
    | f5      | 120 filters 5 x 5: fully connected                    | 1, 1, 120  |     48,120 |        48,000 |
    | flatten |                                                       | 120        |            |               |
    | output  |                                                       | 10         |      1,210 |         1,200 |
    | total   |                                                       |            |     50,698 |       249,568 |

    Sources: LeCun et al. 1995, "Comparison of Learning Algorithms for Handwritten Digit Recognition", ICANN; LeCun,
    Bottou, Bengio, Haffner 1998 (as for LeNet-5), section III.C. They give the numbers of maps and units, the size of
    the image, "about 260,000 connections" and "about 17,000 free parameters". The size of the filters, the grey
    levels and the squashing are taken from LeNet-5, which the paper calls very similar. Nobody says which maps of s2
    each map of c3 sees: three each make 262,306 connections, counted as the paper counts those of LeNet-5.
    The other number cannot be this network's: 120 units that see 16 maps of 5 x 5 have 48,120 parameters alone.

    c1 to f5 end in the squashing function. Weights: uniform within 2.4 / fan-in.
    """
    output = nn.Linear(120, 10)
    for parameter in output.parameters():
        parameter.initialize(fan_in_uniform(120))
    return nn.Sequential(
        {
            "input": GreyLevels(background=-0.1, foreground=1.175, border=2),
            "c1": SquashedConv2d(1, 4, 5),
            "s2": PairedSubsampling(4),
            "c3": TableConv2d(LENET4_TABLE, 5),
            "s4": Subsampling(16),
            "f5": SquashedConv2d(16, 120, 5),
            "flatten": nn.Flatten(),
            "output": output,
        }
    )


class PairedSubsampling(Subsampling):
    """Two subsampling maps for each map: x (N, H, W, C) to (N, H // 2, W // 2, 2 * C), map m from map m % C of x."""

    def __init__(self, channels: int) -> None:
        super().__init__(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.concatenate([x, x], axis=3))
