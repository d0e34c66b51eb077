"""Pooling: one number for each window of each channel."""

from typing import Any

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from .checks import Padding, Pair, check_flag, check_images, check_pool_windows, pair, resolve_padding

Array = Any


class MaxPool2d(Function):
    """See `max_pool2d`."""

    def __init__(self, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> None:
        self.windows = (kernel_size, stride, padding)
        self.ceil_mode = ceil_mode

    def forward(self, x: Array) -> Array:
        y, index = kernels.room(x).max_pool2d_forward(x, *self.windows, self.ceil_mode)
        self.save(index, x.shape)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        index, shape = self.saved
        return (kernels.room(dy).max_pool2d_backward(dy, index, shape, *self.windows),)


def max_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair | Padding | str = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest cell of each window: (N, H, W, C) to (N, OH, OW, C). stride None means the kernel's size.

    Forward:   y[n, i, j, c] = max over kh, kw of x[n, i*s + kh - top, j*s + kw - left, c]
    Backward:  dx adds dy at the cell that won; on ties the first in row-major order, NaN above all

    Padding is minus infinity, never 0: an image of -1 gives -1. ceil_mode lets a last window hang over the edge.
    Raises ValueError if the kernel does not fit or a window would lie wholly in the padding.
    Source: Riesenhuber and Poggio 1999; overlapping windows: Krizhevsky et al. 2012, section 3.4.
    """
    windows = _windows("MaxPool2d", x, kernel_size, stride, padding, ceil_mode)
    return MaxPool2d(*windows, ceil_mode)(x)


class SumPool2d(Function):
    """See `sum_pool2d`."""

    def __init__(self, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> None:
        self.windows = (kernel_size, stride, padding)
        self.ceil_mode = ceil_mode

    def forward(self, x: Array) -> Array:
        self.save(x.shape)
        return kernels.room(x).sum_pool2d_forward(x, *self.windows, self.ceil_mode)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (shape,) = self.saved
        return (kernels.room(dy).sum_pool2d_backward(dy, shape, *self.windows),)


def sum_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair | Padding | str = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """The sum of each window, padding counted as 0: (N, H, W, C) to (N, OH, OW, C).

    Forward:   y[n, i, j, c] = sum over kh, kw of x[n, i*s + kh - top, j*s + kw - left, c]
    Backward:  dx[cell] = the sum of dy over the windows that cover the cell

    Source: the subsampling of LeCun et al. 1998, section II.B, which adds four cells.
    """
    windows = _windows("SumPool2d", x, kernel_size, stride, padding, ceil_mode)
    return SumPool2d(*windows, ceil_mode)(x)


class AvgPool2d(Function):
    """See `avg_pool2d`."""

    def __init__(
        self, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, count_include_pad: bool
    ) -> None:
        self.windows = (kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Array) -> Array:
        self.save(x.shape)
        return kernels.room(x).avg_pool2d_forward(x, *self.windows, self.ceil_mode, self.count_include_pad)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (shape,) = self.saved
        return (kernels.room(dy).avg_pool2d_backward(dy, shape, *self.windows, self.count_include_pad),)


def avg_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair | Padding | str = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Tensor:
    """The mean of each window: (N, H, W, C) to (N, OH, OW, C). stride None means the kernel's size.

    Forward:   y[n, i, j, c] = 1/count * sum over kh, kw of x[n, i*s + kh - top, j*s + kw - left, c]
    Backward:  dx[cell] = the sum of dy / count over the windows that cover the cell

    count_include_pad: whether padding counts as cells of 0. Here it does not unless asked; PyTorch's default is
        True, so pass True to compare with it.
    Raises ValueError if the kernel does not fit or a window would lie wholly in the padding.
    """
    windows = _windows("AvgPool2d", x, kernel_size, stride, padding, ceil_mode)
    check_flag(count_include_pad, "AvgPool2d", "count_include_pad")
    return AvgPool2d(*windows, ceil_mode, count_include_pad)(x)


def _windows(
    what: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> tuple[Pair, Pair, Padding]:
    """The window's geometry, resolved and checked against x."""
    check_images(x, what)
    check_flag(ceil_mode, what, "ceil_mode")
    kernel = pair(kernel_size, "kernel_size")
    strides = kernel if stride is None else pair(stride, "stride")
    sides = resolve_padding(padding, x.shape, kernel, strides)
    check_pool_windows(what, x, kernel, strides, sides, ceil_mode)
    return kernel, strides, sides


class AdaptiveAvgPool2d(Function):
    """See `adaptive_avg_pool2d`."""

    def __init__(self, output_size: Pair) -> None:
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        self.save(x.shape)
        return kernels.room(x).adaptive_avg_pool2d_forward(x, self.output_size)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (shape,) = self.saved
        return (kernels.room(dy).adaptive_avg_pool2d_backward(dy, shape),)


def adaptive_avg_pool2d(x: Tensor, output_size: int | Pair) -> Tensor:
    """The mean of windows chosen so that the result is (N, OH, OW, C) for output_size (OH, OW).

    Window i covers the rows from floor(i * H / OH) to ceil((i + 1) * H / OH), likewise the columns.
    Forward: y = the mean of the window. Backward: dx[cell] = the sum of dy / window size over the windows on it.
    """
    check_images(x, "AdaptiveAvgPool2d")
    return AdaptiveAvgPool2d(pair(output_size, "output_size"))(x)


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each channel over the whole image: (N, H, W, C) to (N, C). Source: Lin et al. 2013, section 3.2.

    Forward: y[n, c] = 1 / (H * W) * sum of x[n, :, :, c]. Backward: dx[n, h, w, c] = dy[n, c] / (H * W).
    """
    y = adaptive_avg_pool2d(x, 1)
    return y.reshape(y.shape[0], y.shape[3])  # (N, 1, 1, C) -> (N, C)
