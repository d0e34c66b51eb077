"""Reading a pickle without running it.

A pickle is a program for a little stack machine: opcodes push numbers and strings, build lists and dicts of them, look
up a function by its name and call it. Python's own machine calls whatever is named there, `os.system` too. The one here
calls nothing: it knows the opcodes that a dict of arrays needs, and the few functions that PyTorch names in one are
understood by their names (`CALLS`). Any other name ends the reading, with the name in the error. What stands for an
array comes out as a `TensorRef`, a description that `pth` checks before it makes an array.

Sources: the opcodes are documented in Python's pickletools, which takes the bytes apart here; the names are those that
`torch.save` writes, torch/_utils.py and torch/serialization.py.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

# A tensor takes some 200 bytes here (its numbers lie elsewhere), and an opcode of one byte can make an object of 64.
LIMIT = 2**22  # bytes

# What a state_dict's pickle calls, and what it only names: the types of its storages.
CALLS = (
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
)
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_STORAGE_NAMES = {f"{module}.{name}": dtype for module in ("torch", "torch.cuda") for name, dtype in STORAGES.items()}

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING",
             "SHORT_BINSTRING", "INT", "LONG", "FLOAT", "UNICODE"}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Name:
    """A function or class that the pickle names."""

    full: str


@dataclass(frozen=True)
class StorageRef:
    """`count` numbers of a dtype that lie one after another under `key`."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class TensorRef:
    """An array in a storage: its first element lies at `offset`, the next one along axis i `stride[i]` further."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_pickle(file: IO[bytes], storages: dict[str, StorageRef] | None = None) -> Any:
    """The object that one pickle at the file's position describes; the position is then behind it.

    storages: gets every storage that the pickle refers to, by its key.

    Raises ValueError for a name that is not among those a state_dict needs, with that name; for an opcode that it does
    not need; and for a damaged or truncated pickle.
    """
    machine, start = _Machine({} if storages is None else storages), file.tell()
    for opcode, argument, position in _opcodes(file):
        if position - start > LIMIT:
            raise ValueError(f"its pickle is longer than {LIMIT} bytes, which no names and shapes of weights need")
        try:
            if opcode == "STOP":
                return machine.stack.pop()
            machine.step(opcode, argument)
        except (IndexError, KeyError) as error:
            raise ValueError(f"its pickle is damaged: {opcode} at byte {position} finds nothing to work on") from error
    raise AssertionError("pickletools ends a pickle without STOP with an error")


def _opcodes(file: IO[bytes]) -> Iterator[tuple[str, Any, int]]:
    """(name, argument, position) of each opcode."""
    steps = pickletools.genops(file)
    while True:
        try:
            opcode, argument, position = next(steps)
        except (ValueError, OverflowError, MemoryError) as error:
            raise ValueError(f"its pickle is damaged or truncated ({str(error)[:100]})") from error
        yield opcode.name, argument, position or 0


class _Machine:
    """stack: the objects under construction. marks: where on it a list of items began. memo: objects by number."""

    def __init__(self, storages: dict[str, StorageRef]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in _LITERALS:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if opcode == "MEMOIZE" else argument] = stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif opcode == "MARK":
            self.marks.append(len(stack))
        elif opcode in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[opcode])))
        elif opcode == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif opcode in ("EMPTY_LIST", "LIST"):
            stack.append([] if opcode == "EMPTY_LIST" else self._pop_to_mark())
        elif opcode in ("EMPTY_DICT", "DICT"):
            stack.append(_fill({}, _pairs([] if opcode == "EMPTY_DICT" else self._pop_to_mark())))
        elif opcode in ("APPEND", "APPENDS"):
            items = self._pop(1) if opcode == "APPEND" else self._pop_to_mark()
            _expect(stack[-1], list).extend(items)
        elif opcode in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if opcode == "SETITEM" else self._pop_to_mark()
            _fill(_expect(stack[-1], dict), _pairs(items))
        elif opcode == "GLOBAL":
            stack.append(_name(*argument.split(" ", 1)))
        elif opcode == "STACK_GLOBAL":
            stack.append(_name(*self._pop(2)))
        elif opcode == "REDUCE":
            function, arguments = self._pop(2)
            stack.append(_call(_expect(function, Name), _expect(arguments, tuple)))
        elif opcode == "BINPERSID":
            storage = _storage(*self._pop(1))
            self.storages[storage.key] = storage
            stack.append(storage)
        elif opcode == "BUILD":  # attributes such as _metadata; a dict of weights needs none
            self._pop(1)
            _expect(stack[-1], dict)
        elif opcode not in ("PROTO", "FRAME"):
            raise ValueError(f"its pickle has the opcode {opcode}, which weights do not need: refused")

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        place = self.marks.pop()
        items = self.stack[place:]
        del self.stack[place:]
        return items


def _name(module: Any, name: Any) -> Name:
    full = f"{_expect(module, str)}.{_expect(name, str)}"
    if full not in CALLS and full not in _STORAGE_NAMES:
        raise ValueError(
            f"refused: its pickle would call {full[:100]}, and nothing in a file of weights is run. If you trust where "
            "it is from, save model.state_dict() alone, or as safetensors, with the library that wrote it"
        )
    return Name(full)


def _call(function: Name, arguments: tuple[Any, ...]) -> Any:
    """What the function would return; every argument is checked, since a file can say anything."""
    if function.full == "collections.OrderedDict":
        pairs = [tuple(_expect(pair, list, tuple)) for pair in _expect(arguments[0], list)] if arguments else []
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("its pickle is damaged: an OrderedDict of something else than pairs")
        return _fill({}, pairs)
    if function.full == "torch.Size":
        return whole_numbers(arguments[0])
    if function.full == "torch._utils._rebuild_parameter":
        return _expect(arguments[0], TensorRef)
    if function.full in CALLS and len(arguments) >= 4:
        storage, offset, size, stride = arguments[:4]
        (begin,) = whole_numbers((offset,))
        return TensorRef(_expect(storage, StorageRef), begin, whole_numbers(size), whole_numbers(stride))
    raise ValueError(f"its pickle is damaged: {function.full} with {len(arguments)} arguments")


def _storage(reference: Any) -> StorageRef:
    """From ("storage", its type, its key, its device, how many numbers, nothing)."""
    kind, typed, key, _, count, *view = (
        _expect(reference, tuple) if len(_expect(reference, tuple)) >= 5 else (None,) * 5
    )
    if kind != "storage" or not isinstance(typed, Name) or typed.full not in _STORAGE_NAMES:
        raise ValueError("its pickle is damaged: it refers to something else than a storage of numbers")
    if any(part is not None for part in view):
        raise ValueError("it has views of storages, as PyTorch before 0.4 could write: save it anew")
    (numbers,) = whole_numbers((count,))
    return StorageRef(_expect(key, str), _STORAGE_NAMES[typed.full], numbers)


def whole_numbers(values: Any) -> tuple[int, ...]:
    """The values as a tuple, if they are integers from 0."""
    for value in _expect(values, tuple, list):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            shown = value if isinstance(value, int | float | str) else type(value).__name__
            raise ValueError(f"it has {str(shown)[:40]} where a size, a stride or an offset should be")
    return tuple(values)


def _pairs(items: list[Any]) -> list[Any]:
    """key, value, key, value ... by twos."""
    if len(items) % 2:
        raise ValueError("its pickle is damaged: a dict with a key that has no value")
    return list(zip(items[::2], items[1::2], strict=True))


def _fill(target: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    for key, value in pairs:
        # Another key's hash could take years: that of a tuple of two equal tuples of two equal tuples ...
        target[_expect(key, str, int)] = value
    return target


def _expect(value: Any, *types: type) -> Any:
    """The value, if it is of one of the types. An error names types alone: to print a hostile value could take ages."""
    if not isinstance(value, types):
        expected = " or ".join(each.__name__ for each in types)
        raise ValueError(f"its pickle is damaged: expected {expected}, got {type(value).__name__}")
    return value
