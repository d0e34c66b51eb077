"""How a matrix product is laid out on the GPU: the size of its tiles, and into how many parts its sums are cut.

Both depend on shapes alone, and so does the order of every sum: the same call gives the same bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import _launch
from ._grid import column_block
from ._launch import empty, launch, wide

Array = Any

BLOCKS = 528  # that parts of a sum are made for: four for each processor of an H200, and not one more
DEEP = 256  # terms that a part has at least


class Core(NamedTuple):
    """One way of multiplying tiles: their lines in both operands, threads, shared memory, options of the compiler."""

    height: int
    width: int
    threads: int
    shared: int
    options: tuple[str, ...]

    def blocks(self, M: int, N: int) -> int:
        """Number of tiles of an (M, N) product."""
        return -(-M // self.height) * -(-N // self.width)

    def launch(
        self, file: str, kernel: str, dtype: Any, M: int, N: int, *arguments: Any, parts: int = 1, groups: int = 1
    ) -> None:
        """Run a kernel that computes an (M, N) product, a block for every tile, part of the sums and group."""
        grid = self.blocks(M, N), parts, groups
        launch(file, kernel, dtype, grid, (self.threads,), *arguments, shared=self.shared, options=self.options)


SIMT = {columns: Core(64, columns, 4 * columns, 0, (f"-DCOLUMNS={columns}",)) for columns in (16, 64)}
FILLED = (64, 32, 32)  # M, N, K: from there on a product fills half a tile of the tensor cores
MANY = 256  # tiles of 128 x 128, from which on there are enough of them for all processors
TERMS = {"highest": 3, "high": 1}
CAPABILITY = 80  # compute capability 8.0, from which on tensor cores know TF32, and threads copy and go on


def tensor_core(itemsize: int, terms: int, bytes_at_once: int, columns: int) -> Core:
    """Tensor cores on numbers of so many bytes, which are made of `terms` numbers: see tensor.cuh."""
    stages, depth = (3, 32) if columns == 64 else (4, 16)
    shared = stages * (128 + columns) * (depth * itemsize + 16)
    options = f"-DTERMS={terms}", f"-DVECTOR={bytes_at_once // itemsize}", f"-DCOLUMNS={columns}"
    return Core(128, columns, 128 if terms == 1 else 256, shared, options)


TENSOR_CORES = {
    (dtype, terms, bytes_at_once, columns): tensor_core(itemsize, terms, bytes_at_once, columns)
    for dtype, itemsize, every_terms in (("float32", 4, (1, 3)), ("float16", 2, (1,)))
    for terms in every_terms
    for bytes_at_once in (4, 16)
    for columns in (64, 128)
}


def core(M: int, N: int, K: int, *operands: tuple[Array, int], cut: bool = False) -> Core:
    """The way for a product of that size: tensor cores for large ones, the ordinary units for small ones and float64.

    operands: both arrays, and how many neighbours in them belong together. Tensor cores are fed with 16 or 4 bytes at a
    time, those that begin and end where so many bytes do. cut: the sums may be cut into parts, so there are always
    blocks enough.
    """
    dtype, simt = operands[0][0].dtype, SIMT[16 if N <= 16 else 64]
    small = any(n < least for n, least in zip((M, N, K), FILLED, strict=True))
    if small or dtype == np.float64 or _launch.gpu.capability < CAPABILITY:
        return simt
    steps = [(_launch.gpu.address(array), together * dtype.itemsize) for array, together in operands]
    bytes_at_once = next((n for n in (16, 4) if all(address % n == size % n == 0 for address, size in steps)), 0)
    if not bytes_at_once:  # an odd number of float16
        return simt
    terms = TERMS[_launch.float32_matmul_precision] if dtype == np.float32 else 1
    columns = 128 if N > 64 and (cut or -(-M // 128) * -(-N // 128) >= MANY) else 64
    return TENSOR_CORES[dtype.name, terms, bytes_at_once, columns]


def split_sum(result: Array, terms: int, blocks: int, fill: Callable[[Array, int, int], None]) -> Array:
    """Fill `result` with long sums, which few blocks would take long for: in parts, which a second launch adds up.

    terms: how many numbers a sum has; blocks: how many blocks work on one part; fill(sums, parts, depth): launches
    the kernel that writes `sums` (parts, *result.shape), each part those of `depth` terms.
    """
    parts = max(1, min(BLOCKS // max(blocks, 1), terms // DEEP))
    whole = parts == 1 and wide(result.dtype) == result.dtype
    sums = result if whole else empty((parts, *result.shape), wide(result.dtype))
    fill(sums, parts, -(-terms // parts))
    if not whole:
        block = column_block(parts, result.size)
        grid = (-(-result.size // block[0]),)
        launch("columns", "add_parts", result.dtype, grid, block, parts, result.size, sums, result)
    return result
