"""Reading an ONNX file as a network of this engine: the one function that a user calls."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence

import numpy as np

from .._files import PathLike
from .._tensor import Tensor
from ..graph.network import Graph
from ..nn.sample import checked_shape
from .loading import LIMIT, File, kind_of, load
from .reader import Reader

SHOWN = 10  # operations that an error lists before it only counts


def import_onnx(path: PathLike, input_shape: Sequence[int] | None = None) -> Graph:
    """The network in an ONNX file, as a Graph, which trains, saves, moves, exports and optimises as any Module does.

    path: of the file; weights that it keeps in other files must lie in the same folder or below.
    input_shape: of one sample as it is here, without the axis N; needed where the file leaves it open.

    Images, which ONNX holds as (N, C, H, W), are (N, H, W, C) here, in the input and in the result; N is free.
    Convolution weights become (KH, KW, C // groups, O), and the rows of a fully connected layer that reads flattened
    images are put in the order in which images are flattened here, so that nothing is transposed at each call.

    Weights keep the names that they have in the file. Those of Conv, Gemm and MatMul, and the scales and shifts of
    BatchNormalization, Mul, Add and Sum are Parameters; all else (statistics, single numbers) are buffers. The network
    computes as in evaluation: dropout is left out, and statistics stay. What does not depend on the input is computed
    once, here. Which operators are known stands in minicnn/onnx/meanings; operator sets 1 to 26; float32.

    To find every shape, the network runs once on a sample of zeros.

    Raises ImportError where the package onnx is missing; OSError for a file that cannot be read; ValueError for one
    that is cut off, damaged or contradicts itself, and for a shape that is missing or is not the file's;
    NotImplementedError, naming the operations, for what is not supported.
    """
    from .meanings import MEANINGS  # here: `import minicnn` should not wait for them

    file, where = load(path), os.fspath(path)
    try:
        _check_operators(file, MEANINGS)
        shape = _sample_shape(file, input_shape)
        return Reader(file, Tensor(np.zeros((1, *shape), np.float32)), MEANINGS).graph()
    except (ValueError, NotImplementedError) as error:
        raise kind_of(error)(f"import_onnx cannot use {where}: {error}") from error


def _check_operators(file: File, known: Collection[str]) -> None:
    """Raise NotImplementedError that names every operation whose operator is not known."""
    unknown = [operation for operation in file.operations if operation.kind not in known]
    if not unknown:
        return
    shown = ", ".join(map(str, unknown[:SHOWN])) + (f" and {len(unknown) - SHOWN} more" if unknown[SHOWN:] else "")
    kinds = ", ".join(sorted({operation.kind for operation in unknown}))
    raise NotImplementedError(
        f"it uses operators that are not known here: {kinds} (operator set {file.opset}; {shown}). "
        "The known ones stand in minicnn/onnx/meanings"
    )


def _sample_shape(file: File, input_shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of one sample as it lies here."""
    told = _told_shape(file)
    if input_shape is None and (told is None or None in told):
        said = "nothing" if told is None else tuple("?" if n is None else n for n in told)
        raise ValueError(f"it says {said} of one sample's shape: import_onnx(path, input_shape=(224, 224, 3)) names it")
    shape = checked_shape(told if input_shape is None else input_shape, "import_onnx")
    if told is not None and (
        len(told) != len(shape) or any(n not in (None, given) for n, given in zip(told, shape, strict=True))
    ):
        raise ValueError(f"it is made for samples of shape {told}, and input_shape is {shape}")
    if 4 * math.prod(shape) > LIMIT:
        raise ValueError(f"one sample of shape {shape} would fill the memory")
    return shape


def _told_shape(file: File) -> tuple[int | None, ...] | None:
    """What the file itself says of it, None for a length that it leaves open, or for all of it."""
    if file.sizes is None:
        return None
    if not 2 <= len(file.sizes) <= 4:
        raise NotImplementedError(f"an input of 2 to 4 axes is supported, and {file.input!r} has {len(file.sizes)}")
    _, *rest = file.sizes
    return (*rest[1:], rest[0]) if len(rest) == 3 else tuple(rest)
