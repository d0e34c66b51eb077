"""The fully connected layer."""

from typing import Any

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from .activation import activation_backward
from .checks import check_activation, check_dtypes, rounded

Array = Any


class Linear(Function):
    """y = activation(x @ w + b); see `linear`."""

    def __init__(self, activation: str | None) -> None:
        self.activation = activation

    def forward(self, x: Array, w: Array, *b: Array) -> Array:
        y = kernels.room(x, w, *b).linear_forward(x, w, b[0] if b else None, self.activation)
        self.save(x, w, y if self.activation else None)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        x, w, y = self.saved
        room = kernels.room(dy)
        dy = activation_backward(dy, y, self.activation)
        wants_x, wants_w, *wants_b = self.needs_gradient
        dx = room.linear_backward_input(dy, w) if wants_x else None
        dw = room.linear_backward_weight(dy, x) if wants_w else None
        db = [room.bias_backward(dy) if wanted else None for wanted in wants_b]
        return (dx, dw, *db)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None, activation: str | None = None) -> Tensor:
    """The fully connected layer: x (N, in), w (in, out), b (out,) or None; returns (N, out).

    Forward:   y = activation(x @ w + b)
    Backward:  dy is first multiplied by the derivative of the activation, then
               dx = dy @ w.T,  dw = x.T @ dy,  db = the sum of dy over N

    activation: None, "relu", "tanh" or "sigmoid": the same as F.relu(y) and so on, without a second pass over y.

    Raises ValueError for shapes that do not fit, TypeError for dtypes.
    """
    w, b = rounded(x, w), rounded(x, b)
    check_dtypes("Linear", x, w=w, b=b)
    if w.ndim != 2 or 0 in w.shape:
        raise ValueError(f"Linear expected a weight (in, out), got shape {w.shape}")
    if x.ndim != 2 or x.shape[1] != w.shape[0]:
        raise ValueError(
            f"Linear expected an array of shape (N, {w.shape[0]}), got {x.shape}"
            + (": flatten it first, with nn.Flatten() or x.reshape(len(x), -1)" if x.ndim > 2 else "")
        )
    if x.shape[0] == 0:
        raise ValueError(f"Linear expected at least one sample, got an array of shape {x.shape}")
    if b is not None and b.shape != (w.shape[1],):
        raise ValueError(f"Linear expected a bias of shape ({w.shape[1]},), got {b.shape}")
    check_activation(activation, "Linear")
    operation = Linear(activation)
    return operation(x, w) if b is None else operation(x, w, b)
