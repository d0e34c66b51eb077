"""Convolution in two steps, as the reference writes it: the column matrix of each group, and one matrix product."""

from typing import Any

from ._launch import empty
from ._windows import Where
from .im2col import col2im, im2col
from .linear import linear_backward_input, linear_backward_weight, linear_forward

Array = Any


def forward(x: Array, w: Array, b: Array | None, where: Where, activation: str | None) -> Array:
    """y (N, OH, OW, O) from x (N, H, W, C), w (KH, KW, C // groups, O) and b (O,) or None."""
    y = empty(where.y_shape(x.shape, w.shape), x.dtype)
    for cs, os in where.channels(x.shape[3], w.shape[3]):
        columns = im2col(x[..., cs], w.shape[:2], *where[:3])
        rows = linear_forward(columns, _matrix(w[..., os]), None if b is None else b[os], activation)
        y[..., os] = rows.reshape(*y.shape[:3], -1)  # (N*OH*OW, O) -> (N, OH, OW, O)
    return y


def input_gradient(dy: Array, w: Array, x_shape: tuple[int, ...], where: Where) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, O) and w (KH, KW, C // groups, O)."""
    dx = empty(x_shape, dy.dtype)
    for cs, os in where.channels(x_shape[3], w.shape[3]):
        columns = linear_backward_input(_matrix(dy[..., os]), _matrix(w[..., os]))
        dx[..., cs] = col2im(columns, (*x_shape[:3], w.shape[2]), w.shape[:2], *where[:3])
    return dx


def weight_gradient(dy: Array, x: Array, w_shape: tuple[int, ...], where: Where) -> Array:
    """dw (KH, KW, C // groups, O) from dy (N, OH, OW, O) and x (N, H, W, C)."""
    dw = empty(w_shape, dy.dtype)
    for cs, os in where.channels(x.shape[3], w_shape[3]):
        columns = im2col(x[..., cs], (w_shape[0], w_shape[1]), *where[:3])
        # (KH*KW*C, O) -> (KH, KW, C, O)
        dw[..., os] = linear_backward_weight(_matrix(dy[..., os]), columns).reshape(*w_shape[:3], -1)
    return dw


def _matrix(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])  # (.., .., C, O) -> (..*..*C, O)
