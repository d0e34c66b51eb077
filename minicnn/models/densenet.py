"""DenseNet: each layer sees the outputs of all layers before it in its block, side by side.

A layer adds only k channels, the growth rate, to what the block has collected: x_l = H([x_0, x_1, ..., x_(l-1)]). What
one layer found need not be found again, so narrow layers suffice, and each has a short way to the loss. H is batch
normalisation, ReLU, convolution, in this order, because what is collected is normalised anew by each that reads it.
Between blocks a transition halves the image. BC means B, a 1 x 1 convolution to 4 k channels before each of 3 x 3, and
C, transitions that halve the channels too.

Source: Huang, Liu, van der Maaten, Weinberger 2017, "Densely Connected Convolutional Networks", CVPR, section 3 and
table 1. Weights: normal with variance 2 / fan-in, biases 0 (section 4.2). Names are those of torchvision, the CIFAR
networks' too.
"""

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ..nn.init import kaiming_normal
from ._catalogue import CIFAR, IMAGENET, builder
from ._weights import initialize_weights

__all__ = ["densenet40_12", "densenet121", "densenet_bc_100_12"]


@builder(IMAGENET)
def densenet121(num_classes: int = 1000) -> nn.Sequential:
    """DenseNet-121, a BC with k = 32, for images (N, 224, 224, 3): 7,978,856 parameters, 2,834,161,664 multiply-adds.

    | layer       | what                                     | output       | parameters | multiply-adds |
    |-------------|------------------------------------------|--------------|------------|---------------|
    | conv0       | 64 filters 7 x 7, stride 2; norm0, relu0 | 112, 112, 64 |      9,536 |   118,013,952 |
    | pool0       | max 3 x 3, stride 2                      | 56, 56, 64   |            |               |
    | denseblock1 | 6 layers: 1 x 1, 128; 3 x 3, 32          | 56, 56, 256  |    335,040 | 1,040,449,536 |
    | transition1 | norm, relu, 1 x 1, 128; mean 2 x 2       | 28, 28, 128  |     33,280 |   102,760,448 |
    | denseblock2 | 12 layers: 1 x 1, 128; 3 x 3, 32         | 28, 28, 512  |    919,680 |   712,900,608 |
    | transition2 | norm, relu, 1 x 1, 256; mean 2 x 2       | 14, 14, 256  |    132,096 |   102,760,448 |
    | denseblock3 | 24 layers: 1 x 1, 128; 3 x 3, 32         | 14, 14, 1024 |  2,837,760 |   549,126,144 |
    | transition3 | norm, relu, 1 x 1, 512; mean 2 x 2       | 7, 7, 512    |    526,336 |   102,760,448 |
    | denseblock4 | 16 layers: 1 x 1, 128; 3 x 3, 32         | 7, 7, 1024   |  2,158,080 |   104,366,080 |
    | norm5       | relu5                                    | 7, 7, 1024   |      2,048 |               |
    | avgpool     | the mean of each channel                 | 1,024        |            |               |
    | classifier  | logits                                   | 1,000        |  1,025,000 |     1,024,000 |

    All but the last two are in `features`.
    """
    stem = {
        "conv0": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        "norm0": nn.BatchNorm2d(64),
        "relu0": nn.ReLU(),
        "pool0": nn.MaxPool2d(3, stride=2, padding=1),
    }
    return network(stem, 64, (6, 12, 24, 16), 32, num_classes, bottleneck=True)


@builder(CIFAR)
def densenet40_12(num_classes: int = 10) -> nn.Sequential:
    """DenseNet with 40 layers and k = 12 for images (N, 32, 32, 3): 1,019,722 parameters, 264,812,928 multiply-adds.

    | layer       | what                               | output      | parameters | multiply-adds |
    |-------------|------------------------------------|-------------|------------|---------------|
    | conv0       | 16 filters 3 x 3                   | 32, 32, 16  |        432 |       442,368 |
    | denseblock1 | 12 layers: 3 x 3, 12               | 32, 32, 160 |    108,240 |   108,822,528 |
    | transition1 | norm, relu, 1 x 1, 160; mean 2 x 2 | 16, 16, 160 |     25,920 |    26,214,400 |
    | denseblock2 | 12 layers: 3 x 3, 12               | 16, 16, 304 |    298,320 |    74,981,376 |
    | transition2 | norm, relu, 1 x 1, 304; mean 2 x 2 | 8, 8, 304   |     93,024 |    23,658,496 |
    | denseblock3 | 12 layers: 3 x 3, 12               | 8, 8, 448   |    488,400 |    30,689,280 |
    | norm4       | relu4                              | 8, 8, 448   |        896 |               |
    | avgpool     | the mean of each channel           | 448         |            |               |
    | classifier  | logits                             | 10          |      4,490 |         4,480 |
    """
    return network(_cifar_stem(16), 16, (12, 12, 12), 12, num_classes, bottleneck=False)


