"""MobileNet: convolutions taken apart, so that a telephone can compute them.

A convolution of 3 x 3 does two things at once: it looks around in the image, and it mixes channels. MobileNet does
them one after the other: a depthwise convolution, 3 x 3 in each channel for itself, and a pointwise one, 1 x 1 over
all channels. That takes about a ninth of the multiply-adds. Version 2 looks around in many channels and hands on few:
its block makes six times as many, looks, and mixes them down to a few without a ReLU, which in few channels would lose
too much; where the shape stays, the shortcut joins these thin ends.

Sources: Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
arXiv:1704.04861, table 1; Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR, table 2.
The first paper says ReLU; its authors' code (tensorflow/models, slim/nets/mobilenet_v1.py), and with it the published
weights, have ReLU6, which the second paper names. Names are those of torchvision, which has version 2 only; version 1
is named likewise. Weights: normal with variance 2 / fan-in, biases 0 (He et al. 2015); the papers do not say.
"""

from .. import nn
from .._tensor import Tensor
from ..nn.init import kaiming_normal
from ._catalogue import IMAGENET, builder
from ._weights import initialize_weights

__all__ = ["mobilenet_v1", "mobilenet_v2"]


@builder(IMAGENET)
def mobilenet_v1(num_classes: int = 1000) -> nn.Sequential:
    """MobileNet for images (N, 224, 224, 3): 4,231,976 parameters, 568,740,352 multiply-adds.

    | layer      | what                                         | output       | parameters | multiply-adds |
    |------------|----------------------------------------------|--------------|------------|---------------|
    | features 0 | 32 filters 3 x 3, stride 2                   | 112, 112, 32 |        928 |    10,838,016 |
    | 1          | pair: 3 x 3 depthwise; 1 x 1, 64             | 112, 112, 64 |      2,528 |    29,302,784 |
    | 2 to 3     | pairs: stride 2 and 128; 128                 | 56, 56, 128  |     27,200 |    82,489,344 |
    | 4 to 5     | pairs: stride 2 and 256; 256                 | 28, 28, 256  |    103,552 |    79,779,840 |
    | 6 to 11    | pairs: stride 2 and 512; 512, five times     | 14, 14, 512  |  1,478,912 |   287,558,656 |
    | 12 to 13   | pairs: stride 2 and 1024; 1024               | 7, 7, 1024   |  1,593,856 |    77,747,712 |
    | avgpool    | the mean of each channel                     | 1,024        |            |               |
    | classifier | dropout of a thousandth; logits              | 1,000        |  1,025,000 |     1,024,000 |

    After each convolution batch normalisation and ReLU6. The paper's table gives the second pair of 1024 stride 2 too,
    but keeps its image at 7 x 7: a slip of the pen. The dropout is that of its authors' code.
    """
    # Outputs and stride of each pair of a depthwise and a pointwise convolution.
    pairs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    layers: list[nn.Module] = [normalized(3, 32, 3, stride=2)]
    inputs = 32
    for outputs, stride in pairs:
        layers.append(nn.Sequential(depthwise(inputs, stride), normalized(inputs, outputs, 1)))
        inputs = outputs
    return network(layers, 1024, 0.001, num_classes)


@builder(IMAGENET)
def mobilenet_v2(num_classes: int = 1000) -> nn.Sequential:
    """MobileNetV2 for images (N, 224, 224, 3): 3,504,872 parameters, 300,774,272 multiply-adds.

    | layer      | what                                         | output       | parameters | multiply-adds |
    |------------|----------------------------------------------|--------------|------------|---------------|
    | features 0 | 32 filters 3 x 3, stride 2                   | 112, 112, 32 |        928 |    10,838,016 |
    | 1          | 1 block of 16, without expansion             | 112, 112, 16 |        896 |    10,035,200 |
    | 2 to 3     | 2 blocks of 24, first stride 2; expansion 6  | 56, 56, 24   |     13,968 |    54,942,720 |
    | 4 to 6     | 3 blocks of 32, first stride 2               | 28, 28, 32   |     39,696 |    37,443,840 |
    | 7 to 10    | 4 blocks of 64, first stride 2               | 14, 14, 64   |    183,872 |    38,497,536 |
    | 11 to 13   | 3 blocks of 96                               | 14, 14, 96   |    303,168 |    58,103,808 |
    | 14 to 16   | 3 blocks of 160, first stride 2              | 7, 7, 160    |    795,264 |    46,560,192 |
    | 17         | 1 block of 320                               | 7, 7, 320    |    473,920 |    23,002,560 |
    | 18         | 1280 filters 1 x 1                           | 7, 7, 1280   |    412,160 |    20,070,400 |
    | avgpool    | the mean of each channel                     | 1,280        |            |               |
    | classifier | dropout of a fifth; logits                   | 1,000        |  1,281,000 |     1,280,000 |
    """
    # Table 2 of the paper: expansion, outputs, blocks, stride of the first.
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    layers: list[nn.Module] = [normalized(3, 32, 3, stride=2)]
    inputs = 32
    for expansion, outputs, blocks, stride in table:
        for i in range(blocks):
            layers.append(InvertedResidual(inputs, outputs, expansion, stride if i == 0 else 1))
            inputs = outputs
    return network([*layers, normalized(inputs, 1280, 1)], 1280, 0.2, num_classes)


class InvertedResidual(nn.Module):
    """Expand 1 x 1, depthwise 3 x 3, project 1 x 1 without an activation; + x where the shape stays (figure 3, right).

    inputs, outputs: channels. expansion: how many times `inputs` the depthwise convolution sees; 1 leaves the first
    convolution out. stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [] if expansion == 1 else [normalized(inputs, wide, 1)]
        project = (nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.conv = nn.Sequential(*expand, depthwise(wide, stride), *project)
        self.has_shortcut = (inputs, stride) == (outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


def normalized(inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU6; with stride 1 the image keeps its size."""
    padding = kernel_size // 2
    conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


def depthwise(channels: int, stride: int) -> nn.Sequential:
    """3 x 3 in each channel for itself."""
    return normalized(channels, channels, 3, stride, groups=channels)


def network(features: list[nn.Module], outputs: int, dropout: float, num_classes: int) -> nn.Sequential:
    """outputs: channels of the last feature map. dropout: the share of them that training leaves out."""
    model = nn.Sequential(
        {
            "features": nn.Sequential(*features),
            "avgpool": nn.GlobalAvgPool2d(),
            "classifier": nn.Sequential(nn.Dropout(dropout), nn.Linear(outputs, num_classes)),
        }
    )
    return initialize_weights(model, kaiming_normal)
