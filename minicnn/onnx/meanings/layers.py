"""What the layers of an ONNX file compute here: those with weights, pooling, activations.

A meaning takes the Reader, the operation and its inputs, calls Functions by way of `functional`, which checks their
arguments, and returns the result with the order of its axes. Operators: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ... import functional as F
from ..._tensor import Tensor
from ...ops.checks import Padding, Pair, resolve_padding
from ..loading import Operation
from ..reader import Meaning, Reader, Value, fixed, in_order, number
from ..writer import NCHW

Array = Any
_WINDOWS = ("kernel_shape", "strides", "pads", "auto_pad", "dilations")


# Layers with weights


def conv(reader: Reader, node: Operation, x: Value, w: Value, b: Value | None = None) -> Value:
    """Conv: w (O, C // groups, KH, KW) becomes (KH, KW, C // groups, O)."""
    node.only(*_WINDOWS, "group")
    weight, image = fixed(w, "weight"), reader.image(x)
    if weight.ndim != 4 or 0 in weight.shape:
        raise NotImplementedError(f"a weight (O, C, KH, KW) is supported, and {w.name!r} has shape {weight.shape}")
    kernel, stride, padding, dilation = _windows(node, image, weight.shape[2:])
    if kernel != weight.shape[2:]:
        raise ValueError(f"its kernel_shape is {kernel}, and its weight has shape {weight.shape}")
    held = reader.hold(w, weight.transpose(2, 3, 1, 0), trained=True)
    bias = None if b is None else reader.hold(b, fixed(b, "bias"), trained=True)
    return _image(F.conv2d(image, held, bias, stride, padding, dilation, node.whole("group", 1)))


def gemm(reader: Reader, node: Operation, x: Value, w: Value, b: Value | None = None) -> Value:
    """Gemm: y = alpha * x @ w + beta * b, with w a weight; the numbers are multiplied into weight and bias."""
    node.only("alpha", "beta", "transA", "transB", "broadcast")
    if node.whole("transA", 0):
        raise NotImplementedError("its input is transposed (transA), which would mix the samples of a batch")
    weight = fixed(w, "weight")
    weight = weight.T if node.whole("transB", 0) else weight
    y = _linear(reader, x, w, _times(weight, node.number("alpha", 1.0)), _gemm_bias(reader, node, b, weight))
    if b is not None and b.varies:
        y = replace(y, data=y.data + reader.plain(b) * node.number("beta", 1.0))
    return y


def _gemm_bias(reader: Reader, node: Operation, b: Value | None, weight: Array) -> Tensor | None:
    """The bias (O,) of whatever may be broadcast to (1, O)."""
    if b is None or b.varies:
        return None
    row = np.broadcast_to(b.data, (1, weight.shape[-1])).reshape(-1)
    return reader.hold(b, _times(row, node.number("beta", 1.0)), trained=True)


def _times(array: Array, factor: float) -> Array:
    return array if factor == 1 else array * array.dtype.type(factor)


def _linear(reader: Reader, x: Value, w: Value, weight: Array, bias: Tensor | None = None) -> Value:
    """x @ weight + bias. Where x holds images flattened as they lie here, the weight's rows are put in that order."""
    if weight.ndim != 2 or len(x.axes) != 2:
        raise NotImplementedError(f"a matrix and rows (N, in) are supported, got shapes {weight.shape} and {x.shape}")
    if x.flattened is None:
        return Value(F.linear(reader.plain(x), reader.hold(w, weight, trained=True), bias), (0, 1), x.name)
    (_, *sizes), axes = x.flattened
    if weight.shape[0] != x.shape[1]:
        raise ValueError(f"its weight {w.name!r} takes {weight.shape[0]} numbers, and {x.name!r} has {x.shape[1]}")
    there = [sizes[axis - 1] for axis in axes[1:]]  # (C, H, W)
    order = [axes[1:].index(axis) for axis in range(1, len(axes))]
    # (C * H * W, O) -> (C, H, W, O) -> (H, W, C, O) -> (H * W * C, O)
    rows = weight.reshape(*there, -1).transpose(*order, len(order)).reshape(weight.shape)
    return Value(F.linear(x.data, reader.hold(w, rows, trained=True), bias), (0, 1), x.name)


def matmul(reader: Reader, node: Operation, a: Value, b: Value) -> Value:
    """MatMul: a fully connected layer where a weight stands on the right of rows, else a product of each sample."""
    node.only()
    if len(a.axes) == 2 and not b.varies:
        return _linear(reader, a, b, fixed(b, "weight"))
    ranks = [len(value.axes) for value in (a, b) if value.varies]
    if min(ranks) < 3 or len(set(ranks)) > 1 or not ranks:
        raise NotImplementedError(f"it would mix the samples of a batch, with shapes {a.shape} and {b.shape}")
    left, right = (reader.plain(v) if v.varies else reader.hold(v, v.data, trained=False) for v in (a, b))
    y = left @ right
    return Value(y, in_order(y.ndim), a.name)


def batch_normalization(
    reader: Reader, node: Operation, x: Value, scale: Value, shift: Value, mean: Value, var: Value
) -> Value:
    """BatchNormalization in evaluation. Old files say is_test, consumed_inputs and spatial, which is 1 for images."""
    node.only("epsilon", "momentum", "spatial", "is_test", "consumed_inputs", "training_mode")
    if node.whole("spatial", 1) != 1 or node.whole("training_mode", 0) != 0:
        raise NotImplementedError("it is supported with fixed statistics of each channel (training_mode=0, spatial=1)")
    image = len(x.axes) == 4
    data = reader.image(x) if image else reader.plain(x)
    gamma, beta = (reader.hold(v, fixed(v, "scale and shift"), trained=True) for v in (scale, shift))
    centre, spread = (reader.hold(v, fixed(v, "statistics"), trained=False).data for v in (mean, var))
    y = F.batch_norm(data, gamma, beta, centre, spread, eps=node.number("epsilon", 1e-5))
    return _image(y) if image else Value(y, (0, 1), x.name)


def local_response_norm(reader: Reader, node: Operation, x: Value) -> Value:
    """LRN, whose window of even size lies one channel further on than ours."""
    node.only("size", "alpha", "beta", "bias")
    size = node.whole("size", 0)
    if size % 2 == 0:
        raise NotImplementedError(f"windows of an odd number of channels are supported, and its size is {size}")
    constants = node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0)
    return _image(F.local_response_norm(reader.image(x), size, *constants))


