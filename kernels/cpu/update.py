"""The optimizers' steps, in place, in one pass over their arrays."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _jit
from ._arrays import flat
from ._jit import on_threads
from .tiles import at, share

Array = Any
Arrays = Sequence[Array]


def sgd_update(
    ws: Arrays, dws: Arrays, velocities: Arrays | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """As the reference; writes ws and velocities."""
    if velocities is None:
        velocities, momentum = [np.empty(0, w.dtype) for w in ws], 0.0
    for w, dw, velocity in zip(ws, dws, velocities, strict=True):
        _in_place(_sgd, (w, velocity), dw, lr, momentum, weight_decay, nesterov)


def adadelta_update(
    ws: Arrays, dws: Arrays, square_averages: Arrays, update_averages: Arrays,
    lr: float, rho: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes ws, square_averages and update_averages."""
    for w, dw, square, update in zip(ws, dws, square_averages, update_averages, strict=True):
        # 1 - rho is taken before rho is rounded to float32: of 1 - 0.9999 little would be left afterwards.
        _in_place(_adadelta, (w, square, update), dw, lr, rho, 1 - rho, eps, weight_decay)


def _in_place(step: Callable[..., None], written: tuple[Array, ...], dw: Array, *settings: Any) -> None:
    """Run a step on flat arrays; an array that is not dense is copied, and written back."""
    rows = [array.reshape(-1) for array in written]
    step(*rows, flat(dw), *settings, _jit.threads_for(dw.size))
    for array, row in zip(written, rows, strict=True):
        if not array.flags.c_contiguous:
            array[...] = row.reshape(array.shape)


@on_threads
def _sgd(w, velocity, dw, lr, momentum, weight_decay, nesterov, thread, threads):
    number = w.dtype.type
    lr, momentum, weight_decay = number(lr), number(momentum), number(weight_decay)
    for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
        g = dw[at(i)] + weight_decay * w[at(i)]
        if velocity.size:
            v = momentum * velocity[at(i)] + g
            velocity[at(i)] = v
            g = g + momentum * v if nesterov else v
        w[at(i)] -= lr * g


@on_threads
def _adadelta(w, square_average, update_average, dw, lr, rho, rest, eps, weight_decay, thread, threads):
    number = w.dtype.type
    lr, rho, rest, eps, weight_decay = number(lr), number(rho), number(rest), number(eps), number(weight_decay)
    for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
        g = dw[at(i)] + weight_decay * w[at(i)]
        square = rho * square_average[at(i)] + rest * g * g
        delta = np.sqrt(update_average[at(i)] + eps) / np.sqrt(square + eps) * g
        square_average[at(i)] = square
        update_average[at(i)] = rho * update_average[at(i)] + rest * delta * delta
        w[at(i)] -= lr * delta
