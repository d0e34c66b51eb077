"""The gradients of what slides windows over images: convolution and pooling.

The letters are those of the kernels: window (oh, ow) meets with its place (kh, kw) the cell (h, v) of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...kernels.geometry import adaptive_window, window_cells
from .terms import Cell, Factor, Index, Term

# Convolution: input 0 is x, 1 is w, 2 is b


def conv2d(cell: Cell) -> Iterable[Term]:
    """With h = oh*SH + kh*DH - top and v = ow*SW + kw*DW - left,

    dx[n, h, v, c]   = sum over the windows on the cell and o of dy[n, oh, ow, o] * w[kh, kw, c, o]
    dw[kh, kw, c, o] = sum over n, oh, ow of x[n, h, v, c] * dy[n, oh, ow, o];  db[o] = sum of dy[..., o]
    """
    if cell.input == 0:
        return _conv2d_input(cell)
    if cell.input == 1:
        return _conv2d_weight(cell)
    N, OH, OW, _ = cell.output.value.shape
    return [
        Term(cell.dy((n, oh, ow, *cell.index)), {"window": (oh, ow), "row": (n * OH + oh) * OW + ow})
        for n in range(N) for oh in range(OH) for ow in range(OW)
    ]  # fmt: skip


def _conv2d_input(cell: Cell) -> Iterator[Term]:
    """A term for each window that covers the cell, and each filter of the cell's group."""
    (n, h, v, c), (_, OH, OW, O), (KH, KW, C, _) = cell.index, cell.output.value.shape, cell.shape(1)
    strides, padding, dilations, groups, _ = cell.operation.geometry  # type: ignore[attr-defined]
    g, per_group = c // C, O // groups
    for kh, oh in _meetings(h, KH, strides[0], padding[0][0], dilations[0], OH):
        for kw, ow in _meetings(v, KW, strides[1], padding[1][0], dilations[1], OW):
            place = _matrix_place((n, oh, ow), (kh, kw, c % C), (OH, OW), (KW, C))
            for o in range(g * per_group, (g + 1) * per_group):
                yield Term((*cell.dy((n, oh, ow, o)), cell.value("w", 1, (kh, kw, c % C, o))), place)


def _conv2d_weight(cell: Cell) -> Iterator[Term]:
    """A term for each window; what the weight meets in the padding is 0, and left out."""
    (kh, kw, c, o), (N, OH, OW, O), (_, KW, C, _) = cell.index, cell.output.value.shape, cell.shape(1)
    (SH, SW), padding, (DH, DW), groups, _ = cell.operation.geometry  # type: ignore[attr-defined]
    _, H, W, _ = cell.shape(0)
    channel = o // (O // groups) * C + c
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                h, v = oh * SH + kh * DH - padding[0][0], ow * SW + kw * DW - padding[1][0]
                if 0 <= h < H and 0 <= v < W:
                    place = _matrix_place((n, oh, ow), (kh, kw, c), (OH, OW), (KW, C))
                    yield Term((cell.value("x", 0, (n, h, v, channel)), *cell.dy((n, oh, ow, o))), place)


def _meetings(h: int, kernel: int, stride: int, before: int, dilation: int, out: int) -> list[tuple[int, int]]:
    """On one axis: each (k, i) with i * stride + k * dilation - before = h, the windows i that cover cell h."""
    starts = [(k, h + before - k * dilation) for k in range(kernel)]
    return [(k, start // stride) for k, start in starts if start % stride == 0 and 0 <= start // stride < out]


def _matrix_place(window: Index, tap: Index, sizes: Index, lengths: Index) -> dict[str, Any]:
    """Where in the im2col matrix a window's number stands: see `kernels.reference.im2col`."""
    (n, oh, ow), (kh, kw, c), (OH, OW), (KW, C) = window, tap, sizes, lengths
    row, column = (n * OH + oh) * OW + ow, (kh * KW + kw) * C + c
    return {"window": (oh, ow), "tap": (kh, kw), "row": row, "column": column}


# Pooling


def max_pool2d(cell: Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy over the windows on the cell, times 1 where the cell won the window, else 0."""
    index = cell.step.saved[0]
    KW = cell.operation.windows[0][1]  # type: ignore[attr-defined]
    for place, at in _windows_on(cell):
        winner = divmod(int(index[at]), KW)
        won = Factor("won", float(winner == place["tap"]))
        yield Term((*cell.dy(at), won), {**place, "winner": winner})


def sum_pool2d(cell: Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy over the windows on the cell."""
    return (Term(cell.dy(at), place) for place, at in _windows_on(cell))


def avg_pool2d(cell: Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy / cells over the windows on the cell, `cells` being what the window's average counts."""
    kernel, stride, padding = cell.operation.windows  # type: ignore[attr-defined]
    x_shape, y_shape = cell.shape(0), cell.output.value.shape
    include = cell.operation.count_include_pad  # type: ignore[attr-defined]
    rows, columns = (
        window_cells(x_shape[a + 1], kernel[a], stride[a], padding[a], y_shape[a + 1], include) for a in range(2)
    )
    for place, at in _windows_on(cell):
        count = rows[at[1]] * columns[at[2]]
        yield Term((*cell.dy(at), Factor(f"1/{count}", 1 / count)), place)


def _windows_on(cell: Cell) -> Iterator[tuple[dict[str, Any], Index]]:
    """The windows that cover the cell: their place, and the index of their number in the result."""
    (n, h, v, c), (_, OH, OW, _) = cell.index, cell.output.value.shape
    (KH, KW), (SH, SW), padding = cell.operation.windows  # type: ignore[attr-defined]
    for kh, oh in _meetings(h, KH, SH, padding[0][0], 1, OH)[::-1]:
        for kw, ow in _meetings(v, KW, SW, padding[1][0], 1, OW)[::-1]:
            yield {"window": (oh, ow), "tap": (kh, kw)}, (n, oh, ow, c)


def adaptive_avg_pool2d(cell: Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy / cells over the windows on the cell."""
    (n, h, v, c), (_, H, W, _), (_, OH, OW, _) = cell.index, cell.shape(0), cell.output.value.shape
    for oh in range(OH):
        for ow in range(OW):
            (top, bottom), (left, right) = adaptive_window(oh, H, OH), adaptive_window(ow, W, OW)
            if top <= h < bottom and left <= v < right:
                count = (bottom - top) * (right - left)
                share = Factor(f"1/{count}", 1 / count)
                yield Term((*cell.dy((n, oh, ow, c)), share), {"window": (oh, ow), "tap": (h - top, v - left)})
