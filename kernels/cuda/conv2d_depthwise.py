"""Convolution with one channel a group (conv2d_depthwise.cu): no matrix product, only numbers to be read."""

from typing import Any

from ._grid import column_block, launch_pixels
from ._launch import empty, launch
from ._product import split_sum
from ._windows import Where, as_argument, windows
from .activation import CODES

Array = Any

FILE = "conv2d_depthwise"


def forward(x: Array, w: Array, b: Array | None, where: Where, activation: str | None) -> Array:
    """y (N, OH, OW, O) from x (N, H, W, C), w (KH, KW, 1, O) and b (O,) or None; O is a multiple of C."""
    y, (KH, _, _, O) = empty(where.y_shape(x.shape, w.shape), x.dtype), w.shape
    g, ratio = windows(x.shape, w.shape[:2], where), as_argument(O // x.shape[3])
    launch_pixels(FILE, "conv2d_depthwise_forward", y, g, O, ratio, KH, x, w, b, CODES[activation], y)
    return y


def input_gradient(dy: Array, w: Array, x_shape: tuple[int, ...], where: Where) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, O) and w (KH, KW, 1, O)."""
    dx, (KH, _, _, O) = empty(x_shape, dy.dtype), w.shape
    g, strides = windows(x_shape, w.shape[:2], where), map(as_argument, where.stride)
    launch_pixels(FILE, "conv2d_depthwise_backward_input", dx, g, O // x_shape[3], *strides, KH, dy, w, dx)
    return dx


def weight_gradient(dy: Array, x: Array, w_shape: tuple[int, ...], where: Where) -> Array:
    """dw (KH, KW, 1, O): for every tap the column sums of what it saw times dy, in parts."""
    KH, KW, _, O = w_shape
    g, filters, ratio = windows(x.shape, w_shape[:2], where), as_argument(O), as_argument(O // x.shape[3])
    terms = g["windows"].item()
    block = column_block(terms, O)
    blocks, kernel = -(-O // block[0]), "conv2d_depthwise_backward_weight"

    def fill(sums: Array, parts: int, depth: int) -> None:
        grid = blocks, parts, KH * KW
        launch(FILE, kernel, dy.dtype, grid, block, g, filters, ratio, depth, dy, x, sums)

    return split_sum(empty(w_shape, dy.dtype), terms, blocks * KH * KW, fill)
