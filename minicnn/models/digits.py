"""The digit network of Keras' examples."""

from .. import nn
from ..nn.init import xavier_uniform
from ._catalogue import MNIST, builder
from ._weights import initialize_weights

__all__ = ["digit_cnn"]


@builder(MNIST)
def digit_cnn() -> nn.Sequential:
    """The Keras digit network: two convolutions, one pooling, two fully connected layers.

    | layer         | what                                   | output     | parameters | multiply-adds |
    |---------------|----------------------------------------|------------|------------|---------------|
    | conv2d        | 32 filters 3 x 3, ReLU                 | 26, 26, 32 |        320 |       194,688 |
    | conv2d_1      | 64 filters 3 x 3, ReLU                 | 24, 24, 64 |     18,496 |    10,616,832 |
    | max_pooling2d | 2 x 2                                  | 12, 12, 64 |            |               |
    | dropout       | a quarter                              | 12, 12, 64 |            |               |
    | flatten       |                                        | 9,216      |            |               |
    | dense         | ReLU                                   | 128        |  1,179,776 |     1,179,648 |
    | dropout_1     | a half                                 | 128        |            |               |
    | dense_1       | logits (Keras puts a softmax here)     | 10         |      1,290 |         1,280 |
    | total         |                                        |            |  1,199,882 |    11,992,448 |

    Input (N, 28, 28, 1) in [0, 1]. Weights: Xavier uniform, biases 0, as Keras does.
    Source: keras-team/keras, examples/mnist_cnn.py (2015 to 2020), trained there by Adadelta with lr=1.0 in batches
    of 128.
    """
    model = nn.Sequential(
        {
            "conv2d": nn.Conv2d(1, 32, 3, activation="relu"),
            "conv2d_1": nn.Conv2d(32, 64, 3, activation="relu"),
            "max_pooling2d": nn.MaxPool2d(2),
            "dropout": nn.Dropout(0.25),
            "flatten": nn.Flatten(),
            "dense": nn.Linear((12, 12, 64), 128, activation="relu"),
            "dropout_1": nn.Dropout(0.5),
            "dense_1": nn.Linear(128, 10),
        }
    )
    return initialize_weights(model, xavier_uniform)
