"""What each operation is called in ONNX, and in which order that wants axes, paddings and weights.

A translation writes the operation's ONNX nodes and returns what they compute, with the order of its axes. Operators:
https://onnx.ai/onnx/operators, opset 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.network import Node
from ..kernels.geometry import adaptive_window, covering_padding
from ..ops import activation, arithmetic, conv, elementwise, linear, movement, norm, pool, reduction
from .writer import NCHW, Translation, Value, Writer

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
FAR = 2**31 - 1  # beyond the end of every axis


# Layers with weights


def _activated(writer: Writer, name: str, node: Node) -> str:
    """A tensor after the activation that its layer took in."""
    kind = node.settings()["activation"]
    return name if kind is None else writer.emit(ACTIVATIONS[kind], [name])


def _conv2d(writer: Writer, node: Node) -> Value:
    (stride, padding, dilation, groups, _), (x, w, *b) = node.settings()["geometry"], node.inputs
    inputs = [writer.tensor(x, NCHW), writer.tensor(w, (3, 2, 0, 1)), *map(writer.tensor, b)]
    y = writer.emit(
        "Conv", inputs, kernel_shape=list(writer.shapes[w][:2]), strides=list(stride), pads=_pads(padding),
        dilations=list(dilation), group=groups,
    )  # fmt: skip
    return Value(_activated(writer, y, node), NCHW)


def _linear(writer: Writer, node: Node) -> Value:
    x, w, *b = node.inputs
    y = writer.emit("Gemm", [writer.tensor(x), writer.tensor(w, (1, 0)), *map(writer.tensor, b)], transB=1)
    return Value(_activated(writer, y, node), (0, 1))


def _batch_norm(writer: Writer, node: Node) -> Value:
    x, gamma, beta, mean, var, *residual = node.inputs
    axes = NCHW if len(node.shape) == 4 else (0, 1)
    inputs = [writer.tensor(x, axes), *map(writer.tensor, (gamma, beta, mean, var))]
    y = writer.emit("BatchNormalization", inputs, epsilon=node.settings()["eps"])
    for name in residual:
        y = writer.emit("Add", [y, writer.tensor(name, axes)])
    return Value(_activated(writer, y, node), axes)


def _local_response_norm(writer: Writer, node: Node) -> Value:
    size, alpha, beta, k = node.settings()["constants"]
    (x,) = node.inputs
    if len(node.shape) == 4 and size % 2 == 1:
        y = writer.emit("LRN", [writer.tensor(x, NCHW)], size=size, alpha=alpha, beta=beta, bias=k)
        return Value(y, NCHW)
    # ONNX sets a window of even size one channel further on, and knows images only. The sum over a window is also a
    # product with a matrix of ones around the diagonal.
    C = node.shape[-1]
    distance = np.arange(C)[:, None] - np.arange(C)  # of a channel that is read from the one that is written
    window = (distance >= -(size // 2)) & (distance <= (size - 1) // 2)
    name = writer.tensor(x)
    energy = writer.emit("MatMul", [writer.emit("Mul", [name, name]), writer.constant("window", window * alpha / size)])
    sum_ = writer.emit("Add", [energy, writer.constant("k", float(k))])
    power = writer.emit("Pow", [sum_, writer.constant("beta", float(beta))])
    return Value(writer.emit("Div", [name, power]), tuple(range(len(node.shape))))


# Pooling


def _pads(padding: Any) -> list[int]:
    """((top, bottom), (left, right)) as ONNX lists it: all beginnings, then all ends."""
    return [side[0] for side in padding] + [side[1] for side in padding]


def _windows(writer: Writer, node: Node) -> tuple[dict[str, Any], Any]:
    """ONNX's attributes of the windows, and their padding.

    The padding ends where the last window does, so that rounding the number of windows up or down is no question.
    """
    kernel, stride, padding = node.settings()["windows"]
    sizes = zip(writer.shapes[node.inputs[0]][1:3], kernel, stride, padding, node.shape[1:3], strict=True)
    reached = [covering_padding(size, K, s, (before, 0), out) for size, K, s, (before, _), out in sizes]
    return {"kernel_shape": list(kernel), "strides": list(stride)}, reached


def _max_pool2d(writer: Writer, node: Node) -> Value:
    attributes, padding = _windows(writer, node)
    return Value(writer.emit("MaxPool", [writer.tensor(node.inputs[0], NCHW)], pads=_pads(padding), **attributes), NCHW)


def _avg_pool2d(writer: Writer, node: Node) -> Value:
    attributes, padding = _windows(writer, node)
    x = writer.tensor(node.inputs[0], NCHW)
    if node.settings()["count_include_pad"]:
        # The padding that was asked for counts, and what a last window reaches beyond it does not: so the first is
        # made part of the image.
        asked = node.settings()["windows"][2]
        pads = [0, 0, asked[0][0], asked[1][0], 0, 0, asked[0][1], asked[1][1]]
        x = writer.emit("Pad", [x, writer.constant("pads", pads)]) if any(pads) else x
        padding = [(0, max(end - wanted, 0)) for (_, end), (_, wanted) in zip(padding, asked, strict=True)]
    return Value(writer.emit("AveragePool", [x], pads=_pads(padding), **attributes), NCHW)


def _sum_pool2d(writer: Writer, node: Node) -> Value:
    attributes, padding = _windows(writer, node)
    x = writer.tensor(node.inputs[0], NCHW)
    mean = writer.emit("AveragePool", [x], pads=_pads(padding), count_include_pad=1, **attributes)
    cells = writer.constant("cells", float(math.prod(attributes["kernel_shape"])))
    return Value(writer.emit("Mul", [mean, cells]), NCHW)


def _adaptive_avg_pool2d(writer: Writer, node: Node) -> Value:
    x, sizes, outputs = node.inputs[0], writer.shapes[node.inputs[0]][1:3], node.shape[1:3]
    if outputs == (1, 1):
        return Value(writer.emit("GlobalAveragePool", [writer.tensor(x, NCHW)]), NCHW)
    if any(size % out for size, out in zip(sizes, outputs, strict=True)):
        # ONNX has no windows of different sizes. A mean over a window is the mean over its rows of those over its
        # columns: two products with matrices.
        rows, columns = (_averages(size, out) for size, out in zip(sizes, outputs, strict=True))
        across = writer.emit("MatMul", [writer.tensor(x, NCHW), writer.constant("columns", columns.T)])
        return Value(writer.emit("MatMul", [writer.constant("rows", rows), across]), NCHW)
    kernel = [size // out for size, out in zip(sizes, outputs, strict=True)]
    return Value(writer.emit("AveragePool", [writer.tensor(x, NCHW)], kernel_shape=kernel, strides=kernel), NCHW)


def _averages(size: int, out: int) -> Any:
    """The matrix (out, size) that takes the mean of each adaptive window."""
    matrix = np.zeros((out, size), np.float32)
    for i in range(out):
        first, end = adaptive_window(i, size, out)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


# Element by element: the axes may lie in any order, the same for all operands


def _each(kind: str) -> Translation:
    def translate(writer: Writer, node: Node) -> Value:
        rank = len(node.shape)
        axes = next((writer.axes(x) for x in node.inputs if len(writer.axes(x)) == rank and x not in writer.arrays),
                    tuple(range(rank)))  # fmt: skip
        return Value(writer.emit(kind, [writer.stretched(x, axes) for x in node.inputs]), axes)

    return translate


def _relu6(writer: Writer, node: Node) -> Value:
    axes = writer.axes(node.inputs[0])
    bounds = [writer.constant(name, number) for name, number in (("least", 0.0), ("most", 6.0))]
    return Value(writer.emit("Clip", [writer.tensor(node.inputs[0], axes), *bounds]), axes)


def _power(writer: Writer, node: Node) -> Value:
    (x,) = node.inputs
    exponent = writer.constant("exponent", float(node.settings()["exponent"]))
    return Value(writer.emit("Pow", [writer.tensor(x, writer.axes(x)), exponent]), writer.axes(x))


def _along_the_last(kind: str) -> Translation:
    """Softmax and its like, over the channels wherever they lie."""

    def translate(writer: Writer, node: Node) -> Value:
        axes = writer.axes(node.inputs[0])
        name = writer.emit(kind, [writer.tensor(node.inputs[0], axes)], axis=axes.index(len(axes) - 1))
        return Value(name, axes)

    return translate


# Products and reductions


def _matmul(writer: Writer, node: Node) -> Value:
    return Value(writer.emit("MatMul", [writer.tensor(x) for x in node.inputs]), tuple(range(len(node.shape))))


def _reduced(axes: tuple[int, ...], gone: tuple[int, ...]) -> tuple[int, ...]:
    """What is left of an order of axes, when some of them are gone."""
    kept = [axis for axis in axes if axis not in gone]
    return tuple(sorted(kept).index(axis) for axis in kept)


def _sum(writer: Writer, node: Node) -> Value:
    settings, (x,) = node.settings(), node.inputs
    axes, gone, keeps = writer.axes(x), settings["axes"], settings["keepdims"]
    places = writer.constant("axes", [axes.index(axis) for axis in gone])
    name = writer.emit("ReduceSum", [writer.tensor(x, axes), places], keepdims=int(keeps))
    return Value(name, axes if keeps else _reduced(axes, gone))


def _max(writer: Writer, node: Node) -> Value:
    (x,) = node.inputs
    axes = writer.axes(x)
    last = len(axes) - 1
    name = writer.emit("ReduceMax", [writer.tensor(x, axes)], axes=[axes.index(last)], keepdims=0)
    return Value(name, _reduced(axes, (last,)))


# Movement


def _reshape(writer: Writer, node: Node) -> Value:
    (x,) = node.inputs
    axes, shape = writer.axes(x), writer.shapes[x]
    # Axes of length 1 may lie anywhere: without them the elements are in our order already, or have to be brought so.
    long = [axis for axis in axes if axis == 0 or shape[axis] > 1]
    name = writer.tensor(x, axes if long == sorted(long) else None)
    y = writer.emit("Reshape", [name, writer.constant("shape", node.settings()["shape"])])
    return Value(y, tuple(range(len(node.shape))))


def _transpose(writer: Writer, node: Node) -> Value:
    """Writes nothing: the same tensor is another transpose of the result."""
    (x,) = node.inputs
    rank, order = len(node.shape), [axis % len(node.shape) for axis in node.settings()["axes"]]
    axes = writer.axes(x)
    return Value(writer.tensor(x, axes), tuple(order.index(axes[i]) for i in range(rank)))


def _getitem(writer: Writer, node: Node) -> Value:
    index, (x,) = node.settings()["index"], node.inputs
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(part is Ellipsis or (isinstance(part, slice | int) and not isinstance(part, bool)) for part in parts):
        raise NotImplementedError(
            f"export_onnx translates x[...] with slices and whole numbers, and {node.module or 'the model itself'} has "
            f"the index {index!r}"
        )
    rank = len(writer.shapes[x])
    place = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    missing = rank - sum(part is not Ellipsis for part in parts)
    parts[place : place + 1] = [slice(None)] * missing
    axes = writer.axes(x)
    cut = [(axes.index(i), _slice(part)) for i, part in enumerate(parts) if part != slice(None)]
    y = writer.tensor(x, axes)
    if cut:
        starts, stops, steps = zip(*(bounds for _, bounds in cut), strict=True)
        numbers = {"starts": starts, "stops": stops, "axes": [i for i, _ in cut], "steps": steps}
        y = writer.emit("Slice", [y, *(writer.constant(name, list(values)) for name, values in numbers.items())])
    gone = tuple(i for i, part in enumerate(parts) if isinstance(part, int))
    if gone:
        y = writer.emit("Squeeze", [y, writer.constant("squeezed", [axes.index(i) for i in gone])])
    return Value(y, _reduced(axes, gone))


def _slice(part: slice | int) -> tuple[int, int, int]:
    """start, stop and step as ONNX takes them, which counts from the end as Python does."""
    if isinstance(part, int):
        return part, part + 1 if part != -1 else FAR, 1
    step = 1 if part.step is None else part.step
    start = (0 if step > 0 else FAR) if part.start is None else part.start
    stop = (FAR if step > 0 else -FAR) if part.stop is None else part.stop
    return start, stop, step


def _pad(writer: Writer, node: Node) -> Value:
    settings, (x,) = node.settings(), node.inputs
    axes = writer.axes(x)
    pads = [settings["padding"][axis][side] for side in (0, 1) for axis in axes]
    value = writer.constant("value", float(settings["value"]))
    return Value(writer.emit("Pad", [writer.tensor(x, axes), writer.constant("pads", pads), value]), axes)


def _concatenate(writer: Writer, node: Node) -> Value:
    axes = next(writer.axes(x) for x in node.inputs if x not in writer.arrays)
    axis = axes.index(node.settings()["axis"] % len(axes))
    return Value(writer.emit("Concat", [writer.tensor(x, axes) for x in node.inputs], axis=axis), axes)


def _upsample(writer: Writer, node: Node) -> Value:
    scale = float(node.settings()["scale"])
    inputs = [writer.tensor(node.inputs[0], NCHW), "", writer.constant("scales", [1.0, 1.0, scale, scale])]
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return Value(writer.emit("Resize", inputs, **how), NCHW)


def _same(writer: Writer, node: Node) -> Value:
    """A change of device or dtype: the file knows neither."""
    (x,) = node.inputs
    return Value(writer.tensor(x, writer.axes(x)), writer.axes(x))


TRANSLATIONS: dict[type, Callable[[Writer, Node], Value]] = {
    conv.Conv2d: _conv2d,
    linear.Linear: _linear,
    norm.BatchNormInference: _batch_norm,
    norm.LocalResponseNorm: _local_response_norm,
    pool.MaxPool2d: _max_pool2d,
    pool.AvgPool2d: _avg_pool2d,
    pool.SumPool2d: _sum_pool2d,
    pool.AdaptiveAvgPool2d: _adaptive_avg_pool2d,
    activation.ReLU: _each("Relu"),
    activation.ReLU6: _relu6,
    activation.Tanh: _each("Tanh"),
    activation.Sigmoid: _each("Sigmoid"),
    activation.Softmax: _along_the_last("Softmax"),
    activation.LogSoftmax: _along_the_last("LogSoftmax"),
    arithmetic.Add: _each("Add"),
    arithmetic.Subtract: _each("Sub"),
    arithmetic.Multiply: _each("Mul"),
    arithmetic.Divide: _each("Div"),
    arithmetic.Negate: _each("Neg"),
    arithmetic.Power: _power,
    arithmetic.MatMul: _matmul,
    elementwise.Exp: _each("Exp"),
    elementwise.Log: _each("Log"),
    elementwise.Sqrt: _each("Sqrt"),
    reduction.Sum: _sum,
    reduction.Max: _max,
    movement.Reshape: _reshape,
    movement.Transpose: _transpose,
    movement.GetItem: _getitem,
    movement.Pad: _pad,
    movement.Concatenate: _concatenate,
    movement.Upsample: _upsample,
    movement.To: _same,
}
