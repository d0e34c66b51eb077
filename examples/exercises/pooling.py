"""Exercise: the gradients of max pooling and of average pooling.

A window of K x K cells slides over each channel by itself, and makes one number of what it covers:

    x (N, H, W, C)    y (N, OH, OW, C)    OH = (H - K) // stride + 1, OW alike, with K = kernel_size

    max pooling       y[n, oh, ow, c] = the largest of x[n, oh*stride + kh, ow*stride + kw, c]      0 <= kh, kw < K
    average pooling   y[n, oh, ow, c] = the sum of them / (K*K)

Windows overlap where stride < K, and at the bottom and right there may be cells that no window covers.

The forward pass of max pooling has kept an index (N, OH, OW, C) that says which cell won in each window: kh*K + kw,
the first in that order where several were equally large.

Asked: from dy, the gradient of the loss in y, that in x. If a cell of x grew a little, by how much would each y grow?

Check it with `python examples/exercises/check.py pooling`. The engine's own answers are max_pool2d_backward and
avg_pool2d_backward in kernels/reference/pool2d.py.
"""

import numpy as np


def max_pool2d_backward(
    dy: np.ndarray, index: np.ndarray, x_shape: tuple[int, ...], kernel_size: int, stride: int
) -> np.ndarray:
    """dx (N, H, W, C), of the dtype of dy; x_shape is (N, H, W, C)."""
    raise NotImplementedError


def avg_pool2d_backward(dy: np.ndarray, x_shape: tuple[int, ...], kernel_size: int, stride: int) -> np.ndarray:
    """dx (N, H, W, C), of the dtype of dy; x_shape is (N, H, W, C)."""
    raise NotImplementedError
