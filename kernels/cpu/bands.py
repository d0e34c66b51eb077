"""Bands: some rows of an image with their padding, in the cache of the thread that works on them.

A loop over the windows of a band needs to ask for no border, and a window's pixels lie at the same distances from its
first one everywhere.
"""

from typing import Any

import numpy as np

from ._jit import separate
from .tiles import clear, copy

Array = Any

NUMBERS = 1 << 17  # in a band: 512 KB of float32, half a second-level cache


def before(padding):
    """(top, left) of a padding."""
    return padding[0][0], padding[1][0]


def line_length(OW: int, KW: int, C: int, stride: tuple[int, int], dilation: tuple[int, int]) -> int:
    """Numbers in a line of the padded image, as far as the last window reaches."""
    return ((OW - 1) * stride[1] + (KW - 1) * dilation[1] + 1) * C


def bands_of(N: int, rows: int, line: int, tasks: int) -> int:
    """Into how many bands to cut the rows of each of N images: few enough rows for the cache, enough bands for all."""
    return max(1, min(rows, max(-(-rows * line // NUMBERS), -(-tasks // N))))


def distances(size: tuple[int, ...], step: tuple[int, int], line: int, C: int) -> Array:
    """How far from the first of size[0] x size[1] pixels of a band, which are `step` apart, each of them lies."""
    rows, columns = np.arange(size[0]) * step[0] * line, np.arange(size[1]) * step[1] * C
    return (rows[:, None] + columns).reshape(-1)


@separate
def load_band(image, shape, n, top, height, left, rows, line):
    """Copy the rows top, top + 1, ... of image n, of which `left` pixels of padding go ahead; 0 outside."""
    _, H, W, C = shape
    outside = min(left * C, line)
    inside = min(W * C, line - outside)
    for r in range(height):
        if 0 <= top + r < H:
            clear(rows, r * line, outside)
            copy(rows, r * line + outside, image, (n * H + top + r) * W * C, inside)
            clear(rows, r * line + outside + inside, line - outside - inside)
        else:
            clear(rows, r * line, line)
