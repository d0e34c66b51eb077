"""Network in Network: behind each convolution a small network of its own, at the end a mean instead of a classifier.

An mlpconv layer is a convolution and two more of 1 x 1: two fully connected layers that every place shares, so that
what is drawn from a window need not be linear. And the last such layer has a map for each class, whose mean over the
image is the logit (section 3.2): nothing is fully connected, and nothing there can overfit.

Source: Lin, Chen, Yan 2014, "Network In Network", ICLR. The paper names no widths; they are those of the authors'
model files, cuda-convnet's for CIFAR-10 and Caffe's for ImageNet, whose poolings let a last window hang over the edge.
"""

from .. import nn
from ..nn.init import kaiming_normal
from ._catalogue import CIFAR, IMAGENET, builder
from ._weights import initialize_weights

__all__ = ["nin"]


@builder({"cifar": CIFAR, "imagenet": IMAGENET})
def nin(num_classes: int | None = None, variant: str = "cifar") -> nn.Sequential:
    """Network in Network, ending in logits.

    num_classes: how many logits; None is 10 for "cifar" and 1000 for "imagenet".
    variant: "cifar", for images (N, 32, 32, 3), 966,986 parameters;
        "imagenet", for images (N, 224, 224, 3), 7,595,176.

    Weights: normal with variance 2 / fan-in, biases 0; the paper says only that they were chosen by hand.
    Raises ValueError for another variant. The two functions below this one show the layers.
    """
    if variant == "cifar":
        return _cifar(10 if num_classes is None else num_classes)
    return _imagenet(1000 if num_classes is None else num_classes)


def _cifar(num_classes: int) -> nn.Sequential:
    """The network for CIFAR-10: 222,486,528 multiply-adds.

    | layer    | what                                | output      | parameters | multiply-adds |
    |----------|-------------------------------------|-------------|------------|---------------|
    | mlpconv1 | 192 filters 5 x 5; 160; 96          | 32, 32, 96  |     60,928 |    61,931,520 |
    | pool1    | max 3 x 3, stride 2                 | 16, 16, 96  |            |               |
    | dropout1 | of a half                           | 16, 16, 96  |            |               |
    | mlpconv2 | 192 of 5 x 5; 192; 192              | 16, 16, 192 |    535,104 |   136,839,168 |
    | pool2    | mean of 3 x 3, stride 2             | 8, 8, 192   |            |               |
    | dropout2 | of a half                           | 8, 8, 192   |            |               |
    | mlpconv3 | 192 of 3 x 3; 192; a map each class | 8, 8, 10    |    370,954 |    23,715,840 |
    | avgpool  | the mean of each channel            | 10          |            |               |
    """
    model = nn.Sequential(
        {
            "mlpconv1": mlpconv(3, 5, (192, 160, 96), padding=2),
            "pool1": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            "dropout1": nn.Dropout(0.5),
            "mlpconv2": mlpconv(96, 5, (192, 192, 192), padding=2),
            "pool2": nn.AvgPool2d(3, stride=2, ceil_mode=True),
            "dropout2": nn.Dropout(0.5),
            "mlpconv3": mlpconv(192, 3, (192, 192, num_classes), padding=1),
            "avgpool": nn.GlobalAvgPool2d(),
        }
    )
    return initialize_weights(model, kaiming_normal)


def _imagenet(num_classes: int) -> nn.Sequential:
    """The network for ImageNet: 1,100,188,800 multiply-adds.

    | layer    | what                                    | output      | parameters | multiply-adds |
    |----------|-----------------------------------------|-------------|------------|---------------|
    | mlpconv1 | 96 filters 11 x 11, stride 4; 96; 96    | 54, 54, 96  |     53,568 |   155,364,480 |
    | pool1    | max 3 x 3, stride 2                     | 27, 27, 96  |            |               |
    | mlpconv2 | 256 of 5 x 5; 256; 256                  | 27, 27, 256 |    746,240 |   543,449,088 |
    | pool2    | max 3 x 3, stride 2                     | 13, 13, 256 |            |               |
    | mlpconv3 | 384 of 3 x 3; 384; 384                  | 13, 13, 384 |  1,180,800 |   199,360,512 |
    | pool3    | max 3 x 3, stride 2                     | 6, 6, 384   |            |               |
    | dropout3 | of a half                               | 6, 6, 384   |            |               |
    | mlpconv4 | 1024 of 3 x 3; 1024; a map each class   | 6, 6, 1000  |  5,614,568 |   202,014,720 |
    | avgpool  | the mean of each channel                | 1,000       |            |               |
    """
    model = nn.Sequential(
        {
            "mlpconv1": mlpconv(3, 11, (96, 96, 96), stride=4),
            "pool1": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            "mlpconv2": mlpconv(96, 5, (256, 256, 256), padding=2),
            "pool2": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            "mlpconv3": mlpconv(256, 3, (384, 384, 384), padding=1),
            "pool3": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            "dropout3": nn.Dropout(0.5),
            "mlpconv4": mlpconv(384, 3, (1024, 1024, num_classes), padding=1),
            "avgpool": nn.GlobalAvgPool2d(),
        }
    )
    return initialize_weights(model, kaiming_normal)


def mlpconv(
    inputs: int, kernel_size: int, filters: tuple[int, int, int], stride: int = 1, padding: int = 0
) -> nn.Sequential:
    """A convolution and two of 1 x 1, a ReLU behind each (section 3.1), so behind the maps of the classes too.

    filters: outputs of the three. inputs, kernel_size, stride, padding: of the first.
    """
    first, second, third = filters
    return nn.Sequential(
        nn.Conv2d(inputs, first, kernel_size, stride, padding),
        nn.ReLU(),
        nn.Conv2d(first, second, 1),
        nn.ReLU(),
        nn.Conv2d(second, third, 1),
        nn.ReLU(),
    )
