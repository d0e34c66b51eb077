"""Activations: one number in, one number out; and softmax, which looks at a whole row."""

from typing import Any

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from .checks import check_float

Array = Any


def activation_backward(dy: Array, y: Array, activation: str | None) -> Array:
    """From the gradient in y = activation(x) that in x; `activation` is the name of one, or None for y = x."""
    return dy if activation is None else getattr(kernels.room(dy), f"{activation}_backward")(dy, y)


class ReLU(Function):
    """See `relu`."""

    def forward(self, x: Array) -> Array:
        y = kernels.room(x).relu_forward(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (kernels.room(dy).relu_backward(dy, y),)


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0) of any shape; dx = dy where y > 0, else 0 (at 0 too). NaN stays NaN.

    Source: Nair and Hinton 2010; Krizhevsky et al. 2012, section 3.1.
    """
    check_float(x, "relu")
    return ReLU()(x)


class ReLU6(Function):
    """See `relu6`."""

    def forward(self, x: Array) -> Array:
        y = kernels.room(x).relu6_forward(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (kernels.room(dy).relu6_backward(dy, y),)


def relu6(x: Tensor) -> Tensor:
    """y = min(max(x, 0), 6) of any shape; dx = dy where 0 < y < 6, else 0 (at 0 and 6 too). NaN stays NaN.

    Source: Krizhevsky 2010, "Convolutional Deep Belief Networks on CIFAR-10", section 3.3.1; Sandler et al. 2018.
    """
    check_float(x, "relu6")
    return ReLU6()(x)


class Tanh(Function):
    """See `tanh`."""

    def forward(self, x: Array) -> Array:
        y = kernels.room(x).tanh_forward(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (kernels.room(dy).tanh_backward(dy, y),)


def tanh(x: Tensor) -> Tensor:
    """y = tanh(x) of any shape; dx = dy * (1 - y**2). Source: LeCun et al. 1998, "Efficient BackProp", section 4.4."""
    check_float(x, "tanh")
    return Tanh()(x)


class Sigmoid(Function):
    """See `sigmoid`."""

    def forward(self, x: Array) -> Array:
        y = kernels.room(x).sigmoid_forward(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (kernels.room(dy).sigmoid_backward(dy, y),)


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + e**-x) of any shape; dx = dy * y * (1 - y). Source: Rumelhart et al. 1986."""
    check_float(x, "sigmoid")
    return Sigmoid()(x)


class Softmax(Function):
    """See `softmax`."""

    def forward(self, x: Array) -> Array:
        y = kernels.room(x).softmax_forward(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (kernels.room(dy).softmax_backward(dy, y),)


def softmax(x: Tensor) -> Tensor:
    """y[k] = e**x[k] / sum of e**x[j], over the last axis of (..., K); dx = y * (dy - sum of dy * y).

    For training use `cross_entropy` on the logits: it is the same mathematics, and does not lose digits.
    Source: Bridle 1990.
    """
    _check_classes(x, "softmax")
    return Softmax()(x)


class LogSoftmax(Function):
    """See `log_softmax`."""

    def forward(self, x: Array) -> Array:
        y = kernels.room(x).log_softmax_forward(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (kernels.room(dy).log_softmax_backward(dy, y),)


def log_softmax(x: Tensor) -> Tensor:
    """y[k] = x[k] - log(sum of e**x[j]), over the last axis of (..., K); dx = dy - e**y * sum of dy."""
    _check_classes(x, "log_softmax")
    return LogSoftmax()(x)


def _check_classes(x: Tensor, what: str) -> None:
    check_float(x, what)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{what} expected an array (..., K) with K >= 1, got shape {x.shape}")
