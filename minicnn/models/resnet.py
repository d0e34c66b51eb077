"""ResNet: the networks for ImageNet with 18 to 152 layers; table 1 of the paper, a column each.

The blocks, and what they are for, stand in _residual.py; the networks for CIFAR-10 in resnet_cifar.py.

Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", CVPR. Names are those of torchvision.
"""

from functools import partial

from .. import nn
from ._catalogue import IMAGENET, builder
from ._residual import BasicBlock, Block, Bottleneck, imagenet_network, projection

__all__ = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


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


def _bottleneck(variant: str) -> Block:
    """Bottleneck with a quarter of the channels inside, and the stride where the variant has it."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return Bottleneck(inputs, outputs, (stride, 1) if variant == "2016" else (1, stride), width=outputs // 4)

    return block
