"""What the layers are called in ONNX, and in which order that wants axes, paddings and weights.

A translation writes an operation's ONNX nodes and returns what they compute, with the order of its axes; those of
arithmetic and movement stand in array_translations.py. Operators: https://onnx.ai/onnx/operators, opset 13.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph.network import Node
from ..kernels.geometry import adaptive_window, covering_padding
from ..ops import conv, linear, norm, pool
from .writer import NCHW, Translation, Value, Writer

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


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


LAYERS: dict[type, Translation] = {
    conv.Conv2d: _conv2d,
    linear.Linear: _linear,
    norm.BatchNormInference: _batch_norm,
    norm.LocalResponseNorm: _local_response_norm,
    pool.MaxPool2d: _max_pool2d,
    pool.AvgPool2d: _avg_pool2d,
    pool.SumPool2d: _sum_pool2d,
    pool.AdaptiveAvgPool2d: _adaptive_avg_pool2d,
}
