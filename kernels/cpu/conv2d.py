"""Convolution: which way of computing it serves which shape.

    "im2col"          the lesson, as in the reference: the column matrix and one matrix product
    "implicit_gemm"   the same sums without that matrix, a block at a time in the cache: `conv2d_rows`; where a group
                      has few filters `conv2d_planes` forward and for the weight gradient; and `conv2d_depthwise`
                      where every channel has a filter of its own

"auto" means "implicit_gemm", which needs no memory for the matrix; benchmarks/bench_kernels.py shows on which shapes
it is the faster one. A 1x1 convolution with stride 1 and without padding has no column matrix either way: its pixels
are the rows of a linear layer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..geometry import output_sizes
from ..memory import empty
from . import conv2d_depthwise, conv2d_planes, conv2d_rows
from ._arrays import dense
from .fused import activated
from .im2col import col2im, im2col
from .linear import linear_backward_input, linear_backward_weight, linear_forward
from .vectors import vector_length

Array = Any
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

ALGORITHMS = ["auto", "im2col", "implicit_gemm"]


def conv2d_forward(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int, algorithm: str,
    activation: str | None,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    KH, KW, C, O = w.shape
    size = output_sizes(x.shape, (KH, KW), stride, padding, dilation)
    if _is_linear((KH, KW), stride, padding, groups, algorithm):
        return linear_forward(x.reshape(-1, C), w[0, 0], b, activation).reshape(len(x), *size, O)
    if _is_im2col(algorithm):
        y = _im2col_forward(x, w, b, stride, padding, dilation, groups).reshape(len(x), *size, O)
        return activated(y, activation)
    y = empty((len(x), *size, O), x.dtype)
    way = _way(w.shape, groups, x.itemsize)
    bias = np.zeros(0, x.dtype) if b is None else dense(b)
    way.forward(dense(x), dense(w), bias, y, stride, padding, dilation, groups)
    return activated(y, activation)


def conv2d_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    if _is_linear(w.shape[:2], stride, padding, groups, algorithm):
        return linear_backward_input(dy.reshape(-1, dy.shape[3]), w[0, 0]).reshape(x_shape)
    if _is_im2col(algorithm):
        return _im2col_backward_input(dy, w, x_shape, stride, padding, dilation, groups)
    dx = empty(x_shape, dy.dtype)
    way = conv2d_depthwise if _is_depthwise(w.shape, groups) else conv2d_rows
    way.input_gradient(dense(dy), dense(w), dx, stride, padding, dilation, groups)
    return dx


def conv2d_backward_weight(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    KH, KW, C, O = w_shape
    if _is_linear((KH, KW), stride, padding, groups, algorithm):
        return linear_backward_weight(dy.reshape(-1, O), x.reshape(-1, C)).reshape(w_shape)
    if _is_im2col(algorithm):
        return _im2col_backward_weight(dy, x, w_shape, stride, padding, dilation, groups)
    way = _way(w_shape, groups, x.itemsize)
    return way.weight_gradient(dense(dy), dense(x), w_shape, stride, padding, dilation, groups)


def _is_linear(kernel: tuple[int, ...], stride: Pair, padding: Padding, groups: int, algorithm: str) -> bool:
    """Whether "implicit_gemm" is asked for a convolution that is a linear layer on pixels."""
    plain = kernel == stride == (1, 1) and padding == ((0, 0), (0, 0)) and groups == 1
    return plain and not _is_im2col(algorithm)


def _is_im2col(algorithm: str) -> bool:
    """Which of the two algorithms is asked for; a name that only another room has is refused, not replaced."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm in the cpu room is one of {ALGORITHMS}, got {algorithm!r}")
    return algorithm == "im2col"


def _way(w_shape: tuple[int, ...], groups: int, itemsize: int) -> Any:
    """Which file serves "implicit_gemm" forward and for the weight gradient.

    `conv2d_planes` where the filters of a group would fill less than half of the width of the micro-kernel's tile.
    """
    if _is_depthwise(w_shape, groups):
        return conv2d_depthwise
    return conv2d_planes if w_shape[3] // groups < vector_length(itemsize) else conv2d_rows


def _is_depthwise(w_shape: tuple[int, ...], groups: int) -> bool:
    """Whether every channel has one filter of its own."""
    return w_shape[2:] == (1, groups) and groups > 1


def _im2col_forward(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    kernel, O = w.shape[:2], w.shape[3] // groups

    def compute(channels: slice, outputs: slice) -> Array:
        columns = im2col(x[..., channels], kernel, stride, padding, dilation)
        return linear_forward(columns, w[..., outputs].reshape(-1, O), None if b is None else b[outputs], None)

    return _by_group(groups, x.shape[3], w.shape[3], compute)


def _im2col_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    kernel, C, O = w.shape[:2], w.shape[2], w.shape[3] // groups

    def compute(channels: slice, outputs: slice) -> Array:
        columns = linear_backward_input(dy[..., outputs].reshape(-1, O), w[..., outputs].reshape(-1, O))
        return col2im(columns, (*x_shape[:3], C), kernel, stride, padding, dilation)

    return _by_group(groups, x_shape[3], w.shape[3], compute)


def _im2col_backward_weight(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
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
