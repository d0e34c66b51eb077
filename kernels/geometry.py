"""Shape arithmetic of windows, in plain Python: what every room must count in the same way.

The functions speak of one axis, except output_sizes. Sizes are in cells; `padding` is (before, after) on that axis.
"""

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int = 1, ceil_mode: bool = False) -> int:
    """Number of windows that fit on an axis of `size` cells.

    A window covers `extent = dilation * (kernel - 1) + 1` cells, so that

        out = floor((size + before + after - extent) / stride) + 1

    With `ceil_mode` the quotient is rounded up: the last window may stick out beyond the padding. As in PyTorch,
    a last window that would start wholly in the trailing padding is dropped.
    """
    before, after = padding
    free = size + before + after - (dilation * (kernel - 1) + 1)
    if not ceil_mode:
        return free // stride + 1
    out = -(-free // stride) + 1
    return out - 1 if (out - 1) * stride >= size + before else out


def output_sizes(
    x_shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> Pair:
    """(OH, OW): output_size of both axes of an image of shape (N, H, W, C)."""
    _, H, W, _ = x_shape
    OH = output_size(H, kernel_size[0], stride[0], padding[0], dilation[0], ceil_mode)
    OW = output_size(W, kernel_size[1], stride[1], padding[1], dilation[1], ceil_mode)
    return OH, OW


def taps(k: int, out: int, stride: int, dilation: int = 1) -> slice:
    """The cells of a padded axis that kernel position `k` meets, one for each of the `out` windows.

    Window i starts at cell i * stride, and its position k lies dilation * k further on. No cell is met twice.
    """
    start = k * dilation
    return slice(start, start + (out - 1) * stride + 1, stride)


def covering_padding(size: int, kernel: int, stride: int, padding: Pair, out: int) -> Pair:
    """The padding, grown behind where ceil_mode lets the last of the `out` windows stick out beyond it."""
    before, after = padding
    return before, max(after, (out - 1) * stride + kernel - before - size)


def window_cells(
    size: int, kernel: int, stride: int, padding: Pair, out: int, count_include_pad: bool = False
) -> list[int]:
    """For each of the `out` windows, how many of its cells an average divides by.

    Counted are the cells of the array, and with `count_include_pad` those of the explicit padding too; cells that
    only ceil_mode added beyond the padding are never counted (PyTorch's rule).
    """
    before, after = padding
    low, high = (-before, size + after) if count_include_pad else (0, size)
    starts = [i * stride - before for i in range(out)]
    return [min(start + kernel, high) - max(start, low) for start in starts]


def adaptive_window(i: int, size: int, out: int) -> Pair:
    """First cell, and the one behind the last, of window i when `size` cells are shared among `out` windows.

    [floor(i * size / out), ceil((i + 1) * size / out)): neighbours overlap where out does not divide size.
    """
    return i * size // out, -(-(i + 1) * size // out)
