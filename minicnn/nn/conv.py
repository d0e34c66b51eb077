"""The convolution layer."""

from typing import Any

from .. import functional as F
from .._tensor import Tensor
from ..ops.checks import check_activation, check_images, pair
from . import checks, init
from .module import Module
from .parameter import Parameter


class Conv2d(Module):
    """y = activation(x * w + b): (N, H, W, C) to (N, OH, OW, O); the formulas stand at `F.conv2d`.

    in_channels: C; None to learn it from the first input. out_channels: O.
    kernel_size, stride, dilation: one number, or a pair (vertical, horizontal).
    padding: one number, a pair, "same" (ceil(H / stride) rows) or "valid" (none).
    groups: channels and outputs are cut into that many parts which do not see each other.
    activation: None, "relu", "tanh" or "sigmoid".

    weight: (KH, KW, C // groups, O), at first `init.kaiming_uniform`. bias: (O,), at first zeros; None with bias=False.

    Raises TypeError and ValueError for a wrong argument. Source: LeCun et al. 1998, section II.A.
    """

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        C = checks.positive_or_none(in_channels, "Conv2d", "in_channels")
        self.out_channels = checks.positive(out_channels, "Conv2d", "out_channels")
        self.groups = checks.positive(groups, "Conv2d", "groups")
        self.kernel_size = pair(kernel_size, "Conv2d: kernel_size")
        self.stride = pair(stride, "Conv2d: stride")
        self.padding = checks.padding(padding, "Conv2d")
        self.dilation = pair(dilation, "Conv2d: dilation")
        for name, channels in (("in_channels", C), ("out_channels", self.out_channels)):
            if channels is not None and channels % self.groups:
                raise ValueError(f"Conv2d expected {name} that groups={groups} divides, got {channels}")
        check_activation(activation, "Conv2d")
        self.activation = activation
        per_group = None if C is None else C // self.groups
        self.weight = Parameter.drawn(init.kaiming_uniform, (*self.kernel_size, per_group, self.out_channels))
        wants_bias = checks.flag(bias, "Conv2d", "bias")
        self.bias = Parameter.drawn(init.zeros, (self.out_channels,)) if wants_bias else None

    @property
    def in_channels(self) -> int | None:
        """C, or None until the first input tells."""
        return self.weight.shape[2] * self.groups if self.weight.is_filled else None

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with(self.activation, x)

    def forward_with(self, activation: str | None, x: Tensor) -> Tensor:
        """`forward` with that activation; see `Sequential`."""
        if not self.weight.is_filled:
            self._fill(x)
        where = (self.stride, self.padding, self.dilation, self.groups)
        return F.conv2d(x, self.weight, self.bias, *where, activation=activation)

    def _fill(self, x: Any) -> None:
        # Checked first: a wrong input must not decide for good what the layer expects.
        check_images(x, "Conv2d")
        C = x.shape[3]
        if C % self.groups:
            raise ValueError(f"Conv2d expected channels (last axis) that groups={self.groups} divides, got {x.shape}")
        self.weight.fill((*self.kernel_size, C // self.groups, self.out_channels))

    def multiply_adds(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """OH * OW * O * KH * KW * C / groups: each output sums KH * KW * C / groups products."""
        OH, OW, O = output_shape[-3:]
        KH, KW = self.kernel_size
        return OH * OW * O * KH * KW * (input_shape[-1] // self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (f", activation={self.activation!r}" if self.activation else "")
