"""Which pixels a unit sees: by the windows of the layers before it, and by the gradient that reaches them.

Each step of a run says which positions of its input one position of its output reads; followed back to the image that
is the receptive field. Rows and columns are independent, so it is found for each axis by itself.

Source: Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks" (Distill).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._function import Function
from ..device import array_module, to_device
from ..ops import activation, arithmetic, conv, dropout, elementwise, linear, loss, movement, norm, pool, reduction
from .steps import IMAGES, Run, Step, differentiate

Array = Any
NOTHING = (np.iinfo(np.int64).max, -1)  # first and last of a position that sees no pixel


@dataclass(frozen=True)
class Axis:
    """What the positions along one axis see of the image's pixels along the same axis.

    first, last: (L,) position i sees the pixels first[i] to last[i] of this image; a single position may stand for all.
    rule: (start, jump, size): on an image without borders position i sees the `size` pixels from start + i * jump on.
        None where no such rule holds, as behind a fully connected layer.
    """

    first: Array
    last: Array
    rule: tuple[int, int, int] | None


Field = tuple[Axis, Axis]  # of rows and of columns


def receptive_fields(run: Run) -> dict[str, Field]:
    """The receptive field of each step's result that depends on the images, by the step's name.

    A window of K cells, d apart, that moves by s adds (K - 1) * d * jump to the size and multiplies the jump by s;
    where ways meet, as behind a residual block, a position sees what it sees by any of them. What mixes positions in
    another way (a fully connected layer, a reshape) counts as seeing all that any of its inputs does.

    Left out is what depends on a Function of another kind than minicnn's: how that reads its input, nobody has told;
    `effective_field` measures it.
    """
    H, W = run.images.shape[1:3]
    fields: dict[int, Field | None] = {id(run.images.data): (_pixels(H), _pixels(W))}
    for step in run.steps:
        seen = [fields[id(x.data)] for x in step.inputs if id(x.data) in fields]
        if seen:
            fields[id(step.output.data)] = _behind(step, seen)
    found = {step.name: fields.get(id(step.output.data)) for step in run.steps}
    return {name: field for name, field in found.items() if field is not None}


def effective_field(run: Run, step: Step, position: tuple[int, int]) -> Array:
    """How much each pixel really matters to the units at a position: (H, W).

    Forward as it was. Backward: the gradient is 1 in all channels of the step's result (N, OH, OW, C) at row and column
    `position` and 0 elsewhere; the map is the sum of its absolute values over the images and their channels.

    Source: Luo, Li, Urtasun, Zemel 2016, "Understanding the Effective Receptive Field in Deep Convolutional Neural
    Networks", section 3. They average over random images; a run of several images does.
    """
    dy = array_module(step.output.data).zeros_like(step.output.data)
    dy[:, position[0], position[1]] = 1
    dx = differentiate(run, step.output, dy)[IMAGES]
    return np.abs(to_device(dx, "cpu")).sum(axis=(0, 3))  # (N, H, W, C) -> (H, W)


# Along one axis


def _pixels(L: int) -> Axis:
    """The image itself: each position sees one pixel."""
    return Axis(np.arange(L), np.arange(L), (0, 1, 1))


def _windows(axis: Axis, K: int, stride: int, dilation: int, before: int, count: int) -> Axis:
    """`count` windows of K cells, the first `before` cells outside. What lies in the padding sees nothing."""
    L = len(axis.first)
    cells = np.arange(count)[:, np.newaxis] * stride + np.arange(K) * dilation - before  # (count, K)
    inside, cells = (cells >= 0) & (cells < L), cells.clip(0, L - 1)
    rule = None
    if axis.rule is not None:
        start, jump, size = axis.rule
        rule = (start - before * jump, jump * stride, size + (K - 1) * dilation * jump)
    first = np.where(inside, axis.first[cells], NOTHING[0]).min(axis=1)
    return Axis(first, np.where(inside, axis.last[cells], NOTHING[1]).max(axis=1), rule)


def _taken(axis: Axis, places: Array) -> Axis:
    """Other positions: those at `places`, where -1 is one that sees nothing. A rule holds if they are evenly spaced."""
    inside = places >= 0
    first = np.where(inside, axis.first[places], NOTHING[0])
    last = np.where(inside, axis.last[places], NOTHING[1])
    where = np.flatnonzero(inside)
    steps = np.unique(np.diff(places[where]))
    if axis.rule is None or len(steps) != 1 or steps[0] < 1:
        return Axis(first, last, None)
    start, jump, size = axis.rule
    begin = int(places[where[0]]) - int(where[0]) * int(steps[0])
    return Axis(first, last, (start + begin * jump, jump * int(steps[0]), size))


def _together(axes: Sequence[Axis]) -> Axis:
    """Several that are combined position by position; a single position is combined with each."""
    count = max(len(axis.first) for axis in axes)
    if any(len(axis.first) not in (1, count) for axis in axes):
        return _together([_everything(axis) for axis in axes])
    first = np.minimum.reduce([np.broadcast_to(axis.first, count) for axis in axes])
    last = np.maximum.reduce([np.broadcast_to(axis.last, count) for axis in axes])
    rules = [axis.rule for axis in axes if axis.rule is not None]
    if len(rules) < len(axes) or len({jump for _, jump, _ in rules}) > 1:
        return Axis(first, last, None)
    start, end = min(rule[0] for rule in rules), max(rule[0] + rule[2] for rule in rules)
    return Axis(first, last, (start, rules[0][1], end - start))


def _everything(axis: Axis) -> Axis:
    """One position that sees what any did."""
    return Axis(axis.first.min(keepdims=True), axis.last.max(keepdims=True), None)


def _spread(axis: Axis, count: int) -> Axis:
    """A single position that stands for all, as many times as there are positions."""
    return axis if len(axis.first) == count else Axis(axis.first.repeat(count), axis.last.repeat(count), axis.rule)


# Along both: what one Function reads


def _behind(step: Step, seen: Sequence[Field | None]) -> Field | None:
    """The field of a step's result from those of its inputs; None where it is not known."""
    known = [field for field in seen if field is not None]
    reads = next((_READS[kind] for kind in type(step.operation).__mro__ if kind in _READS), None)
    if reads is None or len(known) < len(seen):
        return None
    rows, columns = reads(step, (_together([rows for rows, _ in known]), _together([columns for _, columns in known])))
    return (
        (_spread(rows, step.output.shape[1]), _spread(columns, step.output.shape[2]))
        if step.is_image
        else (rows, columns)
    )


