"""Wide ResNet: fewer layers with more channels do as well as a thousand thin ones, and are faster.

The networks for CIFAR are pre-activation ResNets with k times the channels, 16 k, 32 k and 64 k, in n blocks a stage:
WRN-(6 n + 4)-k. Those for ImageNet are ResNets whose bottlenecks are k times as wide inside.

Source: Zagoruyko and Komodakis 2016, "Wide Residual Networks", BMVC, sections 2 and 3, table 1. Weights: normal with
variance 2 / fan-in, biases 0. The names of the networks for ImageNet are those of torchvision.
"""

from functools import partial

from .. import nn
from .._tensor import Tensor
from ..nn.containers import in_one_step
from ._catalogue import CIFAR, IMAGENET, builder
from ._residual import Bottleneck, imagenet_network
from .preresnet import PreActivation, convolution, preactivation_network

__all__ = ["wide_resnet16_8", "wide_resnet28_10", "wide_resnet40_4", "wide_resnet50_2", "wide_resnet101_2"]


@builder(CIFAR)
def wide_resnet28_10(num_classes: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """WRN-28-10 for images (N, 32, 32, 3): 36,479,194 parameters, 5,243,328,768 multiply-adds.

    | layer   | what                             | output      | parameters | multiply-adds |
    |---------|----------------------------------|-------------|------------|---------------|
    | conv1   | 16 filters 3 x 3                 | 32, 32, 16  |        432 |       442,368 |
    | layer1  | 4 blocks: 3 x 3, 160; 3 x 3, 160 | 32, 32, 160 |  1,640,672 | 1,677,721,600 |
    | layer2  | 4 blocks: 3 x 3, 320; 3 x 3, 320 | 16, 16, 320 |  6,968,000 | 1,782,579,200 |
    | layer3  | 4 blocks: 3 x 3, 640; 3 x 3, 640 | 8, 8, 640   | 27,862,400 | 1,782,579,200 |
    | bn      | relu                             | 8, 8, 640   |      1,280 |               |
    | avgpool | the mean of each channel         | 640         |            |               |
    | fc      | logits                           | 10          |      6,410 |         6,400 |

    dropout: of what comes to the second convolution of each block (section 2.4): the paper compares 0 with 0.3.
    """
    return _cifar_network(4, 10, num_classes, dropout)


@builder(CIFAR)
def wide_resnet16_8(num_classes: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """WRN-16-8: as WRN-28-10 with 2 blocks a stage, of 128, 256 and 512 channels; 10,961,370 parameters."""
    return _cifar_network(2, 8, num_classes, dropout)


@builder(CIFAR)
def wide_resnet40_4(num_classes: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """WRN-40-4: as WRN-28-10 with 6 blocks a stage, of 64, 128 and 256 channels; 8,949,210 parameters."""
    return _cifar_network(6, 4, num_classes, dropout)


@builder(IMAGENET)
def wide_resnet50_2(num_classes: int = 1000) -> nn.Sequential:
    """WRN-50-2 for images (N, 224, 224, 3): 68,883,240 parameters, 11,398,021,120 multiply-adds.

    | layer   | what                                            | output        | parameters | multiply-adds |
    |---------|-------------------------------------------------|---------------|------------|---------------|
    | conv1   | 64 filters 7 x 7, stride 2; bn1, relu           | 112, 112, 64  |      9,536 |   118,013,952 |
    | maxpool | 3 x 3, stride 2                                 | 56, 56, 64    |            |               |
    | layer1  | 3 blocks: 1 x 1, 128;  3 x 3, 128;  1 x 1, 256  | 56, 56, 256   |    634,368 | 1,978,138,624 |
    | layer2  | 4 blocks: 1 x 1, 256; 3 x 3, 256; 1 x 1, 512    | 28, 28, 512   |  3,482,624 | 2,877,292,544 |
    | layer3  | 6 blocks: 1 x 1, 512; 3 x 3, 512; 1 x 1, 1024   | 14, 14, 1,024 | 20,736,000 | 4,213,178,368 |
    | layer4  | 3 blocks: 1 x 1, 1024; 3 x 3, 1024; 1 x 1, 2048 | 7, 7, 2,048   | 41,971,712 | 2,209,349,632 |
    | avgpool | the mean of each channel                        | 2,048         |            |               |
    | fc      | logits                                          | 1,000         |  2,049,000 |     2,048,000 |
    """
    return imagenet_network(_wide_bottleneck, (3, 4, 6, 3), 2048, num_classes)


@builder(IMAGENET)
def wide_resnet101_2(num_classes: int = 1000) -> nn.Sequential:
    """WRN-101-2: as WRN-50-2 with 3, 4, 23 and 3 blocks; 126,886,696 parameters, 22,753,050,624 multiply-adds."""
    return imagenet_network(_wide_bottleneck, (3, 4, 23, 3), 2048, num_classes)


class WideBlock(PreActivation):
    """y = conv2(dropout(relu(bn2(conv1(relu(bn1(x))))))) + x, two 3 x 3 convolutions (figure 1 (d)).

    inputs, outputs: channels of x and of y. stride: of the first convolution. dropout: the probability.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__(inputs, outputs, stride, convolution)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated, shortcut = self.split(x)
        y = in_one_step(self.bn2, self.relu, self.conv1(activated))
        return self.conv2(self.dropout(y)) + shortcut


def _cifar_network(blocks: int, k: int, num_classes: int, dropout: float) -> nn.Sequential:
    """blocks: of each of the three stages. k: how many times as wide as a ResNet's they are."""
    block = partial(WideBlock, dropout=dropout)
    return preactivation_network(block, blocks, (16, 16 * k, 32 * k, 64 * k), num_classes)


def _wide_bottleneck(inputs: int, outputs: int, stride: int) -> Bottleneck:
    """Bottleneck with half of the channels inside, where a ResNet's has a quarter."""
    return Bottleneck(inputs, outputs, (1, stride), width=outputs // 2)
