"""PyramidNet: the channels grow a little in every block, not all at once where the image is halved.

Block k of K works on 16 + alpha * k / K channels, rounded down ("additive", equation 2), and puts out as many, or four
times as many where it is a bottleneck. Its shortcut has no parameters: where the image is halved x is averaged, and the
channels that it lacks are zeros. No ReLU stands before the first convolution, and batch normalisation also behind the
last one (figure 6 (d)).

Source: Han, Kim, Kim 2017, "Deep Pyramidal Residual Networks", CVPR, sections 2 and 3, tables 1 and 4, for CIFAR-10.
The authors' programs round to the nearest whole number instead. Weights: normal with variance 2 / fan-in, biases 0.
"""

from .. import nn
from .._tensor import Tensor
from ..nn.containers import in_one_step
from ..nn.init import kaiming_normal
from ._catalogue import CIFAR, builder
from ._residual import ZeroPadded
from ._weights import initialize_weights

__all__ = [
    "pyramidnet110_a48",
    "pyramidnet110_a84",
    "pyramidnet110_a270",
    "pyramidnet164_a270",
    "pyramidnet200_a240",
    "pyramidnet236_a220",
    "pyramidnet272_a200",
]


@builder(CIFAR)
def pyramidnet110_a48(num_classes: int = 10) -> nn.Sequential:
    """PyramidNet-110 with alpha 48 for images (N, 32, 32, 3): 1,739,730 parameters, 393,528,448 multiply-adds.

    | layer   | what                                       | output     | parameters | multiply-adds |
    |---------|--------------------------------------------|------------|------------|---------------|
    | conv1   | 16 filters 3 x 3; bn1                      | 32, 32, 16 |        464 |       442,368 |
    | layer1  | 18 blocks of two 3 x 3: 16, 17, 18, ... 32 | 32, 32, 32 |    193,000 |   195,010,560 |
    | layer2  | 18 blocks: 32, 33, 34, ... 48              | 16, 16, 48 |    524,200 |   133,097,472 |
    | layer3  | 18 blocks: 48, 49, 50, ... 64              | 8, 8, 64   |  1,021,288 |    64,977,408 |
    | bn      | relu                                       | 8, 8, 64   |        128 |               |
    | avgpool | the mean of each channel                   | 64         |            |               |
    | fc      | logits                                     | 10         |        650 |           640 |
    """
    return pyramid(PyramidBlock, 18, 48, num_classes)


@builder(CIFAR)
def pyramidnet110_a84(num_classes: int = 10) -> nn.Sequential:
    """PyramidNet-110 with alpha 84, which ends in 100 channels: 3,855,054 parameters."""
    return pyramid(PyramidBlock, 18, 84, num_classes)


@builder(CIFAR)
def pyramidnet110_a270(num_classes: int = 10) -> nn.Sequential:
    """PyramidNet-110 with alpha 270, which ends in 286 channels: 28,485,477 parameters."""
    return pyramid(PyramidBlock, 18, 270, num_classes)


@builder(CIFAR)
def pyramidnet164_a270(num_classes: int = 10) -> nn.Sequential:
    """PyramidNet-164 with alpha 270: 18 bottlenecks a stage, 4 * 286 channels in the end; 27,216,021 parameters."""
    return pyramid(PyramidBottleneck, 18, 270, num_classes)


@builder(CIFAR)
def pyramidnet200_a240(num_classes: int = 10) -> nn.Sequential:
    """PyramidNet-200 with alpha 240: 22 bottlenecks a stage, 4 * 256 channels in the end; 26,617,000 parameters."""
    return pyramid(PyramidBottleneck, 22, 240, num_classes)


@builder(CIFAR)
def pyramidnet236_a220(num_classes: int = 10) -> nn.Sequential:
    """PyramidNet-236 with alpha 220: 26 bottlenecks a stage, 4 * 236 channels in the end; 26,806,528 parameters."""
    return pyramid(PyramidBottleneck, 26, 220, num_classes)


@builder(CIFAR)
def pyramidnet272_a200(num_classes: int = 10) -> nn.Sequential:
    """PyramidNet-272 with alpha 200: 30 bottlenecks a stage, 4 * 216 channels in the end; 26,049,562 parameters."""
    return pyramid(PyramidBottleneck, 30, 200, num_classes)


class PyramidBlock(nn.Module):
    """y = bn3(conv2(relu(bn2(conv1(bn1(x)))))) + x, two 3 x 3 convolutions.

    inputs: channels of x. width: of y. stride: of the first convolution.
    """

    expansion = 1  # channels of y for each of `width`

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.bn1(x))
        y = in_one_step(self.bn2, self.relu, y)
        return self.bn3(self.conv2(y), self.shortcut(x))


class PyramidBottleneck(nn.Module):
    """As PyramidBlock, with a 3 x 3 convolution between two of 1 x 1; y has 4 * width channels.

    stride: of the 3 x 3 convolution.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.bn1(x))
        y = in_one_step(self.bn2, self.relu, y)
        y = in_one_step(self.bn3, self.relu, self.conv2(y))
        return self.bn4(self.conv3(y), self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """x as it is, averaged where the stride is 2, with channels of zeros behind where y has more."""
    pool = [nn.AvgPool2d(2)] if stride == 2 else []
    zeros = [ZeroPadded(inputs, outputs, stride=1)] if inputs != outputs else []
    return nn.Sequential(*pool, *zeros)


Block = type[PyramidBlock] | type[PyramidBottleneck]


def pyramid(block: Block, blocks: int, alpha: int, num_classes: int) -> nn.Sequential:
    """blocks: of each of the three stages. alpha: how many channels come to the first 16."""
    widths = [16 + alpha * k // (3 * blocks) for k in range(1, 3 * blocks + 1)]
    first, second, third = widths[:blocks], widths[blocks : 2 * blocks], widths[2 * blocks :]
    outputs = widths[-1] * block.expansion
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 16, 3, padding=1, bias=False),
            "bn1": nn.BatchNorm2d(16),
            "layer1": _stage(block, 16, first, stride=1),
            "layer2": _stage(block, first[-1] * block.expansion, second, stride=2),
            "layer3": _stage(block, second[-1] * block.expansion, third, stride=2),
            "bn": nn.BatchNorm2d(outputs),
            "relu": nn.ReLU(),
            "avgpool": nn.GlobalAvgPool2d(),
            "fc": nn.Linear(outputs, num_classes),
        }
    )
    return initialize_weights(model, kaiming_normal)


def _stage(block: Block, inputs: int, widths: list[int], stride: int) -> nn.Sequential:
    """A block of each width; the first one has the stride."""
    channels = [inputs, *(width * block.expansion for width in widths)]
    strides = [stride] + [1] * (len(widths) - 1)
    return nn.Sequential(*(block(*sizes) for sizes in zip(channels[:-1], widths, strides, strict=True)))
