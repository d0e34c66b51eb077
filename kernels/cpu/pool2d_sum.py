"""Weighed sums over the windows of an image, one axis at a time: what all pooling but that by maxima is made of.

    y[n, i, j, c] = sum over h, w of rows(i, h) * columns(j, w) * x[n, h, w, c]

The rows under a row of windows are added first, whose numbers lie side by side, and then pixels, of which there are
fewer by then. The gradient is such a sum as well, over the windows that cover a cell: it is gathered, so that no two
threads write to one cell, and the sums have one order.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from . import _jit
from ._arrays import dense
from ._jit import inlined, on_threads, separate
from .tiles import at, copy
from .vectors import (
    lanes_below,
    load_some,
    loop,
    multiply_add,
    pointers,
    spread,
    store_some,
    vector_length,
    vector_type,
    whole_number,
)

Array = Any
LINE = 2048  # numbers of the sums of rows that are held at a time: 8 KB of float32


class Axis(NamedTuple):
    """On one axis of `size` cells, `out` sums: number i is scale[i] * sum over k of weight[k] * cell k.

    k runs from reach[i, 0] to reach[i, 1]; neither ever falls as i rises.
    """

    reach: Array  # (out, 2), int64
    scale: Array  # (out,), dtype of the image
    weight: Array  # (size,)


def over_windows(windows: Array, shares: Array, size: int) -> Axis:
    """For each window, (first cell, the one behind the last), its share times the sum of its cells."""
    return Axis(windows, shares, np.ones(size, shares.dtype))


def over_cells(windows: Array, shares: Array, size: int) -> Axis:
    """The gradient of `over_windows`: for each cell the sum over the windows that cover it, each times its share."""
    cells = np.arange(size)
    # The first window that ends behind the cell, and the first one that starts behind it.
    covering = np.searchsorted(windows[:, 1], cells, "right"), np.searchsorted(windows[:, 0], cells, "right")
    return Axis(np.stack(covering, axis=1), np.ones(size, shares.dtype), shares)


def add_windows(x: Array, y: Array, rows: Axis, columns: Axis, work: int) -> None:
    """Fill y (N, OH, OW, C) with the sums of x (N, H, W, C), on as many threads as so many operations are worth."""
    _add_windows(dense(x), y, *rows, *columns, _jit.threads_for(work))


@on_threads
def _add_windows(x, y, rows, row_scale, row_weight, columns, column_scale, column_weight, thread, threads):
    (_, H, W, C), (N, OH, OW, _) = x.shape, y.shape
    image, out, line = x.ravel(), y.ravel(), np.empty(W * C, x.dtype)
    run = max(1, LINE * OW // (W * C))  # windows whose cells fill the line
    first, last = N * OH * thread // threads, N * OH * (thread + 1) // threads
    for row in range(first, last):
        n, i = row // OH, row % OH
        if row > first and i > 0 and _are_equal(i, rows, row_scale):
            copy(out, row * OW * C, out, (row - 1) * OW * C, OW * C)
            continue
        for j0 in range(0, OW, run):
            j1 = min(OW, j0 + run)
            begin, end = columns[j0, 0], columns[j1 - 1, 1]
            corner, count = (n * H * W + begin) * C, (end - begin) * C
            _add_cells(line, 0, image, corner, W * C, count, i, i + 1, rows, row_scale, row_weight)
            pixel = (row * OW + j0) * C
            _add_cells(out, pixel, line, -begin * C, C, C, j0, j1, columns, column_scale, column_weight)


@inlined
def _are_equal(i, reach, scale):
    """Whether sum i is that before it, as those of two cells are that lie under the same windows."""
    return reach[i, 0] == reach[i - 1, 0] and reach[i, 1] == reach[i - 1, 1] and scale[i] == scale[i - 1]


@separate
def _add_cells(out, o0, x, x0, step, count, i0, i1, reach, scale, weight):
    """out[o0 + (i - i0)*count + q] = scale[i] * sum over k of weight[k] * x[x0 + k*step + q].

    For i from i0 to i1, k from reach[i, 0] to reach[i, 1], and q < count.
    """
    few = count < 4 * vector_length(out.itemsize)
    for i in range(i0, i1):
        o, first, last = o0 + (i - i0) * count, reach[i, 0], reach[i, 1]
        if few or first == last:  # windows that stand apart leave cells between them
            add_few(out, o, x, x0, step, first, last, scale[i], weight, count)
            continue
        s, a = x0 + first * step, scale[i] * weight[first]
        if first + 1 == last:
            for q in range(count):
                out[at(o) + at(q)] = a * x[at(s) + at(q)]
        else:  # two at once save a pass
            t, b = s + step, scale[i] * weight[first + 1]
            for q in range(count):
                out[at(o) + at(q)] = a * x[at(s) + at(q)] + b * x[at(t) + at(q)]
        for k in range(first + 2, last):
            s, a = x0 + k * step, scale[i] * weight[k]
            for q in range(count):
                out[at(o) + at(q)] += a * x[at(s) + at(q)]


@intrinsic
def add_few(typing, out, o0, x, x0, step, first, last, scale, weight, count):
    """out[o0 + q] = scale * sum over k of weight[k] * x[x0 + k*step + q], for k from first to last and q < count.

    For a few channels. The compiler's loop asks whether the arrays overlap, and treats what is left over behind the
    last whole vector number by number: of six channels that is all of them. Here it is a vector with a mask.
    """
    whole = types.intp
    return types.void(out, whole, x, whole, whole, whole, whole, scale, weight, whole), _add_few


def _add_few(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write a loop over vectors, and in it one over the cells of each."""
    out, o0, x, x0, step, first, last, scale, weight, count = pointers(context, builder, signature, arguments)
    vector = vector_type(context, out)
    length, total = whole_number(vector.count), cgutils.alloca_once(builder, vector)
    with loop(builder, builder.udiv(builder.add(count, whole_number(vector.count - 1)), length)) as number:
        place = builder.mul(number, length)
        mask = lanes_below(builder, builder.sub(count, place), vector)
        builder.store(ir.Constant(vector, [0.0] * vector.count), total)
        with loop(builder, builder.sub(last, first)) as cell:
            k = builder.add(first, cell)
            source = builder.add(builder.add(x0, place), builder.mul(k, step))
            factor = spread(builder, builder.load(builder.gep(weight, [k])), vector)
            numbers = load_some(builder, x, source, vector, mask)
            builder.store(multiply_add(builder, factor, numbers, builder.load(total)), total)
        result = builder.fmul(spread(builder, scale, vector), builder.load(total))
        store_some(builder, result, out, builder.add(o0, place), mask)
    return context.get_dummy_value()
