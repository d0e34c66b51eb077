"""Samples of an array that lies in a file (np.memmap): the system is told what will be read, and what was read."""

import contextlib
import mmap
from typing import Any

import numpy as np


def gather(images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """images[indices]: (M, H, W, C) and (n,) -> (n, H, W, C), a copy.

    A memory-mapped file may be larger than memory. A page of it that is read and not there stops the reader until the
    disk has brought it, with whatever lies around it, most of which shuffled samples do not need. So the system hears
    first where all samples of the batch lie, and brings them at the same time. Afterwards their pages leave this
    process's memory, which stays as small as it was; the system keeps them at hand as long as it has room.
    """
    mapping = _mapping(images)
    if mapping is None:
        return images[indices]
    with contextlib.suppress(OSError):  # advice, which a file system need not take
        _announce(mapping, images, indices)
    gathered = images[indices]
    with contextlib.suppress(OSError):
        mapping.madvise(mmap.MADV_DONTNEED)
    return gathered


def _mapping(images: np.ndarray) -> mmap.mmap | None:
    """The memory-mapped file under an array; None where there is none, and of mode "c", whose changes are in memory
    alone: they would be lost with their pages."""
    base: Any = images
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    if not isinstance(base, np.memmap) or base.mode == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def _announce(mapping: mmap.mmap, images: np.ndarray, indices: np.ndarray) -> None:
    """Say where these images lie; nothing of ones that are spread over the file, as in column-major order."""
    stride, size = images.strides[0], images[0].nbytes
    if not images[0].flags.c_contiguous or stride < size:
        return
    first = images.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
    for start in (first + indices * stride).tolist():
        page = start - start % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, page, start + size - page)
