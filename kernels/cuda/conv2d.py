"""Convolution: which way of computing it serves which shape.

    "im2col"          the lesson, as in the reference: the column matrix and one matrix product
    "implicit_gemm"   the same product, whose operand looks its numbers up in the image
    "depthwise"       every channel has filters of its own
    "auto"            "depthwise" where it serves, else "implicit_gemm"

Each has a file of its own. A 1x1 convolution with stride 1 and without padding has no windows: there "implicit_gemm" is
the linear layer that it is.
"""

from typing import Any

from ..geometry import Padding, Pair
from . import conv2d_depthwise, conv2d_im2col, conv2d_implicit_gemm, conv2d_pointwise
from ._launch import dense
from ._windows import Where

Array = Any

_WAYS: dict[str, Any] = {
    "im2col": conv2d_im2col,
    "implicit_gemm": conv2d_implicit_gemm,
    "depthwise": conv2d_depthwise,
}
ALGORITHMS = ["auto", *_WAYS]


def conv2d_forward(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int, algorithm: str,
    activation: str | None,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    where = Where(stride, padding, dilation, groups)
    bias = None if b is None else dense(b)
    return _way(algorithm, w.shape, where).forward(dense(x), dense(w), bias, where, activation)


def conv2d_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    where = Where(stride, padding, dilation, groups)
    return _way(algorithm, w.shape, where).input_gradient(dense(dy), dense(w), x_shape, where)


def conv2d_backward_weight(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    where = Where(stride, padding, dilation, groups)
    return _way(algorithm, w_shape, where).weight_gradient(dense(dy), dense(x), w_shape, where)


def _way(algorithm: str, w_shape: tuple[int, ...], where: Where) -> Any:
    """The functions of the algorithm that is asked for. One that does not serve the shape is refused, not replaced."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm in the cuda room is one of {ALGORITHMS}, got {algorithm!r}")
    depthwise = where.groups > 1 and w_shape[2] == 1
    if algorithm == "depthwise" and not depthwise:
        raise ValueError(
            f"algorithm='depthwise' serves convolutions with one channel a group, got a weight of shape {w_shape} and "
            f"groups={where.groups}: use 'auto'"
        )
    if algorithm == "auto":
        algorithm = "depthwise" if depthwise else "implicit_gemm"
    if algorithm == "implicit_gemm" and w_shape[:2] == (1, 1) and where == Where():
        return conv2d_pointwise
    return _WAYS[algorithm]
