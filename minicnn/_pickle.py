"""The stack machine that a pickle is a program for, without its power to call anything.

A pickle's opcodes push numbers and strings, build lists and dicts of them, look up a function by its name and call it.
Python's own machine calls whatever is named there, `os.system` too. The one here calls nothing: a subclass knows a few
names, and says what stands for what their calls would return. Any other name ends the reading.

Source: the opcodes are documented in Python's pickletools, which takes the bytes apart here.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING",
             "SHORT_BINSTRING", "INT", "LONG", "FLOAT", "UNICODE"}  # fmt: skip
# How many objects each takes from the stack; None: those behind the last mark.
_CONTAINERS = {
    **{"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3},
    **{"EMPTY_LIST": 0, "LIST": None, "APPEND": 1, "APPENDS": None},
    **{"EMPTY_DICT": 0, "DICT": None, "SETITEM": 2, "SETITEMS": None},
}


@dataclass(frozen=True)
class Name:
    """A function or class that the pickle names."""

    full: str


def _opcodes(file: IO[bytes]) -> Iterator[tuple[str, Any, int]]:
    """(name, argument, position) of each opcode."""
    steps = pickletools.genops(file)
    while True:
        try:
            opcode, argument, position = next(steps)
        except (ValueError, OverflowError, MemoryError) as error:
            raise ValueError(f"its pickle is damaged or truncated ({str(error)[:100]})") from error
        yield opcode.name, argument, position or 0


class PickleMachine:
    """Reads one pickle: `run`. A subclass says what names, their calls, states and references stand for.

    stack: the objects under construction. marks: where on it a list of items began. memo: objects by number.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def name(self, full: str) -> Any:
        """What stands for "module.name", usually Name(full); raises ValueError for what is not known."""
        raise ValueError(f"refused: its pickle would call {full[:100]}")

    def call(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """What the function would return."""
        raise ValueError(f"its pickle is damaged: {function.full} with {len(arguments)} arguments")

    def build(self, target: Any, state: Any) -> None:
        """Give an object that a call made its state."""
        raise ValueError(f"its pickle is damaged: a state for a {type(target).__name__}")

    def persistent(self, reference: Any) -> Any:
        """What a reference to something outside the pickle stands for."""
        raise ValueError("refused: its pickle refers to something outside of it")

    def run(self, file: IO[bytes], limit: int) -> Any:
        """The object that the pickle at the file's position describes; the position is then behind it.

        limit: bytes that it may have. Raises ValueError for a pickle that is damaged, truncated or longer, and for an
        opcode, a name or a call that is not known.
        """
        start = file.tell()
        for opcode, argument, position in _opcodes(file):
            if position - start > limit:
                raise ValueError(f"its pickle is longer than {limit} bytes, which it should never need")
            try:
                if opcode == "STOP":
                    return self.stack.pop()
                self.step(opcode, argument)
            except (IndexError, KeyError) as error:
                raise ValueError(
                    f"its pickle is damaged: {opcode} at byte {position} finds nothing to work on"
                ) from error
        raise AssertionError("pickletools ends a pickle without STOP with an error")

    def step(self, opcode: str, argument: Any) -> None:
        """One opcode."""
        if opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode == "MARK":
            self.marks.append(len(self.stack))
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if opcode == "MEMOIZE" else argument] = self.stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif opcode in _CONTAINERS:
            self._contain(opcode)
        elif opcode not in ("PROTO", "FRAME"):
            self._mean(opcode, argument)

    def _contain(self, opcode: str) -> None:
        """Make a tuple, a list or a dict, or put items into the one on top of the stack."""
        count = _CONTAINERS[opcode]
        items = self._pop_to_mark() if count is None else self._pop(count)
        if opcode.startswith("TUPLE"):
            self.stack.append(tuple(items))
        elif opcode in ("EMPTY_LIST", "LIST"):
            self.stack.append(items)
        elif opcode in ("EMPTY_DICT", "DICT"):
            self.stack.append(fill({}, _pairs(items)))
        elif opcode in ("APPEND", "APPENDS"):
            expect(self.stack[-1], list).extend(items)
        else:
            fill(expect(self.stack[-1], dict), _pairs(items))

    def _mean(self, opcode: str, argument: Any) -> None:
        """Put on the stack what is meant where Python would look up a name, call it, or ask for an object."""
        if opcode in ("GLOBAL", "STACK_GLOBAL"):
            module, name = argument.split(" ", 1) if opcode == "GLOBAL" else self._pop(2)
            self.stack.append(self.name(f"{expect(module, str)}.{expect(name, str)}"))
        elif opcode == "REDUCE":
            function, arguments = self._pop(2)
            self.stack.append(self.call(expect(function, Name), expect(arguments, tuple)))
        elif opcode == "BINPERSID":
            self.stack.append(self.persistent(*self._pop(1)))
        elif opcode == "BUILD":
            target, state = self._pop(2)
            self.build(target, state)
            self.stack.append(target)
        else:
            raise ValueError(f"its pickle has the opcode {opcode}, which arrays and their names do not need: refused")

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        place = len(self.stack) - count
        items = self.stack[place:]
        del self.stack[place:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        place = self.marks.pop()
        items = self.stack[place:]
        del self.stack[place:]
        return items


def _pairs(items: list[Any]) -> list[Any]:
    """key, value, key, value ... by twos."""
    if len(items) % 2:
        raise ValueError("its pickle is damaged: a dict with a key that has no value")
    return list(zip(items[::2], items[1::2], strict=True))


def fill(target: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    """The dict, with these pairs of key and value in it."""
    for key, value in pairs:
        # Another key's hash could take years: that of a tuple of two equal tuples of two equal tuples ...
        target[expect(key, str, int)] = value
    return target


def expect(value: Any, *types: type) -> Any:
    """The value, if it is of one of the types. An error names types alone: to print a hostile value could take ages."""
    if not isinstance(value, types):
        expected = " or ".join(each.__name__ for each in types)
        raise ValueError(f"its pickle is damaged: expected {expected}, got {type(value).__name__}")
    return value
