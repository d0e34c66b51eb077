"""How this room compiles its .cu files, makes arrays and launches kernels.

A file is compiled for one type of numbers: `real` is what arrays hold, and `wide` what sums over them are kept in.
NVRTC does that through CuPy at the first launch, for the card at hand; CuPy keeps the machine code on disk.

Kernels count in 32-bit integers, which is faster on a GPU: an array of 2**31 numbers is refused.
"""

import math
import re
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...device import no_room

Array = Any

SOURCES = Path(__file__).parent
TYPES = {
    "float16": ("half", "float"),
    "float32": ("float", "float"),
    "float64": ("double", "double"),
}  # dtype: real, wide
THREADS = 256  # of a block that works element by element
AT_ONCE = 4  # numbers that a thread reads from memory in one go, as in common.cuh
BYTES = 32  # of every array that a thread of each.cuh has
MOST = 2**31 - 1
_INCLUDE = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)


class Gpu:
    """The GPU, through CuPy. The tests put an emulator with the same methods in its place."""

    def compile(self, file: str, options: tuple[str, ...]) -> Any:
        """The kernels of `file`.cu."""
        import cupy

        return cupy.RawModule(code=source(f"{file}.cu"), options=("--std=c++17", *options))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array that nobody has written to. Raises MemoryError if there is no room for it."""
        import cupy

        try:
            return cupy.empty(shape, dtype)
        except MemoryError as error:
            raise no_room(shape, dtype) from error

    def addresses(self, arrays: Sequence[Array | None], room: int) -> Any:
        """See `addresses` below."""
        table = np.zeros(1, [("of", np.uint64, (room,))])
        table["of"][0, : len(arrays)] = [0 if array is None else array.data.ptr for array in arrays]
        return table

    def address(self, array: Array) -> int:
        """Where in memory an array begins."""
        return int(array.data.ptr)

    @cached_property
    def capability(self) -> int:
        """The compute capability of the card: 90 is 9.0."""
        import cupy

        return int(cupy.cuda.Device().compute_capability)


gpu: Any = Gpu()
float32_matmul_precision = "highest"
steps: Array | None = None  # while a graph is recorded: where it will find the steps made since, uint32 (see `graph`)


def source(name: str, folders: tuple[Path, ...] = (SOURCES,)) -> str:
    """A file with what it includes of ours in its place, each once, from the first folder that has it.

    The compiler could find those files by itself, but CuPy would go on using old machine code after one was edited.
    """
    seen: set[str] = set()

    def text(name: str) -> str:
        seen.add(name)
        path = next(folder / name for folder in folders if (folder / name).exists())
        return _INCLUDE.sub(lambda match: "" if match[1] in seen else text(match[1]), path.read_text())

    return text(name)


def set_float32_matmul_precision(precision: str) -> None:
    """See `kernels.set_float32_matmul_precision`."""
    global float32_matmul_precision
    if precision not in ("highest", "high"):
        raise ValueError(f"float32_matmul_precision must be 'highest' or 'high', got {precision!r}")
    float32_matmul_precision = precision


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """A fresh array on the GPU, to be written. Raises ValueError if it has too many numbers to be counted."""
    _check_countable(shape)
    return gpu.empty(shape, dtype)


def dense(x: Array) -> Array:
    """x in row-major order: as it is, or a copy. Raises ValueError if it has too many numbers to be counted."""
    _check_countable(x.shape)
    return x if x.flags.c_contiguous else x.copy(order="C")


def _check_countable(shape: tuple[int, ...]) -> None:
    if math.prod(shape) > MOST:
        raise ValueError(
            f"the CUDA kernels serve arrays of up to 2**31 - 1 numbers, got the shape {shape}: use smaller batches"
        )


def addresses(arrays: Sequence[Array | None], room: int) -> Any:
    """Where up to `room` arrays begin, as one argument of a kernel: `struct { real* of[room]; }`, null for None."""
    return gpu.addresses(arrays, room)


def wide(dtype: Any) -> Any:
    """The type that kernels on arrays of `dtype` keep sums in."""
    return np.dtype(np.float64 if np.dtype(dtype).itemsize == 8 else np.float32)


def launch(
    file: str,
    kernel: str,
    dtype: Any,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    *arguments: Any,
    shared: int = 0,
    options: tuple[str, ...] = (),
) -> None:
    """Run a kernel of `file`.cu compiled for `dtype` on grid x block threads.

    arguments: arrays, None for a null pointer, Python numbers (int in C if whole, else `wide`), NumPy numbers as they
    are, and structs. shared: bytes of dynamic shared memory for a block. options: more of the compiler's, for this
    variant of the file. An empty grid is no launch.
    """
    if min(grid) == 0:
        return
    function = _function(gpu, file, kernel, np.dtype(dtype).name, options)
    if shared > 48 << 10:
        function.max_dynamic_shared_size_bytes = shared
    number = wide(dtype).type
    function(grid, block, tuple(_argument(a, number) for a in arguments), shared_mem=shared)


def _argument(a: Any, number: Any) -> Any:
    """An argument in the size that the kernel takes; number: the type of `wide`."""
    if a is None:
        return np.uintp(0)  # not None: until January 2026 CuPy made another address of it
    return np.int32(a) if isinstance(a, int) else number(a) if isinstance(a, float) else a


def pieces(n: int, dtype: Any) -> int:
    """How many blocks n numbers are cut into: see each.cuh."""
    return -(-n * np.dtype(dtype).itemsize // (THREADS * BYTES))


def launch_each(file: str, kernel: str, n: int, *arguments: Any) -> None:
    """Run a kernel of each.cuh on n numbers; its first argument is n, the second an array."""
    dtype = arguments[0].dtype
    launch(file, kernel, dtype, (pieces(n, dtype),), (THREADS,), n, *arguments)


@cache
def _function(gpu: Any, file: str, kernel: str, dtype: str, options: tuple[str, ...]) -> Any:
    return _module(gpu, file, dtype, options).get_function(kernel)


@cache
def _module(gpu: Any, file: str, dtype: str, options: tuple[str, ...]) -> Any:
    real, sums = TYPES[dtype]
    return gpu.compile(file, (f"-DREAL={real}", f"-DWIDE={sums}", *options))
