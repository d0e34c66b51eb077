"""Local response normalisation: a cell is damped by the squares of its neighbours in the channel axis."""

import numpy as np

from ._arrays import Array


def local_response_norm_forward(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Divide every cell by a power of the mean square of the channels around it.

    x: (..., C); size: channels in a window; alpha, beta, k: the constants of the formula. Result y: as x.

        s[c] = k + alpha / size * sum of x[j]^2 over j from c - size // 2 to c + (size - 1) // 2, clipped to 0 .. C-1
        y[c] = x[c] / s[c]^beta

    This is PyTorch's formula. Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", 2012, section 3.3, write s = k + alpha * sum over n neighbours, with k=2, n=5, alpha=1e-4, beta=0.75:
    their alpha is not divided by n. So AlexNet's constants are size=5, alpha=5 * 1e-4, beta=0.75, k=2 here.
    """
    return x * _scale(x, size, alpha, k) ** -beta


def local_response_norm_backward(dy: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Gradient of local response normalisation.

    dy, x: (..., C); the rest as in the forward direction. Result dx: as x.

        dx[j] = dy[j] / s[j]^beta - 2 * alpha * beta / size * x[j] * sum of dy[c] * x[c] / s[c]^(beta + 1)
                                                                     over all c whose window contains j

    The first term is the cell's own gradient, the second what the cell did to the s of its neighbours. Those c run
    from j - (size - 1) // 2 to j + size // 2: the window turned around.
    """
    s = _scale(x, size, alpha, k)
    damped = _window_sum(dy * x * s ** (-beta - 1), (size - 1) // 2, size // 2)
    return dy * s**-beta - (2 * alpha * beta / size) * x * damped


def _scale(x: Array, size: int, alpha: float, k: float) -> Array:
    """The s of the formula, as x."""
    return k + (alpha / size) * _window_sum(x * x, size // 2, (size - 1) // 2)


def _window_sum(a: Array, before: int, after: int) -> Array:
    """For each channel, the sum of a over the channels c - before .. c + after that exist."""
    C = a.shape[-1]
    padded = np.pad(a, [(0, 0)] * (a.ndim - 1) + [(before, after)])
    total = np.zeros_like(a)
    for offset in range(before + after + 1):
        total += padded[..., offset : offset + C]
    return total
