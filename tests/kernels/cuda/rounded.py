"""The CUDA room by the kernels of the CPU room, for trainings that the emulator would take days for.

What comes in as float16 is computed in float32, and results are rounded to float16, as the GPU's kernels do it; with
TF32 the factors of products are rounded to it. Only the order of sums is another.

    python tests/kernels/cuda/rounded.py --model resnet20 --epochs 3 --seeds 3

trains as benchmarks/bench_precision.py does on a GPU, and prints what accuracy each precision reaches.
"""

import argparse
import sys
from pathlib import Path

import fake_cupy
import numba
import numpy as np
import pytest

from minicnn import data
from minicnn.kernels import cpu, cuda
from minicnn.kernels.cuda import _launch

# Of float16 images: from which result on a kernel's results are float32, as what a channel has one of.
WIDE = {
    "batch_norm_forward": 1,
    "batch_norm_statistics": 0,
    "batch_norm_backward": 1,
    "batch_norm_inference_backward": 1,
}
NUMBERS = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)  # of every float16, by its bits


def installed(monkeypatch):
    """Put fake_cupy in the place of CuPy, and these kernels in that of the CUDA room's, for one test."""
    fake_cupy.installed(monkeypatch)
    for name in cuda.__all__:
        monkeypatch.setattr(cuda, name, _by_cpu(name))


def _by_cpu(name):
    kernel, is_product = getattr(cpu, name), name.startswith(("conv2d", "linear"))

    def computed(*arguments):
        half = any(isinstance(a, np.ndarray) and a.dtype == np.float16 for a in arguments)
        results = kernel(*(_taken(a, is_product) for a in arguments))
        if isinstance(results, tuple):
            return tuple(_given(r, half and i < WIDE.get(name, len(results))) for i, r in enumerate(results))
        return _given(results, half and WIDE.get(name, 1) > 0)

    return computed


def _taken(argument, is_factor):
    """An argument as the CPU's kernel takes it; arrays that are changed in place are lists of float32 ones."""
    if isinstance(argument, list | tuple):
        return type(argument)(_taken(each, False) for each in argument)
    if not isinstance(argument, np.ndarray):
        return argument
    array = argument.view(np.ndarray)
    if array.dtype == np.float16:
        return to_float32(array)
    is_factor = is_factor and array.ndim > 1 and array.dtype == np.float32  # a bias is none
    return tf32(array) if is_factor and _launch.float32_matmul_precision == "high" else array


def _given(result, half):
    if not isinstance(result, np.ndarray):
        return result
    return fake_cupy._ours(to_float16(result) if half and result.dtype == np.float32 else result)


def tf32(x):
    """The TF32 numbers next to those of x: 10 binary digits behind the point, of two as near the even one."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & np.uint32(0xFFFFE000)).view(np.float32)


def to_float16(x):
    """The float16 numbers next to those of x, as x.astype(np.float16) gives them, which takes longer than the step."""
    return _half_of_single(np.ascontiguousarray(x).view(np.uint32)).view(np.float16)


def to_float32(x):
    """The numbers of x, float16, as float32."""
    result = np.empty(x.shape, np.float32)
    _look_up(np.ascontiguousarray(x).view(np.uint16).reshape(-1), NUMBERS, result.reshape(-1))
    return result


@numba.vectorize(["uint16(uint32)"], target="parallel", cache=True)
def _half_of_single(bits):
    sign, size = bits >> 16 & 0x8000, bits & 0x7FFFFFFF
    if size > 0x7F800000:  # NaN
        return sign | 0x7E00
    if size >= 0x477FF000:  # from the middle between 65504 and 65536 on: infinity
        return sign | 0x7C00
    if size >= 0x38800000:  # from 2**-14 on: another bias of the exponent, and 10 of 23 digits
        return sign | (size - 0x38000000 + 0xFFF + (size >> 13 & 1)) >> 13
    if size <= 0x33000000:  # up to 2**-25, the middle between 0 and the smallest number
        return sign
    # Whole numbers of 2**-24: the first digit is no longer left out.
    shift, digits = 126 - (size >> 23), size & 0x7FFFFF | 0x800000
    middle = (1 << shift - 1) - 1
    return sign | digits + middle + (digits >> shift & 1) >> shift


@numba.njit(parallel=True, cache=True)
def _look_up(bits, numbers, result):
    for i in numba.prange(len(bits)):
        result[i] = numbers[bits[i]]


def train(bench, model, seeds, epochs, images=60_000):
    """The accuracies that bench_precision.py finds, by its Result, of trainings with the first `images` of MNIST."""
    every, test = bench.digits(model)
    few = data.ArrayDataset(every.images[:images], every.labels[:images])
    result = bench.Result(model, {precision: [] for precision in bench.PRECISIONS}, {})
    for _ in bench.trainings(result, few, test, seeds, epochs, capture=False):
        pass
    for precision in bench.PRECISIONS[1:]:
        points, error = result.points(precision)
        print(f"{model:<10} {precision:<8} exceeds float32 by {points:+.3f} +- {error:.3f} points")
    return result


def main():
    """Read the options and train."""
    sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
    import bench_precision
    import cli

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", choices=bench_precision.NETWORKS, required=True)
    options.add_argument("--epochs", type=cli.positive, default=5, metavar="N", help="of each training (default: 5)")
    options.add_argument("--seeds", type=cli.positive, default=5, metavar="N", help="trainings of each precision "
                         "(default: 5)")  # fmt: skip
    given = options.parse_args()
    with pytest.MonkeyPatch.context() as patch:
        installed(patch)
        train(bench_precision, given.model, given.seeds, given.epochs)


if __name__ == "__main__":
    main()
