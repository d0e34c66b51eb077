"""A 1x1 convolution with stride 1 and without padding: a linear layer on pixels, whose matrix is the image itself."""

from typing import Any

from ._windows import Where
from .linear import linear_backward_input, linear_backward_weight, linear_forward

Array = Any


def forward(x: Array, w: Array, b: Array | None, where: Where, activation: str | None) -> Array:
    """y (N, H, W, O) from x (N, H, W, C), w (1, 1, C, O) and b (O,) or None."""
    y = linear_forward(_pixels(x), w[0, 0], b, activation)
    return y.reshape(*x.shape[:3], w.shape[3])  # (N*H*W, O) -> (N, H, W, O)


def input_gradient(dy: Array, w: Array, x_shape: tuple[int, ...], where: Where) -> Array:
    """dx (N, H, W, C) from dy (N, H, W, O) and w (1, 1, C, O)."""
    return linear_backward_input(_pixels(dy), w[0, 0]).reshape(x_shape)


def weight_gradient(dy: Array, x: Array, w_shape: tuple[int, ...], where: Where) -> Array:
    """dw (1, 1, C, O): the sum over all pixels of x times dy."""
    return linear_backward_weight(_pixels(dy), _pixels(x)).reshape(w_shape)


def _pixels(x: Array) -> Array:
    return x.reshape(-1, x.shape[3])  # (N, H, W, C) -> (N*H*W, C)
