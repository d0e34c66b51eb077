"""VGG: nothing but 3 x 3 convolutions, deeper and deeper, and three fully connected layers.

Two 3 x 3 convolutions see as much as one of 5 x 5, three as much as one of 7 x 7, with fewer weights and with a ReLU
between them. So the whole network is one kind of layer; each pooling halves the image, and the next stage has twice
the filters, up to 512.

Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR,
section 2 and table 1. Names are those of torchvision; batch normalisation came after the paper. Weights: uniform with
variance 2 / fan-in (He et al. 2015), biases 0; the paper had to train configuration A first, and to begin the deeper
ones with its layers.
"""

from .. import nn
from ._catalogue import IMAGENET, builder

__all__ = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]

# Table 1: the filters of each convolution, stage by stage; a pooling follows each stage.
Stages = tuple[tuple[int, ...], ...]
A: Stages = ((64,), (128,), (256, 256), (512, 512), (512, 512))
B: Stages = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))
D: Stages = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
E: Stages = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512))


@builder(IMAGENET)
def vgg11(num_classes: int = 1000) -> nn.Sequential:
    """VGG-11, configuration A, for images (N, 224, 224, 3); 132,863,336 parameters."""
    return network(A, num_classes)


@builder(IMAGENET)
def vgg11_bn(num_classes: int = 1000) -> nn.Sequential:
    """VGG-11 with batch normalisation after each convolution; 132,868,840 parameters."""
    return network(A, num_classes, batch_norm=True)


@builder(IMAGENET)
def vgg13(num_classes: int = 1000) -> nn.Sequential:
    """VGG-13, configuration B; 133,047,848 parameters."""
    return network(B, num_classes)


@builder(IMAGENET)
def vgg13_bn(num_classes: int = 1000) -> nn.Sequential:
    """VGG-13 with batch normalisation after each convolution; 133,053,736 parameters."""
    return network(B, num_classes, batch_norm=True)


@builder(IMAGENET)
def vgg16(num_classes: int = 1000) -> nn.Sequential:
    """VGG-16, configuration D, for images (N, 224, 224, 3): 138,357,544 parameters, 15,470,264,320 multiply-adds.

    | layer      | what                                     | output       | parameters  | multiply-adds |
    |------------|------------------------------------------|--------------|-------------|---------------|
    | features   | 64 filters 3 x 3, ReLU, twice; max 2 x 2 | 112, 112, 64 |      38,720 | 1,936,392,192 |
    |            | 128, twice; max 2 x 2                    | 56, 56, 128  |     221,440 | 2,774,532,096 |
    |            | 256, three times; max 2 x 2              | 28, 28, 256  |   1,475,328 | 4,624,220,160 |
    |            | 512, three times; max 2 x 2              | 14, 14, 512  |   5,899,776 | 4,624,220,160 |
    |            | 512, three times; max 2 x 2              | 7, 7, 512    |   7,079,424 | 1,387,266,048 |
    | avgpool    | to 7 x 7, whatever the size of the image | 7, 7, 512    |             |               |
    | flatten    |                                          | 25,088       |             |               |
    | classifier | 4096, ReLU, dropout of a half            | 4,096        | 102,764,544 |   102,760,448 |
    |            | 4096, ReLU, dropout of a half            | 4,096        |  16,781,312 |    16,777,216 |
    |            | logits                                   | 1,000        |   4,097,000 |     4,096,000 |
    """
    return network(D, num_classes)


@builder(IMAGENET)
def vgg16_bn(num_classes: int = 1000) -> nn.Sequential:
    """VGG-16 with batch normalisation after each convolution; 138,365,992 parameters."""
    return network(D, num_classes, batch_norm=True)


@builder(IMAGENET)
def vgg19(num_classes: int = 1000) -> nn.Sequential:
    """VGG-19, configuration E; 143,667,240 parameters, 19,632,062,464 multiply-adds."""
    return network(E, num_classes)


@builder(IMAGENET)
def vgg19_bn(num_classes: int = 1000) -> nn.Sequential:
    """VGG-19 with batch normalisation after each convolution; 143,678,248 parameters."""
    return network(E, num_classes, batch_norm=True)


def network(stages: Stages, num_classes: int, batch_norm: bool = False, hidden: int = 4096) -> nn.Sequential:
    """hidden: outputs of the first two fully connected layers."""
    classifier = (
        nn.Linear((7, 7, stages[-1][-1]), hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    return nn.Sequential(
        {
            "features": _features(stages, batch_norm),
            "avgpool": nn.AdaptiveAvgPool2d(7),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(*classifier),
        }
    )


def _features(stages: Stages, batch_norm: bool) -> nn.Sequential:
    """The convolutions and poolings."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in stages:
        for filters in stage:
            layers.append(nn.Conv2d(channels, filters, 3, padding=1))
            layers += [nn.BatchNorm2d(filters)] if batch_norm else []
            layers.append(nn.ReLU())
            channels = filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
