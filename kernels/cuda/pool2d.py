"""Pooling: the kernels of pool2d.cu; a sum is an average that divides by 1."""

from typing import Any

import numpy as np

from ..geometry import Padding, Pair, output_sizes
from ._grid import launch_pixels
from ._launch import dense, empty

Array = Any

FIELDS = ("H", "W", "C", "OH", "OW", "KH", "KW", "SH", "SW", "top", "bottom", "left", "right", "counted")
POOLING = np.dtype([(name, np.int32) for name in FIELDS])  # the struct of pool2d.cu
NOTHING, CELLS, PADDING = range(3)  # what is counted for an average, as there


def max_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool
) -> tuple[Array, Array]:
    """As the reference."""
    shape = _pooled(x, kernel_size, stride, padding, ceil_mode)
    y, index = empty(shape, x.dtype), empty(shape, np.int32)
    pooling = _pooling(x.shape, shape, kernel_size, stride, padding)
    launch_pixels("pool2d", "max_pool2d_forward", y, pooling, dense(x), y, index)
    return y, index


def max_pool2d_backward(
    dy: Array, index: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """As the reference."""
    dx = empty(x_shape, dy.dtype)
    pooling = _pooling(x_shape, dy.shape, kernel_size, stride, padding)
    launch_pixels("pool2d", "max_pool2d_backward", dx, pooling, dense(dy), dense(index), dx)
    return dx


def sum_pool2d_forward(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> Array:
    """As the reference."""
    return _average(x, kernel_size, stride, padding, ceil_mode, NOTHING)


def sum_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """As the reference."""
    return _shares(dy, x_shape, kernel_size, stride, padding, NOTHING)


def avg_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """As the reference."""
    return _average(x, kernel_size, stride, padding, ceil_mode, PADDING if count_include_pad else CELLS)


def avg_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, count_include_pad: bool
) -> Array:
    """As the reference."""
    return _shares(dy, x_shape, kernel_size, stride, padding, PADDING if count_include_pad else CELLS)


def _average(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, counted: int) -> Array:
    y = empty(_pooled(x, kernel_size, stride, padding, ceil_mode), x.dtype)
    pooling = _pooling(x.shape, y.shape, kernel_size, stride, padding, counted)
    launch_pixels("pool2d", "avg_pool2d_forward", y, pooling, dense(x), y)
    return y


def _shares(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, counted: int
) -> Array:
    dx = empty(x_shape, dy.dtype)
    pooling = _pooling(x_shape, dy.shape, kernel_size, stride, padding, counted)
    launch_pixels("pool2d", "avg_pool2d_backward", dx, pooling, dense(dy), dx)
    return dx


def _pooled(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> tuple[int, ...]:
    """The shape of the result, (N, OH, OW, C)."""
    return (x.shape[0], *output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode), x.shape[3])


def _pooling(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding,
    counted: int = NOTHING,
) -> Any:  # fmt: skip
    """The struct of pool2d.cu."""
    return np.array([(*x_shape[1:], *y_shape[1:3], *kernel_size, *stride, *padding[0], *padding[1], counted)], POOLING)
