"""The plain networks: ResNets without shortcuts, with which the paper shows what the shortcuts are for.

The deeper of two plain networks has the larger training error, though it could compute all that the other one does, its
further layers leaving x as it is: it is not that it learns by heart, but that it is hard to train (figures 1 and 4,
table 2). With shortcuts the deeper one is better. Everything else is the same: sizes, batch normalisation, weights.

Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", CVPR, sections 3.3 and 4.1 for
ImageNet, 4.2 for CIFAR-10. The names of the layers are those of the ResNets.
"""

from .. import nn
from ._catalogue import CIFAR, IMAGENET, builder
from ._residual import cifar_network, imagenet_network

__all__ = ["plain18", "plain20", "plain32", "plain34", "plain44", "plain56", "plain110"]


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """The two convolutions of a residual block and nothing beside them: y = relu(bn2(conv2(relu(bn1(conv1(x))))))."""
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            "bn1": nn.BatchNorm2d(outputs),
            "relu1": nn.ReLU(),
            "conv2": nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            "bn2": nn.BatchNorm2d(outputs),
            "relu2": nn.ReLU(),
        }
    )


@builder(IMAGENET)
def plain18(num_classes: int = 1000) -> nn.Sequential:
    """The plain network with 18 layers: as plain34 with 2 blocks a stage; 11,515,688 parameters."""
    return imagenet_network(_block, (2, 2, 2, 2), 512, num_classes)


@builder(IMAGENET)
def plain34(num_classes: int = 1000) -> nn.Sequential:
    """The plain network with 34 layers for images (N, 224, 224, 3): 21,623,848 parameters, 3,644,493,824 multiply-adds.

    | layer   | what                                  | output       | parameters | multiply-adds |
    |---------|---------------------------------------|--------------|------------|---------------|
    | conv1   | 64 filters 7 x 7, stride 2; bn1, relu | 112, 112, 64 |      9,536 |   118,013,952 |
    | maxpool | 3 x 3, stride 2                       | 56, 56, 64   |            |               |
    | layer1  | 3 blocks: 3 x 3, 64;  3 x 3, 64       | 56, 56, 64   |    221,952 |   693,633,024 |
    | layer2  | 4 blocks: 3 x 3, 128; 3 x 3, 128      | 28, 28, 128  |  1,107,968 |   867,041,280 |
    | layer3  | 6 blocks: 3 x 3, 256; 3 x 3, 256      | 14, 14, 256  |  6,789,120 | 1,329,463,296 |
    | layer4  | 3 blocks: 3 x 3, 512; 3 x 3, 512      | 7, 7, 512    | 12,982,272 |   635,830,272 |
    | avgpool | the mean of each channel              | 512          |            |               |
    | fc      | logits                                | 1,000        |    513,000 |       512,000 |

    Figure 3 of the paper, middle.
    """
    return imagenet_network(_block, (3, 4, 6, 3), 512, num_classes)


@builder(CIFAR)
def plain20(num_classes: int = 10) -> nn.Sequential:
    """The plain network with 20 layers for images (N, 32, 32, 3): 269,722 parameters, 40,551,040 multiply-adds.

    | layer   | what                           | output     | parameters | multiply-adds |
    |---------|--------------------------------|------------|------------|---------------|
    | conv1   | 16 filters 3 x 3; bn1, relu    | 32, 32, 16 |        464 |       442,368 |
    | layer1  | 3 blocks: 3 x 3, 16; 3 x 3, 16 | 32, 32, 16 |     14,016 |    14,155,776 |
    | layer2  | 3 blocks: 3 x 3, 32; 3 x 3, 32 | 16, 16, 32 |     51,072 |    12,976,128 |
    | layer3  | 3 blocks: 3 x 3, 64; 3 x 3, 64 | 8, 8, 64   |    203,520 |    12,976,128 |
    | avgpool | the mean of each channel       | 64         |            |               |
    | fc      | logits                         | 10         |        650 |           640 |

    Exactly those of resnet20, whose shortcuts have no parameters.
    """
    return cifar_network(_block, 3, num_classes)


@builder(CIFAR)
def plain32(num_classes: int = 10) -> nn.Sequential:
    """The plain network with 32 layers: as plain20 with 5 blocks a stage; 464,154 parameters."""
    return cifar_network(_block, 5, num_classes)


@builder(CIFAR)
def plain44(num_classes: int = 10) -> nn.Sequential:
    """The plain network with 44 layers: as plain20 with 7 blocks a stage; 658,586 parameters."""
    return cifar_network(_block, 7, num_classes)


@builder(CIFAR)
def plain56(num_classes: int = 10) -> nn.Sequential:
    """The plain network with 56 layers: as plain20 with 9 blocks a stage; 853,018 parameters."""
    return cifar_network(_block, 9, num_classes)


@builder(CIFAR)
def plain110(num_classes: int = 10) -> nn.Sequential:
    """The plain network with 110 layers: as plain20 with 18 blocks a stage; 1,727,962 parameters.

    The paper leaves it out of its figure 6, since more than 60 % of its answers stay wrong.
    """
    return cifar_network(_block, 18, num_classes)