# Pooling


def max_pool(reader: Reader, node: Operation, x: Value) -> Value:
    """MaxPool; its second output, the places of the largest, is not computed."""
    node.only(*_WINDOWS, "ceil_mode", "storage_order")
    image = reader.image(x)
    return _image(F.max_pool2d(image, *_pool_windows(node, image), bool(node.whole("ceil_mode", 0))))


def average_pool(reader: Reader, node: Operation, x: Value) -> Value:
    """AveragePool."""
    node.only(*_WINDOWS, "ceil_mode", "count_include_pad")
    image = reader.image(x)
    modes = bool(node.whole("ceil_mode", 0)), bool(node.whole("count_include_pad", 0))
    return _image(F.avg_pool2d(image, *_pool_windows(node, image), *modes))


def global_average_pool(reader: Reader, node: Operation, x: Value) -> Value:
    """GlobalAveragePool: (N, C, H, W) to (N, C, 1, 1)."""
    node.only()
    return _image(F.adaptive_avg_pool2d(reader.image(x), 1))


def global_max_pool(reader: Reader, node: Operation, x: Value) -> Value:
    """GlobalMaxPool: (N, C, H, W) to (N, C, 1, 1)."""
    node.only()
    return _image(reader.image(x).max(axis=(1, 2), keepdims=True))


def _pool_windows(node: Operation, image: Tensor) -> tuple[Pair, Pair, Padding]:
    kernel, stride, padding, dilation = _windows(node, image, ())
    if dilation != (1, 1):
        raise NotImplementedError(f"pooling with dilation is not supported, and its dilations are {dilation}")
    return kernel, stride, padding


