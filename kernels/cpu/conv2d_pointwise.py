"""A 1x1 convolution with stride 1 and without padding: a linear layer on pixels, whose matrix is the image itself."""

from typing import Any

from ..geometry import Padding, Pair
from .linear import linear_backward_input, linear_backward_weight, linear_forward

Array = Any
Shape = tuple[int, ...]


def forward(
    x: Array, w: Array, b: Array, y_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int,
    activation: str | None,
) -> Array:  # fmt: skip
    """y (N, H, W, O) from x (N, H, W, C), w (1, 1, C, O) and b (O,) or (0,)."""
    # (N, H, W, C) -> (N*H*W, C)
    return linear_forward(x.reshape(-1, x.shape[3]), w[0, 0], b if len(b) else None, activation).reshape(y_shape)


def input_gradient(
    dy: Array, w: Array, x_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dx (N, H, W, C) from dy (N, H, W, O) and w (1, 1, C, O)."""
    return linear_backward_input(dy.reshape(-1, dy.shape[3]), w[0, 0]).reshape(x_shape)


def weight_gradient(
    dy: Array, x: Array, w_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dw (1, 1, C, O): the sum over all pixels of x times dy."""
    return linear_backward_weight(dy.reshape(-1, dy.shape[3]), x.reshape(-1, x.shape[3])).reshape(w_shape)
