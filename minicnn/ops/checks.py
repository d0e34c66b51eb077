"""What every layer operation asks of its arguments: nothing a user types reaches a compiled kernel unchecked."""

import math
import numbers
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import numpy as np

from .._tensor import Tensor
from ..kernels.geometry import output_size

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
T = TypeVar("T", bound=Tensor | None)

# Those that a layer can apply to its own result: their derivatives can be written in y alone.
ACTIVATIONS = ("relu", "tanh", "sigmoid")


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number (and not a boolean)."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def pair(value: Any, name: str, minimum: int = 1) -> Pair:
    """One whole number as (n, n), or a pair of them, each at least `minimum`."""
    values = (value, value) if is_whole(value) else value
    if (
        not isinstance(values, tuple | list)
        or len(values) != 2
        or not all(is_whole(v) and minimum <= v < 2**31 for v in values)
    ):
        raise ValueError(
            f"{name} expected a whole number >= {minimum} (and below 2**31) or a pair of them, got {value!r}"
        )
    return int(values[0]), int(values[1])


def resolve_padding(
    padding: Any, shape: tuple[int, ...], kernel: Pair, stride: Pair, dilation: Pair = (1, 1)
) -> Padding:
    """int, pair, pair of pairs, "same" or "valid" as ((top, bottom), (left, right)).

    "same" makes ceil(H / stride) rows: total = max((ceil(H / s) - 1) * s + d * (K - 1) + 1 - H, 0), of which the
    odd cell goes to the bottom and right.
    """
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise ValueError(f'padding expected a number, a pair, "same" or "valid", got {padding!r}')
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str):
        sides = []
        for H, K, s, d in zip(shape[1:3], kernel, stride, dilation, strict=True):
            total = max((-(-H // s) - 1) * s + d * (K - 1) + 1 - H, 0)
            sides.append((total // 2, total - total // 2))
        return sides[0], sides[1]
    if isinstance(padding, tuple | list) and len(padding) == 2 and all(isinstance(p, tuple | list) for p in padding):
        return pair(padding[0], "padding", minimum=0), pair(padding[1], "padding", minimum=0)
    vertical, horizontal = pair(padding, "padding", minimum=0)
    return (vertical, vertical), (horizontal, horizontal)


def check_flag(value: Any, what: str, name: str) -> None:
    """Raise TypeError unless value is True or False: a misplaced number must not pass for one."""
    if not isinstance(value, bool):
        raise TypeError(f"{what} expected {name} to be True or False, got {value!r}")


def check_activation(value: Any, what: str, allowed: tuple[str, ...] = ACTIVATIONS) -> None:
    """Raise ValueError unless value is None or the name of an activation."""
    if value is not None and not (isinstance(value, str) and value in allowed):
        choices = ", ".join(f'"{name}"' for name in allowed)
        raise ValueError(f"{what} expected activation to be None, {choices}, got {value!r}")


def real(value: Any, what: str, name: str) -> float:
    """A finite number as a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{what} expected {name} to be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{what} expected {name} to be finite, got {value!r}")
    return float(value)


def check_float(x: Any, what: str) -> None:
    """Raise TypeError unless x is a Tensor of float32 or float64, or on a GPU of float16."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{what} expected a Tensor, got {type(x).__name__}: wrap arrays with mc.tensor(array)")
    if x.data.dtype not in (np.float32, np.float64) and not (x.data.dtype == np.float16 and x.device == "cuda"):
        raise TypeError(
            f"{what} expected float32 or float64, got {x.dtype}: "
            'convert with mc.tensor(array.astype("float32")), images also divided by 255'
        )


def rounded(x: Tensor, parameter: T) -> T:
    """A float32 parameter beside float16 images is rounded to float16 too; its gradient comes back as float32."""
    if not isinstance(x, Tensor) or not isinstance(parameter, Tensor):
        return parameter
    halves = x.dtype == np.float16 and parameter.dtype == np.float32
    return cast(T, parameter.to(dtype=np.float16)) if halves else parameter


def channel_dtype(x: Tensor) -> np.dtype[Any]:
    """The dtype of what a channel has one of: that of x, but of float16 images float32."""
    return np.dtype(np.float32) if x.data.dtype == np.float16 else x.dtype


def check_dtypes(what: str, x: Tensor, **others: Tensor | None) -> None:
    """Raise TypeError unless every Tensor given has the dtype of x."""
    check_float(x, what)
    _check_others(what, x, x.dtype, others)


def check_channels(what: str, x: Tensor, **others: Tensor) -> None:
    """Raise TypeError unless every Tensor given has the dtype that goes with x: see `channel_dtype`."""
    check_float(x, what)
    _check_others(what, x, channel_dtype(x), others)


def _check_others(what: str, x: Tensor, dtype: np.dtype[Any], others: Mapping[str, Tensor | None]) -> None:
    for name, other in others.items():
        if other is None:
            continue
        check_float(other, f"{what}: {name}")
        if other.data.dtype != dtype:
            raise TypeError(
                f"{what} expected one dtype, got an input of {x.dtype} and {name} of {other.dtype}: "
                f'convert with .to(dtype="{other.dtype}")'
            )


def check_images(x: Tensor, what: str, channels: int | None = None, least: int = 1) -> None:
    """Raise unless x is (N, H, W, C), not empty (but for N where `least` is 0), with `channels` channels if given."""
    check_float(x, what)
    if x.ndim != 4:
        raise ValueError(
            f"{what} expected an array of 4 axes (N, H, W, C), got shape {x.shape}"
            + (": one image needs an axis in front, image[None]" if x.ndim == 3 else "")
        )
    if channels is not None and x.shape[3] != channels:
        hint = "; it looks like NCHW: use x.transpose(0, 2, 3, 1)" if x.shape[1] == channels else ""
        raise ValueError(
            f"{what} expected {channels} input channels (last axis), got an array of shape {x.shape}{hint}"
        )
    if 0 in x.shape[1:] or len(x) < least:
        raise ValueError(f"{what} expected at least one element, got an array of shape {x.shape}")


def check_windows(
    what: str, x: Tensor, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1), ceil_mode: bool = False
) -> None:
    """Raise ValueError if a kernel does not fit once into the padded input."""
    sizes = x.shape[1:3]
    for size, K, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        if d * (K - 1) + 1 > size + sum(p) or output_size(size, K, s, p, d, ceil_mode) < 1:
            padded = tuple(n + sum(sides) for n, sides in zip(sizes, padding, strict=True))
            spans = tuple(dd * (KK - 1) + 1 for KK, dd in zip(kernel, dilation, strict=True))
            raise ValueError(
                f"{what} expected a kernel that fits its padded input, got a kernel that spans {spans} over {padded} "
                f"(input {x.shape}): make the kernel smaller, the padding larger or the image larger"
            )


def check_pool_windows(what: str, x: Tensor, kernel: Pair, stride: Pair, padding: Padding, ceil_mode: bool) -> None:
    """Raise ValueError if a pooling window does not fit, or lies wholly in the padding."""
    check_windows(what, x, kernel, stride, padding, ceil_mode=ceil_mode)
    if kernel[0] * kernel[1] >= 2**31:  # max pooling numbers the cells of a window
        raise ValueError(f"{what}: expected a kernel of less than 2**31 cells, got {kernel}")
    for size, K, s, p in zip(x.shape[1:3], kernel, stride, padding, strict=True):
        last = (output_size(size, K, s, p, 1, ceil_mode) - 1) * s - p[0]
        if p[0] >= K or last >= size:
            raise ValueError(
                f"{what}: with kernel {kernel}, stride {stride} and padding {padding} a window over {x.shape} "
                "lies wholly in the padding: make the padding smaller than the kernel"
            )
