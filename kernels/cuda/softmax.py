"""Softmax and its logarithm: the kernels of softmax.cu, a warp for a short row and a block for a long one."""

from typing import Any

from ._launch import THREADS, dense, empty, launch

Array = Any

SHORT = 1024  # numbers of the longest row that one warp takes


def softmax_forward(x: Array) -> Array:
    """As the reference."""
    return _by_rows("softmax_forward", x)


def softmax_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _by_rows("softmax_backward", dy, y)


def log_softmax_forward(x: Array) -> Array:
    """As the reference."""
    return _by_rows("log_softmax_forward", x)


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _by_rows("log_softmax_backward", dy, y)


def _by_rows(kernel: str, *arrays: Array) -> Array:
    result = empty(arrays[0].shape, arrays[0].dtype)
    launch_rows("softmax", kernel, result, *map(dense, arrays), result)
    return result


def launch_rows(file: str, kernel: str, x: Array, *arguments: Any) -> None:
    """Run a kernel on the rows of x (..., K); its first two arguments are their number and K. See rows.cuh."""
    K = x.shape[-1]
    M = x.size // K
    width, height = (32, THREADS // 32) if K <= SHORT else (THREADS, 1)
    launch(file, kernel, x.dtype, (-(-M // height),), (width, height), M, K, *arguments)
