"""What arithmetic, reductions and constants of an ONNX file mean here.

Files compute sizes and weights with the same operations as results, so most work on arrays as on Tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ... import functional as F
from ..loading import DTYPES, Operation
from ..reader import Meaning, Reader, Value, check_size, constant, fixed, in_order, number, wholes
from ..writer import NCHW

Array = Any


# Arithmetic


def both(function: Callable[[Any, Any], Any], on_arrays: Callable[[Array, Array], Array], trained: bool) -> Meaning:
    """An operation on two operands, with broadcasting. trained: whether constants of several numbers are Parameters."""

    def meaning(reader: Reader, node: Operation, a: Value, b: Value) -> Value:
        node.only("axis", "broadcast", "consumed_inputs")
        b = _broadcast_as_of_old(reader, node, a, b)
        if not (a.varies or b.varies):
            return constant(node.outputs[0], on_arrays(a.data, b.data))
        rank = max(len(a.axes), len(b.axes))
        axes = next(
            (v.axes for v in (a, b) if v.varies and len(v.axes) == rank and v.flattened is None), in_order(rank)
        )
        left, right = (reader.operand(value, axes, trained) for value in (a, b))
        return Value(function(left, right), axes, a.name)

    return meaning


def _broadcast_as_of_old(reader: Reader, node: Operation, a: Value, b: Value) -> Value:
    """Before operator set 7 an operation said with which axis of a those of b begin."""
    if reader.opset >= 7 or not node.whole("broadcast", 0) or "axis" not in node.attributes:
        return b
    behind = len(a.axes) - node.whole("axis", 0) % len(a.axes) - len(b.axes)
    return reader.reshaped(b, (*b.shape, *(1,) * max(behind, 0)))


def quotient(a: Array, b: Array) -> Array:
    """a / b; of whole numbers without the remainder."""
    return a / b if a.dtype.kind == "f" else a // b


def add_all(reader: Reader, node: Operation, *values: Value) -> Value:
    """Sum of one or more operands."""
    total, *others = values
    plus = both(operator.add, np.add, trained=True)
    for value in others:
        result = plus(reader, node, total, value)
        assert isinstance(result, Value)
        total = result
    return total


def power(reader: Reader, node: Operation, x: Value, exponent: Value) -> Value:
    """Pow with a number as its exponent."""
    node.only("axis", "broadcast")
    if x.varies:
        return replace(x, data=x.data ** number(exponent, "exponent"))
    return constant(node.outputs[0], x.data ** fixed(exponent, "exponent").astype(x.data.dtype))


# Reductions


def reduced(method: str) -> Meaning:
    """ReduceSum and its like over axes, which were an attribute before operator set 13 or 18."""

    def meaning(reader: Reader, node: Operation, x: Value, axes: Value | None = None) -> Value:
        node.only("axes", "keepdims", "noop_with_empty_axes")
        listed = wholes(node, axes, "axes")
        if not listed and node.whole("noop_with_empty_axes", 0):
            return x
        listed = listed or in_order(len(x.axes))
        x = reader.settled(x)
        gone, keeps = tuple(reader.axis(x, axis) for axis in listed), bool(node.whole("keepdims", 1))
        if x.axes == NCHW and sorted(gone) == [1, 2] and method == "mean" and x.varies:
            pooled = Value(F.adaptive_avg_pool2d(x.data, 1), NCHW, x.name)
            return pooled if keeps else reader.reshaped(pooled, x.shape[:2])
        data = getattr(x.data, method)(axis=gone, keepdims=keeps)
        if not x.varies:
            return constant(node.outputs[0], data)
        left = [axis for axis in x.axes if keeps or axis not in gone]
        return Value(data, tuple(sorted(left).index(axis) for axis in left), x.name)

    return meaning


# Constants


def identity(reader: Reader, node: Operation, x: Value) -> Value:
    """Identity."""
    node.only()
    return x


def cast(reader: Reader, node: Operation, x: Value) -> Value:
    """Cast to another dtype; of what depends on the input, to float32 alone."""
    node.only("to", "saturate", "round_mode")
    dtype = DTYPES.get(node.whole("to", 0))
    if dtype is None or (x.varies and dtype != "float32"):
        raise NotImplementedError(f"results are float32, and it casts to {dtype or node.whole('to', 0)}")
    return x if x.varies else replace(x, data=x.data.astype(dtype))


def shape_of(reader: Reader, node: Operation, x: Value) -> Value:
    """Shape, with the number of samples that the file was written for, or 1."""
    node.only("start", "end")
    shape = (reader.batch, *x.shape[1:]) if x.varies else x.shape
    cut = slice(node.whole("start", 0), node.whole("end", len(shape)))
    return constant(node.outputs[0], np.array(shape[cut], np.int64))


def literal(reader: Reader, node: Operation) -> Value:
    """Constant."""
    node.only("value", "value_float", "value_floats", "value_int", "value_ints")
    if len(node.attributes) != 1:
        raise ValueError(f"expected one value, got {sorted(node.attributes)}")
    ((name, value),) = node.attributes.items()
    if name != "value":
        value = np.array(value, np.float32 if name.startswith("value_float") else np.int64)
    if not isinstance(value, np.ndarray):
        raise ValueError(f"expected its value to be a tensor, got {value!r:.80}")
    return constant(node.outputs[0], value)


def constant_of_shape(reader: Reader, node: Operation, shape: Value) -> Value:
    """ConstantOfShape: one number everywhere, 0 unless it says another."""
    node.only("value")
    lengths = wholes(node, shape, "shape")
    check_size(lengths)
    value = node.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise ValueError(f"expected its value to be a tensor of one number, got {value!r:.80}")
    return constant(node.outputs[0], np.full(lengths, value.reshape(()), value.dtype))
