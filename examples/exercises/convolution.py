"""Exercise: the three gradients of a convolution.

A convolution slides O filters over N images of C channels. Everything here is float, and the axes are those of the
engine, channels last:

    x (N, H, W, C)    w (KH, KW, C, O)    b (O,)    y (N, OH, OW, O)
    OH = (H + 2*padding - KH) // stride + 1, OW alike

    y[n, oh, ow, o] = b[o] + sum over kh, kw, c of
                      x[n, oh*stride + kh - padding, ow*stride + kw - padding, c] * w[kh, kw, c, o]

where x is 0 outside the image. It is not flipped: strictly speaking this is a cross-correlation.

Asked: from dy, the gradient of the loss in y, those in x, w and b. Follow one product of the sum. It reads one cell of
x and one of w, and adds to one cell of y. By the chain rule it hands dy times the one to the other. Which products does
a cell of x take part in? How often is a weight used? Loops over every index are a good first answer; can you do it with
a loop over kh and kw alone?

Check it with `python examples/exercises/check.py convolution`. The engine's own answers are conv2d_backward_input and
conv2d_backward_weight in kernels/reference/conv2d.py, and bias_backward in kernels/reference/linear.py.
"""

import numpy as np


def conv2d_backward_input(
    dy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], stride: int, padding: int
) -> np.ndarray:
    """dx (N, H, W, C), of the dtype of dy; x_shape is (N, H, W, C)."""
    raise NotImplementedError


def conv2d_backward_weight(
    dy: np.ndarray, x: np.ndarray, w_shape: tuple[int, ...], stride: int, padding: int
) -> np.ndarray:
    """dw (KH, KW, C, O), of the dtype of dy; w_shape is (KH, KW, C, O)."""
    raise NotImplementedError


def conv2d_backward_bias(dy: np.ndarray) -> np.ndarray:
    """db (O,), of the dtype of dy."""
    raise NotImplementedError
