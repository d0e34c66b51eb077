"""SqueezeNet: the accuracy of AlexNet with a fiftieth of its parameters.

Three thoughts: most filters are 1 x 1, with a ninth of the weights of 3 x 3; the 3 x 3 filters see few channels,
because a layer of 1 x 1 squeezes them first; and the image is halved late, so that the filters see large maps. There is
no fully connected layer: the last convolution has a map for each class, and its mean is the logit.

Source: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer
parameters and < 0.5 MB model size", sections 3.1 to 3.3 and table 1. Names are those of torchvision, and so are the
weights: uniform with variance 2 / fan-in, in the last convolution normal with std 0.01; biases 0.
"""

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ..nn.containers import in_one_step
from ..nn.init import normal
from ._catalogue import IMAGENET, builder

__all__ = ["squeezenet1_0"]


@builder(IMAGENET)
def squeezenet1_0(num_classes: int = 1000) -> nn.Sequential:
    """SqueezeNet 1.0 for images (N, 224, 224, 3): 1,248,424 parameters, 818,924,576 multiply-adds.

    | layer        | what                                         | output       | parameters | multiply-adds |
    |--------------|----------------------------------------------|--------------|------------|---------------|
    | features.0   | 96 filters 7 x 7, stride 2, ReLU             | 109, 109, 96 |     14,208 |   167,664,672 |
    | features.2   | max 3 x 3, stride 2                          | 54, 54, 96   |            |               |
    | features.3   | Fire: to 16, then 64 of 1 x 1, 64 of 3 x 3   | 54, 54, 128  |     11,920 |    34,338,816 |
    | features.4   | Fire: to 16, then 64 of 1 x 1, 64 of 3 x 3   | 54, 54, 128  |     12,432 |    35,831,808 |
    | features.5   | Fire: to 32, then 128 and 128                | 54, 54, 256  |     45,344 |   131,383,296 |
    | features.6   | max 3 x 3, stride 2                          | 27, 27, 256  |            |               |
    | features.7   | Fire: to 32, then 128 and 128                | 27, 27, 256  |     49,440 |    35,831,808 |
    | features.8   | Fire: to 48, then 192 and 192                | 27, 27, 384  |    104,880 |    76,142,592 |
    | features.9   | Fire: to 48, then 192 and 192                | 27, 27, 384  |    111,024 |    80,621,568 |
    | features.10  | Fire: to 64, then 256 and 256                | 27, 27, 512  |    188,992 |   137,355,264 |
    | features.11  | max 3 x 3, stride 2                          | 13, 13, 512  |            |               |
    | features.12  | Fire: to 64, then 256 and 256                | 13, 13, 512  |    197,184 |    33,226,752 |
    | classifier.0 | dropout of a half                            | 13, 13, 512  |            |               |
    | classifier.1 | a filter 1 x 1 for each class, ReLU          | 13, 13, 1000 |    513,000 |    86,528,000 |
    | classifier.3 | the mean of each map: logits                 | 1, 1, 1000   |            |               |

    A pooling's last window may hang over the edge (`ceil_mode`).
    """
    features = nn.Sequential(
        nn.Conv2d(3, 96, 7, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(96, 16, 64, 64),
        Fire(128, 16, 64, 64),
        Fire(128, 32, 128, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(256, 32, 128, 128),
        Fire(256, 48, 192, 192),
        Fire(384, 48, 192, 192),
        Fire(384, 64, 256, 256),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(512, 64, 256, 256),
    )
    return network(features, 512, num_classes)


class Fire(nn.Module):
    """Squeeze by 1 x 1 filters, expand by 1 x 1 and by 3 x 3 side by side (figure 1); ReLU after each.

    inputs: channels of x. squeeze, expand1x1, expand3x3: filters of the three; y has the channels of the last two.
    """

    def __init__(self, inputs: int, squeeze: int, expand1x1: int, expand3x3: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeeze, expand1x1, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = in_one_step(self.squeeze, self.squeeze_activation, x)
        narrow = in_one_step(self.expand1x1, self.expand1x1_activation, x)
        wide = in_one_step(self.expand3x3, self.expand3x3_activation, x)
        return F.concatenate([narrow, wide])


def network(features: nn.Sequential, channels: int, num_classes: int) -> nn.Sequential:
    """channels: what `features` ends in."""
    last = nn.Conv2d(channels, num_classes, 1)
    last.weight.initialize(normal(0.01))
    classifier = nn.Sequential(nn.Dropout(0.5), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential({"features": features, "classifier": classifier, "flatten": nn.Flatten()})
