"""The pooling layers. They have no Parameters; the formulas stand at the functions of the same names."""

from .. import functional as F
from .._tensor import Tensor
from ..ops.checks import pair
from . import checks
from .module import Module


class _Pool2d(Module):
    """What the pooling layers share: a window's geometry.

    kernel_size, stride: one number, or a pair (vertical, horizontal); stride None means the kernel's size.
    padding: one number, a pair, "same" or "valid". ceil_mode: whether a last window may hang over the edge.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | str = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        layer = type(self).__name__
        self.kernel_size = pair(kernel_size, f"{layer}: kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, f"{layer}: stride")
        self.padding = checks.padding(padding, layer)
        self.ceil_mode = checks.flag(ceil_mode, layer, "ceil_mode")

    def extra_repr(self) -> str:
        window = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding!r}"
        return f"{window}, ceil_mode={self.ceil_mode}"


class MaxPool2d(_Pool2d):
    """The largest cell of each window: (N, H, W, C) to (N, OH, OW, C); see `F.max_pool2d`.

    kernel_size, stride, padding, ceil_mode: as there; padding is minus infinity, never 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode)


class SumPool2d(_Pool2d):
    """The sum of each window: (N, H, W, C) to (N, OH, OW, C); see `F.sum_pool2d`.

    kernel_size, stride, padding, ceil_mode: as there; padding counts as 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.sum_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode)


class AvgPool2d(_Pool2d):
    """The mean of each window: (N, H, W, C) to (N, OH, OW, C); see `F.avg_pool2d`.

    kernel_size, stride, padding, ceil_mode: as there.
    count_include_pad: whether padding counts as cells of 0; here False, in PyTorch True by default.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = checks.flag(count_include_pad, "AvgPool2d", "count_include_pad")

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, count_include_pad={self.count_include_pad}"


class AdaptiveAvgPool2d(Module):
    """The mean of windows chosen to give output_size: (N, H, W, C) to (N, OH, OW, C); see `F.adaptive_avg_pool2d`.

    output_size: one number, or a pair (OH, OW).
    """

    def __init__(self, output_size: int | tuple[int, int]) -> None:
        super().__init__()
        self.output_size = pair(output_size, "AdaptiveAvgPool2d: output_size")

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class GlobalAvgPool2d(Module):
    """The mean of each channel over the whole image: (N, H, W, C) to (N, C). Source: Lin et al. 2013, section 3.2."""

    def forward(self, x: Tensor) -> Tensor:
        return F.global_avg_pool2d(x)
