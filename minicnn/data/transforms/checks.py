"""What every transform asks of its arguments, each answered with a sentence."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import numpy as np

Range = float | tuple[float, float]

FILLS = ("nearest", "constant", "reflect")


def checked_number(who: str, name: str, value: float, low: float, high: float) -> float:
    """A finite number from low to high."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{who} expected {name} to be a number, got {value!r}")
    if not low <= value <= high or not math.isfinite(value):
        bounds = f"from {low:g} to {high:g}" if high < math.inf else "to be finite"
        raise ValueError(f"{who} expected {name} {bounds}, got {value!r}")
    return float(value)


def checked_range(who: str, name: str, value: Range, middle: float, low: float, high: float) -> tuple[float, float]:
    """(low, high) as given, or of a number a: (middle - a, middle + a)."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"{who} expected {name} to be a number or a pair (low, high), got {value!r}")
        first, last = (checked_number(who, name, v, low, high) for v in value)
        if first > last:
            raise ValueError(f"{who} expected {name} as (low, high) with low <= high, got {value!r}")
        return first, last
    reach = checked_number(who, name, value, 0, high - middle)
    return max(low, middle - reach), middle + reach


def checked_probability(who: str, value: float) -> float:
    return checked_number(who, "p, a probability,", value, 0, 1)


def checked_size(who: str, name: str, size: int | Sequence[int], low: int = 1) -> tuple[int, int]:
    """(height, width) in pixels; one number stands for both."""
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size) if isinstance(size, list | tuple) else ()
    if len(pair) != 2 or not all(isinstance(s, int | np.integer) and not isinstance(s, bool) for s in pair):
        raise TypeError(f"{who} expected {name} to be a whole number or a pair of them, got {size!r}")
    if min(pair) < low or max(pair) > 2**15:
        raise ValueError(f"{who} expected {name} from {low} to {2**15} pixels, got {size!r}")
    return int(pair[0]), int(pair[1])


def checked_fill(who: str, fill: str) -> str:
    if fill not in FILLS:
        raise ValueError(f"{who} expected fill to be one of {', '.join(FILLS)}, got {fill!r}")
    return fill


def checked_value(who: str, value: float, dtype: np.dtype) -> float:
    """What is put into images of this dtype."""
    if dtype == np.uint8 and not (0 <= value <= 255 and value == int(value)):
        raise ValueError(f"{who} got images of uint8 and value={value!r}: expected a whole number from 0 to 255")
    return value


def check_room(who: str, size: tuple[int, int], images: np.ndarray) -> None:
    """Raise where a crop is larger than the images that it is cut from."""
    H, W = images.shape[1:3]
    if size[0] > H or size[1] > W:
        raise ValueError(
            f"{who} cannot cut {size[0]} x {size[1]} pixels out of images of {H} x {W}; use a smaller size, or Resize "
            "before it"
        )


def check_colours(who: str, images: np.ndarray) -> None:
    """Raise unless the images have the three channels red, green and blue."""
    if images.shape[3] != 3:
        raise ValueError(f"{who} expected images with 3 channels (last axis: red, green, blue), got {images.shape}")
