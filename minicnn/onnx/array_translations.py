"""What arithmetic, reductions and movement are called in ONNX; see layer_translations.py."""

from __future__ import annotations

from ..graph.network import Node
from ..ops import activation, arithmetic, elementwise, movement, reduction
from .writer import NCHW, Translation, Value, Writer

FAR = 2**31 - 1  # beyond the end of every axis

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
    if not gone:  # ONNX takes no axes for all of them
        return Value(writer.tensor(x, axes), axes)
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


ARRAYS: dict[type, Translation] = {
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
