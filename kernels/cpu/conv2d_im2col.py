"""Convolution as the lesson has it: the whole column matrix in memory, and one matrix product in each direction."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..geometry import Padding, Pair
from .fused import activated
from .im2col import col2im, im2col
from .linear import linear_backward_input, linear_backward_weight, linear_forward

Array = Any
Shape = tuple[int, ...]


def forward(
    x: Array, w: Array, b: Array, y_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int,
    activation: str | None,
) -> Array:  # fmt: skip
    """y = activation(im2col(x) @ w + b) for each group."""
    O = w.shape[3] // groups

    def compute(channels: slice, outputs: slice) -> Array:
        columns = im2col(x[..., channels], w.shape[:2], stride, padding, dilation)
        return linear_forward(columns, w[..., outputs].reshape(-1, O), b[outputs] if len(b) else None, None)

    return activated(_by_group(groups, x.shape[3], w.shape[3], compute).reshape(y_shape), activation)


def input_gradient(
    dy: Array, w: Array, x_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dx = col2im(dy @ w.T) for each group."""
    C, O = w.shape[2], w.shape[3] // groups

    def compute(channels: slice, outputs: slice) -> Array:
        columns = linear_backward_input(dy[..., outputs].reshape(-1, O), w[..., outputs].reshape(-1, O))
        return col2im(columns, (*x_shape[:3], C), w.shape[:2], stride, padding, dilation)

    return _by_group(groups, x_shape[3], w.shape[3], compute)


def weight_gradient(
    dy: Array, x: Array, w_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dw = im2col(x).T @ dy for each group."""
    KH, KW, C, O = w_shape

    def compute(channels: slice, outputs: slice) -> Array:
        columns = im2col(x[..., channels], (KH, KW), stride, padding, dilation)
        return linear_backward_weight(dy[..., outputs].reshape(-1, O // groups), columns).reshape(KH, KW, C, -1)

    return _by_group(groups, x.shape[3], O, compute)


def _by_group(groups: int, C: int, O: int, compute: Callable[[slice, slice], Array]) -> Array:
    """compute(channels, outputs) for each group, side by side along the last axis."""
    c, o = C // groups, O // groups
    parts = [compute(slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)) for g in range(groups)]
    return parts[0] if groups == 1 else np.concatenate(parts, axis=-1)
