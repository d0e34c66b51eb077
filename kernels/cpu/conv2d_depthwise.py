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
from numba import prange

from ..memory import empty
from . import _jit
from ._jit import compiled, inlined, parallel
from .tiles import at, clear, copy

Array = Any
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

NUMBERS = 1 << 17  # in the padded rows of an image that a thread works on: 512 KB, half a second-level cache
PARTS = 16  # of a weight gradient, each summed by one thread


def forward(
    x: Array, w: Array, b: Array, y: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> None:
    """Fill y (N, OH, OW, C) from x (N, H, W, C), w (KH, KW, 1, C) and b (C,) or (0,)."""
    threads = _jit.threads_for(y.size * len(w) * w.shape[1])
    line = _line(y.shape[2], w.shape, stride, dilation)
    bands = _bands(len(x), y.shape[1], line * stride[0], threads)
    _forward(x, w[:, :, 0], b, y, stride, _before(padding), dilation, line, bands, threads)


@parallel
def _forward(x, w, b, y, stride, before, dilation, line, bands, threads):
    N, OH, OW, C = y.shape
    KH, KW = w.shape[:2]
    image, weight, out = x.ravel(), w.ravel(), y.ravel()
    for thread in prange(threads):
        rows = np.empty(_height((OH + bands - 1) // bands, KH, stride, dilation) * line, x.dtype)
        for task in range(N * bands * thread // threads, N * bands * (thread + 1) // threads):
            n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
            top, height = i0 * stride[0] - before[0], _height(i1 - i0, KH, stride, dilation)
            _load(image, x.shape, n, top, height, before[1], rows, line)
            for p in range((i1 - i0) * OW):
                i, j = p // OW, p % OW
                pixel = ((n * OH + i0) * OW + p) * C
                if len(b):
                    copy(out, pixel, b, 0, C)
                else:
                    clear(out, pixel, C)
                for t in range(KH * KW):
                    place = _under(i, j, t, KW, stride, dilation, line, C)
                    _add_products(out, pixel, rows, place, weight, t * C, C)


def input_gradient(dy: Array, w: Array, dx: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> None:
    """Fill dx (N, H, W, C) from dy (N, OH, OW, C) and w (KH, KW, 1, C)."""
    threads = _jit.threads_for(dy.size * len(w) * w.shape[1])
    line = max(_line(dy.shape[2], w.shape, stride, dilation), (dx.shape[2] + padding[1][0]) * dx.shape[3])
    bands = _bands(len(dx), dx.shape[1], line, threads)
    _input_gradient(dy, w[:, :, 0], dx, stride, _before(padding), dilation, line, bands, threads)


@parallel
def _input_gradient(dy, w, dx, stride, before, dilation, line, bands, threads):
    N, H, W, C = dx.shape
    (OH, OW), (KH, KW) = dy.shape[1:3], w.shape[:2]
    gradient, weight, image = dy.ravel(), w.ravel(), dx.ravel()
    reach = (KH - 1) * dilation[0]
    for thread in prange(threads):
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
                    place = first + _under(i, j, t, KW, stride, dilation, line, C)
                    _add_products(rows, place, gradient, ((n * OH + i0) * OW + p) * C, weight, t * C, C)
            for h in range(h0, h1):
                copy(image, (n * H + h) * W * C, rows, (h - top) * line + before[1] * C, W * C)


def weight_gradient(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """(KH, KW, 1, C): the sum over all positions of what lies under a tap times dy."""
    KH, KW, _, C = w_shape
    line = _line(dy.shape[2], w_shape, stride, dilation)
    # The bands are cut into parts whose sums are added up at the end. How many there are depends on the shapes alone,
    # so that the result has the same bits on any number of threads.
    bands = _bands(len(x), dy.shape[1], line * stride[0], PARTS)
    parts = empty((min(PARTS, len(x) * bands), KH * KW, C), x.dtype)
    threads = _jit.threads_for(dy.size * KH * KW)
    _weight_gradient(x, dy, parts, (KH, KW), stride, _before(padding), dilation, line, bands, threads)
    return parts.sum(axis=0).reshape(w_shape)


@parallel
def _weight_gradient(x, dy, parts, kernel, stride, before, dilation, line, bands, threads):
    (N, OH, OW, C), (KH, KW), Q = dy.shape, kernel, len(parts)
    image, gradient, sums = x.ravel(), dy.ravel(), parts.ravel()
    for thread in prange(threads):
        rows = np.empty(_height((OH + bands - 1) // bands, KH, stride, dilation) * line, x.dtype)
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            clear(sums, q * KH * KW * C, KH * KW * C)
            for task in range(N * bands * q // Q, N * bands * (q + 1) // Q):
                n, i0, i1 = task // bands, OH * (task % bands) // bands, OH * (task % bands + 1) // bands
                top, height = i0 * stride[0] - before[0], _height(i1 - i0, KH, stride, dilation)
                _load(image, x.shape, n, top, height, before[1], rows, line)
                for p in range((i1 - i0) * OW):
                    i, j = p // OW, p % OW
                    for t in range(KH * KW):
                        place = _under(i, j, t, KW, stride, dilation, line, C)
                        pixel = ((n * OH + i0) * OW + p) * C
                        _add_products(sums, (q * KH * KW + t) * C, rows, place, gradient, pixel, C)


def _before(padding: Padding) -> Pair:
    return padding[0][0], padding[1][0]


def _line(OW: int, w_shape: tuple[int, ...], stride: Pair, dilation: Pair) -> int:
    """Numbers in a line of the padded image, as far as the last window reaches."""
    return ((OW - 1) * stride[1] + (w_shape[1] - 1) * dilation[1] + 1) * w_shape[3]


def _bands(N: int, rows: int, line: int, tasks: int) -> int:
    """Into how many bands to cut the rows of each of N images: few enough rows for the cache, enough bands for all."""
    return max(1, min(rows, max(-(-rows * line // NUMBERS), -(-tasks // N))))


@inlined
def _height(rows, KH, stride, dilation):
    """How many rows of the image lie under so many rows of the output."""
    return (rows - 1) * stride[0] + (KH - 1) * dilation[0] + 1


@inlined
def _under(i, j, t, KW, stride, dilation, line, C):
    """Where in the padded rows the pixel under tap t of position (i, j) lies."""
    return (i * stride[0] + t // KW * dilation[0]) * line + (j * stride[1] + t % KW * dilation[1]) * C


@compiled
def _load(image, shape, n, top, height, left, rows, line):
    """Copy the rows top, top + 1, ... of image n, of which `left` pixels of padding go ahead; 0 outside."""
    _, H, W, C = shape
    before = min(left * C, line)
    inside = min(W * C, line - before)
    for r in range(height):
        if 0 <= top + r < H:
            clear(rows, r * line, before)
            copy(rows, r * line + before, image, (n * H + top + r) * W * C, inside)
            clear(rows, r * line + before + inside, line - before - inside)
        else:
            clear(rows, r * line, line)


@inlined
def _add_products(out, i, x, j, y, k, n):
    """out[i : i + n] += x[j : j + n] * y[k : k + n] for flat arrays."""
    for q in range(n):
        out[at(i) + at(q)] += x[at(j) + at(q)] * y[at(k) + at(q)]
