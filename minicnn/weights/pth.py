"""Files that `torch.save` wrote, `.pth` or `.pt`, read without PyTorch.

Since PyTorch 1.6 such a file is a zip archive: NAME/data.pkl is a pickle of names and shapes, NAME/data/0, NAME/data/1
... are the numbers. The format before it is one stream: three short pickles (a magic number, a version, and what the
machine was like), the pickle of names and shapes, a list of keys, and for each key a count and the numbers.

Every size, offset and stride is held against the bytes that are there before an array is made of them.
"""

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from .dtypes import ITEMSIZE, numbers_from
from .pickled import LIMIT, StorageRef, TensorRef, read_pickle

Array = np.ndarray
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
# Under these names training scripts keep the weights, beside the epoch and the optimizer's state.
WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_zip(file: IO[bytes]) -> dict[str, Array]:
    """The arrays of a zip archive; see `weights.read_weights`."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, os.fstat(file.fileno()).st_size)
            root = _root(members)
            swapped = f"{root}/byteorder" in members and archive.read(f"{root}/byteorder").strip() == b"big"
            refs = read_pickle(io.BytesIO(archive.read(f"{root}/data.pkl")))
            return _arrays(refs, lambda key: archive.read(f"{root}/data/{key}"), swapped)
    except KeyError as error:
        raise ValueError(f"it is not whole: {error.args[0]}") from error
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OverflowError,
        OSError,
        struct.error,
    ) as error:
        raise ValueError(f"the zip archive is damaged or truncated ({error})") from error


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, after a look at what could be a bomb: a small file that becomes large in memory."""
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    if len(members) < len(infos):
        raise ValueError("refused: two members of the archive have one name")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise ValueError(f"refused: {info.filename[:100]} is compressed or encrypted, as PyTorch never writes it")
    if sum(info.file_size for info in infos) > size:
        raise ValueError("refused: the members of the archive overlap")
    return members


def _root(members: dict[str, zipfile.ZipInfo]) -> str:
    """The folder that everything lies in; it bears the name that the file had when it was written."""
    roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise ValueError("it is a zip archive, but not of PyTorch: expected one member NAME/data.pkl")
    if members[f"{roots[0]}/data.pkl"].file_size > LIMIT:
        raise ValueError(f"its data.pkl is longer than {LIMIT} bytes, which no names and shapes of weights need")
    return roots[0]


def read_legacy(file: IO[bytes]) -> dict[str, Array]:
    """The arrays of a file in the format before the zip archive; see `weights.read_weights`."""
    if (magic := read_pickle(file)) != MAGIC or read_pickle(file) != PROTOCOL:
        raise ValueError(f"it is a pickle, but not of torch.save: it begins with a {type(magic).__name__}")
    machine = read_pickle(file)
    swapped = isinstance(machine, dict) and machine.get("little_endian") is False
    named: dict[str, StorageRef] = {}
    refs, keys = read_pickle(file, named), read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or {*keys} != named.keys():
        raise ValueError("it is damaged: no list of the storages that its arrays lie in follows the pickle")
    storages = {key: _stream_storage(file, ITEMSIZE[named[key].dtype], swapped) for key in keys}
    return _arrays(refs, storages.__getitem__, swapped)


def _stream_storage(file: IO[bytes], itemsize: int, swapped: bool) -> bytes:
    """The bytes of the storage that begins at the file's position with the count of its numbers."""
    left = os.fstat(file.fileno()).st_size - file.tell() - 8
    count = struct.unpack(">q" if swapped else "<q", file.read(8))[0] if left >= 0 else 0
    if not 0 <= count * itemsize <= left:
        raise ValueError(f"it is truncated or damaged: a storage of {count} numbers, and {max(left, 0)} bytes are left")
    return file.read(count * itemsize)


def _tensors(value: Any) -> dict[str, TensorRef]:
    """The weights among what the pickle described: a dict of arrays, or one that holds it under a usual name."""
    if isinstance(value, dict):
        wrapped = [value[key] for key in WRAPPERS if isinstance(value.get(key), dict)]
        value = wrapped[0] if wrapped else value
    if isinstance(value, dict) and value and all(isinstance(each, TensorRef) for each in value.values()):
        return {str(name): tensor for name, tensor in value.items()}
    raise ValueError(
        f"expected a dict of arrays by name, or one under {' or '.join(map(repr, WRAPPERS))}, "
        f"got {_described(value)}: save model.state_dict()"
    )


def _described(value: Any) -> str:
    """What stands there instead, in a few words."""
    if not isinstance(value, dict):
        return "one array" if isinstance(value, TensorRef) else f"a {type(value).__name__}"
    kinds = [
        f"{str(key)[:40]}: {type(each).__name__}" for key, each in value.items() if not isinstance(each, TensorRef)
    ]
    return f"a dict with {', '.join(kinds[:5])}" if kinds else "an empty dict"


def _arrays(refs: Any, storage: Callable[[str], bytes], swapped: bool) -> dict[str, Array]:
    """storage: gives the bytes for a key. swapped: the numbers were written by a big-endian machine."""
    read: dict[tuple[str, str], Array] = {}  # once, whatever number of arrays lies in it
    arrays = {}
    for name, tensor in _tensors(refs).items():
        place = tensor.storage.key, tensor.storage.dtype
        if place not in read:
            read[place] = numbers_from(storage(tensor.storage.key), tensor.storage.dtype, swapped)
        try:
            arrays[name] = _array(tensor, read[place])
        except ValueError as error:
            raise ValueError(f"{name[:100]}: {error}") from error
    return arrays


def _array(tensor: TensorRef, numbers: Array) -> Array:
    """The array that a description and the numbers of its storage make, after a look whether it lies inside them."""
    if tensor.storage.count > numbers.size:
        raise ValueError(f"its storage should hold {tensor.storage.count} numbers, and there are {numbers.size}")
    size, stride, volume = tensor.size, tensor.stride, math.prod(tensor.size)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False))
    # Without the count an axis of stride 0 could make a terabyte of four bytes.
    if len(size) != len(stride) or volume > tensor.storage.count or (volume and last >= tensor.storage.count):
        raise ValueError(
            f"shape {size[:8]}, strides {stride[:8]} and offset {tensor.offset} lead out of its storage of "
            f"{tensor.storage.count} numbers"
        )
    if not volume:
        return np.empty(size, numbers.dtype)
    # Along an axis of length 1 nobody steps, and the file may say anything.
    steps = tuple(step * numbers.itemsize if n > 1 else 0 for n, step in zip(size, stride, strict=True))
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], size, steps, writeable=False)
