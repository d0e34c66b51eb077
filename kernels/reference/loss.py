"""The losses: how far a batch of answers is from its targets, as one number."""

import numpy as np

from ._arrays import Array
from .softmax import log_softmax_forward, softmax_forward


def cross_entropy_forward(logits: Array, target: Array) -> tuple[Array, Array]:
    """Mean cross-entropy between the softmax of the logits and the targets.

    logits: (N, K); target: (N,) integers, the classes, or (N, K) floats, each row a distribution that sums to one; it
    may add up to something else, as class weights make it, if the backward direction is told so.
    Results loss: 0-d, dtype of logits, in nats; p = softmax(logits): (N, K), all that the backward direction needs.

        loss = -1/N * sum over n of log p[n, target[n]]
        loss = -1/N * sum over n, k of target[n, k] * log p[n, k]

    A class with the target 0 costs nothing, even if its logit is minus infinity: t log p goes to 0 with t.
    The logarithm is taken by log_softmax, so that a class with probability 1e-400 costs 921 nats and not infinity.

    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.
    """
    log_p = log_softmax_forward(logits)
    if target.ndim == 1:
        cost = -log_p[np.arange(len(target)), target]
    else:
        target = target.astype(logits.dtype)
        cost = -np.multiply(target, log_p, out=np.zeros_like(log_p), where=target != 0).sum(axis=1)
    return np.asarray(cost.mean()), softmax_forward(logits)


def cross_entropy_backward(dloss: Array, p: Array, target: Array) -> Array:
    """Gradient of cross_entropy_forward in the logits.

    dloss: 0-d; p: (N, K), as cross_entropy_forward gave it, times the sum of its row of targets where that is not one;
    target: as there. Result dlogits: (N, K).

        dlogits = dloss / N * (p - target)                        target (N,) written as rows with a single 1
    """
    if target.ndim == 1:
        difference = p.copy()
        difference[np.arange(len(target)), target] -= 1
    else:
        difference = p - target.astype(p.dtype)
    return difference * (dloss / len(p))


def mean_squared_error_forward(y: Array, target: Array) -> Array:
    """Mean of the squared differences, over all elements.

    y, target: any one shape, of M elements. Result loss: 0-d, dtype of y.

        loss = 1/M * sum of (y - target)^2
    """
    return np.asarray(((y - target) ** 2).mean())


def mean_squared_error_backward(dloss: Array, y: Array, target: Array) -> Array:
    """Gradient of the mean squared error in y: dy = dloss * 2/M * (y - target).

    dloss: 0-d; y, target: as in the forward direction. Result dy: as y. The gradient in the target is -dy.
    """
    return (y - target) * (dloss * 2 / y.size)


def half_squared_error_forward(y: Array, target: Array) -> Array:
    """Half the squared distance between two vectors, averaged over the batch.

    y, target: (..., K), M = y.size / K vectors; a single vector (K,) is a batch of one. Result loss: 0-d, dtype of y.

        loss = 1/M * sum over the vectors of 1/2 * sum over k of (y[k] - target[k])^2

    Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", 1986, equation 3.
    """
    return np.asarray(((y - target) ** 2).sum(axis=-1).mean() / 2)


def half_squared_error_backward(dloss: Array, y: Array, target: Array) -> Array:
    """Gradient of the half squared error in y: dy = dloss / M * (y - target).

    dloss: 0-d; y, target: as in the forward direction. Result dy: as y. The half is there to cancel the 2.
    """
    M = y.size // y.shape[-1]
    return (y - target) * (dloss / M)
