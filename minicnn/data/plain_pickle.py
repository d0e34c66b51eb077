"""The pickles of CIFAR, read as data: nothing that they name is run (`_pickle`).

Of all names these are known with which Python makes a NumPy array, as Python 2 and Python 3 write one in protocol 2.
Byte strings and text are both given as str, a character for each byte: Python 2 did not tell them apart, and Python 3
writes bytes as text that `_codecs.encode` is to turn back.

Source: van Rossum, Peters 2003, PEP 307, "Extensions to the pickle protocol".
"""

import io
import math
from typing import Any

import numpy as np

from minicnn._pickle import Name, PickleMachine, expect

_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")  # NumPy 1 and 2
_NAMES = (*_RECONSTRUCT, "numpy.ndarray", "numpy.dtype", "_codecs.encode")
_UINT8 = object()  # the dtype of an array


class PickledArray:
    """An array in a pickle: made empty by a call, filled by its state. values: uint8, of any shape."""

    values: np.ndarray | None = None


def read_pickle(content: bytes) -> Any:
    """The plain values in a pickle: dict, list, tuple, int, float, bool, None, str and PickledArray.

    Raises ValueError for a pickle that is damaged or asks for anything else.
    """
    file = io.BytesIO(content)
    value = _PlainMachine().run(file, len(content))
    if left := len(content) - file.tell():
        raise ValueError(f"its pickle is damaged: {left} bytes are left over after its end")
    return value


class _PlainMachine(PickleMachine):
    """Makes arrays of bytes, and calls nothing else."""

    def name(self, full: str) -> Name:
        return Name(full) if full in _NAMES else super().name(full)

    def call(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        if function.full == "_codecs.encode" and arguments[1:] == ("latin1",):
            return expect(arguments[0], str)
        if function.full in _RECONSTRUCT and arguments[:1] == (Name("numpy.ndarray"),):
            return PickledArray()
        if function.full == "numpy.dtype" and arguments[:1] == ("u1",):
            return _UINT8
        raise ValueError(f"its pickle has a call of {function.full} that does not make an array of bytes")

    def build(self, target: Any, state: Any) -> None:
        if isinstance(target, PickledArray):
            target.values = _array(expect(state, tuple))
        elif target is not _UINT8:  # whose state is the order of its bytes, of which it has one
            super().build(target, state)


def _array(state: tuple[Any, ...]) -> np.ndarray:
    """The array of which this is the state: version, shape, dtype, whether columns come first, content."""
    if len(state) != 5 or state[2] is not _UINT8 or state[3]:
        raise ValueError("its pickle has an array that is not one of bytes in row-major order")
    shape, text = expect(state[1], tuple), expect(state[4], str)
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("its pickle has an array whose content is text and not bytes") from error
    if math.prod(expect(n, int) for n in shape) != len(data):
        raise ValueError("its pickle has an array of another shape than its bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)
