"""What the optimizers' steps share: they work in place, in one pass over their arrays."""

from collections.abc import Callable
from typing import Any

from . import _jit
from ._arrays import flat

Array = Any


def in_place(step: Callable[..., None], written: tuple[Array, ...], dw: Array, *settings: Any) -> None:
    """Run a step on flat arrays; an array that is not dense is copied, and written back."""
    rows = [array.reshape(-1) for array in written]
    step(*rows, flat(dw), *settings, _jit.threads_for(dw.size))
    for array, row in zip(written, rows, strict=True):
        if not array.flags.c_contiguous:
            array[...] = row.reshape(array.shape)