def _windows(node: Operation, image: Tensor, kernel: tuple[int, ...]) -> tuple[Pair, Pair, Padding, Pair]:
    """Kernel, stride, padding ((top, bottom), (left, right)) and dilation; where they are missing, ONNX's own."""
    kernel, stride, dilation = (
        _positive(node.wholes(name, default), name)
        for name, default in (("kernel_shape", kernel), ("strides", (1, 1)), ("dilations", (1, 1)))
    )
    auto = node.text("auto_pad", "NOTSET")
    pads = node.wholes("pads", (0, 0, 0, 0))
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        (top, bottom), (left, right) = resolve_padding("same", image.shape, kernel, stride, dilation)
        if auto == "SAME_LOWER":
            top, bottom, left, right = bottom, top, right, left
        return kernel, stride, ((top, bottom), (left, right)), dilation
    if auto not in ("NOTSET", "VALID") or len(pads) != 4 or (auto == "VALID" and any(pads)):
        raise ValueError(f"expected pads of four numbers or auto_pad, got pads {pads} and auto_pad {auto!r:.40}")
    top, left, bottom, right = pads
    return kernel, stride, ((top, bottom), (left, right)), dilation


def _positive(values: tuple[int, ...], name: str) -> Pair:
    if len(values) != 2 or not all(0 < n < 2**31 for n in values):
        raise ValueError(f"expected {name} as two whole numbers > 0 (images have two axes), got {values}")
    return values[0], values[1]


def _image(y: Tensor) -> Value:
    return Value(y, NCHW, "")


# Activations


def each(function: Callable[[Tensor], Tensor], on_arrays: Callable[[Array], Array] | None = None) -> Meaning:
    """An operation on each element, of results and, if it says how, of constants."""

    def meaning(reader: Reader, node: Operation, x: Value) -> Value:
        node.only("consumed_inputs")
        if x.varies:
            return replace(x, data=function(x.data))
        if on_arrays is None:
            raise NotImplementedError(f"it reads the constant {x.name!r}, which is not supported")
        return Value(on_arrays(x.data), x.axes, node.outputs[0])

    return meaning


def clip(reader: Reader, node: Operation, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """Clip, where it is ReLU or ReLU6. The bounds were attributes before operator set 11."""
    node.only("min", "max", "consumed_inputs")
    bounds = node.attributes if reader.opset < 11 else {}
    least = number(low, "min") if low is not None else bounds.get("min", -np.inf)
    most = number(high, "max") if high is not None else bounds.get("max", np.inf)
    if least != 0 or not (most == 6 or most >= np.finfo(np.float32).max):
        raise NotImplementedError(f"it clips to [{least}, {most}]; [0, 6] and [0, infinity] are supported")
    return replace(x, data=F.relu6(x.data) if most == 6 else F.relu(x.data))


def over_classes(function: Callable[[Tensor], Tensor]) -> Meaning:
    """Softmax and LogSoftmax over an axis; before operator set 13 over that and all behind it at once."""

    def meaning(reader: Reader, node: Operation, x: Value) -> Value:
        node.only("axis")
        old, rank = reader.opset < 13, len(x.axes)
        axis = node.whole("axis", 1 if old else -1)
        reader.axis(x, axis)
        together = [i for i in range(axis % rank, rank) if x.shape[i] > 1] if old else []
        if len(together) > 1:
            shape = x.shape
            rows = reader.reshaped(x, (*shape[: axis % rank], int(np.prod(shape[axis % rank :]))))
            return reader.reshaped(Value(function(reader.plain(rows)), in_order(len(rows.axes)), x.name), shape)
        place = reader.axis(x, together[0] if together else axis)
        if x.flattened or place == rank - 1:
            return replace(x, data=function(x.data))
        order = (*(i for i in range(rank) if i != place), place)  # ours works along the last axis
        return Value(function(x.data.transpose(order)), tuple(order.index(axis) for axis in x.axes), x.name)

    return meaning


def dropout(
    reader: Reader, node: Operation, x: Value, ratio: Value | None = None, training: Value | None = None
) -> Value:
    """Dropout, which changes nothing in evaluation; its second output, the mask, is not computed."""
    node.only("ratio", "is_test", "seed", "consumed_inputs")
    if training is not None and number(training, "training_mode") != 0:
        raise NotImplementedError("it drops out in evaluation too (training_mode), which is not supported")
    return x
