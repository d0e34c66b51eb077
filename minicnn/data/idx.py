"""The IDX file format, in which MNIST and its relatives are published, read with nothing taken on trust.

An IDX file is a header and the elements in row-major order, every number big-endian:

    2 bytes    0, 0
    1 byte     the type of an element, one of `_TYPES`
    1 byte     D, the number of dimensions
    4 D bytes  the size of each dimension, unsigned
    the rest   the elements

Source: Y. LeCun, C. Cortes, "The MNIST database of handwritten digits", section "File formats".
"""

import contextlib
import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_LIMIT = 2**30  # bytes; a gzip file a thousand times smaller can ask for as much, so there has to be an end
_CHUNK = 2**20  # bytes
_AXES_LIMIT = 64  # NumPy's own
AGAIN = "delete the file and get it again"


def read_idx(path: str | os.PathLike[str], sha256: str | None = None) -> np.ndarray:
    """Read the array in an IDX file, plain or compressed with gzip (told by its content, not by its name).

    path: the file.
    sha256: what the SHA-256 of the uncompressed file has to be, in hexadecimal; None checks nothing.

    Returns a fresh writable array in native byte order, of the shape in the header and of type uint8, int8, int16,
    int32, float32 or float64. Memory grows with the bytes that are really there, never with what the header claims.

    Raises FileNotFoundError where there is no file, and ValueError, naming the file, the fault and the cure, for any
    file that is not exactly one IDX array: wrong magic number, unknown type, truncated, bytes left over, corrupt
    gzip, more than 1 GiB out of a gzip file, another checksum.
    """
    path = os.fspath(path)
    if not isinstance(sha256, str | None):
        raise TypeError(f"read_idx expected sha256 to be a checksum in hexadecimal or None, got {sha256!r}")
    with _faults_named(path), open(path, "rb") as file:
        return _read_open(path, file, sha256)


def map_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in a plain IDX file, left where it is: pages of the file are read as they are looked at.

    Returns a read-only array with the shape and type of the header, big-endian as the file. The file must not become
    shorter while it is in use: the system ends a process that looks at what is no longer there.
    Raises as `read_idx` does, and ValueError for a compressed file.
    """
    path = os.fspath(path)
    with _faults_named(path), open(path, "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            raise ValueError(f"{path}: a compressed file cannot be mapped; unpack it with gunzip")
        file.seek(0)
        header, dtype, shape = _read_header(path, file)
        check_length(path, shape, math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size - len(header))
        return np.memmap(file, dtype, "r", len(header), shape)


@contextlib.contextmanager
def _faults_named(path: str) -> Iterator[None]:
    """What can go wrong with any file, in a sentence with its name."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file; check the path, or get the file") from error
    except IsADirectoryError as error:
        raise ValueError(f"{path}: this is a folder; name a file in it") from error
    except EOFError as error:
        raise ValueError(f"{path}: the gzip data is truncated; {AGAIN}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: the gzip data is corrupt ({error}); {AGAIN}") from error


