"""The column matrix, filled by all threads, and its way back as a gather: each cell of the image adds up the columns
that hold it, so that no two threads write to one cell and the sums have one order."""

from typing import Any

from ..geometry import Padding, Pair, output_sizes
from ..memory import empty, zeros
from . import _jit
from ._arrays import dense
from ._jit import on_threads
from .tiles import add, clear, copy

Array = Any


def im2col(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """As the reference; each thread writes whole rows."""
    N, _, _, C = x.shape
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, dilation)
    columns = empty((N, OH, OW, *kernel_size, C), x.dtype)
    _im2col(dense(x), columns, stride, (padding[0][0], padding[1][0]), dilation, _jit.threads_for(columns.size))
    return columns.reshape(N * OH * OW, -1)  # (N, OH, OW, KH, KW, C) -> (N*OH*OW, KH*KW*C)


@on_threads
def _im2col(x, columns, stride, before, dilation, thread, threads):
    N, OH, OW, KH, KW, C = columns.shape
    H, W = x.shape[1], x.shape[2]
    image, out = x.ravel(), columns.ravel()
    for row in range(N * OH * thread // threads, N * OH * (thread + 1) // threads):
        n, i = row // OH, row % OH
        for j in range(OW):
            for kh in range(KH):
                h = i * stride[0] + kh * dilation[0] - before[0]
                for kw in range(KW):
                    w = j * stride[1] + kw * dilation[1] - before[1]
                    column = (((row * OW + j) * KH + kh) * KW + kw) * C
                    if 0 <= h < H and 0 <= w < W:
                        copy(out, column, image, ((n * H + h) * W + w) * C, C)
                    else:
                        clear(out, column, C)


def col2im(
    columns: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    """As the reference, gathered."""
    N, _, _, C = x_shape
    OH, OW = output_sizes(x_shape, kernel_size, stride, padding, dilation)
    x = zeros(x_shape, columns.dtype)
    # (N*OH*OW, KH*KW*C) -> (N, OH, OW, KH, KW, C)
    windows = dense(columns).reshape(N, OH, OW, *kernel_size, C)
    _col2im(windows, x, stride, (padding[0][0], padding[1][0]), dilation, _jit.threads_for(columns.size))
    return x


@on_threads
def _col2im(columns, x, stride, before, dilation, thread, threads):
    _, OH, OW, KH, KW, C = columns.shape
    N, H, W = x.shape[0], x.shape[1], x.shape[2]
    flat, image = columns.ravel(), x.ravel()
    for row in range(N * H * thread // threads, N * H * (thread + 1) // threads):
        n, h = row // H, row % H
        for kh in range(KH):
            up = h + before[0] - kh * dilation[0]
            if up < 0 or up % stride[0] or up // stride[0] >= OH:
                continue
            for w in range(W):
                for kw in range(KW):
                    left = w + before[1] - kw * dilation[1]
                    if left >= 0 and left % stride[1] == 0 and left // stride[1] < OW:
                        window = (n * OH + up // stride[0]) * OW + left // stride[1]
                        add(image, (row * W + w) * C, flat, ((window * KH + kh) * KW + kw) * C, C)
