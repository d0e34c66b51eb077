"""The optimizers' steps, in place, in one pass over their arrays."""

from typing import Any

import numpy as np
from numba import prange

from . import _jit
from ._jit import parallel
from .tiles import at, share

Array = Any


def sgd_update(
    w: Array, dw: Array, velocity: Array | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """As the reference; writes w and velocity."""
    if velocity is None:
        velocity, momentum = np.empty(0, w.dtype), 0.0
    _in_place(_sgd, (w, velocity), dw, (lr, momentum, weight_decay), nesterov)


def adadelta_update(
    w: Array, dw: Array, square_average: Array, update_average: Array,
    lr: float, rho: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes w, square_average and update_average."""
    # 1 - rho is taken before rho is rounded to float32: of 1 - 0.9999 little would be left afterwards.
    _in_place(_adadelta, (w, square_average, update_average), dw, (lr, rho, 1 - rho, eps, weight_decay))


def _in_place(kernel: Any, written: tuple[Array, ...], dw: Array, numbers: tuple[float, ...], *flags: bool) -> None:
    """Run a kernel on flat arrays; an array that is not dense is copied, and written back."""
    rows = [np.ascontiguousarray(array).reshape(-1) for array in written]
    constants = (written[0].dtype.type(number) for number in numbers)
    gradient = np.require(dw, requirements=("C", "W")).reshape(-1)
    kernel(*rows, gradient, *constants, *flags, _jit.threads_for(dw.size))
    for array, row in zip(written, rows, strict=True):
        if not np.may_share_memory(array, row):
            array[...] = row.reshape(array.shape)


@parallel
def _sgd(w, velocity, dw, lr, momentum, weight_decay, nesterov, threads):
    for thread in prange(threads):
        for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
            g = dw[at(i)] + weight_decay * w[at(i)]
            if velocity.size:
                v = momentum * velocity[at(i)] + g
                velocity[at(i)] = v
                g = g + momentum * v if nesterov else v
            w[at(i)] -= lr * g


@parallel
def _adadelta(w, square_average, update_average, dw, lr, rho, rest, eps, weight_decay, threads):
    for thread in prange(threads):
        for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
            g = dw[at(i)] + weight_decay * w[at(i)]
            square = rho * square_average[at(i)] + rest * g * g
            delta = np.sqrt(update_average[at(i)] + eps) / np.sqrt(square + eps) * g
            square_average[at(i)] = square
            update_average[at(i)] = rho * update_average[at(i)] + rest * delta * delta
            w[at(i)] -= lr * delta