@builder(CIFAR)
def densenet_bc_100_12(num_classes: int = 10) -> nn.Sequential:
    """DenseNet-BC with 100 layers and k = 12 for images (N, 32, 32, 3): 769,162 parameters, 287,929,692 multiply-adds.

    As DenseNet-40-12, but with 24 filters in conv0, 16 layers (1 x 1, 48; 3 x 3, 12) in each block, and transitions
    to half the channels: the blocks end in 216, 300 and 342 channels.
    """
    return network(_cifar_stem(24), 24, (16, 16, 16), 12, num_classes, bottleneck=True)


class DenseBlock(nn.Sequential):
    """Layers of which each appends its output to its input, as further channels."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = F.concatenate([x, layer(x)])
        return x


def network(
    stem: dict[str, nn.Module], channels: int, blocks: tuple[int, ...], growth: int, num_classes: int, bottleneck: bool
) -> nn.Sequential:
    """stem: what comes before the first block, and ends in so many channels. blocks: layers of each block."""
    features = dict(stem)
    for place, layers in enumerate(blocks, 1):
        features[f"denseblock{place}"] = _block(layers, channels, growth, bottleneck)
        channels += layers * growth
        if place < len(blocks):
            outputs = channels // 2 if bottleneck else channels
            features[f"transition{place}"] = _transition(channels, outputs)
            channels = outputs
    features[f"norm{len(blocks) + 1}"] = nn.BatchNorm2d(channels)
    features[f"relu{len(blocks) + 1}"] = nn.ReLU()
    classifier = nn.Linear(channels, num_classes)
    model = nn.Sequential(
        {"features": nn.Sequential(features), "avgpool": nn.GlobalAvgPool2d(), "classifier": classifier}
    )
    return initialize_weights(model, kaiming_normal)


def _block(layers: int, channels: int, growth: int, bottleneck: bool) -> DenseBlock:
    """So many layers; the first one sees `channels`, each further one `growth` more."""
    make = _bottleneck_layer if bottleneck else _layer
    return DenseBlock({f"denselayer{i + 1}": make(channels + i * growth, growth) for i in range(layers)})


def _layer(inputs: int, growth: int) -> nn.Sequential:
    """H of section 3: normalisation, ReLU, 3 x 3 convolution."""
    return nn.Sequential(
        {
            "norm1": nn.BatchNorm2d(inputs),
            "relu1": nn.ReLU(),
            "conv1": nn.Conv2d(inputs, growth, 3, padding=1, bias=False),
        }
    )


def _bottleneck_layer(inputs: int, growth: int) -> nn.Sequential:
    """As `_layer`, behind a 1 x 1 convolution to 4 * growth channels."""
    return nn.Sequential(
        {
            "norm1": nn.BatchNorm2d(inputs),
            "relu1": nn.ReLU(),
            "conv1": nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            "norm2": nn.BatchNorm2d(4 * growth),
            "relu2": nn.ReLU(),
            "conv2": nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        }
    )


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    """Between two blocks: a 1 x 1 convolution, and half the image."""
    return nn.Sequential(
        {
            "norm": nn.BatchNorm2d(inputs),
            "relu": nn.ReLU(),
            "conv": nn.Conv2d(inputs, outputs, 1, bias=False),
            "pool": nn.AvgPool2d(2),
        }
    )


def _cifar_stem(filters: int) -> dict[str, nn.Module]:
    return {"conv0": nn.Conv2d(3, filters, 3, padding=1, bias=False)}
