"""The optimizers' steps. These kernels, alone in the room, write into the arrays that they are given."""

import numpy as np

from ._arrays import Array


def sgd_update(
    w: Array,
    dw: Array,
    velocity: Array | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """One step of gradient descent with momentum, in place: writes w and velocity, returns None.

    w, dw, velocity: one shape; velocity starts at zero and may be None where momentum is 0; lr: the learning rate.

        g = dw + weight_decay * w
        velocity = momentum * velocity + g
        w = w - lr * velocity                                     with Nesterov: w - lr * (g + momentum * velocity)

    PyTorch's formula: the learning rate stands outside the velocity, unlike in Sutskever, Martens, Dahl & Hinton,
    "On the importance of initialization and momentum in deep learning", 2013, section 2, equations 1 to 4.
    """
    g = dw + weight_decay * w
    if velocity is not None:
        velocity *= momentum
        velocity += g
        g = g + momentum * velocity if nesterov else velocity
    w -= lr * g


def adadelta_update(
    w: Array,
    dw: Array,
    square_average: Array,
    update_average: Array,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> None:
    """One step of Adadelta, in place: writes w, square_average and update_average, returns None.

    w, dw, square_average, update_average: one shape, both averages starting at zero; lr: 1.0 in the paper;
    rho: how much of an average is kept; eps: starts the first step, when both averages are zero.

        g = dw + weight_decay * w
        square_average = rho * square_average + (1 - rho) * g^2
        delta = sqrt(update_average + eps) / sqrt(square_average + eps) * g
        update_average = rho * update_average + (1 - rho) * delta^2
        w = w - lr * delta

    Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1; lr and weight_decay as in PyTorch.
    """
    g = dw + weight_decay * w
    square_average *= rho
    square_average += (1 - rho) * g * g
    delta = np.sqrt(update_average + eps) / np.sqrt(square_average + eps) * g
    update_average *= rho
    update_average += (1 - rho) * delta * delta
    w -= lr * delta
