"""Convolution in which every channel has a filter of its own: groups = C = O.

There is no matrix product in it: a number of the image meets KH*KW weights, not O times as many, so that the time goes
into fetching numbers, and a column matrix would fetch each of them KH*KW times. But NHWC has the channels side by side,
and so has the weight. All three directions are one loop over the channels of a pixel, `multiply_channels`, with a whole
vector of them in each step and the sums of a few neighbours in registers:

    forward           y[p]   =  sum over t of x[p under tap t] * w[t]         neighbours: pixels of a row
    input gradient    dx[p]  =  sum over t of dy[that sees p by t] * w[t]     neighbours: every stride-th pixel
    weight gradient   dw[t]  =  sum over p of x[p under tap t] * dy[p]        neighbours: taps

A thread takes a band of rows of the output; the rows of x under it lie in its cache with their padding, so that the
loop needs to ask for no border. dy is read where it lies: pixels of dx at the border are seen by fewer pixels of dy.
"""

from typing import Any

import numpy as np

from ..geometry import Padding, Pair
from ..memory import empty
from . import _jit
from ._jit import compiled, on_threads
from .bands import bands_of, before, distances, line_length, load_band
from .fused import CODES, activate
from .microkernel import CHANNEL_ROWS, multiply_channels

Array = Any
Shape = tuple[int, ...]

PARTS = 16  # of a weight gradient, each summed by one thread
CHAIN = 128  # products that it adds to one number, which in float32 loses a digit where it becomes very many


def forward(
    x: Array, w: Array, b: Array, y_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int,
    activation: str | None,
) -> Array:  # fmt: skip
    """y (N, OH, OW, C) from x (N, H, W, C), w (KH, KW, 1, C) and b (C,) or (0,)."""
    y, kernel = empty(y_shape, x.dtype), w.shape[:2]
    threads = _jit.threads_for(y.size * kernel[0] * kernel[1])
    line = line_length(y.shape[2], kernel[1], x.shape[3], stride, dilation)
    bands = bands_of(len(x), y.shape[1], line * stride[0], threads)
    taps = distances(kernel, dilation, line, x.shape[3])
    reach = (kernel[0] - 1) * dilation[0] + 1
    _forward(x, w, b, y, taps, reach, stride, before(padding), line, bands, CODES[activation], threads)
    return y


