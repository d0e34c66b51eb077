"""Optimizers' steps along a mean of past gradients: SGD with momentum, Lion, LARS.

A step of any optimizer changes all Parameters in one call: a network has dozens, and most of them are small. These
kernels, with those of `update_adaptive`, alone in the room write into the arrays that they are given.
"""

import math
from collections.abc import Sequence

import numpy as np

from ._arrays import Array


def sgd_update(
    ws: Sequence[Array],
    dws: Sequence[Array],
    velocities: Sequence[Array] | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """One step of gradient descent with momentum, in place: writes ws and velocities, returns None.

    ws, dws, velocities: as many arrays, the i-th of each of one shape and dtype; velocities start at zero and may be
    None where momentum is 0; lr: the learning rate. For each w, dw, velocity:

        g = dw + weight_decay * w
        velocity = momentum * velocity + g
        w = w - lr * velocity                                     with Nesterov: w - lr * (g + momentum * velocity)

    PyTorch's formula: the learning rate stands outside the velocity, unlike in Sutskever, Martens, Dahl & Hinton,
    "On the importance of initialization and momentum in deep learning", 2013, section 2, equations 1 to 4.
    """
    for i, (w, dw) in enumerate(zip(ws, dws, strict=True)):
        g = dw + weight_decay * w
        if velocities is not None:
            velocity = velocities[i]
            velocity *= momentum
            velocity += g
            g = g + momentum * velocity if nesterov else velocity
        w -= lr * g


def lion_update(
    ws: Sequence[Array],
    dws: Sequence[Array],
    averages: Sequence[Array],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
) -> None:
    """One step of Lion, in place: writes ws and averages, returns None.

    ws, dws, averages: as many arrays, the i-th of each of one shape and dtype, the averages starting at zero; lr: how
    far every weight moves. For each w, dw, average:

        direction = sign(beta1 * average + (1 - beta1) * dw)                                     of -1, 0 and 1
        w = w - lr * (direction + weight_decay * w)
        average = beta2 * average + (1 - beta2) * dw

    Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2; its weight decay is decoupled.
    """
    for w, dw, average in zip(ws, dws, averages, strict=True):
        direction = np.sign(beta1 * average + (1 - beta1) * dw)
        w -= lr * (direction + weight_decay * w)
        average *= beta2
        average += (1 - beta2) * dw


def lars_update(
    ws: Sequence[Array],
    dws: Sequence[Array],
    velocities: Sequence[Array],
    lr: float,
    momentum: float,
    weight_decay: float,
    trust_coefficient: float | None,
) -> None:
    """One step of LARS, in place: writes ws and velocities, returns None.

    ws, dws, velocities: as many arrays, the i-th of each of one shape and dtype, the velocities starting at zero; lr:
    the global learning rate. For each w, dw, velocity, |w| being the square root of the sum of all its squares:

        trust = trust_coefficient * |w| / (|dw| + weight_decay * |w|)
        velocity = momentum * velocity + lr * trust * (dw + weight_decay * w)
        w = w - velocity

    trust is 1 where trust_coefficient is None, and where |w| is 0 or what it is divided by: weights that start at zero
    would never leave it.

    You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks", 2017, algorithm 1. As there the learning
    rate stands inside the velocity, unlike in `sgd_update`.
    """
    for w, dw, velocity in zip(ws, dws, velocities, strict=True):
        velocity *= momentum
        velocity += lr * _trust(w, dw, weight_decay, trust_coefficient) * (dw + weight_decay * w)
        w -= velocity


def _trust(w: Array, dw: Array, weight_decay: float, coefficient: float | None) -> float:
    """By how much LARS multiplies the learning rate of a Parameter."""
    if coefficient is None:
        return 1.0
    size, slope = (math.sqrt(np.sum(np.square(a, dtype=np.float64))) for a in (w, dw))
    divisor = slope + weight_decay * size
    return coefficient * size / divisor if size != 0 and divisor != 0 else 1.0
