"""Where an array lives, and how it moves: the rest of the engine asks here.

Beside this file and `kernels/`, `train/gpu_steps.py` and `distributed/nccl.py` are written for a GPU.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

Array = Any

MORE_ROOM = "use smaller batches or images, or end what else runs on that GPU (nvidia-smi lists it)"


def cuda_available() -> bool:
    """Whether CuPy is installed and finds a GPU with a working driver."""
    return _missing_for_cuda() is None


def _missing_for_cuda() -> str | None:
    """What keeps the GPU from being used, in a sentence; None if nothing does."""
    try:
        import cupy
    except ImportError as error:
        if getattr(error, "name", None) == "cupy":
            return 'CuPy is not installed: pip install "minicnn[cuda13]" (CUDA 12: minicnn[cuda12])'
        return f"CuPy cannot be imported ({error}): install it anew, with one of the extras cuda13 and cuda12"
    try:
        if cupy.is_available():
            return None
        runtime = cupy.cuda.runtime
        if runtime.driverGetVersion():  # 0 without a driver, which getDeviceCount would take for an old one
            runtime.getDeviceCount()  # raises what is_available keeps for itself
    except Exception as error:  # what CuPy raises for a broken driver has no class of its own
        if "cudaErrorNoDevice" not in str(error):
            return f"the driver does not answer ({error}): nvidia-smi should say more, and a newer one may help"
    return "no NVIDIA GPU with a driver was found: nvidia-smi should list one"


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

    Raises ValueError for another name, RuntimeError if there is no GPU or a graph is being recorded, MemoryError if the
    GPU has no room for the array.
    """
    check_device(device)
    if device_of(array) == device:
        return array
    if is_recording():  # CuPy would wait in vain for the copy to end, and keep the memory that it passes through
        raise RuntimeError(
            f"an array of shape {tuple(array.shape)} is on the {device_of(array)}, and a recorded step cannot copy it: "
            'put it on the GPU before, with mc.tensor(array, device="cuda"), and leave results there'
        )
    import cupy

    if device == "cpu":
        return cupy.asnumpy(array)
    try:
        return cupy.asarray(array)
    except MemoryError as error:
        raise no_room(array.shape, array.dtype) from error


def no_room(shape: tuple[int, ...], dtype: Any) -> MemoryError:
    """What to raise for an array that the GPU has no room for."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return MemoryError(f"the GPU has no room for an array of shape {tuple(shape)}, {size / 1e6:,.0f} MB: {MORE_ROOM}")


def explained(error: MemoryError) -> MemoryError:
    """What to raise for an error: where it is CuPy's, which has found the GPU's memory full, one with the cure."""
    if not type(error).__module__.startswith("cupy"):
        return error
    return MemoryError(f"{str(error).removesuffix('.')}: {MORE_ROOM}")


@contextmanager
def explaining() -> Iterator[None]:
    """`with explaining():` a MemoryError is raised as `explained`."""
    try:
        yield
    except MemoryError as error:
        better = explained(error)
        if better is error:
            raise
        raise better from None


def recorded(function: Callable[[], Any]) -> Any:
    """A `kernels.cuda.graph.Graph` of what the function does on the GPU."""
    from .kernels.cuda.graph import Graph

    return Graph(function)


def give_back_recorded() -> None:
    """Give back the memory of recordings that are gone: CuPy's other arrays cannot use it."""
    from .kernels.cuda.graph import give_back

    give_back()


def mark() -> Any:
    """A place in the queue of what the GPU is asked for: `record()` puts it behind all that was asked for so far, and
    `synchronize()` waits until the GPU has come there."""
    import cupy

    return cupy.cuda.Event(disable_timing=True)


def is_recording() -> bool:
    """Whether a graph is being recorded: then nothing may wait for a result."""
    launch = sys.modules.get(f"{__package__}.kernels.cuda._launch")
    return launch is not None and launch.steps is not None


def check_device(device: str) -> None:
    """Raise unless `device` is "cpu", or "cuda" on a machine where that works."""
    if device not in ("cpu", "cuda"):
        _, _, number = str(device).partition("cuda:")
        cure = f': of several GPUs one is chosen with CUDA_VISIBLE_DEVICES={number} before the script, then "cuda"'
        raise ValueError(f'device expected "cpu" or "cuda", got {device!r}{cure if number.isdigit() else ""}')
    missing = _missing_for_cuda() if device == "cuda" else None
    if missing:
        raise RuntimeError(f'device "cuda" cannot be used, {missing}; or use the device "cpu"')


def check_same(arrays: Sequence[Array], what: str) -> None:
    """Raise RuntimeError if arrays live on different devices; `what` names the operation."""
    if "cupy" not in sys.modules:
        return
    devices = [device_of(array) for array in arrays]
    if len(set(devices)) > 1:
        raise RuntimeError(f'{what} got arrays on {" and ".join(devices)}: move them to one with .to("{devices[0]}")')
