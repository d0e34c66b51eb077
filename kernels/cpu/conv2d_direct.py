"""Convolution of images with few channels: the micro-kernel reads the windows where they lie, without a column matrix.

A row of the column matrix is a few pixels here and a few there. To copy a run of 3 numbers costs as much as one of 30,
so with few channels, in the first layers, copying would take longer than computing. But a band of rows with its padding
is a left matrix already, if a table says where its numbers are: the window of position p begins at positions[p], and
number k of any window lies taps[k] further. The same tables exchanged give the weight gradient.

    y[p, o]  = sum over k of band[positions[p] + taps[k]] * w[k, o]
    dw[k, o] = sum over p of band[taps[k] + positions[p]] * dy[p, o]
"""

from typing import Any

import numpy as np

from ..geometry import Padding, Pair
from ..memory import empty
from . import _jit, conv2d_rows
from ._jit import on_threads
from .bands import bands_of, before, distances, line_length, load_band
from .blocks import DEPTH, multiply, pack
from .fused import CODES, activate
from .microkernel import panel_width

Array = Any
Shape = tuple[int, ...]

PARTS = 16  # of a weight gradient, each summed by one thread
STEP = 128  # positions whose products are summed in the registers: their rows of dy fit the first-level cache


def forward(
    x: Array, w: Array, b: Array, y_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int,
    activation: str | None,
) -> Array:  # fmt: skip
    """y (N, OH, OW, O) from x (N, H, W, C), w (KH, KW, C/groups, O) and b (O,) or (0,)."""
    y = empty(y_shape, x.dtype)
    threads = _jit.threads_for(y.size * w[..., 0].size)
    line = line_length(y.shape[2], w.shape[1], x.shape[3], stride, dilation)
    bands = bands_of(len(x), y.shape[1], line * stride[0], threads)
    taps, positions = _places(w.shape[:3], y.shape[1:3], bands, x.shape[3], line, stride, dilation)
    reach = (w.shape[0] - 1) * dilation[0] + 1
    matrix, start = w.reshape(-1, w.shape[3]), before(padding)  # (KH, KW, C/groups, O) -> (KH*KW*C/groups, O)
    code, size = CODES[activation], (line, reach)
    _forward(x, matrix, b, y, taps, positions, stride[0], start, groups, size, bands, code, threads)
    return y


def _places(
    kernel: tuple[int, ...], size: Pair, bands: int, channels: int, line: int, stride: Pair, dilation: Pair
) -> tuple[Array, Array]:
    """taps (KH*KW*C,) and positions (of all rows of a band,), as the head of this file has them."""
    taps = distances(kernel[:2], dilation, line, channels)
    positions = distances((-(-size[0] // bands), size[1]), stride, line, channels)
    return (taps[:, None] + np.arange(kernel[2])).reshape(-1), positions


@on_threads
def _forward(x, w, b, y, taps, positions, stride, before, groups, size, bands, code, thread, threads):
    N, OH, OW, channels = y.shape
    C, O, K, width = x.shape[3] // groups, channels // groups, len(w), panel_width(x.itemsize)
    line, reach = size
    image, matrix, out = x.ravel(), w.ravel(), y.ravel()
    band = np.empty(((OH - 1) // bands * stride + reach) * line, x.dtype)
    panel = np.empty(min(K, DEPTH) * width, x.dtype)
    for task in range(N * bands * thread // threads, N * bands * (thread + 1) // threads):
        n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
        height = (i1 - i0 - 1) * stride + reach
        load_band(image, x.shape, n, i0 * stride - before[0], height, before[1], band, line)
        first, count = (n * OH + i0) * OW, (i1 - i0) * OW
        for g in range(groups):
            for o in range(0, O, width):
                column, filters = g * O + o, min(width, O - o)
                for k in range(0, K, DEPTH):
                    depth = min(DEPTH, K - k)
                    pack(matrix, k * channels + column, channels, 1, depth, filters, panel, 0)
                    multiply(band, g * C, positions, taps[k:], count, panel, 0, width, depth,
                             out, first * channels + column, channels, filters, k > 0,
                             b, column if len(b) and k == 0 else -1)  # fmt: skip
        activate(out, first * channels, count * channels, code)


def weight_gradient(
    dy: Array, x: Array, w_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """(KH, KW, C/groups, O): the sum over all positions of number k of the window times dy."""
    KH, KW, C, O = w_shape
    line = line_length(dy.shape[2], KW, x.shape[3], stride, dilation)
    # The bands are cut into parts whose sums are added up at the end. How many there are depends on the shapes alone,
    # so that the result has the same bits on any number of threads.
    bands = bands_of(len(x), dy.shape[1], line * stride[0], PARTS)
    parts = empty((min(PARTS, len(x) * bands), KH * KW * C, O), x.dtype)
    taps, positions = _places(w_shape[:3], dy.shape[1:3], bands, x.shape[3], line, stride, dilation)
    reach = (KH - 1) * dilation[0] + 1
    threads = _jit.threads_for(dy.size * KH * KW * C)
    _weight_gradient(x, dy, parts, taps, positions, stride[0], before(padding), groups, (line, reach), bands, threads)
    return parts.sum(axis=0).reshape(w_shape)


@on_threads
def _weight_gradient(x, dy, parts, taps, positions, stride, before, groups, size, bands, thread, threads):
    N, OH, OW, channels = dy.shape
    C, O, K, width = x.shape[3] // groups, channels // groups, len(taps), panel_width(x.itemsize)
    Q = len(parts)
    line, reach = size
    image, gradient, sums = x.ravel(), dy.ravel(), parts.ravel()
    band = np.empty(((OH - 1) // bands * stride + reach) * line, x.dtype)
    panel = np.empty(STEP * width, x.dtype)
    for q in range(Q * thread // threads, Q * (thread + 1) // threads):
        start = N * bands * q // Q
        for task in range(start, N * bands * (q + 1) // Q):
            n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
            height = (i1 - i0 - 1) * stride + reach
            load_band(image, x.shape, n, i0 * stride - before[0], height, before[1], band, line)
            first, count = (n * OH + i0) * OW * channels, (i1 - i0) * OW
            for p in range(0, count, STEP):
                depth, adding = min(STEP, count - p), task > start or p > 0
                for g in range(groups):
                    for o in range(g * O, g * O + O, width):
                        filters, place = min(width, g * O + O - o), q * K * channels + o
                        row = first + p * channels + o
                        if row + (depth - 1) * channels + width <= dy.size:
                            multiply(band, g * C, taps, positions[p:], K, gradient, row, channels, depth,
                                     sums, place, channels, filters, adding, sums, -1)  # fmt: skip
                        else:  # dy's last rows have no whole vectors behind them
                            pack(gradient, row, channels, 1, depth, filters, panel, 0)
                            multiply(band, g * C, taps, positions[p:], K, panel, 0, width, depth,
                                     sums, place, channels, filters, adding, sums, -1)  # fmt: skip


input_gradient = conv2d_rows.input_gradient  # few numbers a pixel: nothing to gain
