"""The real GPU in the place of the emulator: NumPy arrays are copied there and back around each launch.

So every test of the CUDA room is a test of the GPU too, where there is one.
"""

import numpy as np
from emulator import Addresses, Emulator

from minicnn.kernels.cuda._launch import Gpu


class RealGpu(Emulator):
    """Compiles with NVRTC and runs on the GPU; everything else is as in the emulator."""

    capability = property(lambda self: Gpu().capability)

    def compile(self, file, options):
        return Module(Gpu().compile(file, options))


class Module:
    """The kernels of one file."""

    def __init__(self, compiled):
        self._compiled = compiled

    def get_function(self, name):
        return Kernel(self._compiled.get_function(name))


class Kernel:
    """Called with NumPy arrays."""

    def __init__(self, kernel):
        self._kernel = kernel
        self.max_dynamic_shared_size_bytes = 0

    def __call__(self, grid, block, arguments, shared_mem=0):
        import cupy

        if self.max_dynamic_shared_size_bytes:
            self._kernel.max_dynamic_shared_size_bytes = self.max_dynamic_shared_size_bytes
        there = {}

        def moved(argument):
            if isinstance(argument, Addresses):
                return Gpu().addresses([a if a is None else moved(a) for a in argument.arrays], argument.room)
            if not isinstance(argument, np.ndarray) or argument.dtype.names:
                return argument
            if id(argument) not in there:
                there[id(argument)] = argument, uploaded(argument, cupy)
            return there[id(argument)][1]

        self._kernel(grid, block, tuple(map(moved, arguments)), shared_mem=shared_mem)
        for array, copy in there.values():
            found = cupy.asnumpy(copy)
            if array.flags.writeable:
                array[...] = found
            elif found.tobytes() != array.tobytes():
                raise ValueError(f"a kernel wrote to an array of the shape {array.shape}, which is read-only")


def uploaded(array, cupy):
    """A copy that begins as many bytes behind a multiple of 16, by which the room chooses a kernel; CuPy's do at 0."""
    memory = cupy.empty(array.nbytes + 16, np.uint8).data
    copy = cupy.ndarray(array.shape, array.dtype, memory + (array.ctypes.data - memory.ptr) % 16)
    copy.set(array)
    return copy
