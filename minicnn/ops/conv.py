"""Two-dimensional convolution (cross-correlation, as every network library means it)."""

from typing import Any

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from .activation import activation_backward
from .checks import (
    Padding,
    Pair,
    check_activation,
    check_dtypes,
    check_images,
    check_windows,
    is_whole,
    pair,
    resolve_padding,
    rounded,
)

Array = Any
ALGORITHMS = ("auto", "im2col", "implicit_gemm", "direct", "depthwise", "winograd", "winograd_f2")


class Conv2d(Function):
    """y = activation(x * w + b); see `conv2d`."""

    def __init__(
        self, stride: Pair, padding: Padding, dilation: Pair, groups: int, algorithm: str, activation: str | None
    ) -> None:
        self.geometry = (stride, padding, dilation, groups, algorithm)
        self.activation = activation

    def forward(self, x: Array, w: Array, *b: Array) -> Array:
        y = kernels.room(x, w, *b).conv2d_forward(x, w, b[0] if b else None, *self.geometry, self.activation)
        self.save(x, w, y if self.activation else None)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        x, w, y = self.saved
        x_shape, room = x.shape, kernels.room(dy)
        self.release()  # images are large: each goes as soon as it has been read
        dy = activation_backward(dy, y, self.activation)
        del y
        wants_x, wants_w, *wants_b = self.needs_gradient
        dw = room.conv2d_backward_weight(dy, x, w.shape, *self.geometry) if wants_w else None
        del x
        # The first layer's input is the picture: nobody wants its gradient, and it is a third of the work.
        dx = room.conv2d_backward_input(dy, w, x_shape, *self.geometry) if wants_x else None
        db = [room.bias_backward(dy) if wanted else None for wanted in wants_b]
        return (dx, dw, *db)


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | Padding | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
    activation: str | None = None,
) -> Tensor:
    """Convolve images with kernels.

    x: (N, H, W, C). w: (KH, KW, C // groups, O). b: (O,) or None. Returns (N, OH, OW, O) with
    OH = (H + top + bottom - dilation * (KH - 1) - 1) // stride + 1, likewise OW.

    Forward, with h = i*s + kh*d - top and v = j*s + kw*d - left:
               y[n, i, j, o] = activation(b[o] + sum over kh, kw, c of x[n, h, v, c] * w[kh, kw, c, o])
    Backward:  dy is first multiplied by the derivative of the activation, then
               dw[kh, kw, c, o] = sum over n, i, j of x[n, h, v, c] * dy[n, i, j, o]
               dx gathers, for each input cell, dy * w over the windows that cover it;  db[o] = sum of dy[..., o]

    padding: int, pair (vertical, horizontal), ((top, bottom), (left, right)), "same" (ceil(H / stride) rows; the odd
        cell at the bottom and right) or "valid" (none).
    groups: channels and outputs are cut into that many parts which do not see each other.
    algorithm: "auto" chooses by shape. By name: "im2col" (the lesson: one matrix product), "implicit_gemm" (the same
        without the column matrix); and in the compiled rooms, each for the shapes that it serves, "direct" (few
        channels), "depthwise", "winograd" and "winograd_f2" (3x3 with stride 1, in tiles of 4x4 and 2x2 outputs).
    activation: None, "relu", "tanh" or "sigmoid": the same as F.relu(y) and so on, without a second pass over y.

    Raises ValueError for shapes that do not fit, TypeError for dtypes.
    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.A;
    im2col: Chellapilla et al. 2006, section 2.
    """
    w, b = rounded(x, w), rounded(x, b)
    check_dtypes("Conv2d", x, w=w, b=b)
    if not is_whole(groups) or groups < 1:
        raise ValueError(f"Conv2d expected groups >= 1, got {groups!r}")
    if w.ndim != 4 or 0 in w.shape or w.shape[3] % groups:
        raise ValueError(
            f"Conv2d expected a weight (KH, KW, C // groups, O), O divisible by groups={groups}, got shape {w.shape}"
        )
    KH, KW, C, O = w.shape
    if b is not None and b.shape != (O,):
        raise ValueError(f"Conv2d expected a bias of shape ({O},), got {b.shape}")
    if algorithm not in ALGORITHMS:
        raise ValueError(f"Conv2d expected an algorithm of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    check_activation(activation, "Conv2d")
    check_images(x, "Conv2d", channels=C * groups)
    strides, dilations = pair(stride, "stride"), pair(dilation, "dilation")
    sides = resolve_padding(padding, x.shape, (KH, KW), strides, dilations)
    check_windows("Conv2d", x, (KH, KW), strides, sides, dilations)
    # A stride beyond the padded image makes one window, as the image's size does: no kernel need count that far.
    strides = (min(strides[0], x.shape[1] + sum(sides[0])), min(strides[1], x.shape[2] + sum(sides[1])))
    operation = Conv2d(strides, sides, dilations, int(groups), algorithm, activation)
    return operation(x, w) if b is None else operation(x, w, b)
