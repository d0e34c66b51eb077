"""Large arrays lie in memory that is used again.

A training step makes and drops the same arrays as the step before. The system gives large memory back at once, and
takes it again page by page, each page cleared and mapped at its first touch: for LeNet-5 that is a third of the step.
So memory is taken from the system in regions and kept. An array gets the smallest gap that has room for it, and leaves
the rest of the gap to others ("best fit"); what it leaves behind grows together with the gaps at both its ends. So one
large array may lie where several small ones were, and a step needs little more memory than the arrays that it holds at
the same time. Of a region only what was written to once takes memory: its size is address space.

Who holds a block is what Python counts anyway: every array and every view of one refers to the block that it lies in.

Source: Knuth 1997, "The Art of Computer Programming", volume 1, section 2.5, algorithms A and B.
"""

import math
import sys
import threading
from bisect import bisect
from collections import deque
from typing import Any

import numpy as np

Array = Any

SMALLEST = 1 << 16  # bytes; below it the system's allocator is as good
REGION = 1 << 28  # bytes of a region, if no larger array asks for it
ALIGNMENT = 64  # bytes: a cache line, and a vector of 512 bits
PATIENCE = 2000  # requests after which a region that served none of them is given back


class Memory(np.ndarray[Any, Any]):
    """Bytes. A class of its own: of one class, a view of a view would refer to what lies below both, past the block."""


class Region:
    """Memory from the system, and its gaps: (first byte, byte behind the last one), in order, never touching."""

    def __init__(self, size: int) -> None:
        memory = Memory(size + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        self.memory = memory[start : start + size]
        self.gaps = [(0, size)]
        self.last_request = 0

    def take(self, start: int, size: int) -> "Block":
        """The block at the beginning of the gap that starts there."""
        i = bisect(self.gaps, (start,))
        stop = self.gaps[i][1]
        self.gaps[i : i + 1] = [(start + size, stop)] if start + size < stop else []
        block = self.memory[start : start + size].view(Block)
        block.place = self, start, start + size
        return block

    def put_back(self, start: int, stop: int) -> None:
        """Make a gap of what was a block, one with the gaps that it touches."""
        i = bisect(self.gaps, (start,))
        if i < len(self.gaps) and self.gaps[i][0] == stop:
            stop = self.gaps.pop(i)[1]
        if i > 0 and self.gaps[i - 1][1] == start:
            i -= 1
            start = self.gaps.pop(i)[0]
        self.gaps.insert(i, (start, stop))


_lock = threading.Lock()
_regions: list[Region] = []
_requests = 0
_left: deque[tuple[Region, int, int]] = deque()  # what blocks have left behind that is no gap yet


class Block(Memory):
    """The bytes under an array of `empty`."""

    place: tuple[Region, int, int]

    def __del__(self, leave: Any = _left.append) -> None:
        # Python may come here at any moment, in the middle of `take` too: to join gaps is left to the next request.
        leave(self.place)


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array like numpy.empty's, perhaps in memory that an array had which is gone."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    # Nobody waits here: who holds the lock may be this very thread, whose allocation let the garbage collector run, or
    # a thread that was not copied when a process was forked.
    if size < SMALLEST or not _lock.acquire(blocking=False):
        return np.empty(shape, dtype)
    try:
        block = _block(-(-size // ALIGNMENT) * ALIGNMENT)
    finally:
        _lock.release()
    return np.ndarray(shape, dtype, block)


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """`empty`, filled with 0."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def add(a: Array, b: Array) -> Array:
    """a + b of one shape and dtype; those of NumPy in such memory too."""
    return np.add(a, b, out=empty(a.shape, a.dtype)) if type(a) is np.ndarray else a + b


def is_whole(array: Array) -> bool:
    """Whether an array's memory is its own: it is no view, or one of the whole of what nobody else holds."""
    base = array.base
    if base is None or type(base) is Block:
        return True
    if type(base) is not np.ndarray or array.nbytes != base.nbytes or not array.flags.writeable:  # broadcast, or a part
        return False
    del base
    return _references_to_base(array) == _ONE_REFERENCE and is_whole(array.base)


def _references_to_base(view: Array) -> int:
    return sys.getrefcount(view.base)


_ONE_REFERENCE = _references_to_base(np.empty(1)[:])


def _block(size: int) -> Block:
    """A block of `size` bytes, in the smallest gap that is large enough, the first one if there are several."""
    global _requests
    _requests += 1
    while _left:
        region, start, stop = _left.popleft()
        region.put_back(start, stop)
    best, least = None, math.inf
    for region in _regions:
        for start, stop in region.gaps:
            if size <= stop - start < least:
                best, least = (region, start), stop - start
    region, start = best or (_new_region(size), 0)
    region.last_request = _requests
    return region.take(start, size)


def _new_region(size: int) -> Region:
    """A region with room for `size` bytes; those that nobody has used in a long time are given back."""
    _regions[:] = [
        region
        for region in _regions
        if region.gaps != [(0, region.memory.size)] or _requests - region.last_request <= PATIENCE
    ]
    _regions.append(Region(max(size, REGION)))
    return _regions[-1]
