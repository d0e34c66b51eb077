"""The activations. Each derivative is written in y, so that the output alone has to be kept."""

import numpy as np

from ._arrays import Array


def relu_forward(x: Array) -> Array:
    """Rectified linear unit: y = max(x, 0), element by element. NaN stays NaN.

    x: any shape. Result y: as x.

    Nair & Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010, section 2.
    """
    return np.maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of the rectified linear unit: dx = 0 where y <= 0, else dy.

    dy, y: any shape. Result dx: as dy. At x = 0, where there is no derivative, 0 is taken. Where y is NaN dy passes.
    """
    return np.where(y <= 0, 0, dy)


def relu6_forward(x: Array) -> Array:
    """Rectified linear unit that stops at 6: y = min(max(x, 0), 6), element by element. NaN stays NaN.

    x: any shape. Result y: as x.

    Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010, section 3.3.1; it made MobileNets robust when
    computed in few bits (Sandler et al. 2018, section 3.2).
    """
    return np.minimum(np.maximum(x, 0), 6)


def relu6_backward(dy: Array, y: Array) -> Array:
    """Gradient of the rectified linear unit that stops at 6: dx = 0 where y <= 0 or y >= 6, else dy.

    dy, y: any shape. Result dx: as dy. At x = 0 and x = 6, where there is no derivative, 0 is taken. Where y is NaN dy
    passes.
    """
    return np.where((y <= 0) | (y >= 6), 0, dy)


def tanh_forward(x: Array) -> Array:
    """Hyperbolic tangent: y = tanh(x) = (e^x - e^-x) / (e^x + e^-x), element by element.

    x: any shape. Result y: as x.
    """
    return np.tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """Gradient of the hyperbolic tangent: dx = dy * (1 - y^2).

    dy, y: any shape. Result dx: as dy.
    """
    return dy * (1 - y * y)


def sigmoid_forward(x: Array) -> Array:
    """Logistic function: y = 1 / (1 + e^-x), element by element.

    x: any shape. Result y: as x. For negative x it is written e^x / (1 + e^x), the same number: no exponential
    of a large positive number is ever taken, so nothing overflows.
    """
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Gradient of the logistic function: dx = dy * y * (1 - y).

    dy, y: any shape. Result dx: as dy.
    """
    return dy * y * (1 - y)


def activated(y: Array, activation: str | None) -> Array:
    """The activation of that name at y; None leaves y as it is."""
    functions = {"relu": relu_forward, "tanh": tanh_forward, "sigmoid": sigmoid_forward}
    return y if activation is None else functions[activation](y)
