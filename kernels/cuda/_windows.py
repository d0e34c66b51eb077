"""The struct `Windows` of windows.cuh: how the windows of a convolution lie on an image."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..geometry import Padding, Pair, output_sizes

DIVIDER = np.dtype([("factor", np.uint32), ("shift", np.int32), ("by", np.int32)])
_FIELDS = ("windows", "taps", "H", "W", "channels", "SH", "SW", "DH", "DW", "top", "left")
WINDOWS = np.dtype([(name, DIVIDER) for name in ("OH", "OW", "KW", "C")] + [(name, np.int32) for name in _FIELDS])


class Where(NamedTuple):
    """Where the windows of a convolution lie, and how its channels are shared; without arguments: on every pixel."""

    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1

    def y_shape(self, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, OH, OW, O)."""
        sizes = output_sizes(x_shape, (w_shape[0], w_shape[1]), self.stride, self.padding, self.dilation)
        return x_shape[0], *sizes, w_shape[3]

    def channels(self, C: int, O: int) -> list[tuple[slice, slice]]:
        """For each group, its channels of x and its channels of y."""
        c, o = C // self.groups, O // self.groups
        return [(slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)) for g in range(self.groups)]


def divider(by: int) -> tuple[int, int, int]:
    """The numbers by which a kernel divides by `by` without a division; windows.cuh says how."""
    shift = 31 + max(by - 1, 0).bit_length()
    return -(-(1 << shift) // max(by, 1)), shift, by


def as_argument(by: int) -> Any:
    """A `Divider` as the argument of a kernel."""
    return np.array([divider(by)], DIVIDER)


def record(
    N: int, out: Pair, kernel: Pair, C: int, image: tuple[int, int, int], stride: Pair, dilation: Pair, before: Pair
) -> tuple[Any, ...]:
    """The fields of `Windows`. C: channels of a group; image: H, W, channels of all groups; before: top, left."""
    windows, taps = N * out[0] * out[1], kernel[0] * kernel[1] * C
    return (*map(divider, (*out, kernel[1], C)), windows, taps, *image, *stride, *dilation, *before)


@cache
def windows(x_shape: tuple[int, ...], kernel: Pair, where: Where) -> Any:
    """The windows of a convolution on x, over the channels of one group."""
    N, H, W, C = x_shape
    out = output_sizes(x_shape, kernel, *where[:3])
    before = where.padding[0][0], where.padding[1][0]
    fields = record(N, out, kernel, C // where.groups, (H, W, C), where.stride, where.dilation, before)
    return np.array([fields], WINDOWS)
