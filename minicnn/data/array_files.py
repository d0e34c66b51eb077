"""A data set in two files of arrays, read into memory or left where it is."""

import math
import os
import tokenize
from collections.abc import Sequence

import numpy as np

from minicnn.data.datasets import ArrayDataset
from minicnn.data.idx import AGAIN, check_length, check_shape, map_idx, read_idx
from minicnn.nn.checks import flag

# The format's third version is for the names of columns.
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

PathLike = str | os.PathLike[str]


def file_dataset(
    images: PathLike, labels: PathLike | np.ndarray, classes: Sequence[str] | None = None, mapped: bool = False
) -> ArrayDataset:
    """A data set from a file of images and a file of labels, each in the format IDX or NumPy's `.npy`.

    images: (M, H, W, C), or (M, H, W) for grey ones; uint8 of 0 to 255, or float32 or float64.
    labels: (M,) integers: a file, or an array.
    classes: the names of the classes, one for each number; None where they have none.
    mapped: whether the images stay on disk. Nothing of them is read then but the shape, and later what a batch needs,
        so that the set may be larger than memory. Their file has to be uncompressed, and must not become shorter while
        it is in use. The images are read-only; labels are read in any case.

    IDX files, such as MNIST's and its relatives', may be compressed with gzip. A file is known by what is in it, not by
    its name; a `.npy` file with Python objects in it is refused, since reading those runs code.

    Raises FileNotFoundError; and ValueError or TypeError that name the file, where it is damaged or truncated, in
    another format, and for arrays that `ArrayDataset` does not take.
    """
    pixels = _map(images) if flag(mapped, "file_dataset", "mapped") else _read(images)
    numbers = labels if isinstance(labels, np.ndarray) else _read(labels)
    if pixels.ndim == 3:
        pixels = pixels[..., np.newaxis]  # (M, H, W) -> (M, H, W, 1)
    try:
        return ArrayDataset(pixels, numbers, classes)
    except (TypeError, ValueError) as error:
        files = os.fspath(images) if isinstance(labels, np.ndarray) else f"{os.fspath(images)}, {os.fspath(labels)}"
        raise type(error)(f"{files}: {error}") from error


def _read(path: PathLike) -> np.ndarray:
    """The array in a file, fresh and in native byte order."""
    if not _is_npy(path):
        return read_idx(path)
    array = _map_npy(path)
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _map(path: PathLike) -> np.ndarray:
    return _map_npy(path) if _is_npy(path) else map_idx(path)


def _is_npy(path: PathLike) -> bool:
    name = os.fspath(path)
    if not os.path.isfile(name):
        return False  # an error of IDX's reader
    with open(name, "rb") as file:
        return file.read(6) == b"\x93NUMPY"


def _map_npy(path: PathLike) -> np.ndarray:
    """The array in a `.npy` file, left where it is."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            shape, columns_first, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
            start, end = file.tell(), file.seek(0, os.SEEK_END)
    # The header is a Python literal, which NumPy takes apart.
    except (ValueError, TypeError, KeyError, SyntaxError, EOFError, RecursionError, MemoryError, OverflowError,
            tokenize.TokenError) as error:  # fmt: skip
        raise ValueError(f"{name}: the header of this .npy file is damaged ({str(error)[:200]}); {AGAIN}") from error
    if dtype.kind not in "iuf" or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"{name}: expected an array of numbers, got {dtype} of shape {shape}")
    check_shape(name, shape, dtype.itemsize)
    check_length(name, shape, math.prod(shape) * dtype.itemsize, end - start)
    return np.memmap(name, dtype, "r", start, shape, "F" if columns_first else "C")
