"""What of `real_gpu` can be tested without a GPU: where a copy of an array begins."""

from types import SimpleNamespace

import numpy as np
import pytest
from real_gpu import uploaded


class Pointer(int):
    """As cupy.cuda.MemoryPointer: a place in memory to which a number of bytes is added."""

    ptr = property(int)

    def __add__(self, offset):
        return Pointer(int(self) + offset)


class Array:
    """As cupy.ndarray, as far as it is asked: it remembers how it was made and what was copied to it."""

    def __init__(self, shape, dtype, pointer):
        self.shape, self.dtype, self.data = shape, np.dtype(dtype), pointer

    def set(self, array):
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        self.values = array.copy()


@pytest.mark.parametrize("begin", [256, 264, 4095])
def test_a_copy_begins_as_many_bytes_behind_a_multiple_of_16_and_lies_in_its_memory(begin):
    asked = []

    def empty(nbytes, dtype):
        asked.append((nbytes, dtype))
        return Array(nbytes, dtype, Pointer(begin))

    cupy = SimpleNamespace(empty=empty, ndarray=Array)
    numbers = np.arange(64, dtype=np.float16)
    for skipped in range(20):
        for array in (numbers[skipped : skipped + 9], numbers[skipped:skipped], numbers[skipped:][:12].reshape(3, 4)):
            copy = uploaded(array, cupy)
            assert copy.data % 16 == array.ctypes.data % 16
            assert begin <= copy.data <= copy.data + array.nbytes <= begin + asked[-1][0]
            assert (copy.values == array).all()
    assert {dtype for _, dtype in asked} == {np.uint8}
