"""ZFNet: AlexNet looked at from inside, and mended where the pictures of its filters showed what was wrong.

The first filters are smaller and closer together (7 x 7, 2 apart, for 11 x 11, 4 apart): those of AlexNet were dead or
saw hardly any middle frequencies, and the second layer showed the pattern of the wide steps.

Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", ECCV, figure 3 and section 3.
"""

from .. import nn
from ..nn.init import normal
from ._catalogue import IMAGENET, builder
from ._weights import initialize_weights
from .alexnet import response_norm

__all__ = ["zfnet"]


@builder(IMAGENET)
def zfnet(num_classes: int = 1000) -> nn.Sequential:
    """ZFNet for images (N, 224, 224, 3): 62,357,608 parameters, 1,168,032,896 multiply-adds.

    | layer      | what                                    | output       | parameters | multiply-adds |
    |------------|-----------------------------------------|--------------|------------|---------------|
    | features   | 96 filters 7 x 7, stride 2, ReLU        | 110, 110, 96 |     14,208 |   170,755,200 |
    |            | max 3 x 3, stride 2; normalised         | 55, 55, 96   |            |               |
    |            | 256 of 5 x 5, stride 2, ReLU            | 26, 26, 256  |    614,656 |   415,334,400 |
    |            | max 3 x 3, stride 2; normalised         | 13, 13, 256  |            |               |
    |            | 384 of 3 x 3, ReLU                      | 13, 13, 384  |    885,120 |   149,520,384 |
    |            | 384 of 3 x 3, ReLU                      | 13, 13, 384  |  1,327,488 |   224,280,576 |
    |            | 256 of 3 x 3, ReLU; max 3 x 3, stride 2 | 6, 6, 256    |    884,992 |   149,520,384 |
    | flatten    |                                         | 9,216        |            |               |
    | classifier | 4096, ReLU, dropout of a half           | 4,096        | 37,752,832 |    37,748,736 |
    |            | 4096, ReLU, dropout of a half           | 4,096        | 16,781,312 |    16,777,216 |
    |            | logits                                  | 1,000        |  4,097,000 |     4,096,000 |

    The figure gives the shapes and no padding. They come out with a border of 1 around the image, none around the
    second convolution's input, and poolings whose last window may hang over the edge. The normalisation across
    channels has no numbers either: it is AlexNet's.
    Weights: normal with standard deviation 0.01, biases 0; the paper says "10^-2" and no distribution. While it is
    trained, a first filter whose root mean square passes 0.1 is scaled back to that.
    """
    return network(num_classes)


def network(num_classes: int, hidden: int = 4096) -> nn.Sequential:
    """hidden: outputs of the first two fully connected layers."""
    features = (
        nn.Conv2d(3, 96, 7, stride=2, padding=1), nn.ReLU(), _pool(), response_norm(),
        nn.Conv2d(96, 256, 5, stride=2), nn.ReLU(), _pool(), response_norm(),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), _pool(),
    )  # fmt: skip
    classifier = (
        nn.Linear((6, 6, 256), hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    model = nn.Sequential(
        {"features": nn.Sequential(*features), "flatten": nn.Flatten(), "classifier": nn.Sequential(*classifier)}
    )
    return initialize_weights(model, normal(0.01))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
