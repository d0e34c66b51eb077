"""The IDX reader against files built here, byte by byte, from the format's definition; and against damaged ones."""

import gzip
import hashlib
import math
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minicnn.data import read_idx

# type code -> (struct's letter, NumPy's name, values that show byte order and sign)
TYPES = {
    0x08: ("B", "uint8", [0, 1, 127, 128, 254, 255]),
    0x09: ("b", "int8", [0, 1, -1, 127, -128, -2]),
    0x0B: ("h", "int16", [0, 1, -2, 0x0102, -32768, 32767]),
    0x0C: ("i", "int32", [0, 1, -2, 0x01020304, -(2**31), 2**31 - 1]),
    0x0D: ("f", "float32", [0.0, 1.5, -2.25, math.inf, 2.0**-149, 1.5 * 2.0**127]),
    0x0E: ("d", "float64", [0.0, 1.5, -2.25, -math.inf, 5e-324, 1.0e308]),
}


def idx_bytes(code: int, shape: tuple[int, ...], values: list) -> bytes:
    header = bytes([0, 0, code, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape)
    return header + b"".join(struct.pack(">" + TYPES[code][0], value) for value in values)


SMALL = idx_bytes(0x08, (2, 3), [10, 20, 30, 40, 50, 60])
SMALL_ARRAY = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)


