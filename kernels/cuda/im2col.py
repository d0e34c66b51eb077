"""The two rearrangements that turn a convolution into a matrix product (im2col.cu)."""

from typing import Any

from ..geometry import Padding, Pair
from ._grid import launch_pixels
from ._launch import AT_ONCE, THREADS, dense, empty, launch
from ._windows import Where, as_argument, windows

Array = Any


def im2col(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """As the reference."""
    g = windows(x.shape, kernel_size, Where(stride, padding, dilation))
    taps = g["taps"].item()
    columns = empty((g["windows"].item(), taps), x.dtype)
    blocks = -(-columns.size // (THREADS * AT_ONCE))
    launch("im2col", "im2col", x.dtype, (blocks,), (THREADS,), columns.size, g, as_argument(taps), dense(x), columns)
    return columns


def col2im(
    columns: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    """As the reference, but a cell gathers what the reference adds to it."""
    image = empty(x_shape, columns.dtype)
    g = windows(x_shape, kernel_size, Where(stride, padding, dilation))
    strides = map(as_argument, stride)
    launch_pixels("im2col", "col2im", image, g, *strides, kernel_size[0], dense(columns), image)
    return image