def _same(step: Step, field: Field) -> Field:
    """Each position reads its own place."""
    return field


def _all(step: Step, field: Field) -> Field:
    """Each position reads every place."""
    return _everything(field[0]), _everything(field[1])


def _convolution(step: Step, field: Field) -> Field:
    operation: Any = step.operation
    strides, padding, dilations, *_ = operation.geometry
    return _both(step, field, step.inputs[1].shape[:2], strides, dilations, padding)


def _pooling(step: Step, field: Field) -> Field:
    operation: Any = step.operation
    kernel, strides, padding = operation.windows
    return _both(step, field, kernel, strides, (1, 1), padding)


def _both(step: Step, field: Field, kernel: Any, strides: Any, dilations: Any, padding: Any) -> Field:
    rows, columns = (
        _windows(axis, K, s, d, before, count)
        for axis, K, s, d, (before, _), count in zip(
            field, kernel, strides, dilations, padding, step.output.shape[1:3], strict=True
        )
    )
    return rows, columns


def _adaptive_pooling(step: Step, field: Field) -> Field:
    """Window i covers the cells from floor(i * L / count) to ceil((i + 1) * L / count)."""

    def pooled(axis: Axis, count: int) -> Axis:
        L = len(axis.first)
        if L % count == 0:
            return _windows(axis, L // count, L // count, 1, 0, count)
        ends = [(i * L // count, -(-(i + 1) * L // count)) for i in range(count)]
        first = np.array([axis.first[begin:end].min() for begin, end in ends])
        return Axis(first, np.array([axis.last[begin:end].max() for begin, end in ends]), None)

    OH, OW = step.output.shape[1:3]
    return pooled(field[0], OH), pooled(field[1], OW)


def _upsampling(step: Step, field: Field) -> Field:
    operation: Any = step.operation
    rows, columns = (_taken(axis, np.arange(len(axis.first)).repeat(operation.scale)) for axis in field)
    return rows, columns


def _padding(step: Step, field: Field) -> Field:
    if step.output.ndim != 4:
        return _all(step, field)
    operation: Any = step.operation
    rows, columns = (
        _taken(axis, np.pad(np.arange(len(axis.first)), side, constant_values=-1))
        for axis, side in zip(field, operation.padding[1:3], strict=True)
    )
    return rows, columns


def _indexing(step: Step, field: Field) -> Field:
    """Slices of images pick rows and columns: those that a picture of row or column numbers then shows."""
    operation: Any = step.operation
    index = operation.index
    parts = index if isinstance(index, tuple) else (index,)
    shape = step.inputs[0].shape
    if len(shape) != 4 or 0 in step.output.shape or not all(isinstance(p, slice) or p is Ellipsis for p in parts):
        return _all(step, field)
    rows = np.broadcast_to(np.arange(shape[1])[:, np.newaxis, np.newaxis], shape)[index][0, :, 0, 0]
    columns = np.broadcast_to(np.arange(shape[2])[:, np.newaxis], shape)[index][0, 0, :, 0]
    return _taken(field[0], rows), _taken(field[1], columns)


def _moving(step: Step, field: Field) -> Field:
    """Reshape and Transpose: nothing moves for the pixels where both begin with (N, H, W)."""
    axes = getattr(step.operation, "axes", (0, 1, 2))
    kept = step.inputs[0].shape[:3] == step.output.shape[:3] and step.inputs[0].ndim > 3 and axes[:3] == (0, 1, 2)
    return field if kept else _all(step, field)


def _over_axes(step: Step, field: Field) -> Field:
    """A sum over channels leaves the places alone."""
    operation: Any = step.operation
    return field if step.inputs[0].ndim == 4 and set(operation.axes) <= {3} else _all(step, field)


def _over_last_axis(step: Step, field: Field) -> Field:
    """What reads the last axis: of images the channels."""
    return field if step.inputs[0].ndim == 4 else _all(step, field)


def _joining(step: Step, field: Field) -> Field:
    operation: Any = step.operation
    along_channels = operation.axis % step.output.ndim not in (1, 2)
    return field if along_channels or step.output.ndim != 4 else _all(step, field)


_POSITION_BY_POSITION = (
    arithmetic.Add, arithmetic.Subtract, arithmetic.Multiply, arithmetic.Divide, arithmetic.Negate, arithmetic.Power,
    elementwise.Exp, elementwise.Log, elementwise.Sqrt, activation.ReLU, activation.ReLU6, activation.Tanh,
    activation.Sigmoid, norm.BatchNormInference, norm.LocalResponseNorm, dropout.Dropout, movement.To,
)  # fmt: skip
_EVERYWHERE = (
    linear.Linear, arithmetic.MatMul, norm.BatchNorm, loss.CrossEntropy, loss.MeanSquaredError, loss.HalfSquaredError,
)  # fmt: skip
_READS: dict[type[Function], Callable[[Step, Field], Field]] = {
    **dict.fromkeys(_POSITION_BY_POSITION, _same),
    **dict.fromkeys(_EVERYWHERE, _all),
    **dict.fromkeys((pool.MaxPool2d, pool.SumPool2d, pool.AvgPool2d), _pooling),
    **dict.fromkeys((movement.Reshape, movement.Transpose), _moving),
    **dict.fromkeys((activation.Softmax, activation.LogSoftmax, reduction.Max), _over_last_axis),
    conv.Conv2d: _convolution,
    pool.AdaptiveAvgPool2d: _adaptive_pooling,
    movement.Upsample: _upsampling,
    movement.Pad: _padding,
    movement.GetItem: _indexing,
    movement.Concatenate: _joining,
    reduction.Sum: _over_axes,
}
