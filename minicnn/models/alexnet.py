"""AlexNet: the network whose victory at ImageNet 2012 began the era of deep learning, and three that followed from it.

Five convolutions and three fully connected layers, with what was new then: ReLU instead of tanh, dropout, windows of
pooling that overlap (3 wide, 2 apart), and normalisation over neighbouring channels. It did not fit into the memory
of one card, so that two computed half of the channels each, and saw the other half in the third convolution only.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS,
section 3. Modules are named as torchvision names its own.
"""

from .. import nn
from ..nn.init import constant, normal
from ._catalogue import IMAGENET, builder
from ._weights import initialize_weights

__all__ = ["alexnet"]

# Section 2 says 224, but only 227 gives the 55 x 55 outputs of the first convolution that figure 2 counts.
PAPER = (227, 227, 3)


@builder({"torch": IMAGENET, "2012": PAPER, "ungrouped": PAPER, "batch_norm": PAPER})
def alexnet(num_classes: int | None = None, variant: str = "torch") -> nn.Sequential:
    """AlexNet, ending in logits.

    num_classes: how many logits; None is 1000, and 2 for "batch_norm", as published.
    variant: "torch", torchvision's, the one-tower network of Krizhevsky 2014 ("One weird trick for parallelizing
        convolutional neural networks", footnote 1), for images (N, 224, 224, 3): 61,100,840 parameters;
        "2012", the paper's two towers, for images (N, 227, 227, 3): 60,965,224;
        "ungrouped", the paper's layers in one tower: 62,378,344;
        "batch_norm", one tower, and batch instead of response normalisation, for two classes: 58,308,674.

    Raises ValueError for another variant. The functions below this one show the layers.
    """
    classes = num_classes if num_classes is not None else 2 if variant == "batch_norm" else 1000
    if variant == "torch":
        return _torch(classes)
    if variant == "batch_norm":
        return _batch_norm(classes)
    return _paper(classes, groups=2 if variant == "2012" else 1)