def _read_open(path: str, file: BinaryIO, sha256: str | None) -> np.ndarray:
    """The array in an open file; the errors of gzip pass through."""
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    stream: BinaryIO = gzip.GzipFile(fileobj=file) if compressed else file  # type: ignore[assignment]
    header, dtype, shape = _read_header(path, stream)
    size = math.prod(shape) * dtype.itemsize
    if compressed and size > _GZIP_LIMIT:
        raise ValueError(
            f"{path}: the header claims an array of shape {shape}, {size} bytes, and a gzip file may unpack to "
            f"{_GZIP_LIMIT} at most; if the size is right, unpack it with gunzip and read the plain file"
        )
    # One byte more than promised: the only way to see that bytes are left over, and what makes gzip check its CRC.
    body = _read_bytes(stream, size + 1)
    check_length(path, shape, size, len(body))
    _check_sha256(path, header, body, sha256)
    array: np.ndarray = np.ndarray(shape, dtype, buffer=body)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(path: str, stream: BinaryIO) -> tuple[bytes, np.dtype, tuple[int, ...]]:
    """The bytes of the header, and the type and the shape that it declares."""
    magic = bytes(_read_bytes(stream, 4))
    if not magic:
        raise ValueError(f"{path}: the file is empty; {AGAIN}")
    if magic[:2] != b"\0\0"[: len(magic)]:
        raise ValueError(f"{path}: {_describe_stranger(magic + _read_bytes(stream, 508))}")
    if len(magic) < 4:
        raise ValueError(f"{path}: the header is truncated after {len(magic)} bytes; {AGAIN}")
    code, axes = magic[2], magic[3]
    if code not in _TYPES:
        known = ", ".join(f"0x{known:02X}" for known in _TYPES)
        raise ValueError(f"{path}: unknown type code 0x{code:02X}, expected one of {known}; {AGAIN}")
    sizes = bytes(_read_bytes(stream, 4 * axes))
    if len(sizes) < 4 * axes:
        raise ValueError(f"{path}: the header is truncated: it should hold {axes} dimensions; {AGAIN}")
    dtype, shape = np.dtype(_TYPES[code]), struct.unpack(f">{axes}I", sizes)
    check_shape(path, shape, dtype.itemsize)
    return magic + sizes, dtype, shape


def _describe_stranger(start: bytes) -> str:
    """What a file is, by its first bytes, that does not begin as an IDX file does; and what to do."""
    if fault := page_fault(start):
        return f"{fault}; {AGAIN}"
    return f"not an IDX file: it begins with the bytes {start[:4].hex(' ')}, expected 00 00; check which file this is"


def page_fault(start: bytes) -> str | None:
    """What to say of a file that is a page of the web, by its first bytes; None where it is not."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text.startswith(b"<"):
        return None
    kind = "an XML" if text.startswith(b"<?xml") and b"html" not in text else "an HTML"
    return f"this is {kind} page, probably an error page of the download"


def check_digest(path: str | os.PathLike[str], algorithm: str, expected: str) -> None:
    """Raise ValueError, without the path, unless the file as it lies there has this checksum: "md5" or "sha256"."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        if fault := page_fault(file.read(512)):
            raise ValueError(fault)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        name = {"md5": "MD5", "sha256": "SHA-256"}[algorithm]
        raise ValueError(
            f"the {name} of the file is {digest.hexdigest()}, expected {expected}: it is damaged or another file"
        )


def _read_bytes(stream: BinaryIO, count: int) -> bytearray:
    """The next `count` bytes, or as many as there are: what is allocated is what was read."""
    data = bytearray()
    while len(data) < count and (chunk := stream.read(min(_CHUNK, count - len(data)))):
        data += chunk
    return data


def check_shape(path: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise ValueError for the shape of no array: NumPy refuses one by the product of the sizes that are not zero."""
    if len(shape) > _AXES_LIMIT or math.prod(n for n in shape if n) * itemsize >= 2**63:
        raise ValueError(f"{path}: the header claims shape {shape}, more than an array can hold; {AGAIN}")


def check_length(path: str, shape: tuple[int, ...], promised: int, there: int) -> None:
    """Raise ValueError unless as many bytes are there as were promised. there: one too many stands for all."""
    if there < promised:
        raise ValueError(
            f"{path}: the data is truncated: the header promises shape {shape}, {promised} bytes, and {there} follow; "
            f"{AGAIN}"
        )
    if there > promised:
        raise ValueError(f"{path}: bytes are left over after the {promised} of the array of shape {shape}; {AGAIN}")


def _check_sha256(path: str, header: bytes, body: bytearray, expected: str | None) -> None:
    if expected is None:
        return
    digest = hashlib.sha256(header)
    digest.update(body)
    if digest.hexdigest() != expected.lower():
        raise ValueError(
            f"{path}: the SHA-256 of the uncompressed file is {digest.hexdigest()}, expected {expected}; the file is "
            f"damaged or another one; {AGAIN}"
        )
