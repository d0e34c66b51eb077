"""Convolution: which way of computing it serves which shape.

    "im2col"          the lesson, as in the reference: the column matrix and one matrix product
    "implicit_gemm"   the same sums without that matrix, a block at a time in the cache
    "direct"          the windows read where they lie: for few channels
    "depthwise"       every channel has one filter of its own
    "winograd"        3x3 kernels with stride 1, in tiles of 4x4 outputs, a quarter of the products
    "winograd_f2"     the same in tiles of 2x2 outputs: 4/9 of the products, nearly the rounding errors of a plain sum
    "auto"            one of them, by the table in `conv2d_rules`

Each has a file of its own. A 1x1 convolution with stride 1 and without padding has no column matrix: there
"implicit_gemm" is the linear layer that it is.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np

from ..geometry import Padding, Pair, output_sizes
from . import conv2d_depthwise, conv2d_direct, conv2d_im2col, conv2d_pointwise, conv2d_rows, conv2d_winograd
from ._arrays import dense
from .conv2d_rules import choose

Array = Any


def _winograd(m: int) -> SimpleNamespace:
    """`conv2d_winograd` with tiles of m x m outputs, under the arguments of the other ways."""
    way = conv2d_winograd
    return SimpleNamespace(
        forward=lambda x, w, b, y_shape, stride, padding, dilation, groups, activation: way.forward(
            m, x, w, b, y_shape, padding, activation
        ),
        input_gradient=lambda dy, w, x_shape, stride, padding, dilation, groups: way.input_gradient(
            m, dy, w, x_shape, padding
        ),
        weight_gradient=lambda dy, x, w_shape, stride, padding, dilation, groups: way.weight_gradient(
            m, dy, x, w_shape, padding
        ),
    )


_WAYS: dict[str, Any] = {
    "im2col": conv2d_im2col,
    "implicit_gemm": conv2d_rows,
    "direct": conv2d_direct,
    "depthwise": conv2d_depthwise,
    "winograd": _winograd(4),
    "winograd_f2": _winograd(2),
}
ALGORITHMS = ["auto", *_WAYS]


def conv2d_forward(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int, algorithm: str,
    activation: str | None,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    y_shape = len(x), *output_sizes(x.shape, w.shape[:2], stride, padding, dilation), w.shape[3]
    where = stride, padding, dilation, groups
    bias = np.zeros(0, x.dtype) if b is None else dense(b)
    way = _way("forward", algorithm, w.shape, y_shape, *where)
    return way.forward(dense(x), dense(w), bias, y_shape, *where, activation)


def conv2d_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    where = stride, padding, dilation, groups
    way = _way("input_gradient", algorithm, w.shape, dy.shape, *where)
    return way.input_gradient(dense(dy), dense(w), x_shape, *where)


def conv2d_backward_weight(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    where = stride, padding, dilation, groups
    way = _way("weight_gradient", algorithm, w_shape, dy.shape, *where)
    return way.weight_gradient(dense(dy), dense(x), w_shape, *where)


def _way(
    direction: str, algorithm: str, w_shape: tuple[int, ...], y_shape: tuple[int, ...], stride: Pair, padding: Padding,
    dilation: Pair, groups: int,
) -> Any:  # fmt: skip
    """The functions of the algorithm that is asked for. One that does not serve the shape is refused, not replaced."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm in the cpu room is one of {ALGORITHMS}, got {algorithm!r}")
    plain, kernel = dilation == (1, 1) and groups == 1, (w_shape[0], w_shape[1])
    possible = {
        "depthwise": groups > 1 and w_shape[2] == 1 and w_shape[3] == groups,
        "winograd": plain and kernel == (3, 3) and stride == (1, 1),
    }
    if algorithm == "auto":
        algorithm = choose(direction, w_shape, y_shape, groups, possible)
    if not possible.get(algorithm.removesuffix("_f2"), True):
        raise ValueError(
            f"algorithm={algorithm!r} serves {_SERVED[algorithm.removesuffix('_f2')]}, got a weight of shape "
            f"{w_shape}, stride={stride}, dilation={dilation}, groups={groups}: use 'auto'"
        )
    if algorithm == "implicit_gemm" and plain and kernel == stride == (1, 1) and padding == ((0, 0), (0, 0)):
        return conv2d_pointwise
    return _WAYS[algorithm]


_SERVED = {
    "depthwise": "convolutions with one filter a channel (groups = channels = filters)",
    "winograd": "3x3 kernels with stride 1, dilation 1 and groups 1",
}
