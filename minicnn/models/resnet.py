"""ResNet: the networks for ImageNet with 18 to 152 layers, and those for CIFAR-10 with 20 to 1202.

A block computes relu(F(x) + x): what its layers F learn is the difference from x, so that a block too many can leave x
as it is, and the gradient passes through the sum unhindered. Each convolution is followed by batch normalisation, has
therefore no bias, and keeps the size of the image; the first block of a stage halves it and doubles the channels.

Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", CVPR. Weights: normal with variance
2 / fan-in, biases 0, as in the paper. Names are those of torchvision, the CIFAR networks' too.
"""

from collections.abc import Callable
from functools import partial

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ..nn.containers import in_one_step
from ..nn.init import kaiming_normal
from ._catalogue import CIFAR, IMAGENET, builder
from ._weights import initialize_weights

__all__ = [
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "resnet1202",
]  # fmt: skip

Block = Callable[[int, int, int], nn.Module]  # inputs, outputs, stride


# The networks for ImageNet: table 1 of the paper, a column each.


@builder(IMAGENET)
def resnet18(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-18 for images (N, 224, 224, 3): 11,689,512 parameters, 1,814,073,344 multiply-adds.

    | layer   | what                                  | output       | parameters | multiply-adds |
    |---------|---------------------------------------|--------------|------------|---------------|
    | conv1   | 64 filters 7 x 7, stride 2; bn1, relu | 112, 112, 64 |      9,536 |   118,013,952 |
    | maxpool | 3 x 3, stride 2                       | 56, 56, 64   |            |               |
    | layer1  | 2 blocks: 3 x 3, 64;  3 x 3, 64       | 56, 56, 64   |    147,968 |   462,422,016 |
    | layer2  | 2 blocks: 3 x 3, 128; 3 x 3, 128      | 28, 28, 128  |    525,568 |   411,041,792 |
    | layer3  | 2 blocks: 3 x 3, 256; 3 x 3, 256      | 14, 14, 256  |  2,099,712 |   411,041,792 |
    | layer4  | 2 blocks: 3 x 3, 512; 3 x 3, 512      | 7, 7, 512    |  8,393,728 |   411,041,792 |
    | avgpool | the mean of each channel              | 512          |            |               |
    | fc      | logits                                | 1,000        |    513,000 |       512,000 |
    """
    return imagenet_network(partial(BasicBlock, shortcut=projection), (2, 2, 2, 2), 512, num_classes)


@builder(IMAGENET)
def resnet34(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-34: as ResNet-18 with 3, 4, 6 and 3 blocks; 21,797,672 parameters, 3,663,761,408 multiply-adds."""
    return imagenet_network(partial(BasicBlock, shortcut=projection), (3, 4, 6, 3), 512, num_classes)


@builder({"torch": IMAGENET, "2016": IMAGENET})
def resnet50(num_classes: int = 1000, variant: str = "torch") -> nn.Sequential:
    """ResNet-50 for images (N, 224, 224, 3): 25,557,032 parameters, 4,089,184,256 multiply-adds.

    | layer   | what                                          | output       | parameters | multiply-adds |
    |---------|-----------------------------------------------|--------------|------------|---------------|
    | conv1   | 64 filters 7 x 7, stride 2; bn1, relu         | 112, 112, 64 |      9,536 |   118,013,952 |
    | maxpool | 3 x 3, stride 2                               | 56, 56, 64   |            |               |
    | layer1  | 3 blocks: 1 x 1, 64;  3 x 3, 64;  1 x 1, 256  | 56, 56, 256  |    215,808 |   667,942,912 |
    | layer2  | 4 blocks: 1 x 1, 128; 3 x 3, 128; 1 x 1, 512  | 28, 28, 512  |  1,219,584 | 1,027,604,480 |
    | layer3  | 6 blocks: 1 x 1, 256; 3 x 3, 256; 1 x 1, 1024 | 14, 14, 1024 |  7,098,368 | 1,464,336,384 |
    | layer4  | 3 blocks: 1 x 1, 512; 3 x 3, 512; 1 x 1, 2048 | 7, 7, 2048   | 14,964,736 |   809,238,528 |
    | avgpool | the mean of each channel                      | 2,048        |            |               |
    | fc      | logits                                        | 1,000        |  2,049,000 |     2,048,000 |

    variant: where the first block of layer2, layer3 and layer4 halves the image: "torch", in its 3 x 3 convolution, as
        torchvision and most others do; "2016", in its first 1 x 1, as in the paper, with fewer multiply-adds.

    Raises ValueError for another variant.
    """
    return imagenet_network(_bottleneck(variant), (3, 4, 6, 3), 2048, num_classes)


@builder({"torch": IMAGENET, "2016": IMAGENET})
def resnet101(num_classes: int = 1000, variant: str = "torch") -> nn.Sequential:
    """ResNet-101: as ResNet-50 with 3, 4, 23 and 3 blocks; 44,549,160 parameters, 7,801,405,440 multiply-adds."""
    return imagenet_network(_bottleneck(variant), (3, 4, 23, 3), 2048, num_classes)


@builder({"torch": IMAGENET, "2016": IMAGENET})
def resnet152(num_classes: int = 1000, variant: str = "torch") -> nn.Sequential:
    """ResNet-152: as ResNet-50 with 3, 8, 36 and 3 blocks; 60,192,808 parameters, 11,513,626,624 multiply-adds."""
    return imagenet_network(_bottleneck(variant), (3, 8, 36, 3), 2048, num_classes)


# The networks for CIFAR-10: section 4.2. With n blocks a stage there are 6 n + 2 layers.


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
    return cifar_network(3, num_classes)


@builder(CIFAR)
def resnet32(num_classes: int = 10) -> nn.Sequential:
    """ResNet-32: as ResNet-20 with 5 blocks a stage; 464,154 parameters."""
    return cifar_network(5, num_classes)


@builder(CIFAR)
def resnet44(num_classes: int = 10) -> nn.Sequential:
    """ResNet-44: as ResNet-20 with 7 blocks a stage; 658,586 parameters."""
    return cifar_network(7, num_classes)


@builder(CIFAR)
def resnet56(num_classes: int = 10) -> nn.Sequential:
    """ResNet-56: as ResNet-20 with 9 blocks a stage; 853,018 parameters."""
    return cifar_network(9, num_classes)


@builder(CIFAR)
def resnet110(num_classes: int = 10) -> nn.Sequential:
    """ResNet-110: as ResNet-20 with 18 blocks a stage; 1,727,962 parameters.

    The paper starts it with a learning rate of 0.01 until the training error is below 80 %, and goes on with 0.1.
    """
    return cifar_network(18, num_classes)


@builder(CIFAR)
def resnet1202(num_classes: int = 10) -> nn.Sequential:
    """ResNet-1202: as ResNet-20 with 200 blocks a stage; 19,421,274 parameters."""
    return cifar_network(200, num_classes)


# The blocks


class BasicBlock(nn.Module):
    """y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut), two 3 x 3 convolutions (figure 5, left).

    The last normalisation adds the shortcut, and each takes the ReLU with it: one pass over memory, not three.

    inputs, outputs: channels of x and of y. stride: of the first convolution.
    shortcut: makes the Module that gives x the shape of y, where it has another one; see `projection`, `ZeroPadded`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Block) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = None if (inputs, stride) == (outputs, 1) else shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = in_one_step(self.bn1, self.relu, self.conv1(x))
        return in_one_step(self.bn2, self.relu, self.conv2(y), shortcut)


class Bottleneck(nn.Module):
    """As BasicBlock, but the 3 x 3 convolution works on a quarter of the channels, between two of 1 x 1 (figure 5).

    strides: of the first 1 x 1 and of the 3 x 3 convolution.
    """

    def __init__(self, inputs: int, outputs: int, strides: tuple[int, int]) -> None:
        super().__init__()
        width, stride = outputs // 4, max(strides)
        self.conv1 = nn.Conv2d(inputs, width, 1, strides[0], bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, strides[1], padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = None if (inputs, stride) == (outputs, 1) else projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = in_one_step(self.bn1, self.relu, self.conv1(x))
        y = in_one_step(self.bn2, self.relu, self.conv2(y))
        return in_one_step(self.bn3, self.relu, self.conv3(y), shortcut)


def _bottleneck(variant: str) -> Block:
    """Bottleneck with the stride where the variant has it."""
    if variant == "2016":
        return lambda inputs, outputs, stride: Bottleneck(inputs, outputs, (stride, 1))
    return lambda inputs, outputs, stride: Bottleneck(inputs, outputs, (1, stride))


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Option B for a shortcut that changes shape: a 1 x 1 convolution (section 3.3)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ZeroPadded(nn.Module):
    """Option A for a shortcut that changes shape: every stride-th pixel, and channels of zeros behind (section 3.3)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = outputs - inputs, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :: self.stride, :: self.stride], [(0, 0), (0, 0), (0, 0), (0, self.more)])

    def extra_repr(self) -> str:
        return f"{self.more} channels more, stride={self.stride}"


