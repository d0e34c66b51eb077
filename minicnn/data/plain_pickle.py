"""A pickle read as data: dictionaries, lists, numbers, strings and arrays of bytes; nothing that it names is run.

A pickle is a program for a machine with a stack. Most of its opcodes push a value or put values together; two, REDUCE
and BUILD, call what the file names, and so `pickle.load` does whatever a stranger wrote into a file.
`pickletools.genops` only takes the program apart. The machine here puts plain values together itself. Of all names it
knows those with which Python makes a NumPy array, looks none of them up, and does their work itself. Anything else is
an error.

It reads protocol 2, as Python 2 wrote it (cPickle) and as Python 3 does. Byte strings and text are both given as str,
a character for each byte: Python 2 did not tell them apart, and Python 3 writes bytes as text that `_codecs.encode` is
to turn back.

Source: van Rossum, Peters 2003, PEP 307, "Extensions to the pickle protocol"; the opcodes are described in Python's
module pickletools.
"""

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")  # NumPy 1 and 2
_NAMES = (*_RECONSTRUCT, "numpy ndarray", "numpy dtype", "_codecs encode")  # "module name", as GLOBAL has them
_UINT8 = object()  # the dtype of an array


class PickledArray:
    """An array in a pickle: made empty by REDUCE, filled by BUILD. values: uint8, of any shape."""

    values: np.ndarray | None = None


def read_pickle(content: bytes) -> Any:
    """The plain values in a pickle: dict with str as keys, list, tuple, int, bool, None, str and PickledArray.

    Raises ValueError, with the byte and the opcode, for a pickle that is damaged or asks for anything else.
    """
    machine, opcode, position = _Machine(), None, 0
    try:
        for opcode, argument, place in pickletools.genops(content):
            position = place or 0
            machine.run(opcode.name, argument)
        if position + 1 < len(content):
            raise ValueError(f"{len(content) - position - 1} bytes are left over after its end")
        (value,) = machine.stack
    except (ValueError, IndexError, KeyError) as error:
        reason = str(error) if type(error) is ValueError else "the stack or the memo lacks what it needs"
        raise ValueError(
            f"not a pickle of plain data: at byte {position} ({opcode.name if opcode else 'no opcode'}): {reason:.200}"
        ) from error
    return value


class _Machine:
    """stack: the values since the last mark. outer: the stacks below each mark. memo: values kept under a number."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, opcode: str, argument: Any) -> None:
        """One opcode."""
        if opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _CONSTRUCTORS:
            self.stack.append(_CONSTRUCTORS[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode not in ("PROTO", "STOP"):
            raise ValueError("plain data needs no such opcode")

    def pop(self, count: int) -> list[Any]:
        values = [self.stack.pop() for _ in range(count)]
        return values[::-1]

    def pop_to_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.outer.pop()
        return values

    def push_tuple(self, values: list[Any]) -> None:
        self.stack.append(tuple(values))

    def mark(self, _: None) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def keep(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def name(self, argument: str) -> None:
        if argument not in _NAMES:
            raise ValueError(f"it names {argument}")
        self.stack.append(argument)

    def extend(self, values: list[Any]) -> None:
        _checked(self.stack[-1], list).extend(values)

    def update(self, values: list[Any]) -> None:
        for key, value in zip(values[::2], values[1::2], strict=True):
            _checked(self.stack[-1], dict)[_checked(key, str)] = value

    def call(self, _: None) -> None:
        """REDUCE: what the call of a name would return."""
        name, arguments = self.pop(2)
        _checked(arguments, tuple)
        if name == "_codecs encode" and arguments[1:] == ("latin1",):
            self.stack.append(_checked(arguments[0], str))
        elif name in _RECONSTRUCT and arguments[:1] == ("numpy ndarray",):
            self.stack.append(PickledArray())
        elif name == "numpy dtype" and arguments[:1] == ("u1",):
            self.stack.append(_UINT8)
        else:
            raise ValueError("a call that does not make an array of bytes")

    def build(self, _: None) -> None:
        """BUILD: a state for the value below it."""
        target, state = self.pop(2)
        if isinstance(target, PickledArray):
            target.values = _array(_checked(state, tuple))
        elif target is not _UINT8:  # whose state is the order of its bytes, of which it has one
            raise ValueError("a state for what is not an array")
        self.stack.append(target)


def _array(state: tuple[Any, ...]) -> np.ndarray:
    """The array of which this is the state: version, shape, dtype, whether columns come first, content."""
    if len(state) != 5 or state[2] is not _UINT8 or state[3]:
        raise ValueError("the array is not one of bytes in row-major order")
    shape, data = _checked(state[1], tuple), _checked(state[4], str).encode("latin-1")
    if math.prod(_checked(n, int) for n in shape) != len(data):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"expected a {kind.__name__}, got a {type(value).__name__}")
    return value


_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE")
_CONSTRUCTORS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BINPUT": _Machine.keep,
    "LONG_BINPUT": _Machine.keep,
    "BINGET": lambda machine, number: machine.stack.append(machine.memo[number]),
    "LONG_BINGET": lambda machine, number: machine.stack.append(machine.memo[number]),
    "TUPLE1": lambda machine, _: machine.push_tuple(machine.pop(1)),
    "TUPLE2": lambda machine, _: machine.push_tuple(machine.pop(2)),
    "TUPLE3": lambda machine, _: machine.push_tuple(machine.pop(3)),
    "TUPLE": lambda machine, _: machine.push_tuple(machine.pop_to_mark()),
    "APPEND": lambda machine, _: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_to_mark()),
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
