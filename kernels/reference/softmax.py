"""Softmax and its logarithm, over the last axis."""

import numpy as np

from ._arrays import Array


def softmax_forward(x: Array) -> Array:
    """Turn numbers into probabilities: positive, and summing to one over the last axis.

    x: (..., K). Result y: as x.

        y[i] = e^x[i] / sum over j of e^x[j]

    The largest x is subtracted first. That changes nothing in the quotient, and no exponential can overflow.
    """
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy: Array, y: Array) -> Array:
    """Gradient of softmax.

    dy, y: (..., K). Result dx: as dy.

        dx[i] = y[i] * (dy[i] - sum over j of dy[j] * y[j])
    """
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def log_softmax_forward(x: Array) -> Array:
    """The logarithm of softmax, without taking the logarithm of a probability that has become zero.

    x: (..., K). Result y: as x.

        y[i] = x[i] - log(sum over j of e^x[j])                   with the largest x subtracted first
    """
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """Gradient of log_softmax.

    dy, y: (..., K). Result dx: as dy.

        dx[i] = dy[i] - e^y[i] * sum over j of dy[j]
    """
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)