def write(folder: Path, content: bytes, name: str = "file.idx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def fault_of(folder: Path, content: bytes, sha256: str | None = None) -> str:
    """The message of the ValueError, which has to begin with the file."""
    path = write(folder, content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: ") as caught:
        read_idx(path, sha256)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_type(tmp_path, code, pack):
    _, name, values = TYPES[code]
    array = read_idx(write(tmp_path, pack(idx_bytes(code, (3, 1, 2), values))))
    assert array.dtype == np.dtype(name)
    assert array.dtype.isnative
    assert array.shape == (3, 1, 2)
    assert array.ravel().tolist() == values
    array[0] = 1  # its owner may write


@pytest.mark.parametrize("shape", [(0,), (0, 28, 28), (3, 0), (2**31, 0)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_zero_size(tmp_path, shape, pack):
    array = read_idx(write(tmp_path, pack(idx_bytes(0x0C, shape, []))))
    assert array.shape == shape
    assert array.dtype == np.int32


def test_no_dimensions_is_one_element(tmp_path):
    array = read_idx(write(tmp_path, idx_bytes(0x0B, (), [-7])))
    assert array.shape == ()
    assert array == -7


@pytest.mark.parametrize("name", ["данные.gz", "図 形.idx", "é", "no_suffix", "plain.gz", "packed.idx"])
def test_name_says_nothing(tmp_path, name):
    for content in (SMALL, gzip.compress(SMALL)):
        np.testing.assert_array_equal(read_idx(write(tmp_path, content, name)), SMALL_ARRAY)
        np.testing.assert_array_equal(read_idx(str(tmp_path / name)), SMALL_ARRAY)


def test_two_gzip_members_are_one_file(tmp_path):
    content = gzip.compress(SMALL[:7]) + gzip.compress(SMALL[7:])
    np.testing.assert_array_equal(read_idx(write(tmp_path, content)), SMALL_ARRAY)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.gz: there is no such file; check the path"):
        read_idx(tmp_path / "absent.gz")
    with pytest.raises(ValueError, match="this is a folder; name a file in it"):
        read_idx(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the file is empty"),
        (b"\0", "the header is truncated after 1 bytes"),
        (b"\0\0\x08", "the header is truncated after 3 bytes"),
        (b"\x01\0\x08\x01\0\0\0\x01A", "not an IDX file: it begins with the bytes 01 00 08 01, expected 00 00"),
        (b"\0\x01\x08\x01\0\0\0\x01A", "not an IDX file: it begins with the bytes 00 01 08 01"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file: it begins with the bytes 89 50 4e 47"),
        (b"\0\0\x0a\x01\0\0\0\x01A", "unknown type code 0x0A, expected one of 0x08, 0x09, 0x0B"),
        (b"\0\0\x08\x02\0\0\0\x01\0\0\0", "the header is truncated: it should hold 2 dimensions"),
        (b"\0\0\x08\xff", "the header is truncated: it should hold 255 dimensions"),
        (b"\0\0\x08\xff" + 255 * b"\0\0\0\x01" + b"A", "more than an array can hold"),
        (b"\0\0\x08\x03\0\0\0\0" + 8 * b"\xff", "more than an array can hold"),
        (SMALL[:-1], "the data is truncated: the header promises shape (2, 3), 6 bytes, and 5 follow"),
        (SMALL[:12], "the data is truncated: the header promises shape (2, 3), 6 bytes, and 0 follow"),
        (SMALL + b"\0", "bytes are left over after the 6 of the array of shape (2, 3)"),
        (b"<!DOCTYPE html><p>403</p>", "this is an HTML page, probably an error page of the download"),
        (b"\xef\xbb\xbf\r\n  <HTML><body>", "this is an HTML page, probably an error page of the download"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "this is an XML page, probably an error page"),
    ],
)
def test_fault_is_named(tmp_path, content, fault, pack):
    message = fault_of(tmp_path, pack(content)) if content else fault_of(tmp_path, content)
    assert fault in message
    assert ";" in message  # and what to do


def test_empty_gzip(tmp_path):
    assert "the file is empty" in fault_of(tmp_path, gzip.compress(b""))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(2**30 - 1,), (60000, 28, 2**31), (2**32 - 1, 2**30, 1), (2**32 - 1,) * 4])
def test_a_size_that_lies_allocates_nothing(tmp_path, shape, pack):
    path = write(tmp_path, pack(idx_bytes(0x08, shape, list(range(100)))))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"the header (promises|claims)"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_gzip_bomb_stops_at_the_declared_size(tmp_path):
    bomb = gzip.compress(SMALL + bytes(2**26), compresslevel=1)
    path = write(tmp_path, bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="bytes are left over"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_gzip_bomb_with_an_honest_header_has_a_maximum(tmp_path):
    content = gzip.compress(idx_bytes(0x08, (2**30 + 1,), []))
    assert "a gzip file may unpack to 1073741824 at most" in fault_of(tmp_path, content)


def test_every_truncation_of_a_gzip_file(tmp_path):
    whole = gzip.compress(SMALL)
    for length in range(len(whole)):
        message = fault_of(tmp_path, whole[:length])
        if length >= 2:
            assert "the gzip data is truncated" in message


@pytest.mark.parametrize("offset", [-8, -4])
def test_gzip_trailer_is_checked(tmp_path, offset):
    content = bytearray(gzip.compress(SMALL))
    content[offset] ^= 1  # of the CRC, of the length
    assert "the gzip data is corrupt" in fault_of(tmp_path, bytes(content))


def test_rubbish_after_gzip(tmp_path):
    assert "the gzip data is corrupt" in fault_of(tmp_path, gzip.compress(SMALL) + b"rubbish")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_checksum_is_of_the_uncompressed_bytes(tmp_path, pack):
    right = hashlib.sha256(SMALL).hexdigest()
    for spelling in (right, right.upper()):
        np.testing.assert_array_equal(read_idx(write(tmp_path, pack(SMALL)), spelling), SMALL_ARRAY)
    wrong = hashlib.sha256(b"another").hexdigest()
    message = fault_of(tmp_path, pack(SMALL), wrong)
    assert right in message
    assert wrong in message


def array_or_none(path: Path, sha256: str | None = None) -> np.ndarray | None:
    """None for a ValueError; any other exception is the test's failure."""
    try:
        return read_idx(path, sha256)
    except ValueError:
        return None


FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data(), packed=st.booleans())
def test_damaged_bytes_never_pass(tmp_path, data, packed):
    whole = gzip.compress(SMALL) if packed else SMALL
    # Nothing but its CRC guards a gzip file, and nothing a plain one, which is why that one has a checksum.
    sha256 = None if packed else hashlib.sha256(SMALL).hexdigest()
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    array = array_or_none(write(tmp_path, bytes(content)), sha256)
    if packed:
        assert array is None or (array.dtype == np.uint8 and array.tolist() == SMALL_ARRAY.tolist())
    else:
        assert array is None


@FUZZ
@given(content=st.binary(max_size=64), start=st.sampled_from([b"", b"\0\0", b"\0\0\x08\x01", b"\x1f\x8b\x08\0"]))
def test_any_bytes_give_an_array_or_a_value_error(tmp_path, content, start):
    array = array_or_none(write(tmp_path, start + content))
    if array is not None:
        assert len(start + content) == 4 + 4 * array.ndim + array.nbytes
