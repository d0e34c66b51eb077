"""The fully connected layer."""

import math
from typing import Any

from .. import functional as F
from .._tensor import Tensor
from ..ops.checks import check_activation, check_float
from . import checks, init
from .module import Module
from .parameter import Parameter


class Linear(Module):
    """y = activation(x @ w + b): (N, in) to (N, out); both directions stand at `F.linear`.

    in_features: in; None to learn it from the first input; or the shape (H, W, C) of the images that were flattened
        into x, and in is H * W * C: other libraries flatten in another order, and `load_pretrained` must know.
    out_features: out.
    activation: None, "relu", "tanh" or "sigmoid".

    weight: (in, out), at first `init.kaiming_uniform`. bias: (out,), at first zeros; None with bias=False.

    Raises TypeError and ValueError for a wrong argument.
    """

    def __init__(
        self,
        in_features: int | tuple[int, int, int] | None,
        out_features: int,
        bias: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = checks.image_shape(in_features, "Linear") if isinstance(in_features, tuple) else None
        flat = math.prod(self.image_shape) if self.image_shape else in_features
        inputs = checks.positive_or_none(flat, "Linear", "in_features")
        self.out_features = checks.positive(out_features, "Linear", "out_features")
        check_activation(activation, "Linear")
        self.activation = activation
        self.weight = Parameter.drawn(init.kaiming_uniform, (inputs, self.out_features))
        wants_bias = checks.flag(bias, "Linear", "bias")
        self.bias = Parameter.drawn(init.zeros, (self.out_features,)) if wants_bias else None

    @property
    def in_features(self) -> int | None:
        """The number of inputs, or None until the first input tells."""
        return self.weight.shape[0] if self.weight.is_filled else None

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with(self.activation, x)

    def forward_with(self, activation: str | None, x: Tensor) -> Tensor:
        """`forward` with that activation; see `Sequential`."""
        if not self.weight.is_filled:
            self._fill(x)
        return F.linear(x, self.weight, self.bias, activation)

    def _fill(self, x: Any) -> None:
        # Checked first: a wrong input must not decide for good what the layer expects.
        check_float(x, "Linear")
        if x.ndim != 2 or x.size == 0:
            flatten = ": flatten it first, with nn.Flatten() or x.reshape(len(x), -1)" if x.ndim > 2 else ""
            raise ValueError(f"Linear expected an array (N, in) with at least one element, got {x.shape}{flatten}")
        self.weight.fill((x.shape[1], self.out_features))

    def multiply_adds(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """in * out: each output sums `in` products."""
        return input_shape[-1] * self.out_features

    def extra_repr(self) -> str:
        inputs = self.image_shape or self.in_features
        text = f"in_features={inputs}, out_features={self.out_features}, bias={self.bias is not None}"
        return text + (f", activation={self.activation!r}" if self.activation else "")
