"""GoogLeNet: nine inception modules, 22 layers.

An inception module looks at its input in four ways at once: through 1 x 1, 3 x 3 and 5 x 5 convolutions and through a
pooling, and puts the results behind one another as channels. What makes that affordable are 1 x 1 convolutions that
reduce the channels before the larger ones see them. Two auxiliary heads classify halfway up, in training only, so that
the lower layers get a gradient that has come a shorter way.

Source: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich 2015, "Going Deeper with
Convolutions", CVPR, sections 4 to 6, table 1 and figure 3. Names are those of torchvision.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ..nn.init import normal
from ._catalogue import IMAGENET, builder
from ._weights import initialize_weights

__all__ = ["googlenet", "googlenet_loss"]

Array = Any
Heads = tuple[Tensor, Tensor, Tensor]  # logits (N, num_classes) of the network, of aux2 and of aux1
Convolution = Callable[..., nn.Module]  # inputs, outputs, kernel_size, stride=1


@builder({"torch": IMAGENET, "2015": IMAGENET})
def googlenet(num_classes: int = 1000, aux_logits: bool = False, variant: str = "torch") -> "GoogLeNet":
    """GoogLeNet for images (N, 224, 224, 3): 6,624,904 parameters, 1,498,376,192 multiply-adds without its heads.

    | layer       | what: 1 x 1; 3 x 3; 5 x 5; pooled    | output       | parameters | multiply-adds |
    |-------------|--------------------------------------|--------------|------------|---------------|
    | conv1       | 64 filters 7 x 7, stride 2           | 112, 112, 64 |      9,536 |   118,013,952 |
    | maxpool1    | 3 x 3, stride 2                      | 56, 56, 64   |            |               |
    | conv2       | 64 filters 1 x 1                     | 56, 56, 64   |      4,224 |    12,845,056 |
    | conv3       | 192 filters 3 x 3                    | 56, 56, 192  |    110,976 |   346,816,512 |
    | maxpool2    | 3 x 3, stride 2                      | 28, 28, 192  |            |               |
    | inception3a | 64; 96 to 128; 16 to 32; 32          | 28, 28, 256  |    155,872 |   121,626,624 |
    | inception3b | 128; 128 to 192; 32 to 96; 64        | 28, 28, 480  |    340,224 |   265,732,096 |
    | maxpool3    | 3 x 3, stride 2                      | 14, 14, 480  |            |               |
    | inception4a | 192; 96 to 208; 16 to 48; 64         | 14, 14, 512  |    364,512 |    71,199,744 |
    | inception4b | 160; 112 to 224; 24 to 64; 64        | 14, 14, 512  |    425,232 |    83,091,456 |
    | inception4c | 128; 128 to 256; 24 to 64; 64        | 14, 14, 512  |    486,192 |    95,033,344 |
    | inception4d | 112; 144 to 288; 32 to 64; 64        | 14, 14, 528  |    573,312 |   112,093,184 |
    | inception4e | 256; 160 to 320; 32 to 128; 128      | 14, 14, 832  |    803,840 |   157,151,232 |
    | maxpool4    | 2 x 2 (in the paper 3 x 3), stride 2 | 7, 7, 832    |            |               |
    | inception5a | 256; 160 to 320; 32 to 128; 128      | 7, 7, 832    |    978,944 |    47,867,904 |
    | inception5b | 384; 192 to 384; 48 to 128; 128      | 7, 7, 1,024  |  1,347,040 |    65,881,088 |
    | avgpool     | the mean of each channel             | 1,024        |            |               |
    | dropout     | a fifth (in the paper two fifths)    | 1,024        |            |               |
    | fc          | logits                               | 1,000        |  1,025,000 |     1,024,000 |

    variant: "torch", torchvision's: batch normalisation behind each convolution, and 3 x 3 where the paper has 5 x 5;
        weights normal with a standard deviation of 0.01. "2015", the paper's: no batch normalisation but biases, local
        response normalisation in two places; 6,998,552 parameters, 1,582,671,872 multiply-adds. The paper does
        not tell the first weights: they are uniform with variance 2 / fan-in (He et al. 2015), biases 0.
    aux_logits: whether there are auxiliary heads, aux1 behind inception4a and aux2 behind inception4d, as in the files
        of torchvision's weights. In training the network then returns the logits of all three, its own first, aux1's
        last, and learns by `googlenet_loss`: `Trainer(model, optimizer, loss=models.googlenet_loss)`.
        In evaluation it returns its own alone.

    Raises ValueError for another variant.
    """
    if variant == "2015":
        return GoogLeNet(num_classes, aux_logits, paper=True)
    return initialize_weights(GoogLeNet(num_classes, aux_logits, paper=False), normal(0.01))


def googlenet_loss(outputs: Tensor | Heads, labels: Array) -> Tensor:
    """The cross-entropy of the logits, plus 0.3 times that of each auxiliary head (section 5).

    outputs: what the network returned: in evaluation, and without heads, the logits alone.
    labels: as in `F.cross_entropy`, where both directions stand.
    """
    if not isinstance(outputs, tuple):
        return F.cross_entropy(outputs, labels)
    logits, aux2, aux1 = outputs
    return F.cross_entropy(logits, labels) + 0.3 * (F.cross_entropy(aux2, labels) + F.cross_entropy(aux1, labels))


class GoogLeNet(nn.Module):
    """The network; see `googlenet`. paper: whether it is the paper's, not torchvision's."""

    def __init__(self, num_classes: int, aux_logits: bool, paper: bool) -> None:
        super().__init__()
        conv = _with_bias if paper else _with_batch_norm
        inception = partial(Inception, conv, 5 if paper else 3)
        pool = partial(nn.MaxPool2d, stride=2, ceil_mode=True)
        self.conv1 = conv(3, 64, 7, stride=2)
        self.maxpool1 = nn.Sequential(pool(3), nn.LocalResponseNorm(5)) if paper else pool(3)
        self.conv2 = conv(64, 64, 1)
        self.conv3 = conv(64, 192, 3)
        self.maxpool2 = nn.Sequential(nn.LocalResponseNorm(5), pool(3)) if paper else pool(3)
        self.inception3a = inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = inception(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = pool(3)
        self.inception4a = inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = inception(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = pool(3 if paper else 2)
        self.inception5a = inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = inception(832, 384, (192, 384), (48, 128), 128)
        self.aux1 = _head(conv, 512, num_classes, paper) if aux_logits else None
        self.aux2 = _head(conv, 528, num_classes, paper) if aux_logits else None
        self.avgpool = nn.GlobalAvgPool2d()
        self.dropout = nn.Dropout(0.4 if paper else 0.2)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor | Heads:
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x4a = self.inception4a(x)
        x4d = self.inception4d(self.inception4c(self.inception4b(x4a)))
        x = self.maxpool4(self.inception4e(x4d))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(self.avgpool(x)))
        if not self.training or self.aux1 is None or self.aux2 is None:
            return logits
        return logits, self.aux2(x4d), self.aux1(x4a)


class Inception(nn.Module):
    """Four branches beside each other: (N, H, W, C) to (N, H, W, the sum of their filters) (figure 2 (b)).

    conv: makes a convolution with ReLU. large: its size in the branch that the paper calls 5 x 5. inputs: C.
    one: filters of the 1 x 1 branch. three, five: (reduced to, filters) of the 3 x 3 and of the 5 x 5 branch.
    pooled: filters behind the pooling.
    """

    def __init__(
        self, conv: Convolution, large: int,
        inputs: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.branch1 = conv(inputs, one, 1)
        self.branch2 = nn.Sequential(conv(inputs, three[0], 1), conv(*three, 3))
        self.branch3 = nn.Sequential(conv(inputs, five[0], 1), conv(*five, large))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(inputs, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.concatenate([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)])


def _head(conv: Convolution, inputs: int, num_classes: int, paper: bool) -> nn.Sequential:
    """An auxiliary head: from (N, 14, 14, inputs) to logits (section 5)."""
    return nn.Sequential(
        {
            "avgpool": nn.AvgPool2d(5, stride=3) if paper else nn.AdaptiveAvgPool2d(4),
            "conv": conv(inputs, 128, 1),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear((4, 4, 128), 1024, activation="relu"),
            "dropout": nn.Dropout(0.7),
            "fc2": nn.Linear(1024, num_classes),
        }
    )


def _with_bias(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution as the paper has it: with a bias and ReLU."""
    return nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, activation="relu")


def _with_batch_norm(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """A convolution as torchvision has it: with batch normalisation and ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return nn.Sequential({"conv": conv, "bn": nn.BatchNorm2d(outputs, eps=0.001, activation="relu")})
