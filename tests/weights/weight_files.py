"""Files of weights made by hand, opcode by opcode, and so without the code under test and without PyTorch."""

import io
import struct
import zipfile

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def push(value):
    """The opcodes that put a value on the stack."""
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(digits)]) + digits
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, tuple):
        return b"(" + b"".join(map(push, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(push, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(push(key) + push(each) for key, each in value.items()) + b"u"
    return bytes(value)  # opcodes already


class Opcodes(bytes):
    """What `push` passes on as it is."""


def named(name):
    """The opcode that looks up a function or class by its name."""
    module, _, last = name.rpartition(".")
    return b"c" + module.encode() + b"\n" + last.encode() + b"\n"


def call(name, *arguments):
    return Opcodes(named(name) + push(arguments) + b"R")


def storage(key="0", count=12, kind="torch.FloatStorage", more=()):
    return Opcodes(push(("storage", Opcodes(named(kind)), key, "cpu", count, *more)) + b"Q")


def tensor(size=(3, 4), stride=(4, 1), offset=0, *, function="torch._utils._rebuild_tensor_v2", **where):
    """The opcodes of an array, as torch.save writes them."""
    return call(function, storage(**where), offset, size, stride, False, call("collections.OrderedDict"))


def pickled(value):
    return b"\x80\x02" + push(value) + b"."


def zip_file(path, pickle, storages, root="archive", method=zipfile.ZIP_STORED, more=()):
    """The archive of PyTorch 1.6 and later. storages: {key: bytes}. more: (name, content) of other members."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{root}/data.pkl", pickle)
        for key, content in storages.items():
            archive.writestr(f"{root}/data/{key}", content)
        archive.writestr(f"{root}/version", "3\n")
        for name, content in more:
            archive.writestr(name, content)
    return path


def legacy_file(path, pickle, storages, itemsize=4, little_endian=True, keys=None):
    """The format before it: four pickles, a list of keys, then a count and the numbers of each."""
    machine = {"protocol_version": PROTOCOL, "little_endian": little_endian, "type_sizes": {"short": 2, "int": 4}}
    file = io.BytesIO()
    for value in (MAGIC, PROTOCOL, machine):
        file.write(pickled(value))
    file.write(pickle + pickled(list(storages) if keys is None else keys))
    for content in storages.values():
        file.write(struct.pack("<q" if little_endian else ">q", len(content) // itemsize) + content)
    path.write_bytes(file.getvalue())
    return path
