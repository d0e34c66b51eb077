"""The fully connected layer, and the gradient of a bias (which convolution shares)."""

from ._arrays import Array, channel_sum


def linear_forward(x: Array, w: Array, b: Array | None) -> Array:
    """Every output is a weighted sum of every input: y = x @ w + b.

    x: (N, in); w: (in, out); b: (out,) or None. Result y: (N, out).

        y[n, o] = b[o] + sum over i of x[n, i] * w[i, o]
    """
    y = x @ w
    return y if b is None else y + b


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
