"""Convolution, its three directions in three algorithms.

"im2col" copies the windows into a matrix, so that each direction is one matrix product. "implicit_gemm" needs no
matrix: it walks over the KH*KW positions of the kernel, and at each of them a shifted, strided slice of the image
meets one (C, O) slice of the weight. "winograd" and "winograd_f2" need fewer products: see `winograd`. "auto" means
"im2col" in this room.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from ..geometry import Padding, Pair, output_sizes, taps
from ._arrays import Array, crop, pad
from .activation import activated
from .im2col import col2im, im2col
from .winograd import winograd_backward_input, winograd_backward_weight, winograd_forward

ALGORITHMS = ["auto", "im2col", "implicit_gemm", "winograd", "winograd_f2"]


def conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    algorithm: str,
    activation: str | None,
) -> Array:
    """Slide O filters over an image and take at each place the sum of products (a cross-correlation).

    x: (N, H, W, C); w: (KH, KW, C // groups, O); b: (O,) or None; stride, dilation: (rows, columns) in cells;
    padding: ((top, bottom), (left, right)) of zeros; algorithm: "auto", "im2col", "implicit_gemm", and for 3x3 kernels
    with stride and dilation 1 "winograd" or "winograd_f2"; activation: None, "relu", "tanh" or "sigmoid", of the sums.
    Result y: (N, OH, OW, O), with OH = floor((H + top + bottom - DH*(KH-1) - 1) / SH) + 1, OW alike.

        y[n, oh, ow, o] = activation(b[o] + sum over kh, kw, c of
                                     x[n, oh*SH + kh*DH - top, ow*SW + kw*DW - left, c] * w[kh, kw, c, o])

    and for one group y = activation(im2col(x) @ w + b). With groups, filter o sees only the channels of its own group:
    the g-th C // groups channels of x make the g-th O // groups channels of y (groups=C: depthwise).
    The gradient dy that the functions below take is that in the sum, before the activation: relu_backward(dy, y),
    tanh_backward(dy, y) or sigmoid_backward(dy, y).

    Raises ValueError for an algorithm that this room does not have, or that does not serve the shape.

    LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998, section II.A;
    groups: Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    section 3.2; dilation: Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", 2016, section 2.
    """
    forward = _chosen(algorithm, _im2col_forward, _implicit_gemm_forward, winograd_forward)
    parts = [
        forward(x[..., cs], w[..., os], stride, padding, dilation) for cs, os in _groups(x.shape[3], w.shape[3], groups)
    ]
    y = np.concatenate(parts, axis=3)
    return activated(y if b is None else y + b, activation)


def conv2d_backward_input(
    dy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    algorithm: str,
) -> Array:
    """Gradient of the loss in x: each window hands its gradient back to the cells that it covered.

    dy: (N, OH, OW, O); w: (KH, KW, C // groups, O); x_shape: (N, H, W, C). Result dx: (N, H, W, C).

        dx[n, h, w, c] = sum of dy[n, oh, ow, o] * w[kh, kw, c, o]
                         over all o, oh*SH + kh*DH - top = h, ow*SW + kw*DW - left = w

    and for one group dx = col2im(dy @ w.T). The other arguments and errors are those of conv2d_forward.
    """
    N, H, W, C = x_shape
    backward = _chosen(algorithm, _im2col_backward_input, _implicit_gemm_backward_input, winograd_backward_input)
    group_shape = (N, H, W, C // groups)
    parts = [
        backward(dy[..., os], w[..., os], group_shape, stride, padding, dilation)
        for _, os in _groups(C, w.shape[3], groups)
    ]
    return np.concatenate(parts, axis=3)


def conv2d_backward_weight(
    dy: Array,
    x: Array,
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    algorithm: str,
) -> Array:
    """Gradient of the loss in w: each weight collects over all places the product of what it saw and what it caused.

    dy: (N, OH, OW, O); x: (N, H, W, C); w_shape: (KH, KW, C // groups, O). Result dw: (KH, KW, C // groups, O).

        dw[kh, kw, c, o] = sum over n, oh, ow of x[n, oh*SH + kh*DH - top, ow*SW + kw*DW - left, c] * dy[n, oh, ow, o]

    and for one group dw = im2col(x).T @ dy. The gradient in b is bias_backward(dy). The other arguments and errors
    are those of conv2d_forward.
    """
    backward = _chosen(algorithm, _im2col_backward_weight, _implicit_gemm_backward_weight, winograd_backward_weight)
    kernel_size = (w_shape[0], w_shape[1])
    parts = [
        backward(dy[..., os], x[..., cs], kernel_size, stride, padding, dilation)
        for cs, os in _groups(x.shape[3], w_shape[3], groups)
    ]
    return np.concatenate(parts, axis=3)


# The im2col algorithm, for one group.


def _im2col_forward(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    KH, KW, C, O = w.shape
    OH, OW = output_sizes(x.shape, (KH, KW), stride, padding, dilation)
    columns = im2col(x, (KH, KW), stride, padding, dilation)
    y = columns @ w.reshape(KH * KW * C, O)  # (KH, KW, C, O) -> (KH*KW*C, O)
    return y.reshape(x.shape[0], OH, OW, O)  # (N*OH*OW, O) -> (N, OH, OW, O)


def _im2col_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    KH, KW, C, O = w.shape
    rows = dy.reshape(-1, O)  # (N, OH, OW, O) -> (N*OH*OW, O)
    columns = rows @ w.reshape(KH * KW * C, O).T  # (KH, KW, C, O) -> (O, KH*KW*C)
    return col2im(columns, x_shape, (KH, KW), stride, padding, dilation)


def _im2col_backward_weight(
    dy: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    C, O = x.shape[3], dy.shape[3]
    columns = im2col(x, kernel_size, stride, padding, dilation)
    dw = columns.T @ dy.reshape(-1, O)  # (N, OH, OW, O) -> (N*OH*OW, O)
    return dw.reshape(*kernel_size, C, O)  # (KH*KW*C, O) -> (KH, KW, C, O)


# The direct algorithm, for one group. At each position of the kernel: padded[:, rows, columns] is (N, OH, OW, C).


def _implicit_gemm_forward(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    KH, KW, _, O = w.shape
    OH, OW = output_sizes(x.shape, (KH, KW), stride, padding, dilation)
    padded = pad(x, padding)
    y = np.zeros((x.shape[0], OH, OW, O), x.dtype)
    for kh in range(KH):
        for kw in range(KW):
            rows, columns = taps(kh, OH, stride[0], dilation[0]), taps(kw, OW, stride[1], dilation[1])
            y += padded[:, rows, columns] @ w[kh, kw]
    return y


def _implicit_gemm_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    (N, H, W, C), (_, OH, OW, _) = x_shape, dy.shape
    dpadded = pad(np.zeros((N, H, W, C), dy.dtype), padding)
    for kh in range(w.shape[0]):
        for kw in range(w.shape[1]):
            rows, columns = taps(kh, OH, stride[0], dilation[0]), taps(kw, OW, stride[1], dilation[1])
            dpadded[:, rows, columns] += dy @ w[kh, kw].T
    return crop(dpadded, padding, H, W)


def _implicit_gemm_backward_weight(
    dy: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    (KH, KW), (_, OH, OW, O), C = kernel_size, dy.shape, x.shape[3]
    padded = pad(x, padding)
    dw = np.empty((KH, KW, C, O), x.dtype)
    for kh in range(KH):
        for kw in range(KW):
            rows, columns = taps(kh, OH, stride[0], dilation[0]), taps(kw, OW, stride[1], dilation[1])
            # (N, OH, OW, C) -> (N*OH*OW, C) and (N, OH, OW, O) -> (N*OH*OW, O)
            dw[kh, kw] = padded[:, rows, columns].reshape(-1, C).T @ dy.reshape(-1, O)
    return dw


def _groups(C: int, O: int, groups: int) -> list[tuple[slice, slice]]:
    """For each group, its channels of x and its channels of y."""
    c, o = C // groups, O // groups
    return [(slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)) for g in range(groups)]


def _chosen(
    algorithm: str, columns: Callable[..., Array], direct: Callable[..., Array], winograd: Callable[..., Array]
) -> Callable[..., Array]:
    """The function of the algorithm asked for; a name that only a fast room has is refused, not replaced."""
    ways = columns, columns, direct, partial(winograd, m=4), partial(winograd, m=2)
    choices: dict[str, Callable[..., Array]] = dict(zip(ALGORITHMS, ways, strict=True))
    if algorithm not in choices:
        raise ValueError(f"algorithm in the reference room is one of {sorted(choices)}, got {algorithm!r}")
    return choices[algorithm]
