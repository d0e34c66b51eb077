"""Convolution: which way of computing it serves which shape.

    "im2col"          the lesson, as in the reference: the column matrix and one matrix product
    "implicit_gemm"   the same sums without that matrix, a tile at a time in the cache:
                      `conv2d_rows` where a filter has many numbers, `conv2d_planes` where it has few

"auto" means "implicit_gemm", which needs no memory for the matrix; benchmarks/bench_kernels.py shows on which shapes
it is the faster one.

The input gradient is a convolution too. In the forward pass output (i, j) reads input (i*s + kh*d - top, ...).
Backwards, input row u*s + a reads output row u + (a + top - kh*d) / s, for the kh where that divides: for each of the
s*s phases (a, a') it is a convolution of dy with stride 1 (`_phase`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..geometry import output_sizes
from ..memory import empty, zeros
from . import conv2d_planes, conv2d_rows
from ._arrays import dense
from .im2col import col2im, im2col
from .linear import linear_backward_input, linear_backward_weight, linear_forward

Array = Any
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

ALGORITHMS = ["auto", "im2col", "implicit_gemm"]
# From so many numbers in a filter, and so many filters, conv2d_rows is the faster way.
MANY_NUMBERS, MANY_FILTERS = 64, 24
LONG_RUN = 8  # channels, which lie side by side: shorter pieces cost more to copy than to multiply
# From so many filters the weight gradient of a 1x1 convolution is that of a linear layer.
WIDE = 128


def conv2d_forward(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int, algorithm: str
) -> Array:
    """As the reference; see the head of this file for the algorithms."""
    KH, KW, C, O = w.shape
    size = output_sizes(x.shape, (KH, KW), stride, padding, dilation)
    if _is_im2col(algorithm):
        return _im2col_forward(x, w, b, stride, padding, dilation, groups).reshape(len(x), *size, O)
    y = empty((len(x), *size, O), x.dtype)
    bias = np.zeros(0, x.dtype) if b is None else dense(b)
    taps = _taps(KH, KW, dilation, padding)
    x, w, geometry = dense(x), dense(w), (taps, stride, (1, 1), (0, 0))
    if _rows_are_long(KH * KW * C, C, O // groups):
        # (KH, KW, C, O) -> (KH*KW*C, O)
        conv2d_rows.correlate(x, w.reshape(-1, O), bias, y, *geometry)
    else:
        # (KH, KW, C, groups, O/groups) -> (groups, KH*KW*C, O/groups)
        a = w.reshape(-1, groups, O // groups).transpose(1, 0, 2)
        conv2d_planes.correlate(x, a, bias, y, *geometry)
    return y


def conv2d_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; "implicit_gemm" is a convolution of dy with stride 1 for each phase of the input.

    It multiplies the zeros around dy too: an infinite weight makes NaN of border cells that it does not reach.
    """
    if _is_im2col(algorithm):
        return _im2col_backward_input(dy, w, x_shape, stride, padding, dilation, groups)
    # Where a stride is longer than the kernel no output reads some of the input: its gradient is 0.
    unread = stride[0] > w.shape[0] or stride[1] > w.shape[1] or dilation != (1, 1)
    dx = zeros(x_shape, dy.dtype) if unread else empty(x_shape, dy.dtype)
    dy = dense(dy)
    for a in range(min(stride[0], x_shape[1])):
        rows, row_taps = _phase(a, w.shape[0], stride[0], padding[0][0], dilation[0])
        for b in range(min(stride[1], x_shape[2])):
            columns, column_taps = _phase(b, w.shape[1], stride[1], padding[1][0], dilation[1])
            taps = np.array([(h, v) for h in row_taps for v in column_taps], np.int64).reshape(-1, 2)
            if len(taps):
                part = w if len(taps) == w.shape[0] * w.shape[1] else w[rows][:, columns]
                _lead_back(dy, dense(part), dx, taps, groups, stride, (a, b))
    return dx


def _lead_back(dy: Array, w: Array, dx: Array, taps: Array, groups: int, stride: Pair, phase: Pair) -> None:
    """One phase of dx: dy convolved with w (KH, KW, C, O), the channels of each group exchanged."""
    T, C, O = len(taps), w.shape[2], w.shape[3] // groups
    geometry = (np.zeros(0, dy.dtype), dx, taps, (1, 1), stride, phase)
    if _rows_are_long(T * O, O, C):
        conv2d_rows.correlate(dy, conv2d_rows.exchanged(w.reshape(T, C, -1), groups), *geometry)
    else:
        # (T, C, groups, O/groups) -> (groups, T, O/groups, C)
        a = w.reshape(T, C, groups, O).transpose(2, 0, 3, 1).reshape(groups, T * O, C)
        conv2d_planes.correlate(dy, a, *geometry)


def _is_im2col(algorithm: str) -> bool:
    """Which of the two algorithms is asked for; a name that only another room has is refused, not replaced."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm in the cpu room is one of {ALGORITHMS}, got {algorithm!r}")
    return algorithm == "im2col"


def _rows_are_long(numbers: int, run: int, filters: int) -> bool:
    """Whether `conv2d_rows` serves so many filters of that many numbers, in runs of `run`, else `conv2d_planes`."""
    return numbers >= MANY_NUMBERS and run >= LONG_RUN and filters >= MANY_FILTERS


def conv2d_backward_weight(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int,
    algorithm: str,
) -> Array:  # fmt: skip
    """As the reference; see the head of this file for the algorithms."""
    KH, KW, C, O = w_shape
    if _is_im2col(algorithm):
        return _im2col_backward_weight(dy, x, w_shape, stride, padding, dilation, groups)
    x, dy = dense(x), dense(dy)
    if (KH, KW, groups, stride) == (1, 1, 1, (1, 1)) and x.shape[:3] == dy.shape[:3] and O >= WIDE:
        return linear_backward_weight(dy.reshape(-1, O), x.reshape(-1, C)).reshape(w_shape)
    taps = _taps(KH, KW, dilation, padding)
    room = conv2d_rows if _rows_are_long(KH * KW * C, C, O // groups) else conv2d_planes
    return room.weight_gradient(x, dy, taps, stride, groups).reshape(w_shape)  # (KH*KW*C, O) -> (KH, KW, C, O)


def _phase(a: int, K: int, stride: int, before: int, dilation: int) -> tuple[list[int], list[int]]:
    """For input rows u*stride + a: the kernel rows that reach them, and which output rows those read, relative to u."""
    reached = [k for k in range(K) if (a + before - k * dilation) % stride == 0]
    return reached, [(a + before - k * dilation) // stride for k in reached]


def _taps(KH: int, KW: int, dilation: Pair, padding: Padding) -> Array:
    """(KH*KW, 2): where each cell of the kernel reads, relative to i*stride, j*stride."""
    return np.array(
        [(kh * dilation[0] - padding[0][0], kw * dilation[1] - padding[1][0]) for kh in range(KH) for kw in range(KW)],
        np.int64,
    )


def _im2col_forward(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    kernel, O = w.shape[:2], w.shape[3] // groups

    def compute(channels: slice, outputs: slice) -> Array:
        columns = im2col(x[..., channels], kernel, stride, padding, dilation)
        return linear_forward(columns, w[..., outputs].reshape(-1, O), None if b is None else b[outputs])

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
