"""Exercise: the gradients of batch normalisation.

In training each channel is normalised with its mean and variance over the batch, then scaled and shifted:

    x, y (N, H, W, C)    gamma, beta, mean, var (C,)    m = N*H*W, the number of values in a channel

    mean[c]  = 1/m * sum over n, h, w of x[n, h, w, c]
    var[c]   = 1/m * sum over n, h, w of (x[n, h, w, c] - mean[c])^2
    x_hat    = (x - mean) / sqrt(var + eps)
    y        = gamma * x_hat + beta

Asked: from dy, the gradient of the loss in y, those in x, gamma and beta. The first trap is that x goes three ways: it
stands in x_hat itself, in the mean and in the variance, and so every x of a channel moves every y of that channel. Draw
the graph, go backwards through it node by node, and put the pieces together at the end.

Check it with `python examples/exercises/check.py batch_norm`. The engine's own answer is batch_norm_backward in
kernels/reference/batch_norm.py.
"""

import numpy as np


def batch_norm_backward(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dx, dgamma, dbeta), of shapes (N, H, W, C), (C,) and (C,), of the dtype of dy; mean and var are those of x."""
    raise NotImplementedError
