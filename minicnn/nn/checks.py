"""What the layers ask of their constructor's arguments: a wrong one is an error there, not at the first call."""

import math
import numbers
from typing import Any

from ..ops.checks import Pair, is_whole, pair


def positive(value: Any, layer: str, name: str) -> int:
    """A whole number >= 1."""
    if not is_whole(value):
        raise TypeError(f"{layer} expected {name} to be a whole number >= 1, got {value!r}")
    if not 1 <= value < 2**31:
        raise ValueError(f"{layer} expected {name} to be a whole number >= 1, got {value!r}")
    return int(value)


def positive_or_none(value: Any, layer: str, name: str) -> int | None:
    """A whole number >= 1, or None for what the first call will tell."""
    return None if value is None else positive(value, layer, name)


def image_shape(value: tuple[Any, ...], layer: str) -> tuple[int, int, int]:
    """(H, W, C): three whole numbers >= 1."""
    if len(value) != 3:
        raise ValueError(f"{layer} expected the shape (H, W, C) of an image, got {value!r}")
    H, W, C = (positive(n, layer, name) for n, name in zip(value, "HWC", strict=True))
    return H, W, C


def real(value: Any, layer: str, name: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{layer} expected {name} to be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{layer} expected {name} to be finite, got {value!r}")
    return float(value)


def flag(value: Any, layer: str, name: str) -> bool:
    """True or False and nothing else: a misplaced number must not pass for one."""
    if not isinstance(value, bool):
        raise TypeError(f"{layer} expected {name} to be True or False, got {value!r}")
    return value


def padding(value: Any, layer: str) -> Pair | str:
    """A whole number >= 0, a pair of them, "same" or "valid"; what it means for an image is settled at the call."""
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise ValueError(f'{layer} expected padding to be a number, a pair, "same" or "valid", got {value!r}')
        return value
    return pair(value, f"{layer}: padding", minimum=0)
