"""The fully connected layer, and the gradient of a bias (which convolution shares)."""

from ._arrays import Array, channel_sum
from .activation import activated


def linear_forward(x: Array, w: Array, b: Array | None, activation: str | None) -> Array:
    """Every output is a weighted sum of every input, and may go through an activation: y = activation(x @ w + b).

    x: (N, in); w: (in, out); b: (out,) or None; activation: None, "relu", "tanh" or "sigmoid". Result y: (N, out).

        y[n, o] = activation(b[o] + sum over i of x[n, i] * w[i, o])

    The gradient dy that the functions below take is that in the sum, before the activation: relu_backward(dy, y),
    tanh_backward(dy, y) or sigmoid_backward(dy, y).
    """
    y = x @ w
    return activated(y if b is None else y + b, activation)


def linear_backward_input(dy: Array, w: Array) -> Array:
    """Gradient of the fully connected layer in x: dx = dy @ w.T.

    dy: (N, out); w: (in, out). Result dx: (N, in).

        dx[n, i] = sum over o of dy[n, o] * w[i, o]
    """
    return dy @ w.T  # (in, out) -> (out, in)


def linear_backward_weight(dy: Array, x: Array) -> Array:
    """Gradient of the fully connected layer in w: dw = x.T @ dy.

    dy: (N, out); x: (N, in). Result dw: (in, out).

        dw[i, o] = sum over n of x[n, i] * dy[n, o]
    """
    return x.T @ dy  # (N, in) -> (in, N)


def bias_backward(dy: Array) -> Array:
    """Gradient in a bias that was added along the last axis: it meets every sample and every place.

    dy: (..., O). Result db: (O,).

        db[o] = sum of dy[..., o] over all axes but the last
    """
    return channel_sum(dy)