@on_threads
def _forward(x, w, b, y, taps, reach, stride, before, line, bands, code, thread, threads):
    N, OH, OW, C = y.shape
    image, weight, out = x.ravel(), w.ravel(), y.ravel()
    rows = np.empty((((OH + bands - 1) // bands - 1) * stride[0] + reach) * line, x.dtype)
    for task in range(N * bands * thread // threads, N * bands * (thread + 1) // threads):
        n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
        height = (i1 - i0 - 1) * stride[0] + reach
        load_band(image, x.shape, n, i0 * stride[0] - before[0], height, before[1], rows, line)
        for i in range(i1 - i0):
            pixel = (n * OH + i0 + i) * OW * C
            for j in range(0, OW, CHANNEL_ROWS):
                multiply_channels(rows, i * stride[0] * line, stride[1] * C, taps, j, min(CHANNEL_ROWS, OW - j),
                                  weight, 0, C, len(taps),
                                  out, pixel, C, C, False, b, 0 if len(b) else -1)  # fmt: skip
            activate(out, pixel, OW * C, code)


def input_gradient(
    dy: Array, w: Array, x_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, C) and w (KH, KW, 1, C)."""
    dx = empty(x_shape, dy.dtype)
    threads = _jit.threads_for(dy.size * w.shape[0] * w.shape[1])
    _input_gradient(dy, w, dx, stride, before(padding), dilation, threads)
    return dx


@on_threads
def _input_gradient(dy, w, dx, stride, before, dilation, thread, threads):
    (N, H, W, C), (OH, OW), T = dx.shape, dy.shape[1:3], w.shape[0] * w.shape[1]
    gradient, weight, image = dy.ravel(), w.ravel(), dx.ravel()
    places, weights = np.empty(T, np.int64), np.empty(T, np.int64)
    # Between these columns no tap meets what is beside dy: every stride-th pixel is seen by the same taps.
    begin, end = (w.shape[1] - 1) * dilation[1] - before[1], (OW - 1) * stride[1] - before[1] + 1
    for row in range(N * H * thread // threads, N * H * (thread + 1) // threads):
        n, h = row // H, row % H
        for first in range(min(W, stride[1])):
            left = first
            while left < W:
                run = (min(W, end) - left + stride[1] - 1) // stride[1] if begin <= left < end else 1
                count = _seen_by(h, left, dy.shape, w.shape, stride, before, dilation, places, weights)
                for m in range(0, run, CHANNEL_ROWS):
                    multiply_channels(gradient, n * OH * OW * C, C, places, m, min(CHANNEL_ROWS, run - m),
                                      weight, 0, weights, count,
                                      image, (row * W + left) * C, stride[1] * C, C, False, weight, -1)  # fmt: skip
                left += run * stride[1]


@compiled
def _seen_by(h, w, y_shape, w_shape, stride, before, dilation, places, weights):
    """Of the pixels of dy that see pixel (h, w), where they lie, and where the weights; returns how many there are."""
    (_, OH, OW, C), (KH, KW), count = y_shape, w_shape[:2], 0
    for t in range(KH * KW):
        i, j = h + before[0] - t // KW * dilation[0], w + before[1] - t % KW * dilation[1]
        if i % stride[0] == 0 and 0 <= i // stride[0] < OH and j % stride[1] == 0 and 0 <= j // stride[1] < OW:
            places[count], weights[count] = (i // stride[0] * OW + j // stride[1]) * C, t * C
            count += 1
    return count


def weight_gradient(
    dy: Array, x: Array, w_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """(KH, KW, 1, C): the sum over all positions of what lies under a tap times dy."""
    KH, KW, _, C = w_shape
    line = line_length(dy.shape[2], KW, C, stride, dilation)
    # The bands are cut into parts whose sums are added up at the end. How many there are depends on the shapes alone,
    # so that the result has the same bits on any number of threads.
    bands = bands_of(len(x), dy.shape[1], line * stride[0], PARTS)
    parts = empty((min(PARTS, len(x) * bands), KH * KW, C), x.dtype)
    taps = distances((KH, KW), dilation, line, C)
    positions = distances((-(-dy.shape[1] // bands), dy.shape[2]), stride, line, C)
    reach, threads = (KH - 1) * dilation[0] + 1, _jit.threads_for(dy.size * KH * KW)
    _weight_gradient(x, dy, parts, taps, positions, reach, stride[0], before(padding), line, bands, threads)
    return parts.sum(axis=0).reshape(w_shape)


@on_threads
def _weight_gradient(x, dy, parts, taps, positions, reach, stride, before, line, bands, thread, threads):
    (N, OH, OW, C), (Q, T, _) = dy.shape, parts.shape
    image, gradient = x.ravel(), dy.ravel()
    rows, chains = (
        np.empty((((OH + bands - 1) // bands - 1) * stride + reach) * line, x.dtype),
        np.empty(T * C, x.dtype),
    )
    for q in range(Q * thread // threads, Q * (thread + 1) // threads):
        sums = parts[q].ravel()
        sums[:] = 0
        for task in range(N * bands * q // Q, N * bands * (q + 1) // Q):
            n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
            load_band(image, x.shape, n, i0 * stride - before[0], (i1 - i0 - 1) * stride + reach, before[1], rows, line)
            for p in range(0, (i1 - i0) * OW, CHAIN):
                for t in range(0, T, CHANNEL_ROWS):
                    multiply_channels(rows, 0, taps, positions[p:], t, min(CHANNEL_ROWS, T - t),
                                      gradient, ((n * OH + i0) * OW + p) * C, C, min(CHAIN, (i1 - i0) * OW - p),
                                      chains, 0, C, C, False, chains, -1)  # fmt: skip
                for i in range(T * C):
                    sums[i] += chains[i]
