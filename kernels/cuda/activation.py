"""Activations: the kernels of activation.cu, a thread for every few elements."""

from typing import Any

from ._launch import dense, empty, launch_each

Array = Any

CODES = {None: 0, "relu": 1, "tanh": 2, "sigmoid": 3}  # `Activation` of activation.cuh


def relu_forward(x: Array) -> Array:
    """As the reference."""
    return _each("relu_forward", x)


def relu_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _each("relu_backward", dy, y)


def relu6_forward(x: Array) -> Array:
    """As the reference."""
    return _each("relu6_forward", x)


def relu6_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _each("relu6_backward", dy, y)


def tanh_forward(x: Array) -> Array:
    """As the reference."""
    return _each("tanh_forward", x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _each("tanh_backward", dy, y)


def sigmoid_forward(x: Array) -> Array:
    """As the reference."""
    return _each("sigmoid_forward", x)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _each("sigmoid_backward", dy, y)


def _each(kernel: str, *arrays: Array) -> Array:
    result = empty(arrays[0].shape, arrays[0].dtype)
    launch_each("activation", kernel, result.size, *map(dense, arrays), result)
    return result
