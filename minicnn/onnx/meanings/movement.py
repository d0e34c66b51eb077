"""What the operations of an ONNX file that only move elements mean here: most on arrays as on Tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ... import functional as F
from ..loading import Operation
from ..reader import Reader, Value, check_size, constant, fixed, in_order, number, wholes
from ..writer import NCHW


def reshape(reader: Reader, node: Operation, x: Value, shape: Value | None = None) -> Value:
    """Reshape, whose shape was an attribute before operator set 5: 0 keeps a length, -1 is what is left over."""
    node.only("shape", "allowzero", "consumed_inputs")
    wanted = wholes(node, shape, "shape")
    if node.whole("allowzero", 0) and 0 in wanted:
        raise NotImplementedError(f"empty results are not supported, and its shape is {wanted}")
    if (
        any(n < -1 for n in wanted)
        or wanted.count(-1) > 1
        or any(n == 0 and i >= len(x.axes) for i, n in enumerate(wanted))
    ):
        raise ValueError(f"its shape is {wanted}, for an input of shape {x.shape}")
    lengths = [n or x.shape[i] for i, n in enumerate(wanted)]
    if x.varies and lengths[:1] == [reader.batch]:
        lengths[0] = 1  # it names the number of samples that the file was written for; here it is one
    if -1 in lengths:
        rest = int(np.prod([n for n in lengths if n != -1]))
        size = int(np.prod(x.shape))
        lengths[lengths.index(-1)] = size // rest if rest else 0
    return reader.reshaped(x, lengths)


def flatten(reader: Reader, node: Operation, x: Value) -> Value:
    """Flatten: what is before an axis made one, and what is from it on."""
    node.only("axis")
    axis = node.whole("axis", 1)
    if not -len(x.axes) <= axis <= len(x.axes):
        raise ValueError(f"it has no axis {axis}: {x.name!r} is of shape {x.shape}")
    axis = axis + len(x.axes) if axis < 0 else axis
    if axis == 0 and x.varies:
        raise NotImplementedError("it makes one row of all samples")
    return reader.reshaped(x, (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))))


def transpose(reader: Reader, node: Operation, x: Value) -> Value:
    """Transpose: moves nothing, since the same data is another transpose of the result."""
    node.only("perm")
    order = node.wholes("perm", in_order(len(x.axes))[::-1])
    if sorted(order) != list(range(len(x.axes))):
        raise ValueError(f"its perm is {order}, for an input of shape {x.shape}")
    if not x.varies:
        return replace(x, data=x.data.transpose(order))
    x = reader.settled(x)
    return replace(x, axes=tuple(x.axes[i] for i in order))


def _axes(node: Operation, axes: Value | None, rank: int) -> list[int]:
    """The axes that an operation names, counted from the front."""
    listed = wholes(node, axes, "axes")
    if not all(-rank <= axis < rank for axis in listed) or len({axis % rank for axis in listed}) < len(listed):
        raise ValueError(f"expected different axes below {rank}, got {listed}")
    return [axis % rank for axis in listed]


def squeeze(reader: Reader, node: Operation, x: Value, axes: Value | None = None) -> Value:
    """Squeeze: axes of length 1 left out."""
    node.only("axes")
    gone = _axes(node, axes, len(x.axes))
    if not gone:
        raise NotImplementedError("it leaves out whatever axis has length 1, which may be that of the samples")
    if any(x.shape[axis] != 1 for axis in gone):
        raise ValueError(f"it leaves out the axes {gone} of an input of shape {x.shape}")
    if x.varies and 0 in gone:
        raise NotImplementedError("it leaves out the axis of the samples")
    return reader.reshaped(x, [n for axis, n in enumerate(x.shape) if axis not in gone])


def unsqueeze(reader: Reader, node: Operation, x: Value, axes: Value | None = None) -> Value:
    """Unsqueeze: axes of length 1 put in, which are counted in the result."""
    node.only("axes")
    rank = len(x.axes) + len(wholes(node, axes, "axes"))
    new, lengths = _axes(node, axes, rank), iter(x.shape)
    if x.varies and 0 in new:
        raise NotImplementedError("it puts an axis before that of the samples")
    return reader.reshaped(x, [1 if axis in new else next(lengths) for axis in range(rank)])


def concat(reader: Reader, node: Operation, *values: Value) -> Value:
    """Concat along an axis, which was 1 by default before operator set 4."""
    node.only("axis")
    axis = node.whole("axis", 1)
    if not any(value.varies for value in values):
        return constant(node.outputs[0], np.concatenate([value.data for value in values], axis))
    if not all(value.varies for value in values):
        raise NotImplementedError("it joins constants to every sample, which is not supported")
    if len({len(value.axes) for value in values}) > 1:
        raise ValueError(f"it joins tensors of shapes {[value.shape for value in values]}")
    first = reader.settled(values[0])
    joined = [reader.arranged(value, first.axes) for value in values]
    return Value(F.concatenate(joined, reader.axis(first, axis)), first.axes, first.name)


def split(reader: Reader, node: Operation, x: Value, lengths: Value | None = None) -> tuple[Value, ...]:
    """Split along an axis into parts of these lengths, or of the same length."""
    node.only("axis", "split", "num_outputs")
    axis = node.whole("axis", 0)
    x = reader.settled(x)
    place, parts = reader.axis(x, axis), len(node.outputs)
    size = x.data.shape[place]
    each = -(-size // parts)
    listed = wholes(node, lengths, "split") or tuple(min(each, size - i * each) for i in range(parts))
    if len(listed) != parts or sum(listed) != size or min(listed) < 0:
        raise ValueError(f"it cuts an axis of length {size} into {listed}, for {parts} results")
    ends = np.cumsum(listed).tolist()
    cuts = [slice(end - length, end) for end, length in zip(ends, listed, strict=True)]
    return tuple(_cut(x, {place: cut}, name) for cut, name in zip(cuts, node.outputs, strict=True))


def _cut(x: Value, cuts: dict[int, slice], name: str) -> Value:
    """Slices along axes of the data."""
    data = x.data[tuple(cuts.get(place, slice(None)) for place in range(len(x.axes)))]
    return replace(x, data=data) if x.varies else constant(name, data)


def slice_(
    reader: Reader, node: Operation, x: Value, starts: Value | None = None, ends: Value | None = None,
    axes: Value | None = None, steps: Value | None = None,
) -> Value:  # fmt: skip
    """Slice, which counts as Python does. Everything was an attribute before operator set 10."""
    node.only("starts", "ends", "axes")
    first, last = wholes(node, starts, "starts"), wholes(node, ends, "ends")
    along = _axes(node, axes, len(x.axes)) or list(range(len(first)))
    by = wholes(node, steps, "steps") or (1,) * len(first)
    if not len(first) == len(last) == len(along) == len(by) <= len(x.axes) or 0 in by:
        raise ValueError(f"it cuts from {first} to {last} by {by} along axes {along}")
    x = reader.settled(x)
    cuts = {reader.axis(x, axis): slice(*bounds) for axis, *bounds in zip(along, first, last, by, strict=True)}
    return _cut(x, cuts, node.outputs[0])


def gather(reader: Reader, node: Operation, x: Value, indices: Value) -> Value:
    """Gather, of constants: files compute shapes with it."""
    node.only("axis")
    places = fixed(indices, "indices")
    if places.dtype.kind not in "iu":
        raise ValueError(f"expected indices that are whole numbers, got {places.dtype}")
    return constant(node.outputs[0], np.take(fixed(x, "data"), places, node.whole("axis", 0)))


def pad(
    reader: Reader, node: Operation, x: Value, pads: Value | None = None, value: Value | None = None,
    axes: Value | None = None,
) -> Value:  # fmt: skip
    """Pad with a number. Everything was an attribute before operator set 11."""
    node.only("pads", "paddings", "value", "mode")
    x = reader.settled(x)
    listed = wholes(node, pads, "pads") or node.wholes("paddings")
    along = _axes(node, axes, len(x.axes)) if axes is not None else list(range(len(x.axes)))
    if node.text("mode", "constant") != "constant" or any(n < 0 for n in listed):
        raise NotImplementedError(f"it pads by {list(listed)}, mode {node.text('mode', '')!r}: constant is supported")
    if len(listed) != 2 * len(along):
        raise ValueError(f"it pads {len(along)} axes by {list(listed)}")
    border = [(0, 0)] * len(x.axes)
    for axis, before, after in zip(along, listed, listed[len(along) :], strict=False):
        if before or after:
            border[reader.axis(x, axis)] = (before, after)
    check_size(n + before + after for n, (before, after) in zip(x.data.shape, border, strict=True))
    fill = number(value, "value") if value is not None else node.number("value", 0.0)
    if not x.varies:
        return constant(node.outputs[0], np.pad(x.data, border, constant_values=fill))
    return replace(x, data=F.pad(x.data, border, fill))


def resize(
    reader: Reader, node: Operation, x: Value, roi: Value | None = None, scales: Value | None = None,
    sizes: Value | None = None,
) -> Value:  # fmt: skip
    """Resize and Upsample by a whole number, each pixel repeated; other ways of finding the nearest give the same."""
    node.only("mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "scales", "exclude_outside")
    if node.kind == "Upsample" or reader.opset < 11:
        scales = roi if scales is None else scales  # there was no region of interest yet
    image = reader.image(x)
    if sizes is not None and sizes.data.size:
        by = [size / n for size, n in zip(wholes(node, sizes, "sizes"), x.shape, strict=True)][1:]
    else:
        listed = node.attributes.get("scales", ()) if scales is None else fixed(scales, "scales")
        by = [float(scale) for scale in np.asarray(listed).reshape(-1)][1:]
    how = node.text("coordinate_transformation_mode", "half_pixel"), node.text("nearest_mode", "round_prefer_floor")
    near = node.kind == "Upsample" or reader.opset < 11 or how == ("asymmetric", "floor")
    near = near or (how[0] in ("half_pixel", "pytorch_half_pixel") and how[1].startswith("round_prefer"))
    if node.text("mode", "nearest") != "nearest" or not near or len(by) != 3 or by[0] != 1 or by[1] != by[2]:
        raise NotImplementedError(f"the nearest pixel at whole scales is supported, and it scales by {by}, {how}")
    if by[1] < 1 or not by[1].is_integer():
        raise NotImplementedError(f"whole scales are supported, and it scales by {by[1]}")
    check_size((*image.shape, int(by[1]), int(by[1])))
    return Value(F.upsample(image, int(by[1])), NCHW, x.name)
