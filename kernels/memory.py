"""Large arrays are made from blocks that are used again.

A training step makes and drops the same arrays as the step before. The system gives large memory back at once, and
takes it again page by page, each page cleared and mapped at its first touch: for LeNet-5 that is a third of the step.
So a block that has served an array serves the next one, once nobody holds the first any more.

Who holds a block is what Python counts anyway: every array and every view of one refers to the block that it lies in.
"""

import math
import sys
import threading
from typing import Any

import numpy as np

Array = Any

SMALLEST = 1 << 16  # bytes; below it the system's allocator is as good
ALIGNMENT = 64  # bytes: a cache line, and a vector of 512 bits
PATIENCE = 2000  # requests after which a block that served none of them is given back

_lock = threading.Lock()
_blocks: dict[int, list["Block"]] = {}
_requests = 0


class Block(np.ndarray[Any, Any]):
    """The bytes under an array of `empty`."""

    last_request = 0
    offset = 0  # to the first aligned byte


_probe = [Block(1, np.uint8)]
_UNHELD = sys.getrefcount(_probe[0])  # what Python counts for a block that only a list holds


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array like numpy.empty's, perhaps in memory that an array had which is gone."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    with _lock:
        block = _free_block(_rounded_up(size))
        return np.ndarray(shape, dtype, block, block.offset)


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """`empty`, filled with 0."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def is_whole(array: Array) -> bool:
    """Whether an array is no view of another one."""
    return array.base is None or type(array.base) is Block


def _rounded_up(size: int) -> int:
    """To four sizes for each doubling, so that batches of nearly one size share blocks."""
    quarter = 1 << (size.bit_length() - 3)
    return -(-size // quarter) * quarter


def _free_block(size: int) -> Block:
    """A block of `size` bytes that no array lies in, the one used last if there are several."""
    global _requests
    _requests += 1
    blocks = _blocks.setdefault(size, [])
    for i in range(len(blocks) - 1, -1, -1):
        if sys.getrefcount(blocks[i]) == _UNHELD:
            block = blocks[i]
            break
    else:
        _give_back()
        block = Block(size + ALIGNMENT, np.uint8)
        block.offset = -block.ctypes.data % ALIGNMENT
        blocks.append(block)
    block.last_request = _requests
    return block


def _give_back() -> None:
    """Drop the blocks that nobody holds and nobody has asked for in a long time."""
    for blocks in _blocks.values():
        for i in range(len(blocks) - 1, -1, -1):
            if sys.getrefcount(blocks[i]) == _UNHELD and _requests - blocks[i].last_request > PATIENCE:
                del blocks[i]
