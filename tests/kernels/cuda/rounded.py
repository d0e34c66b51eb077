"""The CUDA room by the kernels of the CPU room, for trainings that the emulator would take days for.

What comes in as float16 is computed in float32, and results are rounded to float16, as the GPU's kernels do it; with
TF32 the factors of products are rounded to it. Only the order of sums is another.
"""

import fake_cupy
import numpy as np

from minicnn.kernels import cpu, cuda
from minicnn.kernels.cuda import _launch

# Of float16 images: from which result on a kernel's results are float32, as what a channel has one of.
WIDE = {
    "batch_norm_forward": 1,
    "batch_norm_statistics": 0,
    "batch_norm_backward": 1,
    "batch_norm_inference_backward": 1,
}


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
        return array.astype(np.float32)
    is_factor = is_factor and array.ndim > 1 and array.dtype == np.float32  # a bias is none
    return tf32(array) if is_factor and _launch.float32_matmul_precision == "high" else array


def _given(result, half):
    if not isinstance(result, np.ndarray):
        return result
    return fake_cupy._ours(result.astype(np.float16) if half and result.dtype == np.float32 else result)


def tf32(x):
    """The TF32 numbers next to those of x: 10 binary digits behind the point, of two as near the even one."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & np.uint32(0xFFFFE000)).view(np.float32)
