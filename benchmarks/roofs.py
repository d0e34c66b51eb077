"""The two roofs under which a kernel's speed stays: what the cores compute, and what memory brings them.

A kernel that computes F floating-point operations on B bytes can go no faster than the cores (`peak`, operations a
second), nor faster than its bytes arrive: F / B * `bandwidth`. F / B is its arithmetic intensity. Source: Williams,
Waterman, Patterson 2009, "Roofline: An Insightful Visual Performance Model for Multicore Architectures", Communications
of the ACM 52(4).

Both roofs are measured in the same run as the kernels. The peak is that of the product of a small tile whose numbers
stay in the first-level cache, all threads at once, with the cpu room's own vector instructions; the bandwidth that of
a = b + s * c on arrays that no cache holds, whose three arrays count once each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.kernels.cpu._jit import on_threads
from minicnn.kernels.cpu.microkernel import HEIGHT, multiply_tile, panel_width
from minicnn.kernels.cpu.tiles import at

Array = Any

DEPTH = 128  # of the tile's product: with AVX-512 a panel of 16 KB and rows of 4 KB, in a cache of 32 KB or more
TILES = 1 << 15  # products in one call, for each thread
TRIAD = 1 << 24  # numbers of each of the three arrays: 64 MB
SECONDS = 3.0  # of measuring each: threads that were all woken on one core need a while to spread


@dataclass(frozen=True)
class Roofs:
    """peak: floating-point operations a second. bandwidth: bytes a second."""

    peak: float
    bandwidth: float

    def at(self, intensity: float) -> float:
        """The most operations a second at so many operations a byte."""
        return min(self.peak, intensity * self.bandwidth)

    def seconds(self, operations: float, moved: float) -> float:
        """The least time of so many operations on so many bytes: the longer of computing and moving."""
        return max(operations / self.peak, moved / self.bandwidth)


def measure(threads: int, seconds: float = SECONDS) -> Roofs:
    """The roofs of so many threads: of many calls the fastest, as nothing can exceed a roof."""
    width = panel_width(4)
    rows, panels = (np.ones((threads, n * DEPTH), np.float32) for n in (HEIGHT, width))
    sums = np.zeros((threads, HEIGHT * width), np.float32)
    a, b, c = (np.ones(TRIAD, np.float32) for _ in range(3))
    operations = 2 * HEIGHT * width * DEPTH * TILES * threads
    return Roofs(
        operations / fastest(lambda: _multiply_tiles(rows, panels, sums, TILES, threads), seconds),
        3 * a.nbytes / fastest(lambda: _triad(a, b, c, np.float32(2), threads), seconds),
    )


def fastest(call: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest call, after one that compiles."""
    call()
    end = time.perf_counter() + seconds
    times: list[float] = []
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


@on_threads
def _multiply_tiles(rows, panels, sums, tiles, thread, threads):
    """In each thread again and again: sums (HEIGHT, width) = rows (HEIGHT, DEPTH) @ panels (DEPTH, width)."""
    left, right, out = rows.ravel(), panels.ravel(), sums.ravel()
    width = panel_width(sums.itemsize)
    a, p, c = thread * rows.shape[1], thread * panels.shape[1], thread * sums.shape[1]
    for _ in range(tiles):
        # No rows before this tile, sums stored and not added, nothing in front of them (-1).
        multiply_tile(left, a, DEPTH, 1, 0, HEIGHT, right, p, width, DEPTH, out, c, width, width, False, out, -1)


@on_threads
def _triad(a, b, c, s, thread, threads):
    """a = b + s * c, a part in each thread."""
    for i in range(len(a) * thread // threads, len(a) * (thread + 1) // threads):
        a[at(i)] = b[at(i)] + s * c[at(i)]
