"""Safetensors read into arrays, and headers that lie."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from minicnn import weights

NUMBERS = np.arange(6, dtype=np.float32)


RAW = NUMBERS.tobytes()


def file_with(path, header, data=RAW, length=None):
    """A file written by hand; header: a dict, or its JSON."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin=0, end=24, shape=(2, 3), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_arrays_of_every_dtype(tmp_path):
    values = {dtype: np.array([0, 1, 5, 100], dtype) for dtype in
              ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")}  # fmt: skip
    save_file(
        values | {"number": np.array(3.0), "empty": np.zeros((0, 2))}, tmp_path / "a.safetensors", {"format": "pt"}
    )
    arrays = weights.read_weights(tmp_path / "a.safetensors")
    assert arrays.keys() == {*values, "number", "empty"}
    for dtype, value in values.items():
        assert arrays[dtype].dtype == dtype
        np.testing.assert_array_equal(arrays[dtype], value)
    assert arrays["number"].shape == ()
    assert arrays["empty"].shape == (0, 2)


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    exact = np.array([1.0, -2.5, 3.140625, 2.0**100], np.float32)
    data = (exact.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = file_with(tmp_path / "a", {"w": entry(0, 8, (4,), "BF16")}, data)
    np.testing.assert_array_equal(weights.read_weights(path)["w"], exact)


def test_a_file_made_by_hand_is_read(tmp_path):
    """So that what the tests below refuse is refused for its lie alone."""
    arrays = weights.read_weights(file_with(tmp_path / "a", {"w": entry()}))
    np.testing.assert_array_equal(arrays["w"], NUMBERS.reshape(2, 3))


LIES = {
    "length behind the file": ({"w": entry()}, {"length": 10**6}),
    "length of an exabyte": ({"w": entry()}, {"length": 1 << 60}),
    "length short of the header": ({"w": entry()}, {"length": 20}),
    "a header of 100 MB": ("{" + " " * 100_000_001 + "}", {}),
    "an array behind the file": ({"w": entry(0, 48, (12,))}, {}),
    "more bytes than its shape": ({"w": entry(0, 24, (5,))}, {}),
    "fewer bytes than its shape": ({"w": entry(0, 24, (7,))}, {}),
    "bytes of another dtype": ({"w": entry(dtype="F64")}, {}),
    "overlap": ({"v": entry(0, 16, (4,)), "w": entry(8, 24, (4,))}, {}),
    "gap": ({"v": entry(0, 8, (2,)), "w": entry(16, 24, (2,))}, {}),
    "bytes left over": ({"w": entry(0, 16, (4,))}, {}),
    "the end before the begin": ({"w": entry(24, 0)}, {}),
    "negative": ({"w": entry(-8, 16)}, {}),
    "a shape of 2**128 numbers": ({"w": entry(0, 24, (1 << 63, 1 << 63, 4))}, {}),
    "an unknown dtype": ({"w": entry(dtype="F33")}, {}),
    "a dtype that weights do not have": ({"w": entry(0, 24, (3,), "C64")}, {}),
    "one name twice": (json.dumps({"v": entry(0, 12, (3,)), "w": entry(12, 24, (3,))}).replace("v", "w"), {}),
    "no JSON": ('{"w": ', {}),
    "no offsets": ({"w": {"dtype": "F32", "shape": [6]}}, {}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused(tmp_path, lie):
    header, settings = LIES[lie]
    path = file_with(tmp_path / "a.safetensors", header, **settings)
    with pytest.raises(
        ValueError, match=r"a\.safetensors cannot be read: (it is no whole safetensors file|w has)"
    ) as caught:
        weights.read_weights(path)
    assert len(str(caught.value)) < 500


def test_every_truncation_is_refused(tmp_path):
    path = file_with(tmp_path / "a.safetensors", {"w": entry()})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cannot be read"):
            weights.read_weights(path)


def test_a_file_of_minicnns_own_is_not_turned(tmp_path):
    save_file({"w": NUMBERS}, tmp_path / "a", {"format": "minicnn", "layout": "HWIO"})
    with pytest.raises(ValueError, match=r"written by minicnn, in this engine's own layout.*Trainer\.load"):
        weights.read_weights(tmp_path / "a")
