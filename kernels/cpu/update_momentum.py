"""Optimizers' steps along a mean of past gradients, in place, in one pass over their arrays.

NumPy makes an array for every product in a formula; here a weight, its gradient and its state are read once, and what
lies between stays in registers. LARS has to know two norms before: that is one pass more.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _jit
from ._arrays import flat
from ._jit import on_threads
from ._update import in_place
from .tiles import at, share

Array = Any
Arrays = Sequence[Array]

PIECE = 4096  # numbers whose squares are added by one thread, whatever the number of threads


def sgd_update(
    ws: Arrays, dws: Arrays, velocities: Arrays | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """As the reference; writes ws and velocities."""
    if velocities is None:
        velocities, momentum = [np.empty(0, w.dtype) for w in ws], 0.0
    for w, dw, velocity in zip(ws, dws, velocities, strict=True):
        in_place(_sgd, (w, velocity), dw, lr, momentum, weight_decay, nesterov)


def lion_update(
    ws: Arrays, dws: Arrays, averages: Arrays, lr: float, beta1: float, beta2: float, weight_decay: float
) -> None:
    """As the reference; writes ws and averages."""
    for w, dw, average in zip(ws, dws, averages, strict=True):
        # 1 - beta is taken before beta is rounded to float32: of 1 - 0.9999 little would be left afterwards.
        in_place(_lion, (w, average), dw, lr, beta1, 1 - beta1, beta2, 1 - beta2, weight_decay)


def lars_update(
    ws: Arrays, dws: Arrays, velocities: Arrays,
    lr: float, momentum: float, weight_decay: float, trust_coefficient: float | None,
) -> None:  # fmt: skip
    """As the reference; writes ws and velocities. The squares are added in float64."""
    for w, dw, velocity in zip(ws, dws, velocities, strict=True):
        rate = lr * _trust(w, dw, weight_decay, trust_coefficient)
        in_place(_lars, (w, velocity), dw, rate, momentum, weight_decay)


def _trust(w: Array, dw: Array, weight_decay: float, coefficient: float | None) -> float:
    """As in the reference."""
    if coefficient is None:
        return 1.0
    size, slope = _norm(w), _norm(dw)
    divisor = slope + weight_decay * size
    return coefficient * size / divisor if size != 0 and divisor != 0 else 1.0


def _norm(x: Array) -> float:
    sums = np.empty(-(-x.size // PIECE))
    _square_sums(flat(x), sums, _jit.threads_for(x.size))
    return math.sqrt(np.add.reduce(sums))


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
def _lion(w, average, dw, lr, beta1, rest1, beta2, rest2, weight_decay, thread, threads):
    number = w.dtype.type
    lr, weight_decay = number(lr), number(weight_decay)
    beta1, rest1, beta2, rest2 = number(beta1), number(rest1), number(beta2), number(rest2)
    for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
        direction = np.sign(beta1 * average[at(i)] + rest1 * dw[at(i)])
        w[at(i)] -= lr * (direction + weight_decay * w[at(i)])
        average[at(i)] = beta2 * average[at(i)] + rest2 * dw[at(i)]


@on_threads
def _lars(w, velocity, dw, rate, momentum, weight_decay, thread, threads):
    number = w.dtype.type
    rate, momentum, weight_decay = number(rate), number(momentum), number(weight_decay)
    for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
        v = momentum * velocity[at(i)] + rate * (dw[at(i)] + weight_decay * w[at(i)])
        velocity[at(i)] = v
        w[at(i)] -= v


@on_threads
def _square_sums(x, sums, thread, threads):
    """sums: for each piece of x the sum of its squares."""
    for piece in range(len(sums) * thread // threads, len(sums) * (thread + 1) // threads):
        total = 0.0
        for i in range(piece * PIECE, min((piece + 1) * PIECE, x.size)):
            v = np.float64(x[at(i)])
            total += v * v
        sums[piece] = total
