"""The two rearrangements that turn a convolution into a matrix product."""

import numpy as np

from ..geometry import Padding, Pair, output_sizes, taps
from ._arrays import Array, crop, pad


def im2col(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """Write every window of an image as one row of a matrix.

    x: (N, H, W, C); kernel_size, stride, dilation: (rows, columns) in cells; padding: ((top, bottom), (left, right)),
    filled with zeros. Result: (N*OH*OW, KH*KW*C), in the dtype of x; windows in the order (N, OH, OW), the cells
    of a window in the order (KH, KW, C).

        columns[(n, oh, ow), (kh, kw, c)] = padded[n, oh*SH + kh*DH, ow*SW + kw*DW, c]

    A cell stands in the matrix once for each window that covers it, up to KH*KW times: that is the price in memory.

    Chellapilla, Puri & Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006
    (there called unrolling).
    """
    N, _, _, C = x.shape
    (KH, KW), (SH, SW), (DH, DW) = kernel_size, stride, dilation
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, dilation)
    padded = pad(x, padding)
    columns = np.empty((N, OH, OW, KH, KW, C), x.dtype)
    for kh in range(KH):
        for kw in range(KW):
            columns[:, :, :, kh, kw] = padded[:, taps(kh, OH, SH, DH), taps(kw, OW, SW, DW)]
    return columns.reshape(N * OH * OW, KH * KW * C)  # (N, OH, OW, KH, KW, C) -> (N*OH*OW, KH*KW*C)


def col2im(
    columns: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    """Carry the rows of a column matrix back to the image, adding where windows overlap: the adjoint of im2col.

    columns: (N*OH*OW, KH*KW*C); x_shape: (N, H, W, C); the rest as in im2col. Result: (N, H, W, C).

        image[n, h, w, c] = sum of columns[(n, oh, ow), (kh, kw, c)]
                            over all oh*SH + kh*DH - top = h and ow*SW + kw*DW - left = w

    It is im2col's gradient: a cell that was copied into many windows collects the gradients of all of them, and what
    falls on the padding is dropped. It is not im2col's inverse: col2im(im2col(x)) counts each cell as often
    as windows cover it.
    """
    N, H, W, C = x_shape
    (KH, KW), (SH, SW), (DH, DW) = kernel_size, stride, dilation
    OH, OW = output_sizes(x_shape, kernel_size, stride, padding, dilation)
    columns = columns.reshape(N, OH, OW, KH, KW, C)  # (N*OH*OW, KH*KW*C) -> (N, OH, OW, KH, KW, C)
    (top, bottom), (left, right) = padding
    padded = np.zeros((N, top + H + bottom, left + W + right, C), columns.dtype)
    for kh in range(KH):
        for kw in range(KW):
            padded[:, taps(kh, OH, SH, DH), taps(kw, OW, SW, DW)] += columns[:, :, :, kh, kw]
    return crop(padded, padding, H, W)
