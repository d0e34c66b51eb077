"""Xception: Inception taken to its end, every channel filtered by itself, then mixed by 1 x 1 convolutions.

A separable convolution is a depthwise one, a filter 3 x 3 for each channel, and a pointwise one, 1 x 1 over all
channels, with nothing between: 9 C + C O weights where a full convolution has 9 C O. Three flows: the entry flow halves
the image, the middle flow refines it eight times, the exit flow widens it; around each block goes a shortcut.

Source: Chollet 2017, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR, section 3 and figure 5.
Details as in Keras' application, whose layer names these are too (its block2_sepconv1 is block2.body.sepconv1 here):
no biases before batch normalisation, which has eps = 0.001 and a momentum of 0.99, in PyTorch's meaning 0.01; weights
Xavier uniform.
"""

from .. import nn
from .._tensor import Tensor
from ..nn.init import xavier_uniform
from ._catalogue import builder
from ._weights import initialize_weights

__all__ = ["xception"]


@builder((299, 299, 3))
def xception(num_classes: int = 1000) -> nn.Sequential:
    """Xception for images (N, 299, 299, 3) in [-1, 1]: 22,855,952 parameters, 8,357,403,496 multiply-adds.

    | layer       | what                                        | output       | parameters | multiply-adds |
    |-------------|---------------------------------------------|--------------|------------|---------------|
    | block1      | 32 filters 3 x 3, stride 2; 64 of 3 x 3     | 147, 147, 64 |     19,488 |   417,478,752 |
    | block2      | sepconv 128, twice; max 3 x 3, stride 2     | 74, 74, 128  |     35,264 |   613,262,528 |
    | block3      | sepconv 256, twice; max 3 x 3, stride 2     | 37, 37, 256  |    136,064 |   602,097,152 |
    | block4      | sepconv 728, twice; max 3 x 3, stride 2     | 19, 19, 728  |    915,944 | 1,060,088,600 |
    | block5      | sepconv 728, three times; so blocks 6 to 12 | 19, 19, 728  | 12,911,808 | 4,648,547,904 |
    | block13     | sepconv 728; 1024; max 3 x 3, stride 2      | 10, 10, 1024 |  2,039,584 |   539,717,360 |
    | block14     | sepconv 1536; 2048                          | 10, 10, 2048 |  4,748,800 |   474,163,200 |
    | avg_pool    | the mean of each channel                    | 2,048        |            |               |
    | predictions | logits                                      | 1,000        |  2,049,000 |     2,048,000 |
    """
    return network((32, 64), (128, 256, 728), (1024, 1536, 2048), num_classes)


class Block(nn.Module):
    """y = body(x) + shortcut(x): separable convolutions, and around them x itself, or x projected.

    inputs: channels of x. outputs: those of each separable convolution.
    halve: end the body with a pooling of stride 2, and project the shortcut; the middle flow does neither.
    relu_first: whether the body begins with a ReLU; that of block2 does not, because block1 ends with one.
    """

    def __init__(self, inputs: int, outputs: tuple[int, ...], halve: bool = True, relu_first: bool = True) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {}
        for place, (C, O) in enumerate(zip((inputs, *outputs), outputs, strict=False), 1):
            if place > 1 or relu_first:
                layers[f"sepconv{place}_act"] = nn.ReLU()
            layers[f"sepconv{place}"] = separable(C, O)
            layers[f"sepconv{place}_bn"] = _norm(O)
        self.shortcut = None
        if halve:
            layers["pool"] = nn.MaxPool2d(3, stride=2, padding="same")
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs[-1], 1, stride=2, bias=False), _norm(outputs[-1]))
        self.body = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


def network(
    first: tuple[int, int], entry: tuple[int, int, int], last: tuple[int, int, int], num_classes: int
) -> nn.Sequential:
    """Channels after the convolutions of block1; after blocks 2, 3 and 4; after block13 and in block14."""
    a, b, c = entry
    middle = {f"block{place}": Block(c, (c, c, c), halve=False) for place in range(5, 13)}
    model = nn.Sequential(
        {
            "block1": _first(*first),
            "block2": Block(first[-1], (a, a), relu_first=False),
            "block3": Block(a, (b, b)),
            "block4": Block(b, (c, c)),
            **middle,
            "block13": Block(c, (c, last[0])),
            "block14": _last(*last),
            "avg_pool": nn.GlobalAvgPool2d(),
            "predictions": nn.Linear(last[-1], num_classes),
        }
    )
    return initialize_weights(model, xavier_uniform)


def separable(inputs: int, outputs: int) -> nn.Sequential:
    """A filter 3 x 3 for each channel, then 1 x 1 over all (section 2)."""
    return nn.Sequential(
        {
            "depthwise": nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            "pointwise": nn.Conv2d(inputs, outputs, 1, bias=False),
        }
    )


def _first(first: int, second: int) -> nn.Sequential:
    """Two plain convolutions."""
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(3, first, 3, stride=2, bias=False),
            "conv1_bn": _norm(first),
            "conv1_act": nn.ReLU(),
            "conv2": nn.Conv2d(first, second, 3, bias=False),
            "conv2_bn": _norm(second),
            "conv2_act": nn.ReLU(),
        }
    )


def _last(inputs: int, first: int, second: int) -> nn.Sequential:
    """Two separable convolutions without a shortcut, and their ReLU behind them."""
    return nn.Sequential(
        {
            "sepconv1": separable(inputs, first),
            "sepconv1_bn": _norm(first),
            "sepconv1_act": nn.ReLU(),
            "sepconv2": separable(first, second),
            "sepconv2_bn": _norm(second),
            "sepconv2_act": nn.ReLU(),
        }
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=0.001, momentum=0.01)
