"""The limits of a GPU, measured in the same run as the kernels: what memory brings, and what the units compute.

Memory: a copy within the GPU of an array that no cache holds; each byte is read once and written once. float32: the
multiply-adds of the ordinary units (peak.cu). TF32: the faster of two, as nothing can exceed a roof. One is the
instruction `mma` of a warp, on numbers in its registers (peak.cu); the other cuBLAS on a large product, which has other
instructions to choose from on newer GPUs.

A product of float32 that is made of three of TF32 does not use the ordinary units, and so may exceed their peak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gpu_settings
import numpy as np
from roofs import Roofs, fastest

from minicnn.device import array_module, to_device
from minicnn.kernels.cuda._launch import empty, launch

Array = Any

PEAK = str(Path(__file__).with_name("peak"))  # .cu; what it includes lies in kernels/cuda
THREADS, CHAINS = 256, 8  # of a block, and sums of each thread: as in peak.cu
BLOCKS = 64  # for each multiprocessor: eight times as many as it takes at once, so that the last ones are few
ROUNDS = {"multiply_adds": 1 << 14, "tensor_cores": 1 << 12}  # some milliseconds
COPIED = 1 << 28  # numbers of the array that is copied: 1 GB
COPIES = 8  # in one call, so that the wait at its end is no matter
SIDE = 8192  # of the square matrices of the large product
SECONDS = 0.3  # of measuring each


@dataclass(frozen=True)
class Limits:
    """copy: bytes a second, read and written. The others: floating-point operations a second."""

    copy: float
    multiply_adds: float
    tensor_cores: float
    cublas_tf32: float

    def roofs(self) -> dict[str, Roofs]:
        """For each precision of products."""
        tf32 = max(self.tensor_cores, self.cublas_tf32)
        return {"float32": Roofs(self.multiply_adds, self.copy), "tf32": Roofs(tf32, self.copy)}

    def as_json(self) -> dict[str, float]:
        """In GB/s and TFLOP/s."""
        return {
            f"{name} {'GB/s' if name == 'copy' else 'TFLOP/s'}": value / (1e9 if name == "copy" else 1e12)
            for name, value in asdict(self).items()
        }


def measure(with_torch: bool) -> Limits:
    """All limits: of many calls the fastest."""
    gpu_settings.set_precision("tf32", with_torch)
    a, b = (_random(SIDE, SIDE) for _ in range(2))
    product = 2 * SIDE**3 / _seconds(lambda: a @ b)
    source = _random(COPIED)
    target = array_module(source).empty_like(source)
    copy = 2 * source.nbytes * COPIES / _seconds(lambda: _copy(source, target))
    # An operation of `multiply_adds` is that of a thread, one of `tensor_cores` that of a warp on 16 x 8 x 8 numbers.
    return Limits(copy, _peak("multiply_adds", 2, 1), _peak("tensor_cores", 64, 4), product)


def run_peak(kernel: str, rounds: int, x: Array, out: Array) -> None:
    """Launch a kernel of peak.cu; out (threads, numbers that each leaves)."""
    launch(PEAK, kernel, np.float32, (len(out) // THREADS,), (THREADS,), rounds, x, out)


def factors() -> Array:
    """What peak.cu multiplies, six numbers for each lane of a warp; they are below 1, so that no sum grows for ever."""
    return to_device(np.random.default_rng(0).random(32 * 6, np.float32), "cuda")


def _peak(kernel: str, operations: int, results: int) -> float:
    """Operations a second; `operations`: of a thread, for each instruction."""
    threads, rounds, x = THREADS * BLOCKS * _multiprocessors(), ROUNDS[kernel], factors()
    out = empty((threads, results), np.float32)
    return operations * CHAINS * rounds * threads / _seconds(lambda: run_peak(kernel, rounds, x, out))


def _copy(source: Array, target: Array) -> None:
    for _ in range(COPIES):
        array_module(source).copyto(target, source)


def _seconds(call: Callable[[], Any]) -> float:
    def done() -> None:
        call()
        gpu_settings.finish()

    return fastest(done, SECONDS)


def _random(*shape: int) -> Array:
    return to_device(np.random.default_rng(0).standard_normal(shape, np.float32), "cuda")


def _multiprocessors() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["multiProcessorCount"])
