"""The fully connected layer."""

from typing import Any

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from .checks import check_dtypes

Array = Any


class Linear(Function):
    """y = x @ w + b; see `linear`."""

    def forward(self, x: Array, w: Array, *b: Array) -> Array:
        self.save(x, w)
        return kernels.room(x, w, *b).linear_forward(x, w, b[0] if b else None)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        x, w = self.saved
        room = kernels.room(dy)
        wants_x, wants_w, *wants_b = self.needs_gradient
        dx = room.linear_backward_input(dy, w) if wants_x else None
        dw = room.linear_backward_weight(dy, x) if wants_w else None
        db = [room.bias_backward(dy) if wanted else None for wanted in wants_b]
        return (dx, dw, *db)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """The fully connected layer: x (N, in), w (in, out), b (out,) or None; returns (N, out).

    Forward:   y = x @ w + b
    Backward:  dx = dy @ w.T,  dw = x.T @ dy,  db = the sum of dy over N

    Raises ValueError for shapes that do not fit, TypeError for dtypes.
    """
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
    return Linear()(x, w) if b is None else Linear()(x, w, b)
