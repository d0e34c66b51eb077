"""The kernels: the same functions in several rooms, and the rule that picks a room.

    reference/   plain NumPy, written only to be read
    cpu/         Numba
    cuda/        CUDA C++, launched through CuPy

    y = room(x).relu_forward(x)

The array decides: a CuPy array goes to `cuda`; a NumPy array goes to `cpu`, or to `reference` inside
`with use("reference"):` or with MINICNN_KERNELS=reference in the environment. Rooms are imported when first asked
for: Numba takes half a second to import, and whoever only reads a table should not wait for it.

The contract: plain arrays in, fresh arrays out, dtype kept, nothing remembered. Optimizer updates work in
place and say so. Arguments were checked by `ops/`; a kernel checks nothing.
"""

import importlib
import os
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np

from ..device import check_same, is_cuda
from .memory import add, empty, is_whole, zeros

__all__ = ["ROOMS", "add", "empty", "is_whole", "room", "set_float32_matmul_precision", "set_threads", "use", "zeros"]

ROOMS = ("reference", "cpu")  # that serve NumPy arrays

_imported: dict[str, ModuleType] = {}
_chosen: ContextVar[str | None] = ContextVar("_chosen", default=None)


def room(*arrays: Any) -> ModuleType:
    """The module whose kernels serve these arrays."""
    for array in arrays:
        if type(array) is not np.ndarray and (is_cuda(array) or not isinstance(array, np.ndarray | np.generic)):
            return _other_room(arrays)
    name = _chosen.get() or os.environ.get("MINICNN_KERNELS") or "cpu"
    if name in _imported:
        return _imported[name]
    _check(name)
    return _import(name)


def _other_room(arrays: tuple[Any, ...]) -> ModuleType:
    """The room of arrays that are not all NumPy's."""
    for array in arrays:
        if not is_cuda(array) and not isinstance(array, np.ndarray | np.generic):
            raise RuntimeError(f"no kernels serve a {type(array).__name__}: give arrays of NumPy or CuPy")
    check_same(arrays, "a kernel")
    return _imported.get("cuda") or _import("cuda")


def _import(name: str) -> ModuleType:
    _imported[name] = importlib.import_module(f"{__name__}.{name}")
    return _imported[name]


def _check(name: str) -> None:
    if name not in ROOMS:
        raise ValueError(f"the kernel room must be one of {', '.join(ROOMS)}, got {name!r}")


class use:
    """`with kernels.use("reference"):` NumPy arrays are served by that room, in this thread or task."""

    def __init__(self, name: str) -> None:
        _check(name)
        self._name = name

    def __enter__(self) -> None:
        self._token = _chosen.set(self._name)

    def __exit__(self, *error: object) -> None:
        _chosen.reset(self._token)


def set_threads(n: int) -> None:
    """Let the kernels run on n threads, from 1 to the number of cores (or NUMBA_NUM_THREADS, if that is set)."""
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"threads expected a whole number, got {n!r}")
    from .cpu._jit import set_threads as set_cpu_threads

    set_cpu_threads(n)


def set_float32_matmul_precision(precision: str) -> None:
    """How exactly a GPU multiplies float32 matrices, in linear layers and convolutions too.

    "highest" (the default): every product as float32 has it. "high": factors are rounded to TF32, which has 10 binary
    digits behind the point instead of 23, and sums are those of float32; about a third of the work on tensor cores.
    The CPU always computes in full float32. The names are PyTorch's. Raises ValueError for another one.
    """
    from .cuda._launch import set_float32_matmul_precision as set_cuda_precision

    set_cuda_precision(precision)
