"""The parts of the networks that LeCun and colleagues published in 1989 and 1998, and of which later versions kept few.

Source, unless another is named: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86(11), section II.B. The networks stand in lenet.py and lenet_early.py, LeNet-5's
output units and its loss in lenet_output.py.
"""

from functools import partial
from typing import Any

import numpy as np

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ..nn.init import Initializer

Array = Any

# Table I: a column for each of the 16 maps of C3, a row for each of the 6 maps of S2; X is a connection.
C3_TABLE = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)

# LeCun et al. 1989 (NIPS 2), table 1: a column for each of the 12 maps of H3, a row for each of the 4 maps of H2.
H3_TABLE = (
    "XXX.XX......",
    ".XXXXX......",
    "......XXX.XX",
    ".......XXXXX",
)


def squash(x: Tensor) -> Tensor:
    """y = A tanh(S x), A = 1.7159, S = 2/3, of any shape; dx = dy * A S (1 - tanh(S x)**2).

    With these constants f(1) = 1 and f(-1) = -1, so that targets of +1 and -1 lie where the slope is still large.
    Source: appendix A.
    """
    return F.tanh(x * (2 / 3)) * 1.7159


def fan_in_uniform(fan_in: int) -> Initializer:
    """The initialiser that draws uniformly from [-2.4 / F, 2.4 / F], F the number of inputs of a unit (appendix A).

    A bias is the weight of an input that is always 1, and is drawn like the others.
    """
    return partial(_by_fan_in, fan_in)


# Functions that can be pickled, as the Parameters are that keep them.
def _by_fan_in(fan_in: int, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    return generator.uniform(-2.4 / fan_in, 2.4 / fan_in, shape).astype(np.float32)


def _by_fan_ins(fan_ins: Array, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    return (generator.uniform(-2.4, 2.4, shape) / fan_ins).astype(np.float32)


class GreyLevels(nn.Module):
    """Images of 0 (background) to 1 (ink), given a border of background and other grey levels.

    x (N, H, W, C) to (N, H + 2 * border, W + 2 * border, C); y = background + (foreground - background) * x.
    LeNet-5 sees background -0.1 and foreground 1.175, which makes the mean about 0 and the variance about 1.
    """

    def __init__(self, background: float, foreground: float, border: int = 0) -> None:
        super().__init__()
        self.background, self.foreground, self.border = background, foreground, border

    def forward(self, x: Tensor) -> Tensor:
        sides = (self.border, self.border)
        x = F.pad(x, [(0, 0), sides, sides, (0, 0)]) if self.border else x
        return x * (self.foreground - self.background) + self.background

    def extra_repr(self) -> str:
        return f"{self.background} to {self.foreground}, border {self.border}"


class SquashedConv2d(nn.Conv2d):
    """A convolution without padding, squashed: (N, H, W, C) to (N, H - K + 1, W - K + 1, O)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        for parameter in self.parameters():
            parameter.initialize(fan_in_uniform(kernel_size * kernel_size * in_channels))

    def forward(self, x: Tensor) -> Tensor:
        return squash(super().forward(x))


class SquashedLinear(nn.Linear):
    """A fully connected layer, squashed: (N, in) to (N, out)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        for parameter in self.parameters():
            parameter.initialize(fan_in_uniform(in_features))

    def forward(self, x: Tensor) -> Tensor:
        return squash(super().forward(x))


class Subsampling(nn.Module):
    """Halves an image: four cells are added, times a coefficient, plus a bias, squashed; two Parameters for each map.

    x (N, H, W, C) to (N, H // 2, W // 2, C); y = squash(coefficient[c] * sum of 2 x 2 cells of x[..., c] + bias[c]).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter.drawn(fan_in_uniform(4), (channels,))
        self.bias = nn.Parameter.drawn(fan_in_uniform(4), (channels,))

    def forward(self, x: Tensor) -> Tensor:
        return squash(F.sum_pool2d(x, 2) * self.coefficient + self.bias)

    def multiply_adds(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        return int(np.prod(output_shape[-3:]))  # one product a unit; the four cells are only added


class TableConv2d(nn.Module):
    """A convolution whose maps see only the maps that a table connects them to, squashed.

    table: a row for each of the C input maps, a column for each of the O output maps; X is a connection.
    weight: (K, K, P), one kernel for each of the P connections, those of output map 0 first. bias: (O,).
    x (N, H, W, C) to (N, H - K + 1, W - K + 1, O).

    The kernels are put into a dense weight of zeros by a product with a constant matrix of zeros and ones, whose
    backward pass is the product with its transpose: a place without connection has no Parameter and gets no gradient.
    """

    def __init__(self, table: tuple[str, ...], kernel_size: int) -> None:
        super().__init__()
        self.connected = np.array([[cell == "X" for cell in row] for row in table])  # (C, O)
        self.kernel_size = kernel_size
        C, O = self.connected.shape
        outputs, inputs = np.nonzero(self.connected.T)
        P = len(outputs)
        placement = np.zeros((P, C * O), np.float32)
        placement[np.arange(P), inputs * O + outputs] = 1
        self.register_buffer("placement", placement, persistent=False)
        fan_ins = kernel_size * kernel_size * self.connected.sum(axis=0)
        self.weight = nn.Parameter.drawn(_fan_ins_uniform(fan_ins[outputs]), (kernel_size, kernel_size, P))
        self.bias = nn.Parameter.drawn(_fan_ins_uniform(fan_ins), (O,))

    def dense_weight(self) -> Tensor:
        """The kernels in their places: (K, K, C, O), 0 where nothing is connected."""
        K = self.kernel_size
        C, O = self.connected.shape
        flat = self.weight.reshape(K * K, -1) @ Tensor(self.placement)  # (K*K, P) @ (P, C*O)
        return flat.reshape(K, K, C, O)  # (K*K, C*O) -> (K, K, C, O)

    def forward(self, x: Tensor) -> Tensor:
        return squash(F.conv2d(x, self.dense_weight(), self.bias))

    def multiply_adds(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """Those of the connections; the dense weight multiplies by its zeros too."""
        OH, OW = output_shape[-3:-1]
        return int(OH * OW * self.kernel_size**2 * self.connected.sum())

    def extra_repr(self) -> str:
        C, O = self.connected.shape
        return f"{C}, {O}, kernel_size={self.kernel_size}, {self.connected.sum()} of {C * O} connections"


def _fan_ins_uniform(fan_ins: Array) -> Initializer:
    """As fan_in_uniform, with a fan-in for each entry of the last axis."""
    return partial(_by_fan_ins, fan_ins)
