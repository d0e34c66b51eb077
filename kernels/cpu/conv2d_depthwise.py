"""Convolution in which every channel has a filter of its own: groups = C = O.

There is no matrix product in it: a number of the image meets KH*KW weights, not O times as many, so that the time goes
into fetching numbers, and a column matrix would fetch each of them KH*KW times. But NHWC has the channels side by side,
and so has the weight. All three directions are the same loop over the channels of a pixel,

    forward           y[p]             +=  x[p under tap t] * w[t]
    input gradient    dx[p under t]    +=  dy[p] * w[t]
    weight gradient   dw[t]            +=  x[p under tap t] * dy[p]

with a whole vector of channels in each step. A thread takes a band of rows of the output, or of dx; the rows of the
image that belong to it lie in its cache with their padding, so that the loop needs to ask for no border.
"""

from typing import Any

import numpy as np

from ..geometry import Padding, Pair
from ..memory import empty
from . import _jit
from ._jit import inlined, on_threads
from .bands import bands_of, before, height_under, line_length, load_band, place_under
from .fused import CODES, activate
from .tiles import at, clear, copy

Array = Any
Shape = tuple[int, ...]

PARTS = 16  # of a weight gradient, each summed by one thread


def forward(
    x: Array, w: Array, b: Array, y_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int,
    activation: str | None,
) -> Array:  # fmt: skip
    """y (N, OH, OW, C) from x (N, H, W, C), w (KH, KW, 1, C) and b (C,) or (0,)."""
    y = empty(y_shape, x.dtype)
    threads = _jit.threads_for(y.size * len(w) * w.shape[1])
    line = line_length(y.shape[2], w.shape[1], x.shape[3], stride, dilation)
    bands = bands_of(len(x), y.shape[1], line * stride[0], threads)
    _forward(x, w[:, :, 0], b, y, stride, before(padding), dilation, line, bands, CODES[activation], threads)
    return y


@on_threads
def _forward(x, w, b, y, stride, before, dilation, line, bands, code, thread, threads):
    N, OH, OW, C = y.shape
    KH, KW = w.shape[:2]
    image, weight, out = x.ravel(), w.ravel(), y.ravel()
    rows = np.empty(height_under((OH + bands - 1) // bands, KH, stride, dilation) * line, x.dtype)
    for task in range(N * bands * thread // threads, N * bands * (thread + 1) // threads):
        n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
        top, height = i0 * stride[0] - before[0], height_under(i1 - i0, KH, stride, dilation)
        load_band(image, x.shape, n, top, height, before[1], rows, line)
        for p in range((i1 - i0) * OW):
            i, j = p // OW, p % OW
            pixel = ((n * OH + i0) * OW + p) * C
            if len(b):
                copy(out, pixel, b, 0, C)
            else:
                clear(out, pixel, C)
            for t in range(KH * KW):
                place = place_under(i, j, t, KW, stride, dilation, line, C)
                _add_products(out, pixel, rows, place, weight, t * C, C)
        activate(out, (n * OH + i0) * OW * C, (i1 - i0) * OW * C, code)


def input_gradient(
    dy: Array, w: Array, x_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, C) and w (KH, KW, 1, C)."""
    dx = empty(x_shape, dy.dtype)
    threads = _jit.threads_for(dy.size * len(w) * w.shape[1])
    line = max(
        line_length(dy.shape[2], w.shape[1], dx.shape[3], stride, dilation), (dx.shape[2] + padding[1][0]) * dx.shape[3]
    )
    bands = bands_of(len(dx), dx.shape[1], line, threads)
    _input_gradient(dy, w[:, :, 0], dx, stride, before(padding), dilation, line, bands, threads)
    return dx


@on_threads
def _input_gradient(dy, w, dx, stride, before, dilation, line, bands, thread, threads):
    N, H, W, C = dx.shape
    (OH, OW), (KH, KW) = dy.shape[1:3], w.shape[:2]
    gradient, weight, image = dy.ravel(), w.ravel(), dx.ravel()
    reach = (KH - 1) * dilation[0]
    rows = np.empty(((H + bands - 1) // bands + 2 * reach + stride[0]) * line, dy.dtype)
    for task in range(N * bands * thread // threads, N * bands * (thread + 1) // threads):
        n, h0, h1 = task // bands, H * (task % bands) // bands, H * (task % bands + 1) // bands
        # The rows of dy that lead to this band; those at its edge lead to rows of its neighbours too.
        i0 = max(0, -((reach - before[0] - h0) // stride[0]))
        i1 = min(OH, (h1 - 1 + before[0]) // stride[0] + 1)
        top = min(h0, i0 * stride[0] - before[0])
        clear(rows, 0, (max(h1, (i1 - 1) * stride[0] - before[0] + reach + 1) - top) * line)
        for p in range((i1 - i0) * OW):
            i, j = p // OW, p % OW
            first = (i0 * stride[0] - before[0] - top) * line
            for t in range(KH * KW):
                place = first + place_under(i, j, t, KW, stride, dilation, line, C)
                _add_products(rows, place, gradient, ((n * OH + i0) * OW + p) * C, weight, t * C, C)
        for h in range(h0, h1):
            copy(image, (n * H + h) * W * C, rows, (h - top) * line + before[1] * C, W * C)


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
    threads = _jit.threads_for(dy.size * KH * KW)
    _weight_gradient(x, dy, parts, (KH, KW), stride, before(padding), dilation, line, bands, threads)
    return parts.sum(axis=0).reshape(w_shape)


@on_threads
def _weight_gradient(x, dy, parts, kernel, stride, before, dilation, line, bands, thread, threads):
    (N, OH, OW, C), (KH, KW), Q = dy.shape, kernel, len(parts)
    image, gradient, sums = x.ravel(), dy.ravel(), parts.ravel()
    rows = np.empty(height_under((OH + bands - 1) // bands, KH, stride, dilation) * line, x.dtype)
    for q in range(Q * thread // threads, Q * (thread + 1) // threads):
        clear(sums, q * KH * KW * C, KH * KW * C)
        for task in range(N * bands * q // Q, N * bands * (q + 1) // Q):
            n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
            top, height = i0 * stride[0] - before[0], height_under(i1 - i0, KH, stride, dilation)
            load_band(image, x.shape, n, top, height, before[1], rows, line)
            for p in range((i1 - i0) * OW):
                i, j = p // OW, p % OW
                for t in range(KH * KW):
                    place = place_under(i, j, t, KW, stride, dilation, line, C)
                    pixel = ((n * OH + i0) * OW + p) * C
                    _add_products(sums, (q * KH * KW + t) * C, rows, place, gradient, pixel, C)


@inlined
def _add_products(out, i, x, j, y, k, n):
    """out[i : i + n] += x[j : j + n] * y[k : k + n] for flat arrays."""
    for q in range(n):
        out[at(i) + at(q)] += x[at(j) + at(q)] * y[at(k) + at(q)]
