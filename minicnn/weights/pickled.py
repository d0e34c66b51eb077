"""The pickle of a state_dict, read without running it (`_pickle`).

The few functions that PyTorch names in one are understood by their names (`CALLS`). What stands for an array comes out
as a `TensorRef`, a description that `pth` checks before it makes an array.

Source: the names are those that `torch.save` writes, torch/_utils.py and torch/serialization.py.
"""

from dataclasses import dataclass
from typing import IO, Any

from .._pickle import Name, PickleMachine, expect, fill

# A tensor takes some 200 bytes here (its numbers lie elsewhere), and an opcode of one byte can make an object of 64.
LIMIT = 2**22  # bytes
AXES = 32

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
    return _WeightsMachine({} if storages is None else storages).run(file, LIMIT)


class _WeightsMachine(PickleMachine):
    """storages: gets every storage that is referred to, by its key."""

    def __init__(self, storages: dict[str, StorageRef]) -> None:
        super().__init__()
        self.storages = storages

    def name(self, full: str) -> Name:
        if full not in CALLS and full not in _STORAGE_NAMES:
            raise ValueError(
                f"refused: its pickle would call {full[:100]}, and nothing in a file of weights is run. If you trust "
                "where it is from, save model.state_dict() alone, or as safetensors, with the library that wrote it"
            )
        return Name(full)

    def call(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        return _call(function, arguments)

    def build(self, target: Any, state: Any) -> None:
        """Attributes such as _metadata; a dict of weights needs none."""
        expect(target, dict)

    def persistent(self, reference: Any) -> StorageRef:
        storage = _storage(reference)
        self.storages[storage.key] = storage
        return storage


def _call(function: Name, arguments: tuple[Any, ...]) -> Any:
    """What the function would return; every argument is checked, since a file can say anything."""
    if function.full == "collections.OrderedDict":
        pairs = expect(arguments[0], list) if arguments else []
        if any(len(expect(pair, list, tuple)) != 2 for pair in pairs):
            raise ValueError("its pickle is damaged: an OrderedDict of something else than pairs")
        return fill({}, pairs)
    if function.full == "torch.Size":
        return whole_numbers(arguments[0])
    if function.full == "torch._utils._rebuild_parameter":
        return expect(arguments[0], TensorRef)
    if function.full in CALLS and len(arguments) >= 4:
        storage, offset, size, stride = arguments[:4]
        (begin,) = whole_numbers((offset,))
        return TensorRef(expect(storage, StorageRef), begin, whole_numbers(size), whole_numbers(stride))
    raise ValueError(f"its pickle is damaged: {function.full} with {len(arguments)} arguments")


def _storage(reference: Any) -> StorageRef:
    """From ("storage", its type, its key, its device, how many numbers, nothing)."""
    kind, typed, key, _, count, *view = expect(reference, tuple) if len(expect(reference, tuple)) >= 5 else (None,) * 5
    if kind != "storage" or not isinstance(typed, Name) or typed.full not in _STORAGE_NAMES:
        raise ValueError("its pickle is damaged: it refers to something else than a storage of numbers")
    if any(part is not None for part in view):
        raise ValueError("it has views of storages, as PyTorch before 0.4 could write: save it anew")
    (numbers,) = whole_numbers((count,))
    return StorageRef(expect(key, str), _STORAGE_NAMES[typed.full], numbers)


def whole_numbers(values: Any) -> tuple[int, ...]:
    """The values as a tuple, if they are integers from 0, and no more of them than an array can have axes."""
    if len(expect(values, tuple, list)) > AXES:
        raise ValueError(f"it has {len(values)} sizes or strides, and an array at most {AXES} axes")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            shown = value if isinstance(value, int | float | str) else type(value).__name__
            raise ValueError(f"it has {str(shown)[:40]} where a size, a stride or an offset should be")
    return tuple(values)
