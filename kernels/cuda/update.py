"""The optimizers' steps: the kernels of update.cu, one launch for up to 64 arrays, of whatever sizes."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ._launch import THREADS, addresses, dense, launch, pieces

Array = Any
Arrays = Sequence[Array]

ARRAYS = 64  # the most in one launch, as in update.cu
PIECES = np.dtype([("arrays", np.int32), ("first", np.int32, (ARRAYS + 1,)), ("size", np.int32, (ARRAYS,))])


def sgd_update(
    ws: Arrays, dws: Arrays, velocities: Arrays | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """As the reference; writes ws and velocities."""
    states = [None] * len(ws) if velocities is None else velocities
    _in_place("sgd_update", (ws, states, dws), float(lr), float(momentum), bool(nesterov), float(weight_decay))


def adadelta_update(
    ws: Arrays, dws: Arrays, square_averages: Arrays, update_averages: Arrays,
    lr: float, rho: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes ws, square_averages and update_averages."""
    # 1 - rho is taken before rho is rounded to float32: of 1 - 0.9999 little would be left afterwards.
    settings = map(float, (lr, rho, 1 - rho, eps, weight_decay))
    _in_place("adadelta_update", (ws, square_averages, update_averages, dws), *settings)


def _in_place(kernel: str, columns: tuple[Sequence[Any], ...], *settings: float) -> None:
    """One step of all parameters; columns: what is written, weights first, and at the end the gradients."""
    parameters = [p for p in zip(*columns, strict=True) if p[0].size]
    for dtype in dict.fromkeys(w.dtype for w, *_ in parameters):
        alike = [p for p in parameters if p[0].dtype == dtype]
        for i in range(0, len(alike), ARRAYS):
            _launch_together(kernel, alike[i : i + ARRAYS], settings)


def _launch_together(kernel: str, parameters: list[tuple[Array, ...]], settings: tuple[float, ...]) -> None:
    """One launch; an array that is not dense is copied, and written back."""
    used: list[list[Array]] = [[None if a is None else dense(a) for a in parameter] for parameter in parameters]
    sizes, dtype = [w.size for w, *_ in used], used[0][0].dtype
    first = [0, *accumulate(pieces(size, dtype) for size in sizes)]
    cut = np.zeros(1, PIECES)
    cut["arrays"], cut["first"][0, : len(first)], cut["size"][0, : len(sizes)] = len(sizes), first, sizes
    columns = (addresses(column, ARRAYS) for column in zip(*used, strict=True))
    launch("update", kernel, dtype, (first[-1],), (THREADS,), cut, *columns, *settings)
    for parameter, copies in zip(parameters, used, strict=True):
        for array, copy in zip(parameter[:-1], copies[:-1], strict=True):
            if copy is not array:
                array[...] = copy
