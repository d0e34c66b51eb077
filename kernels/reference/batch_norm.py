"""Batch normalisation: every channel gets mean 0 and variance 1, then a scale and a shift that are learned.

A residual network adds to the result what it had before the layers, and takes the positive part of the sum:
y = relu(bn(x) + residual) (He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", 2016, figure 2). The
fast rooms do it in the same pass, so it belongs to these kernels.
"""

import numpy as np

from ._arrays import Array, channel_sum
from .activation import activated, relu_backward


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: float, residual: Array | None, activation: str | None
) -> tuple[Array, Array, Array]:
    """Normalise each channel with the mean and the variance of this batch (training).

    x: (..., C), two axes or more; gamma, beta: (C,), the learned scale and shift; eps: added to the variance;
    residual: as x, or None for 0; activation: "relu" or None.
    Results y: as x; mean, var: (C,), over all m = x.size / C values of a channel, var biased (divided by m).

        x_hat = (x - mean) / sqrt(var + eps)
        y = activation(gamma * x_hat + beta + residual)

    The variance is that of the differences from the mean: E[x^2] - E[x]^2 would subtract two large numbers, and in
    float32 nothing would be left of a small variance around a large mean.

    Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    2015, algorithm 1; section 3.2 for one mean and variance per channel of a convolution.
    """
    m = x.size // x.shape[-1]
    mean = channel_sum(x) / m
    var = channel_sum((x - mean) ** 2) / m
    y = gamma * _normalised(x, mean, var, eps) + beta
    return activated(y if residual is None else y + residual, activation), mean, var


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """The mean and the variance of each channel, as batch_norm_forward takes them.

    Where a batch lies in parts on several processes, each begins with those of its own part: the mean and variance of
    the whole batch, which batch_norm_inference_forward can normalise with, follow from them (`ops/sync_norm.py`).

    x: (..., C), two axes or more, not empty. Results mean, var: (C,), var biased.

        mean = sum of x / m,  var = sum of (x - mean)^2 / m           over all axes but the last
    """
    m = x.size // x.shape[-1]
    mean = channel_sum(x) / m
    return mean, channel_sum((x - mean) ** 2) / m


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """Gradient of batch_norm_forward, through the mean and the variance too.

    dy, x: (..., C); gamma, beta: (C,); mean, var: (C,), as batch_norm_forward gave them; activation: as there, where
    there was no residual. With a residual, dy is the gradient in the sum and activation is None.
    Results dx: as x; dgamma, dbeta: (C,).

        dy = relu_backward(dy, gamma * x_hat + beta)              with activation="relu"
        dbeta = sum of dy,  dgamma = sum of dy * x_hat            over all axes but the last
        dx = gamma / sqrt(var + eps) * (dy - dbeta / m - x_hat * dgamma / m)

    The two subtracted terms take out of dy what the mean and the variance took out of x: dx sums to zero, and it is at
    right angles to x_hat (but for eps). Ioffe & Szegedy 2015, section 3, the six equations before 3.1, put together.
    """
    m = x.size // x.shape[-1]
    x_hat = _normalised(x, mean, var, eps)
    dy = dy if activation is None else relu_backward(dy, gamma * x_hat + beta)
    dbeta = channel_sum(dy)
    dgamma = channel_sum(dy * x_hat)
    dx = gamma / np.sqrt(var + eps) * (dy - dbeta / m - x_hat * (dgamma / m))
    return dx, dgamma, dbeta


def batch_norm_inference_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    residual: Array | None,
    activation: str | None,
) -> Array:
    """Normalise each channel with a mean and a variance that are given (evaluation: the running averages).

    x: (..., C); gamma, beta, mean, var: (C,); residual: as x, or None for 0; activation: "relu" or None.
    Result y: as x.

        y = activation(gamma * (x - mean) / sqrt(var + eps) + beta + residual)

    Ioffe & Szegedy 2015, section 3.1.
    """
    y = gamma * _normalised(x, mean, var, eps) + beta
    return activated(y if residual is None else y + residual, activation)


def batch_norm_inference_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """Gradient of batch_norm_inference_forward, where mean and variance are constants.

    dy, x: (..., C); gamma, beta, mean, var: (C,); activation: as in batch_norm_backward.
    Results dx: as x; dgamma, dbeta: (C,).

        dy = relu_backward(dy, gamma * x_hat + beta)              with activation="relu"
        dx = gamma / sqrt(var + eps) * dy
        dbeta = sum of dy,  dgamma = sum of dy * x_hat            over all axes but the last
    """
    x_hat = _normalised(x, mean, var, eps)
    dy = dy if activation is None else relu_backward(dy, gamma * x_hat + beta)
    return gamma / np.sqrt(var + eps) * dy, channel_sum(dy * x_hat), channel_sum(dy)


def _normalised(x: Array, mean: Array, var: Array, eps: float) -> Array:
    return (x - mean) / np.sqrt(var + eps)
