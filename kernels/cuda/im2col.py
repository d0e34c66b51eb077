"""The two rearrangements that turn a convolution into a matrix product, a thread for every few numbers."""

from typing import Any

from ..geometry import Padding, Pair
from ._launch import dense, empty, launch_each
from ._windows import Where, windows

Array = Any


def im2col(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """As the reference."""
    g = windows(x.shape, kernel_size, Where(stride, padding, dilation))
    columns = empty((g["windows"].item(), g["taps"].item()), x.dtype)
    launch_each("im2col", "im2col", columns.size, columns, dense(x), g)
    return columns


def col2im(
    columns: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    """As the reference, but a cell gathers what the reference adds to it."""
    image = empty(x_shape, columns.dtype)
    g = windows(x_shape, kernel_size, Where(stride, padding, dilation))
    launch_each("im2col", "col2im", image.size, image, dense(columns), g, kernel_size[0])
    return image
