"""Rows of the column matrix, from the image and back to it: what `conv2d_rows` does beside multiplying.

NHWC has a row of the matrix ready in runs: the channels of a pixel lie side by side, and without dilation and groups so
do the pixels of a row of the kernel.
"""

from typing import Any

import numpy as np

from ..geometry import Padding, Pair
from ._jit import compiled, inlined, separate
from .tiles import add, clear, copy

Array = Any


def runs(kernel: Pair, C: int, padding: Padding, dilation: Pair, merge: bool) -> tuple[Array, int]:
    """Where a row of the column matrix lies in the image, from pixel (i*stride, j*stride) on: taps (T, 2) and the
    length of the run that begins at each. `merge`: the pixels of a row of the kernel are one run."""
    KH, KW = kernel
    taps = [
        (kh * dilation[0] - padding[0][0], kw * dilation[1] - padding[1][0])
        for kh in range(KH)
        for kw in range(1 if merge else KW)
    ]
    return np.array(taps, np.int64), KW * C if merge else C


def side_by_side(w_shape: tuple[int, ...], dilation: Pair, groups: int) -> bool:
    """Whether nothing lies between the pixels that a row of the kernel reads."""
    return groups == 1 and (dilation[1] == 1 or w_shape[1] == 1)


@separate
def gather(image, shape, c0, size, first, last, stride, taps, run, k0, depth, rows):
    """rows[p - first, k - k0] = number k of the column matrix's row p, for first <= p < last and k0 <= k < k0 + depth.

    All positions of one row of the output at once, run by run; 0 outside the image (N, H, W, C).
    """
    _, H, W, C = shape
    p = first
    while p < last:
        n, i, j = p // (size[0] * size[1]), p // size[1] % size[0], p % size[1]
        times = min(last - p, size[1] - j)
        k, t, r = k0, k0 // run, k0 % run
        while k < k0 + depth:
            count = min(run - r, k0 + depth - k)
            out, h = (p - first) * depth + k - k0, i * stride[0] + taps[t, 0]
            place = (j * stride[1] + taps[t, 1]) * C + c0 + r
            if 0 <= h < H:
                _copy_runs(rows, out, depth, image, (n * H + h) * W * C, place, stride[1] * C, W * C, count, times)
            else:
                for q in range(times):
                    clear(rows, out + q * depth, count)
            k, t, r = k + count, t + 1, 0
        p += times


@inlined
def _copy_runs(rows, out, o_step, image, line, place, step, length, count, times):
    """Copy runs of `count` numbers from places in a line of the image; 0 before and behind the line."""
    for q in range(times):
        o, i = out + q * o_step, place + q * step
        if i >= 0 and i + count <= length:
            copy(rows, o, image, line + i, count)
        else:
            _copy_part(rows, o, image, line, i, length, count)


@compiled
def _copy_part(rows, o, image, line, i, length, count):
    """A run at the edge. It is rare, and in a function of its own: inside the loop it slows down all others."""
    before = min(count, max(0, -i))
    inside = max(0, min(count, length - i) - before)
    clear(rows, o, before)
    copy(rows, o + before, image, line + i + before, inside)
    clear(rows, o + before + inside, count - before - inside)


@separate
def clear_band(image, shape, n, h0, h1, c0, C):
    """The channels c0..c0 + C of rows h0..h1 of image n become 0."""
    _, H, W, channels = shape
    for h in range(h0, h1):
        if channels == C:
            clear(image, (n * H + h) * W * C, W * C)
        else:
            for w in range(W):
                clear(image, ((n * H + h) * W + w) * channels + c0, C)


@separate
def scatter(products, width, OW, image, shape, c0, cells, stride, taps, run, k0, depth):
    """Add number k of row (i, j) of the products to the pixel and channel that `gather` would read it from.

    For k0 <= k < k0 + depth; cells = (n, i0, i1, h0, h1): i0 <= i < i1, to the rows h0..h1 of image n alone.
    """
    _, H, W, C = shape
    n, i0, i1, h0, h1 = cells
    for i in range(i0, i1):
        k, t, r = k0, k0 // run, k0 % run
        while k < k0 + depth:
            count = min(run - r, k0 + depth - k)
            source, h = (i - i0) * OW * width + k - k0, i * stride[0] + taps[t, 0]
            if h0 <= h < h1:
                line, place, step = (n * H + h) * W * C, taps[t, 1] * C + c0 + r, stride[1] * C
                # Runs that overlap are not added one behind the other: the second would wait for the first's stores.
                rounds = (count + step - 1) // step
                for start in range(rounds):
                    for j in range(start, OW, rounds):
                        w, o = place + j * step, source + j * width
                        if w >= 0 and w + count <= W * C:
                            add(image, line + w, products, o, count)
                        else:
                            _add_part(image, line, w, W * C, products, o, count)
            k, t, r = k + count, t + 1, 0


@compiled
def _add_part(image, line, w, length, products, o, count):
    """A run at the edge; see `_copy_part`."""
    before = min(count, max(0, -w))
    add(image, line + w + before, products, o + before, max(0, min(count, length - w) - before))
