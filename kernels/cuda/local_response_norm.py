"""Local response normalisation: the kernels of local_response_norm.cu."""

from typing import Any

import numpy as np

from ._launch import THREADS, dense, empty, launch

Array = Any

WINDOW = np.dtype([("before", np.int32), ("after", np.int32), ("C", np.int32), ("n", np.uint32)])  # the struct there


def local_response_norm_forward(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """As the reference."""
    return _launch("local_response_norm_forward", size, (alpha, beta, k), x)


def local_response_norm_backward(dy: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """As the reference."""
    return _launch("local_response_norm_backward", size, (alpha, beta, k), dy, x)


def _launch(kernel: str, size: int, constants: tuple[float, float, float], *arrays: Array) -> Array:
    x = arrays[-1]
    result = empty(x.shape, x.dtype)
    most = x.shape[-1] - 1  # channels on one side
    window = np.array([(min(size // 2, most), min((size - 1) // 2, most), x.shape[-1], x.size)], WINDOW)
    alpha, beta, k = constants
    launch("local_response_norm", kernel, x.dtype, (-(-x.size // THREADS),), (THREADS,),
           window, alpha / size, beta, k, *map(dense, arrays), result)  # fmt: skip
    return result
