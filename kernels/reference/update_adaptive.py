"""Optimizers' steps that divide each gradient by its own usual size: Adagrad, RMSprop, Adadelta, Adam.

Each of them mends the one before. Adagrad divides by the root of the sum of all squares so far, which only grows, so
that its steps die away. RMSprop takes their running mean instead. Adadelta gives the quotient, which has no unit, the
unit of a weight. Adam averages the gradient too, and corrects both means for beginning at zero.
"""

import math
from collections.abc import Sequence

import numpy as np

from ._arrays import Array


def adagrad_update(
    ws: Sequence[Array], dws: Sequence[Array], square_sums: Sequence[Array], lr: float, eps: float, weight_decay: float
) -> None:
    """One step of Adagrad, in place: writes ws and square_sums, returns None.

    ws, dws, square_sums: as many arrays, the i-th of each of one shape and dtype, the sums starting at zero; eps: keeps
    the division finite. For each w, dw, square_sum:

        g = dw + weight_decay * w
        square_sum = square_sum + g^2
        w = w - lr * g / (sqrt(square_sum) + eps)

    Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011,
    section 1.1, equation 1, with the diagonal alone; weight_decay and the place of eps as in PyTorch.
    """
    for w, dw, square_sum in zip(ws, dws, square_sums, strict=True):
        g = dw + weight_decay * w
        square_sum += g * g
        w -= lr * g / (np.sqrt(square_sum) + eps)


def rmsprop_update(
    ws: Sequence[Array],
    dws: Sequence[Array],
    square_averages: Sequence[Array],
    averages: Sequence[Array] | None,
    velocities: Sequence[Array] | None,
    lr: float,
    alpha: float,
    eps: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """One step of RMSprop, in place: writes ws, square_averages, averages and velocities, returns None.

    ws, dws and the others: as many arrays, the i-th of each of one shape and dtype, all but ws and dws starting at
    zero; averages: None where the square is not centred; velocities: may be None where momentum is 0; alpha: how much
    of an average is kept. For each w, dw, square_average, average, velocity:

        g = dw + weight_decay * w
        square_average = alpha * square_average + (1 - alpha) * g^2
        delta = g / (sqrt(square_average) + eps)
        velocity = momentum * velocity + delta
        w = w - lr * velocity

    Centred, the variance of the gradient takes the place of its mean square (rounding could bring it below 0):

        average = alpha * average + (1 - alpha) * g
        delta = g / (sqrt(max(square_average - average^2, 0)) + eps)

    Tieleman & Hinton, "Neural Networks for Machine Learning", 2012, lecture 6.5; centred: Graves, "Generating Sequences
    With Recurrent Neural Networks", 2013, equations 38 to 45; eps outside of the root as in PyTorch.
    """
    for i, (w, dw, square_average) in enumerate(zip(ws, dws, square_averages, strict=True)):
        g = dw + weight_decay * w
        square_average *= alpha
        square_average += (1 - alpha) * g * g
        variance = square_average
        if averages is not None:
            averages[i][...] = alpha * averages[i] + (1 - alpha) * g
            variance = np.maximum(square_average - averages[i] ** 2, 0)
        delta = g / (np.sqrt(variance) + eps)
        if velocities is not None:
            velocities[i][...] = momentum * velocities[i] + delta
            delta = velocities[i]
        w -= lr * delta


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


def adam_update(
    ws: Sequence[Array],
    dws: Sequence[Array],
    averages: Sequence[Array],
    square_averages: Sequence[Array],
    steps: Sequence[Array],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """One step of Adam or, with decoupled weight decay, AdamW, in place: writes all but dws, returns None.

    ws, dws, averages, square_averages: as many arrays, the i-th of each of one shape and dtype, the averages starting
    at zero; steps: as many arrays of shape () and that dtype, how many steps were made; beta1, beta2: how much of an
    average is kept; eps: keeps the division finite. For each w, dw, average, square_average, step:

        step = step + 1
        g = dw + weight_decay * w                                                                    decoupled: g = dw
        average = beta1 * average + (1 - beta1) * g
        square_average = beta2 * square_average + (1 - beta2) * g^2
        delta = average / (1 - beta1^step) / (sqrt(square_average / (1 - beta2^step)) + eps)
        w = w - lr * delta                                            decoupled: w = w - lr * (delta + weight_decay * w)

    A count in float32 ends at 2^24; the two powers, which it is for, have long been 0 then.

    Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1; Loshchilov & Hutter, "Decoupled Weight
    Decay Regularization", 2019, algorithm 2, with the learning rate as a factor of the decay too, as in PyTorch.
    """
    for w, dw, average, square_average, step in zip(ws, dws, averages, square_averages, steps, strict=True):
        step += 1
        g = dw if decoupled else dw + weight_decay * w
        average *= beta1
        average += (1 - beta1) * g
        square_average *= beta2
        square_average += (1 - beta2) * g * g
        delta = average / correction(beta1, step) / (np.sqrt(square_average / correction(beta2, step)) + eps)
        w -= lr * (delta + weight_decay * w if decoupled else delta)


def correction(beta: float, step: Array) -> float:
    """1 - beta^step: the weights of a running average's numbers, which began with zeros, add up to this.

    By way of the logarithm, so that no digit is lost where beta is near 1.
    """
    return -math.expm1(float(step) * math.log(beta)) if beta > 0 else 1.0
