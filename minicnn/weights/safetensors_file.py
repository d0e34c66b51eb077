"""Safetensors: a header of names, dtypes, shapes and places, then the numbers. Read by the library of that name."""

import math
from typing import Any

import numpy as np

from .dtypes import ITEMSIZE, numbers_from

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read(path: str) -> dict[str, np.ndarray]:
    """The arrays in the file; see `weights.read_weights`.

    The library looks whether the header is whole, and whether the places in it fill the file without gap or overlap.
    """
    from safetensors import SafetensorError, deserialize, safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # reads the header alone
            metadata = file.metadata() or {}
        if metadata.get("format") == "minicnn":
            raise ValueError(
                "it was written by minicnn, in this engine's own layout, and load_pretrained turns PyTorch's: build "
                "the Trainer that wrote it and use Trainer.load"
            )
        with open(path, "rb") as content:
            return {name: _array(name, entry) for name, entry in sorted(deserialize(content.read()))}
    except SafetensorError as error:
        raise ValueError(f"it is no whole safetensors file ({str(error)[:200]})") from error


def _array(name: str, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{name[:100]} has the dtype {entry['dtype']}; known are {', '.join(DTYPES)}")
    dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    if math.prod(shape) * ITEMSIZE[dtype] != len(entry["data"]):
        raise ValueError(f"{name[:100]} has shape {shape} of {dtype}, and {len(entry['data'])} bytes")
    return numbers_from(entry["data"], dtype).reshape(shape)