def _torch(num_classes: int, hidden: int = 4096) -> nn.Sequential:
    """AlexNet of torchvision: 61,100,840 parameters, 714,188,480 multiply-adds.

    | layer      | what                                                    | output      | parameters | multiply-adds |
    |------------|---------------------------------------------------------|-------------|------------|---------------|
    | features   | 64 filters 11 x 11, stride 4, ReLU; max 3 x 3, stride 2 | 27, 27, 64  |     23,296 |    70,276,800 |
    |            | 192 of 5 x 5, ReLU; max 3 x 3, stride 2                 | 13, 13, 192 |    307,392 |   223,948,800 |
    |            | 384 of 3 x 3, ReLU                                      | 13, 13, 384 |    663,936 |   112,140,288 |
    |            | 256 of 3 x 3, ReLU                                      | 13, 13, 256 |    884,992 |   149,520,384 |
    |            | 256 of 3 x 3, ReLU; max 3 x 3, stride 2                 | 6, 6, 256   |    590,080 |    99,680,256 |
    | avgpool    | to 6 x 6, whatever the size of the image                | 6, 6, 256   |            |               |
    | flatten    |                                                         | 9,216       |            |               |
    | classifier | dropout of a half, 4096, ReLU                           | 4,096       | 37,752,832 |    37,748,736 |
    |            | dropout of a half, 4096, ReLU                           | 4,096       | 16,781,312 |    16,777,216 |
    |            | logits                                                  | 1,000       |  4,097,000 |     4,096,000 |

    hidden: outputs of the first two fully connected layers. Weights: uniform with variance 2 / fan-in, biases 0.
    """
    features = (
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
    )  # fmt: skip
    classifier = (
        nn.Dropout(0.5), nn.Linear((6, 6, 256), hidden), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    return nn.Sequential(
        {
            "features": nn.Sequential(*features),
            "avgpool": nn.AdaptiveAvgPool2d(6),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(*classifier),
        }
    )


def _paper(num_classes: int, groups: int, hidden: int = 4096) -> nn.Sequential:
    """AlexNet of 2012, figure 2; with groups=2: 60,965,224 parameters, 724,406,816 multiply-adds.

    | layer      | what                                             | output      | parameters | multiply-adds |
    |------------|--------------------------------------------------|-------------|------------|---------------|
    | features   | 96 filters 11 x 11, stride 4, ReLU, normalised   | 55, 55, 96  |     34,944 |   105,415,200 |
    |            | max 3 x 3, stride 2                              | 27, 27, 96  |            |               |
    |            | 256 of 5 x 5, two towers, ReLU, normalised       | 27, 27, 256 |    307,456 |   223,948,800 |
    |            | max 3 x 3, stride 2                              | 13, 13, 256 |            |               |
    |            | 384 of 3 x 3, ReLU                               | 13, 13, 384 |    885,120 |   149,520,384 |
    |            | 384 of 3 x 3, two towers, ReLU                   | 13, 13, 384 |    663,936 |   112,140,288 |
    |            | 256 of 3 x 3, two towers, ReLU                   | 13, 13, 256 |    442,624 |    74,760,192 |
    |            | max 3 x 3, stride 2                              | 6, 6, 256   |            |               |
    | flatten    |                                                  | 9,216       |            |               |
    | classifier | 4096, ReLU, dropout of a half                    | 4,096       | 37,752,832 |    37,748,736 |
    |            | 4096, ReLU, dropout of a half                    | 4,096       | 16,781,312 |    16,777,216 |
    |            | logits                                           | 1,000       |  4,097,000 |     4,096,000 |

    groups: 2 for two towers, 1 for one (62,378,344 parameters, 1,135,256,096 multiply-adds). hidden: as in `_torch`.
    Normalisation runs over the border between the towers, as in most programs after the paper's own. Each tower on a
    rank of its own: examples/alexnet_two_gpus.py.
    Weights: normal with standard deviation 0.01; biases 1 in the second, fourth and fifth convolution and in the
    hidden fully connected layers, so that their ReLUs begin with positive inputs, and 0 elsewhere (section 5).
    """
    features = (
        nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), response_norm(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(96, 256, 5, padding=2, groups=groups), nn.ReLU(), response_norm(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=groups), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(3, stride=2),
    )  # fmt: skip
    classifier = (
        nn.Linear((6, 6, 256), hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    model = initialize_weights(_in_three_parts(features, classifier), normal(0.01))
    for layer in (*(model.features[i] for i in (4, 10, 12)), *(model.classifier[i] for i in (0, 3))):
        layer.bias.initialize(constant(1))
    return model


def response_norm() -> nn.LocalResponseNorm:
    """Section 3.3: k = 2, n = 5, alpha = 10**-4, beta = 0.75; alpha is five times that where it is divided by n."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)


def _batch_norm(num_classes: int, hidden: int = 4096) -> nn.Sequential:
    """AlexNet in one tower, with batch normalisation between each layer, but the last, and its ReLU.

    With two classes 58,327,810 numbers in all, of which 58,308,674 are trained and 19,136 are the running means and
    variances of 9,568 channels; 1,131,168,288 multiply-adds. Images (N, 227, 227, 3); the shapes of `_paper`.
    To be trained with an L2 penalty of 2e-4 on the weights: Keras adds 2e-4 * sum of w**2 to the loss, which is
    weight_decay=4e-4 in an optimizer here.
    hidden, weights: as in `_torch`.
    """
    features = (
        nn.Conv2d(3, 96, 11, stride=4), nn.BatchNorm2d(96), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(96, 256, 5, padding=2), nn.BatchNorm2d(256), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(256, 384, 3, padding=1), nn.BatchNorm2d(384), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1), nn.BatchNorm2d(384), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(), nn.MaxPool2d(3, stride=2),
    )  # fmt: skip
    classifier = (
        nn.Linear((6, 6, 256), hidden), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, hidden), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    return _in_three_parts(features, classifier)


def _in_three_parts(features: tuple[nn.Module, ...], classifier: tuple[nn.Module, ...]) -> nn.Sequential:
    return nn.Sequential(
        {"features": nn.Sequential(*features), "flatten": nn.Flatten(), "classifier": nn.Sequential(*classifier)}
    )
