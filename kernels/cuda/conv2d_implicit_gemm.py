"""Convolution as a matrix product without the matrix (conv2d_implicit_gemm.cu)."""

from collections.abc import Iterator
from functools import cache
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from ._launch import empty
from ._product import core, split_sum
from ._windows import WINDOWS, Where, record, windows
from .activation import CODES

Array = Any

FILE = "conv2d_implicit_gemm"
_FIELDS = ("w_first", "w_down", "w_right", "dx_first", "dx_image", "dx_down", "dx_right")
PHASE = np.dtype([("dy", WINDOWS)] + [(name, np.int32) for name in _FIELDS])


def forward(x: Array, w: Array, b: Array | None, where: Where, activation: str | None) -> Array:
    """y (N, OH, OW, O) from x (N, H, W, C), w (KH, KW, C // groups, O) and b (O,) or None."""
    y = empty(where.y_shape(x.shape, w.shape), x.dtype)
    g, C, O = windows(x.shape, w.shape[:2], where), w.shape[2], w.shape[3] // where.groups
    M, K = g["windows"].item(), g["taps"].item()
    core(M, O, K, (x, C), (w, O)).launch(
        FILE, "conv2d_forward", x.dtype, M, O, g, O, x, w, b, CODES[activation], y, groups=where.groups
    )
    return y


def input_gradient(dy: Array, w: Array, x_shape: tuple[int, ...], where: Where) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, O) and w (KH, KW, C // groups, O), a launch for each phase of the stride."""
    dx, C, O = empty(x_shape, dy.dtype), w.shape[2], w.shape[3] // where.groups
    phases = _phases(dy.shape, w.shape, x_shape, where)
    seen = [phase for phase in phases if phase["dy"]["taps"].item()]
    if len(seen) < len(phases):  # the stride passes over some cells
        dx.fill(0)
    for phase in seen:
        M, K = phase["dy"]["windows"].item(), phase["dy"]["taps"].item()
        core(M, C, K, (dy, O), (w, O)).launch(
            FILE, "conv2d_backward_input", dy.dtype, M, C, phase, C, dy, w, dx, groups=where.groups
        )
    return dx


def weight_gradient(dy: Array, x: Array, w_shape: tuple[int, ...], where: Where) -> Array:
    """dw (KH, KW, C // groups, O) from dy (N, OH, OW, O) and x (N, H, W, C); the windows are shared among blocks."""
    g, C, O = windows(x.shape, w_shape[:2], where), w_shape[2], w_shape[3] // where.groups
    M, K = g["taps"].item(), g["windows"].item()
    way = core(M, O, K, (x, C), (dy, O), cut=True)

    def fill(sums: Array, parts: int, depth: int) -> None:
        way.launch(
            FILE, "conv2d_backward_weight", dy.dtype, M, O, g, O, depth, dy, x, sums, parts=parts, groups=where.groups
        )

    return split_sum(empty(w_shape, dy.dtype), K, way.blocks(M, O) * where.groups, fill)


class _Axis(NamedTuple):
    """One axis of a phase: the cells start, start + stride, .. and the taps k, k + step, .. that they all have."""

    start: int
    cells: int
    k: int
    step: int
    taps: int
    before: int  # the first cell meets window -before by tap k
    back: int  # from tap to tap the window moves back by so many


def _axes(size: int, kernel: int, stride: int, before: int, dilation: int) -> Iterator[_Axis]:
    """A phase for each remainder of a cell by the stride; cell h meets window (h + before - k * dilation) / stride."""
    step, back = stride // gcd(stride, dilation), dilation // gcd(stride, dilation)
    for start in range(min(stride, size)):
        taps = [k for k in range(kernel) if (start + before - k * dilation) % stride == 0]
        k = taps[0] if taps else 0
        window = (start + before - k * dilation) // stride
        yield _Axis(start, len(range(start, size, stride)), k, step, len(taps), -window, back)


@cache
def _phases(
    y_shape: tuple[int, ...], w_shape: tuple[int, ...], x_shape: tuple[int, ...], where: Where
) -> tuple[Any, ...]:
    """The argument `Phase` of each launch."""
    phases = []
    (N, H, W, C), (_, OH, OW, O), (KH, KW, c, _) = x_shape, y_shape, w_shape
    (SH, SW), ((top, _), (left, _)), (DH, DW), groups = where
    for row in _axes(H, KH, SH, top, DH):
        for column in _axes(W, KW, SW, left, DW):
            dy = record(N, (row.cells, column.cells), (row.taps, column.taps), O // groups, (OH, OW, O),
                        (1, 1), (-row.back, -column.back), (row.before, column.before))  # fmt: skip
            in_w = (row.k * KW + column.k) * c * O, row.step * KW * c * O, column.step * c * O
            in_dx = (row.start * W + column.start) * C, H * W * C, SH * W * C, SW * C
            phases.append(np.array([(dy, *in_w, *in_dx)], PHASE))
    return tuple(phases)
