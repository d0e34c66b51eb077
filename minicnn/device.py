"""Where an array lives, and how it moves. Only this file and `kernels/` know what a device is."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = Any


def cuda_available() -> bool:
    """Whether CuPy is installed and finds a GPU with a working driver."""
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.is_available())


def is_cuda(array: Array) -> bool:
    """Whether an array lives on a GPU. Never imports CuPy: without it no such array can exist."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def is_array(value: Any) -> bool:
    """Whether a value is an array of the engine, or the scalar that NumPy makes of one without axes."""
    return isinstance(value, np.ndarray | np.generic) or is_cuda(value)


def device_of(array: Array) -> str:
    """ "cpu" for a NumPy array, "cuda" for a CuPy array."""
    return "cuda" if is_cuda(array) else "cpu"


def array_module(array: Array) -> Any:
    """The module that made an array: numpy or cupy. The two have the same functions."""
    return sys.modules["cupy"] if is_cuda(array) else np


def to_device(array: Array, device: str) -> Array:
    """The array on `device` ("cpu" or "cuda"); the same object if it is there already.

    Raises ValueError for another name, RuntimeError if there is no GPU.
    """
    check_device(device)
    if device_of(array) == device:
        return array
    import cupy

    return cupy.asarray(array) if device == "cuda" else cupy.asnumpy(array)


def check_device(device: str) -> None:
    """Raise unless `device` is "cpu", or "cuda" on a machine where that works."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f'device expected "cpu" or "cuda", got {device!r}')
    if device == "cuda" and not cuda_available():
        raise RuntimeError(
            'device "cuda" needs an NVIDIA GPU, its driver and CuPy, and not all are here: use "cpu", '
            'or install the extra with pip install "minicnn[cuda13]" (CUDA 12: minicnn[cuda12])'
        )


def check_same(arrays: Sequence[Array], what: str) -> None:
    """Raise RuntimeError if arrays live on different devices; `what` names the operation."""
    if "cupy" not in sys.modules:
        return
    devices = [device_of(array) for array in arrays]
    if len(set(devices)) > 1:
        raise RuntimeError(f'{what} got arrays on {" and ".join(devices)}: move them to one with .to("{devices[0]}")')
