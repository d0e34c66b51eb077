"""Pre-activation ResNet: batch normalisation and ReLU stand before each convolution, not behind it.

So nothing stands behind the sum x + F(x), and from any block to any later one x comes through as it is, as does the
gradient on its way back: 1001 layers can be trained. A block that changes the shape begins with the normalisation and
ReLU of both its ways; so does the first one of all, and one more pair ends the last stage (appendix).

Source: He, Zhang, Ren, Sun 2016, "Identity Mappings in Deep Residual Networks", ECCV, figure 4 (e) and table 4, for
CIFAR-10; where its shortcuts change shape they are zero-padded in the network of two-layer blocks, as in the first
paper, and 1 x 1 convolutions in those of bottlenecks. Weights: normal with variance 2 / fan-in, biases 0.
"""

from .. import nn
from .._tensor import Tensor
from ..nn.containers import in_one_step
from ..nn.init import kaiming_normal
from ._catalogue import CIFAR, builder
from ._residual import Block, ZeroPadded, stage
from ._weights import initialize_weights

__all__ = ["preresnet110", "preresnet164", "preresnet1001"]


@builder(CIFAR)
def preresnet110(num_classes: int = 10) -> nn.Sequential:
    """Pre-activation ResNet-110 for images (N, 32, 32, 3): 1,727,962 parameters.

    As resnet110, with 18 blocks of two 3 x 3 convolutions a stage, in another order.
    """
    return preactivation_network(PreActivationBlock, 18, (16, 16, 32, 64), num_classes)


@builder(CIFAR)
def preresnet164(num_classes: int = 10) -> nn.Sequential:
    """Pre-activation ResNet-164 for images (N, 32, 32, 3): 1,703,258 parameters, 244,500,992 multiply-adds.

    | layer   | what                                        | output      | parameters | multiply-adds |
    |---------|---------------------------------------------|-------------|------------|---------------|
    | conv1   | 16 filters 3 x 3                            | 32, 32, 16  |        432 |       442,368 |
    | layer1  | 18 blocks: 1 x 1, 16; 3 x 3, 16; 1 x 1, 64  | 32, 32, 64  |     81,952 |    80,478,208 |
    | layer2  | 18 blocks: 1 x 1, 32; 3 x 3, 32; 1 x 1, 128 | 16, 16, 128 |    326,272 |    81,788,928 |
    | layer3  | 18 blocks: 1 x 1, 64; 3 x 3, 64; 1 x 1, 256 | 8, 8, 256   |  1,291,520 |    81,788,928 |
    | bn      | relu                                        | 8, 8, 256   |        512 |               |
    | avgpool | the mean of each channel                    | 256         |            |               |
    | fc      | logits                                      | 10          |      2,570 |         2,560 |
    """
    return preactivation_network(PreActivationBottleneck, 18, (16, 64, 128, 256), num_classes)


@builder(CIFAR)
def preresnet1001(num_classes: int = 10) -> nn.Sequential:
    """Pre-activation ResNet-1001: as preresnet164 with 111 blocks a stage; 10,327,706 parameters."""
    return preactivation_network(PreActivationBottleneck, 111, (16, 64, 128, 256), num_classes)


class PreActivation(nn.Module):
    """What the blocks share: how x comes to the first convolution, and past all of them."""

    is_first = False  # whether the block follows conv1, and has nothing before it that has been activated

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Block) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.downsample = None if (inputs, stride) == (outputs, 1) else shortcut(inputs, outputs, stride)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """relu(bn1(x)), and what will be added in the end."""
        activated = in_one_step(self.bn1, self.relu, x)
        if self.downsample is not None:
            return activated, self.downsample(activated)
        return activated, activated if self.is_first else x


class PreActivationBlock(PreActivation):
    """y = conv2(relu(bn2(conv1(relu(bn1(x)))))) + x, two 3 x 3 convolutions.

    inputs, outputs: channels of x and of y. stride: of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride, ZeroPadded)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated, shortcut = self.split(x)
        y = in_one_step(self.bn2, self.relu, self.conv1(activated))
        return self.conv2(y) + shortcut


class PreActivationBottleneck(PreActivation):
    """As PreActivationBlock, but the 3 x 3 convolution works on a quarter of the channels, between two of 1 x 1."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride, convolution)
        width = outputs // 4
        self.conv1 = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated, shortcut = self.split(x)
        y = in_one_step(self.bn2, self.relu, self.conv1(activated))
        y = in_one_step(self.bn3, self.relu, self.conv2(y))
        return self.conv3(y) + shortcut


def convolution(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """A shortcut that changes shape: 1 x 1, of what is activated and normalised already."""
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


def preactivation_network(
    block: Block, blocks: int, channels: tuple[int, int, int, int], num_classes: int
) -> nn.Sequential:
    """blocks: of each of the three stages. channels: of conv1's result and of the stages'."""
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, channels[0], 3, padding=1, bias=False),
            "layer1": stage(block, blocks, channels[0], channels[1], stride=1),
            "layer2": stage(block, blocks, channels[1], channels[2], stride=2),
            "layer3": stage(block, blocks, channels[2], channels[3], stride=2),
            "bn": nn.BatchNorm2d(channels[3]),
            "relu": nn.ReLU(),
            "avgpool": nn.GlobalAvgPool2d(),
            "fc": nn.Linear(channels[3], num_classes),
        }
    )
    model.layer1[0].is_first = True
    return initialize_weights(model, kaiming_normal)
