"""The optimizers' steps, of all Parameters in one call: a network has dozens, and most of them are small.

These kernels, alone in the room, write into the arrays that they are given.
"""

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


def adadelta_update(
    ws: Sequence[Array],
    dws: Sequence[Array],
    square_averages: Sequence[Array],
    update_averages: Sequence[Array],
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> None:
    """One step of Adadelta, in place: writes ws, square_averages and update_averages, returns None.

    ws, dws, square_averages, update_averages: as many arrays, the i-th of each of one shape and dtype, the averages
    starting at zero; lr: 1.0 in the paper; rho: how much of an average is kept; eps: starts the first step, when both
    averages are zero. For each w, dw, square_average, update_average:

        g = dw + weight_decay * w
        square_average = rho * square_average + (1 - rho) * g^2
        delta = sqrt(update_average + eps) / sqrt(square_average + eps) * g
        update_average = rho * update_average + (1 - rho) * delta^2
        w = w - lr * delta

    Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1; lr and weight_decay as in PyTorch.
    """
    for w, dw, square_average, update_average in zip(ws, dws, square_averages, update_averages, strict=True):
        g = dw + weight_decay * w
        square_average *= rho
        square_average += (1 - rho) * g * g
        delta = np.sqrt(update_average + eps) / np.sqrt(square_average + eps) * g
        update_average *= rho
        update_average += (1 - rho) * delta * delta
        w -= lr * delta
