"""The blocks of the residual networks, and the frames that hold them: conv1, the stages, avgpool and fc.

A block computes relu(F(x) + x): what its layers F learn is the difference from x, so that a block too many can leave x
as it is, and the gradient passes through the sum unhindered. Each convolution is followed by batch normalisation, has
therefore no bias, and keeps the size of the image; the first block of a stage halves it and doubles the channels.

Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", CVPR, section 3. Weights: normal with
variance 2 / fan-in, biases 0, as there. Names are those of torchvision.
"""

from collections.abc import Callable

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ..nn.containers import in_one_step
from ..nn.init import kaiming_normal
from ._weights import initialize_weights

Block = Callable[[int, int, int], nn.Module]  # inputs, outputs, stride


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
    """As BasicBlock, but the 3 x 3 convolution works on fewer channels, between two of 1 x 1 (figure 5, right).

    strides: of the first 1 x 1 and of the 3 x 3 convolution. width: channels of the 3 x 3 convolution. groups: of it.
    """

    def __init__(self, inputs: int, outputs: int, strides: tuple[int, int], width: int, groups: int = 1) -> None:
        super().__init__()
        stride = max(strides)
        self.conv1 = nn.Conv2d(inputs, width, 1, strides[0], bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, strides[1], padding=1, groups=groups, bias=False)
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


def stage(block: Block, blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """So many blocks; the first one changes the shape."""
    first, others = block(inputs, outputs, stride), [block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)


def imagenet_network(block: Block, blocks: tuple[int, int, int, int], outputs: int, num_classes: int) -> nn.Sequential:
    """A network for images (N, 224, 224, 3): table 1.

    blocks: of each stage. outputs: channels of the last stage; those before have a half, a quarter and an eighth.
    """
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            "bn1": nn.BatchNorm2d(64),
            "relu": nn.ReLU(),
            "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
            "layer1": stage(block, blocks[0], 64, outputs // 8, stride=1),
            "layer2": stage(block, blocks[1], outputs // 8, outputs // 4, stride=2),
            "layer3": stage(block, blocks[2], outputs // 4, outputs // 2, stride=2),
            "layer4": stage(block, blocks[3], outputs // 2, outputs, stride=2),
            "avgpool": nn.GlobalAvgPool2d(),
            "fc": nn.Linear(outputs, num_classes),
        }
    )
    return initialize_weights(model, kaiming_normal)


def cifar_network(block: Block, blocks: int, num_classes: int) -> nn.Sequential:
    """A network for images (N, 32, 32, 3): section 4.2. blocks: of each of the three stages."""
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 16, 3, padding=1, bias=False),
            "bn1": nn.BatchNorm2d(16),
            "relu": nn.ReLU(),
            "layer1": stage(block, blocks, 16, 16, stride=1),
            "layer2": stage(block, blocks, 16, 32, stride=2),
            "layer3": stage(block, blocks, 32, 64, stride=2),
            "avgpool": nn.GlobalAvgPool2d(),
            "fc": nn.Linear(64, num_classes),
        }
    )
    return initialize_weights(model, kaiming_normal)
