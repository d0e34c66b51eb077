"""ResNet for CIFAR-10: three stages of n blocks, 6 n + 2 layers, from 20 to 1202.

The blocks, and what they are for, stand in _residual.py. Names are those of torchvision's networks for ImageNet.

Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", CVPR, section 4.2 and table 6.
"""

from functools import partial

from .. import nn
from ._catalogue import CIFAR, builder
from ._residual import BasicBlock, ZeroPadded, cifar_network

__all__ = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"]

_block = partial(BasicBlock, shortcut=ZeroPadded)


@builder(CIFAR)
def resnet20(num_classes: int = 10) -> nn.Sequential:
    """ResNet-20 for images (N, 32, 32, 3): 269,722 parameters, 40,551,040 multiply-adds.

    | layer   | what                           | output     | parameters | multiply-adds |
    |---------|--------------------------------|------------|------------|---------------|
    | conv1   | 16 filters 3 x 3; bn1, relu    | 32, 32, 16 |        464 |       442,368 |
    | layer1  | 3 blocks: 3 x 3, 16; 3 x 3, 16 | 32, 32, 16 |     14,016 |    14,155,776 |
    | layer2  | 3 blocks: 3 x 3, 32; 3 x 3, 32 | 16, 16, 32 |     51,072 |    12,976,128 |
    | layer3  | 3 blocks: 3 x 3, 64; 3 x 3, 64 | 8, 8, 64   |    203,520 |    12,976,128 |
    | avgpool | the mean of each channel       | 64         |            |               |
    | fc      | logits                         | 10         |        650 |           640 |

    The shortcuts have no parameters: option A of the paper (`ZeroPadded`).
    """
    return cifar_network(_block, 3, num_classes)


@builder(CIFAR)
def resnet32(num_classes: int = 10) -> nn.Sequential:
    """ResNet-32: as ResNet-20 with 5 blocks a stage; 464,154 parameters."""
    return cifar_network(_block, 5, num_classes)


@builder(CIFAR)
def resnet44(num_classes: int = 10) -> nn.Sequential:
    """ResNet-44: as ResNet-20 with 7 blocks a stage; 658,586 parameters."""
    return cifar_network(_block, 7, num_classes)


@builder(CIFAR)
def resnet56(num_classes: int = 10) -> nn.Sequential:
    """ResNet-56: as ResNet-20 with 9 blocks a stage; 853,018 parameters."""
    return cifar_network(_block, 9, num_classes)


@builder(CIFAR)
def resnet110(num_classes: int = 10) -> nn.Sequential:
    """ResNet-110: as ResNet-20 with 18 blocks a stage; 1,727,962 parameters.

    The paper starts it with a learning rate of 0.01 until the training error is below 80 %, and goes on with 0.1.
    """
    return cifar_network(_block, 18, num_classes)


@builder(CIFAR)
def resnet1202(num_classes: int = 10) -> nn.Sequential:
    """ResNet-1202: as ResNet-20 with 200 blocks a stage; 19,421,274 parameters."""
    return cifar_network(_block, 200, num_classes)
