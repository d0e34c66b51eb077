"""The optimizers' steps, in place, in one pass over their arrays.

A network has many small Parameters (a bias is a dozen numbers): for those the time goes into calling, not computing.
So a small array is served by the loop itself, and only a large one by a launch of threads, which costs several times
as much as such a call. It is the same loop either way.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import prange

from . import _jit
from ._arrays import flat
from ._jit import compiled, parallel
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
        _in_place(_sgd, _sgd_on_threads, (w, velocity), dw, lr, momentum, weight_decay, nesterov)


def adadelta_update(
    ws: Arrays, dws: Arrays, square_averages: Arrays, update_averages: Arrays,
    lr: float, rho: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes ws, square_averages and update_averages."""
    for w, dw, square, update in zip(ws, dws, square_averages, update_averages, strict=True):
        # 1 - rho is taken before rho is rounded to float32: of 1 - 0.9999 little would be left afterwards.
        _in_place(_adadelta, _adadelta_on_threads, (w, square, update), dw, lr, rho, 1 - rho, eps, weight_decay)


def _in_place(
    serial: Callable[..., None], on_threads: Callable[..., None], written: tuple[Array, ...], dw: Array, *settings: Any
) -> None:
    """Run a step on flat arrays; an array that is not dense is copied, and written back."""
    rows = [array.reshape(-1) for array in written]
    threads = _jit.threads_for(dw.size)
    if threads == 1:
        serial(*rows, flat(dw), *settings, 0, dw.size)
    else:
        on_threads(*rows, flat(dw), *settings, threads)
    for array, row in zip(written, rows, strict=True):
        if not array.flags.c_contiguous:
            array[...] = row.reshape(array.shape)


@compiled
def _sgd(w, velocity, dw, lr, momentum, weight_decay, nesterov, first, last):
    number = w.dtype.type
    lr, momentum, weight_decay = number(lr), number(momentum), number(weight_decay)
    for i in range(first, last):
        g = dw[at(i)] + weight_decay * w[at(i)]
        if velocity.size:
            v = momentum * velocity[at(i)] + g
            velocity[at(i)] = v
            g = g + momentum * v if nesterov else v
        w[at(i)] -= lr * g


@parallel
def _sgd_on_threads(w, velocity, dw, lr, momentum, weight_decay, nesterov, threads):
    for thread in prange(threads):
        first, last = share(w.size, thread, threads), share(w.size, thread + 1, threads)
        _sgd(w, velocity, dw, lr, momentum, weight_decay, nesterov, first, last)


@compiled
def _adadelta(w, square_average, update_average, dw, lr, rho, rest, eps, weight_decay, first, last):
    number = w.dtype.type
    lr, rho, rest, eps, weight_decay = number(lr), number(rho), number(rest), number(eps), number(weight_decay)
    for i in range(first, last):
        g = dw[at(i)] + weight_decay * w[at(i)]
        square = rho * square_average[at(i)] + rest * g * g
        delta = np.sqrt(update_average[at(i)] + eps) / np.sqrt(square + eps) * g
        square_average[at(i)] = square
        update_average[at(i)] = rho * update_average[at(i)] + rest * delta * delta
        w[at(i)] -= lr * delta


@parallel
def _adadelta_on_threads(w, square_average, update_average, dw, lr, rho, rest, eps, weight_decay, threads):
    for thread in prange(threads):
        first, last = share(w.size, thread, threads), share(w.size, thread + 1, threads)
        _adadelta(w, square_average, update_average, dw, lr, rho, rest, eps, weight_decay, first, last)
