"""Reading an ONNX file into plain Python and NumPy, mistrustfully: a file may be cut off, damaged or made to harm."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import PathLike

Array = Any
NEWEST = 26  # the last operator set that was compared with what the meanings here say
LIMIT = 2**31  # bytes of one array: what an ONNX file can hold, too
DTYPES = {
    1: "float32",
    3: "int8",
    2: "uint8",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}


@dataclass(frozen=True)
class Operation:
    """One node of the file: `kind` with these attributes, on tensors of these names; "" is an input left out."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.name or next(iter(self.outputs), '')!r}"

    def whole(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        return self._attribute(name, default, int)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        return self._attribute(name, default, float)

    def text(self, name: str, default: str) -> str:
        """An attribute that is a word."""
        return self._attribute(name, default, str)

    def wholes(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """An attribute that is a list of whole numbers."""
        values = self.attributes.get(name, default)
        if not isinstance(values, list | tuple) or not all(type(v) is int for v in values):
            raise ValueError(f"expected its attribute {name} to be whole numbers, got {values!r:.80}")
        return tuple(values)

    def only(self, *names: str) -> None:
        """Raise NotImplementedError for an attribute that is none of these."""
        unknown = sorted(set(self.attributes) - set(names))
        if unknown:
            raise NotImplementedError(f"its attribute {', '.join(unknown)} is not known here")

    def _attribute(self, name: str, default: Any, kind: type) -> Any:
        value = self.attributes.get(name, default)
        if type(value) is not kind:
            raise ValueError(f"expected its attribute {name} to be of type {kind.__name__}, got {value!r:.80}")
        return value


@dataclass(frozen=True)
class File:
    """What an ONNX file says. sizes: of the input's axes, None where they are free, or all None where it is silent."""

    opset: int
    operations: tuple[Operation, ...]
    constants: dict[str, Array]
    input: str
    sizes: tuple[int | None, ...] | None
    output: str


def load(path: PathLike) -> File:
    """The network in an ONNX file, its structure checked; what its operations mean is not looked at.

    Raises ImportError where the package onnx is missing, OSError for a file that cannot be read, ValueError for one
    that is no whole ONNX model, NotImplementedError for a kind of model that is not supported.
    """
    onnx, where = _package(), os.fspath(path)
    model = _parsed(onnx, Path(path).read_bytes(), where)
    reader = _Tensors(onnx, Path(path).parent)
    try:
        body, opset = model.graph, _opset(model)
        constants = {tensor.name: reader.array(tensor) for tensor in body.initializer}
        if body.sparse_initializer:
            raise NotImplementedError("it holds sparse tensors, which are not supported: store them dense")
        name, sizes = _input(body, constants)
        operations = tuple(_operation(onnx, reader, node) for node in body.node)
        file = File(opset, operations, constants, name, sizes, _output(body))
        _check_names(file)
        return file
    except (ValueError, NotImplementedError) as error:
        raise kind_of(error)(f"import_onnx cannot use {where}: {error}") from error


def kind_of(error: Exception) -> type[Exception]:
    """What to raise instead of an error, with more said: what is not supported stays told from what is wrong."""
    return NotImplementedError if isinstance(error, NotImplementedError) else ValueError


def _package() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError('import_onnx needs the package onnx: pip install "minicnn[onnx]"', name="onnx") from error
    return onnx


def _parsed(onnx: Any, content: bytes, where: str) -> Any:
    """The file as an onnx.ModelProto. Protocol buffers have no signature: whatever has no operations is none."""
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # what it raises is a class of a package that onnx alone knows
        raise ValueError(
            f"import_onnx expected a whole ONNX file, and {where} ({len(content)} bytes) is cut off, damaged or of "
            f"another kind: {error}"
        ) from error
    if not model.ir_version or not model.graph.output:
        raise ValueError(f"import_onnx expected an ONNX file, and {where} ({len(content)} bytes) holds no network")
    return model


def _opset(model: Any) -> int:
    """The version of ONNX's own operators."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    opset = versions[0] if versions else 1
    if not 1 <= opset <= NEWEST:
        raise NotImplementedError(
            f"it uses operator set {opset}, and 1 to {NEWEST} are known here: export it with an older one"
        )
    return opset


def _input(body: Any, constants: dict[str, Array]) -> tuple[str, tuple[int | None, ...] | None]:
    """The name of the one input and its sizes. Old files list their weights among the inputs, too."""
    inputs = [value for value in body.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise NotImplementedError(f"networks of one input are supported, and it has {len(inputs)}: {names:.200}")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != 1:
        dtype = DTYPES.get(kind.elem_type, f"type {kind.elem_type}")
        raise NotImplementedError(f"an input of float32 is supported, and {inputs[0].name!r} is of {dtype}")
    if not kind.HasField("shape"):
        return inputs[0].name, None
    return inputs[0].name, tuple(axis.dim_value if axis.dim_value > 0 else None for axis in kind.shape.dim)


def _output(body: Any) -> str:
    names = [value.name for value in body.output]
    if len(names) != 1:
        raise NotImplementedError(
            f"networks of one output are supported, and it has {len(names)}: {', '.join(names):.200}"
        )
    return names[0]


def _check_names(file: File) -> None:
    """Raise ValueError for a name that is no text: damaged ones come as bytes."""
    names = [file.input, file.output, *file.constants]
    for operation in file.operations:
        names += [operation.name, *operation.inputs, *operation.outputs, *operation.attributes]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"it has a damaged name, {wrong[0]!r:.80}")


def _operation(onnx: Any, reader: _Tensors, node: Any) -> Operation:
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    attributes = {attribute.name: _attribute(onnx, reader, attribute) for attribute in node.attribute}
    return Operation(f"{domain}{node.op_type}", node.name, tuple(node.input), tuple(node.output), attributes)


def _attribute(onnx: Any, reader: _Tensors, attribute: Any) -> Any:
    """The value of an attribute: a number, a word, an array, or a list of numbers; anything else as it is."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return reader.array(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, int | float) else list(value) if isinstance(value, Sequence) else value


class _Tensors:
    """Makes arrays of onnx.TensorProto. folder: where the file lies, and beside it the weights that it keeps apart."""

    def __init__(self, onnx: Any, folder: Path) -> None:
        self.onnx, self.folder = onnx, folder

    def array(self, tensor: Any) -> Array:
        """The values of a tensor; not to be written to."""
        what = f"the tensor {tensor.name!r}"
        shape = tuple(tensor.dims)
        if tensor.data_type not in DTYPES:
            kinds = self.onnx.TensorProto.DataType
            name = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else tensor.data_type
            raise NotImplementedError(f"{what} is of dtype {name}, which is not supported")
        dtype = np.dtype(DTYPES[tensor.data_type])
        if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize > LIMIT:
            raise ValueError(f"{what} has the impossible shape {shape}")
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            content = self._beside(tensor, math.prod(shape) * dtype.itemsize, what)
            return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)
        try:
            return np.asarray(self.onnx.numpy_helper.to_array(tensor), dtype)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{what} of shape {shape} is damaged: {error}") from error

    def _beside(self, tensor: Any, size: int, what: str) -> bytes:
        """The bytes of a tensor that lies in a file of its own, which must lie in the same folder or below."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location, folder = entries.get("location", ""), self.folder.resolve()
        place = (folder / location).resolve()
        if not location or not place.is_relative_to(folder):
            raise ValueError(f"{what} is said to lie in {location!r}, which is not in the folder of the file")
        if not place.is_file():
            raise ValueError(f"{what} lies in a file of its own, {place}, which is missing: put it beside this one")
        offset, length = (
            _number(entries.get(key, default)) for key, default in (("offset", "0"), ("length", str(size)))
        )
        with open(place, "rb") as file:
            file.seek(offset)
            content = file.read(size)
        if length != size or len(content) != size:
            raise ValueError(
                f"{what} needs {size} bytes, and {place} has {len(content)} at {offset}, of which {length} are said to "
                "be its own"
            )
        return content


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(f"a tensor in a file of its own has a place or length of {text!r:.40}")
    return int(text)
