"""Pooling: each window of an image, channel by channel, becomes one number (its maximum, its sum, its average).

Each kernel walks over the KH*KW positions of the window; at each of them a shifted, strided slice of the padded image,
(N, OH, OW, C), holds the cell that every window has there.
"""

from collections.abc import Iterator

import numpy as np

from ..geometry import Padding, Pair, covering_padding, output_sizes, taps, window_cells
from ._arrays import Array, crop, pad


def max_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool
) -> tuple[Array, Array]:
    """The largest cell of each window, and where it lay.

    x: (N, H, W, C); kernel_size, stride: (rows, columns) in cells; padding: ((top, bottom), (left, right)), filled
    with minus infinity, so that a padded cell never wins; ceil_mode: keep a last window that sticks out.
    Results y: (N, OH, OW, C), dtype of x; index: (N, OH, OW, C) int32, the winner's kh*KW + kw in its window.

        y[n, oh, ow, c] = max over kh, kw of x[n, oh*SH + kh - top, ow*SW + kw - left, c]

    On ties the first cell in row-major order wins. NaN beats every number, and the first NaN wins.

    Max pooling in a network trained by backpropagation: Ranzato, Huang, Boureau & LeCun, "Unsupervised Learning of
    Invariant Feature Hierarchies with Applications to Object Recognition", 2007.
    """
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
    full = _covering(x.shape, kernel_size, stride, padding, OH, OW)
    padded = pad(x, full, -np.inf)
    # A window of nothing but minus infinities must still name a real cell: a padded one would lose its gradient.
    real = pad(np.ones((1, *x.shape[1:3], 1), bool), full, False)
    y = np.full((x.shape[0], OH, OW, x.shape[3]), -np.inf, x.dtype)
    index = np.full(y.shape, -1, np.int32)
    for k, rows, columns in _positions(kernel_size, stride, OH, OW):
        cell = padded[:, rows, columns]
        wins = (index < 0) | (cell > y) | (np.isnan(cell) & ~np.isnan(y))
        wins &= real[:, rows, columns]
        y[wins], index[wins] = cell[wins], k
    return y, index


def max_pool2d_backward(
    dy: Array, index: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """Gradient of max pooling: the winner of each window receives all of it.

    dy: (N, OH, OW, C); index: (N, OH, OW, C) int32, as max_pool2d_forward gave it; x_shape: (N, H, W, C).
    Result dx: (N, H, W, C), dtype of dy.

        dx[n, h, w, c] = sum of dy[n, oh, ow, c] over all windows whose winner was cell (h, w)

    The index is saved because comparing x with y again would pay every tied cell, and no NaN.
    """
    OH, OW = dy.shape[1:3]
    full = _covering(x_shape, kernel_size, stride, padding, OH, OW)
    dpadded = pad(np.zeros(x_shape, dy.dtype), full)
    for k, rows, columns in _positions(kernel_size, stride, OH, OW):
        dpadded[:, rows, columns] += np.where(index == k, dy, 0)
    return crop(dpadded, full, *x_shape[1:3])


def sum_pool2d_forward(x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> Array:
    """The sum of each window.

    x: (N, H, W, C); kernel_size, stride: (rows, columns) in cells; padding: ((top, bottom), (left, right)) of zeros;
    ceil_mode: keep a last window that sticks out. Result y: (N, OH, OW, C).

        y[n, oh, ow, c] = sum over kh, kw of x[n, oh*SH + kh - top, ow*SW + kw - left, c]

    LeNet-5's sub-sampling layers sum four cells, then scale and shift by trained numbers: LeCun, Bottou, Bengio &
    Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998, section II.B.
    """
    OH, OW = output_sizes(x.shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
    padded = pad(x, _covering(x.shape, kernel_size, stride, padding, OH, OW))
    y = np.zeros((x.shape[0], OH, OW, x.shape[3]), x.dtype)
    for _, rows, columns in _positions(kernel_size, stride, OH, OW):
        y += padded[:, rows, columns]
    return y


def sum_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Array:
    """Gradient of sum pooling: every cell receives the gradients of all windows that cover it.

    dy: (N, OH, OW, C); x_shape: (N, H, W, C). Result dx: (N, H, W, C).

        dx[n, h, w, c] = sum of dy[n, oh, ow, c] over all windows that cover cell (h, w)
    """
    OH, OW = dy.shape[1:3]
    full = _covering(x_shape, kernel_size, stride, padding, OH, OW)
    dpadded = pad(np.zeros(x_shape, dy.dtype), full)
    for _, rows, columns in _positions(kernel_size, stride, OH, OW):
        dpadded[:, rows, columns] += dy
    return crop(dpadded, full, *x_shape[1:3])


def avg_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """The average of each window.

    x: (N, H, W, C); kernel_size, stride: (rows, columns) in cells; padding: ((top, bottom), (left, right)) of zeros;
    ceil_mode: keep a last window that sticks out. Result y: (N, OH, OW, C).

        y[n, oh, ow, c] = (sum over kh, kw of x[n, oh*SH + kh - top, ow*SW + kw - left, c]) / cells[oh, ow]

    cells[oh, ow] is the number of cells of x in the window. With `count_include_pad` the cells in the explicit
    padding count too, but never those that only ceil_mode added beyond it (PyTorch's rule).
    """
    y = sum_pool2d_forward(x, kernel_size, stride, padding, ceil_mode)
    return y / _cells(x.shape, y, kernel_size, stride, padding, count_include_pad)


def avg_pool2d_backward(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, count_include_pad: bool
) -> Array:
    """Gradient of average pooling: every cell receives its share from all windows that cover it.

    dy: (N, OH, OW, C); x_shape: (N, H, W, C). Result dx: (N, H, W, C).

        dx[n, h, w, c] = sum of dy[n, oh, ow, c] / cells[oh, ow] over all windows that cover cell (h, w)
    """
    share = dy / _cells(x_shape, dy, kernel_size, stride, padding, count_include_pad)
    return sum_pool2d_backward(share, x_shape, kernel_size, stride, padding)


def _cells(
    x_shape: tuple[int, ...], y: Array, kernel_size: Pair, stride: Pair, padding: Padding, count_include_pad: bool
) -> Array:
    """The divisor of each window of y, (OH, OW, 1), in the dtype of y: integers would turn float32 into float64."""
    rows, columns = (
        window_cells(x_shape[a + 1], kernel_size[a], stride[a], padding[a], y.shape[a + 1], count_include_pad)
        for a in range(2)
    )
    return np.outer(rows, columns).astype(y.dtype)[:, :, None]  # (OH, OW) -> (OH, OW, 1)


def _positions(kernel_size: Pair, stride: Pair, OH: int, OW: int) -> Iterator[tuple[int, slice, slice]]:
    """For each position of the window, in row-major order: kh*KW + kw, and the padded rows and columns it meets."""
    KH, KW = kernel_size
    for kh in range(KH):
        for kw in range(KW):
            yield kh * KW + kw, taps(kh, OH, stride[0]), taps(kw, OW, stride[1])


def _covering(x_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, OH: int, OW: int) -> Padding:
    """The padding of both axes, grown where ceil_mode lets the last window stick out."""
    return (
        covering_padding(x_shape[1], kernel_size[0], stride[0], padding[0], OH),
        covering_padding(x_shape[2], kernel_size[1], stride[1], padding[1], OW),
    )
