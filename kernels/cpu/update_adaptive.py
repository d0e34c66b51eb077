"""Optimizers' steps that divide each gradient by its own usual size, in place, in one pass: see `update_momentum`.

What a formula takes from 1 is taken before it is rounded to float32: of 1 - 0.9999 little would be left afterwards.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..reference.update_adaptive import correction
from ._jit import on_threads
from ._update import in_place
from .tiles import at, share

Array = Any
Arrays = Sequence[Array]


def adagrad_update(ws: Arrays, dws: Arrays, square_sums: Arrays, lr: float, eps: float, weight_decay: float) -> None:
    """As the reference; writes ws and square_sums."""
    for w, dw, square_sum in zip(ws, dws, square_sums, strict=True):
        in_place(_adagrad, (w, square_sum), dw, lr, eps, weight_decay)


def rmsprop_update(
    ws: Arrays, dws: Arrays, square_averages: Arrays, averages: Arrays | None, velocities: Arrays | None,
    lr: float, alpha: float, eps: float, momentum: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes all but dws."""
    nothing = [np.empty(0, w.dtype) for w in ws]
    kept = (square_averages, nothing if averages is None else averages, nothing if velocities is None else velocities)
    for w, dw, *states in zip(ws, dws, *kept, strict=True):
        in_place(_rmsprop, (w, *states), dw, lr, alpha, 1 - alpha, eps, momentum, weight_decay)


def adadelta_update(
    ws: Arrays, dws: Arrays, square_averages: Arrays, update_averages: Arrays,
    lr: float, rho: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes ws, square_averages and update_averages."""
    for w, dw, square, update in zip(ws, dws, square_averages, update_averages, strict=True):
        in_place(_adadelta, (w, square, update), dw, lr, rho, 1 - rho, eps, weight_decay)


def adam_update(
    ws: Arrays, dws: Arrays, averages: Arrays, square_averages: Arrays, steps: Arrays,
    lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool,
) -> None:  # fmt: skip
    """As the reference; writes all but dws. What does not depend on the weight is computed once for each Parameter."""
    decay, added = (lr * weight_decay, 0.0) if decoupled else (0.0, weight_decay)
    for w, dw, average, square, step in zip(ws, dws, averages, square_averages, steps, strict=True):
        step += 1
        rate, root = lr / correction(beta1, step), correction(beta2, step) ** -0.5
        settings = (rate, root, beta1, 1 - beta1, beta2, 1 - beta2, eps, decay, added)
        in_place(_adam, (w, average, square), dw, *settings)


@on_threads
def _adagrad(w, square_sum, dw, lr, eps, weight_decay, thread, threads):
    number = w.dtype.type
    lr, eps, weight_decay = number(lr), number(eps), number(weight_decay)
    for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
        g = dw[at(i)] + weight_decay * w[at(i)]
        square = square_sum[at(i)] + g * g
        square_sum[at(i)] = square
        w[at(i)] -= lr * g / (np.sqrt(square) + eps)


@on_threads
def _rmsprop(w, square_average, average, velocity, dw, lr, alpha, rest, eps, momentum, weight_decay, thread, threads):
    number = w.dtype.type
    lr, alpha, rest, eps = number(lr), number(alpha), number(rest), number(eps)
    momentum, weight_decay = number(momentum), number(weight_decay)
    for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
        g = dw[at(i)] + weight_decay * w[at(i)]
        variance = alpha * square_average[at(i)] + rest * g * g
        square_average[at(i)] = variance
        if average.size:
            mean = alpha * average[at(i)] + rest * g
            average[at(i)] = mean
            variance -= mean * mean
            variance = number(0) if variance < 0 else variance  # NaN stays
        delta = g / (np.sqrt(variance) + eps)
        if velocity.size:
            delta += momentum * velocity[at(i)]
            velocity[at(i)] = delta
        w[at(i)] -= lr * delta


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


@on_threads
def _adam(
    w, average, square_average, dw, rate, root, beta1, rest1, beta2, rest2, eps, decay, added, thread, threads
):  # fmt: skip
    """rate: lr / (1 - beta1^step); root: 1 / sqrt(1 - beta2^step); decay: of w itself; added: of w to its gradient."""
    number = w.dtype.type
    rate, root, eps, decay, added = number(rate), number(root), number(eps), number(decay), number(added)
    beta1, rest1, beta2, rest2 = number(beta1), number(rest1), number(beta2), number(rest2)
    for i in range(share(w.size, thread, threads), share(w.size, thread + 1, threads)):
        g = dw[at(i)] + added * w[at(i)]
        mean = beta1 * average[at(i)] + rest1 * g
        square = beta2 * square_average[at(i)] + rest2 * g * g
        average[at(i)], square_average[at(i)] = mean, square
        w[at(i)] -= rate * mean / (root * np.sqrt(square) + eps) + decay * w[at(i)]