# The whole


def imagenet_network(block: Block, blocks: tuple[int, int, int, int], outputs: int, num_classes: int) -> nn.Sequential:
    """outputs: channels of the last stage; those before have a half, a quarter and an eighth."""
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            "bn1": nn.BatchNorm2d(64),
            "relu": nn.ReLU(),
            "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
            "layer1": _stage(block, blocks[0], 64, outputs // 8, stride=1),
            "layer2": _stage(block, blocks[1], outputs // 8, outputs // 4, stride=2),
            "layer3": _stage(block, blocks[2], outputs // 4, outputs // 2, stride=2),
            "layer4": _stage(block, blocks[3], outputs // 2, outputs, stride=2),
            "avgpool": nn.GlobalAvgPool2d(),
            "fc": nn.Linear(outputs, num_classes),
        }
    )
    return initialize_weights(model, kaiming_normal)


def cifar_network(blocks: int, num_classes: int) -> nn.Sequential:
    """blocks: of each of the three stages."""
    block = partial(BasicBlock, shortcut=ZeroPadded)
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 16, 3, padding=1, bias=False),
            "bn1": nn.BatchNorm2d(16),
            "relu": nn.ReLU(),
            "layer1": _stage(block, blocks, 16, 16, stride=1),
            "layer2": _stage(block, blocks, 16, 32, stride=2),
            "layer3": _stage(block, blocks, 32, 64, stride=2),
            "avgpool": nn.GlobalAvgPool2d(),
            "fc": nn.Linear(64, num_classes),
        }
    )
    return initialize_weights(model, kaiming_normal)


def _stage(block: Block, blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """So many blocks; the first one changes the shape."""
    first, others = block(inputs, outputs, stride), [block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)
