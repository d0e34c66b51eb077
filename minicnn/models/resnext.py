"""ResNeXt: a ResNet whose 3 x 3 convolutions work in groups, which do not see each other's channels.

A bottleneck is thereby the sum of many small ones that differ in their weights alone. Their number, the cardinality,
is one more size of a network beside depth and width; at equal cost many groups are better than few wide ones.
ResNeXt-50 (32x4d) has 32 groups of 4 channels in its first stage, and of twice as many in each further one.

Source: Xie, Girshick, Dollar, Tu, He 2017, "Aggregated Residual Transformations for Deep Neural Networks", CVPR,
section 3, table 1. Weights: normal with variance 2 / fan-in, biases 0. Names are those of torchvision.
"""

from .. import nn
from ._catalogue import IMAGENET, builder
from ._residual import Block, Bottleneck, imagenet_network

__all__ = ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"]


@builder(IMAGENET)
def resnext50_32x4d(num_classes: int = 1000) -> nn.Sequential:
    """ResNeXt-50 (32x4d) for images (N, 224, 224, 3): 25,028,904 parameters, 4,230,479,872 multiply-adds.

    | layer   | what, the 3 x 3 in 32 groups                    | output        | parameters | multiply-adds |
    |---------|-------------------------------------------------|---------------|------------|---------------|
    | conv1   | 64 filters 7 x 7, stride 2; bn1, relu           | 112, 112, 64  |      9,536 |   118,013,952 |
    | maxpool | 3 x 3, stride 2                                 | 56, 56, 64    |            |               |
    | layer1  | 3 blocks: 1 x 1, 128;  3 x 3, 128;  1 x 1, 256  | 56, 56, 256   |    205,824 |   634,224,640 |
    | layer2  | 4 blocks: 1 x 1, 256; 3 x 3, 256; 1 x 1, 512    | 28, 28, 512   |  1,197,056 | 1,085,407,232 |
    | layer3  | 6 blocks: 1 x 1, 512; 3 x 3, 512; 1 x 1, 1024   | 14, 14, 1,024 |  7,022,592 | 1,525,350,400 |
    | layer4  | 3 blocks: 1 x 1, 1024; 3 x 3, 1024; 1 x 1, 2048 | 7, 7, 2,048   | 14,544,896 |   865,435,648 |
    | avgpool | the mean of each channel                        | 2,048         |            |               |
    | fc      | logits                                          | 1,000         |  2,049,000 |     2,048,000 |
    """
    return imagenet_network(grouped_bottleneck(32, 4), (3, 4, 6, 3), 2048, num_classes)


@builder(IMAGENET)
def resnext101_32x8d(num_classes: int = 1000) -> nn.Sequential:
    """ResNeXt-101 (32x8d): 3, 4, 23 and 3 blocks, 32 groups of 8, 16, 32 and 64 channels; 88,791,336 parameters."""
    return imagenet_network(grouped_bottleneck(32, 8), (3, 4, 23, 3), 2048, num_classes)


@builder(IMAGENET)
def resnext101_64x4d(num_classes: int = 1000) -> nn.Sequential:
    """ResNeXt-101 (64x4d): 3, 4, 23 and 3 blocks, 64 groups of 4, 8, 16 and 32 channels; 83,455,272 parameters."""
    return imagenet_network(grouped_bottleneck(64, 4), (3, 4, 23, 3), 2048, num_classes)


def grouped_bottleneck(groups: int, channels: int) -> Block:
    """Bottleneck with so many groups in its 3 x 3 convolution, each of so many channels where it puts out 256."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return Bottleneck(inputs, outputs, (1, stride), groups * channels * outputs // 256, groups)

    return block
