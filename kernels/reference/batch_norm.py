"""Batch normalisation: every channel gets mean 0 and variance 1, then a scale and a shift that are learned."""

import numpy as np

from ._arrays import Array, channel_sum


def batch_norm_forward(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """Normalise each channel with the mean and the variance of this batch (training).

    x: (..., C), two axes or more; gamma, beta: (C,), the learned scale and shift; eps: added to the variance.
    Results y: as x; mean, var: (C,), over all m = x.size / C values of a channel, var biased (divided by m).

        x_hat = (x - mean) / sqrt(var + eps)
        y = gamma * x_hat + beta

    The variance is that of the differences from the mean: E[x^2] - E[x]^2 would subtract two large numbers, and in
    float32 nothing would be left of a small variance around a large mean.

    Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    2015, algorithm 1; section 3.2 for one mean and variance per channel of a convolution.
    """
    m = x.size // x.shape[-1]
    mean = channel_sum(x) / m
    var = channel_sum((x - mean) ** 2) / m
    return gamma * _normalised(x, mean, var, eps) + beta, mean, var


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Gradient of batch_norm_forward, through the mean and the variance too.

    dy, x: (..., C); gamma: (C,); mean, var: (C,), as batch_norm_forward gave them.
    Results dx: as x; dgamma, dbeta: (C,).

        dbeta = sum of dy,  dgamma = sum of dy * x_hat            over all axes but the last
        dx = gamma / sqrt(var + eps) * (dy - dbeta / m - x_hat * dgamma / m)

    The two subtracted terms take out of dy what the mean and the variance took out of x: dx sums to zero, and it is at
    right angles to x_hat (but for eps). Ioffe & Szegedy 2015, section 3, the six equations before 3.1, put together.
    """
    m = x.size // x.shape[-1]
    x_hat = _normalised(x, mean, var, eps)
    dbeta = channel_sum(dy)
    dgamma = channel_sum(dy * x_hat)
    dx = gamma / np.sqrt(var + eps) * (dy - dbeta / m - x_hat * (dgamma / m))
    return dx, dgamma, dbeta


def batch_norm_inference_forward(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Normalise each channel with a mean and a variance that are given (evaluation: the running averages).

    x: (..., C); gamma, beta, mean, var: (C,). Result y: as x.

        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Ioffe & Szegedy 2015, section 3.1.
    """
    return gamma * _normalised(x, mean, var, eps) + beta


def batch_norm_inference_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Gradient of batch_norm_inference_forward, where mean and variance are constants.

    dy, x: (..., C); gamma, mean, var: (C,). Results dx: as x; dgamma, dbeta: (C,).

        dx = gamma / sqrt(var + eps) * dy
        dbeta = sum of dy,  dgamma = sum of dy * x_hat            over all axes but the last
    """
    dx = gamma / np.sqrt(var + eps) * dy
    return dx, channel_sum(dy * _normalised(x, mean, var, eps)), channel_sum(dy)


def _normalised(x: Array, mean: Array, var: Array, eps: float) -> Array:
    return (x - mean) / np.sqrt(var + eps)
