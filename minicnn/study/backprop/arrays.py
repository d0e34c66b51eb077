"""The arrays of a document: the small ones whole, of large ones some channels; and figures about all their numbers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from .recording import RecordedTensor

Array = Any

NUMBERS = 1_400_000  # of values and gradients together in a document; each takes 5.3 characters
BINS = 32  # of a histogram


def level(tensors: Sequence[RecordedTensor], numbers: int) -> int:
    """The largest number of numbers per tensor with which all together stay below `numbers`.

    Tensors of at most as many are kept whole, of larger ones as many: the small ones leave room to the large.
    """
    sizes = [t.value.size * (1 if t.gradient is None else 2) for t in tensors]
    left, few = numbers, 0
    for place, size in enumerate(sorted(sizes)):
        few = left // (len(sizes) - place)
        if size > few:
            return few
        left -= size
    return max([few, *sizes])


def stored(t: RecordedTensor, few: int) -> dict[str, Any]:
    """An entry of the document's "tensors"; see `document.document`."""
    kept = kept_channels(t, few)
    return {
        "id": t.id,
        "name": t.name,
        "role": t.role,
        "shape": list(t.value.shape),
        "dtype": str(t.value.dtype),
        "value": _store(t.value, kept),
        "gradient": None if t.gradient is None else _store(t.gradient, kept),
    }


def kept_channels(t: RecordedTensor, few: int) -> list[int] | None:
    """The channels that are kept of a tensor, evenly over all of them; None for the whole tensor."""
    each = 1 if t.gradient is None else 2
    if t.value.size * each <= few or t.value.ndim == 0:
        return None
    C = t.value.shape[-1]
    count = max(1, few // (each * t.value.size // C))
    return [i * C // count for i in range(count)]


def _store(array: Array, kept: list[int] | None) -> dict[str, Any]:
    """The numbers of an array, and what is to be said about all of them."""
    finite = array[np.isfinite(array)].astype(np.float64)
    counts, edges = np.histogram(finite, BINS) if finite.size else ((), ())
    part = array if kept is None else array[..., kept]
    store = {
        "range": [float(finite.min()), float(finite.max())] if finite.size else None,
        "mean": float(finite.mean()) if finite.size else None,
        "zeros": float((array == 0).mean()) if array.size else 0.0,
        "nonfinite": int(array.size - finite.size),
        "histogram": {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts]} if finite.size else None,
        "whole": kept is None,
        "data": base64.b64encode(np.ascontiguousarray(part, "<f4").tobytes()).decode(),
    }
    return store if kept is None else {**store, "kept": {"axis": array.ndim - 1, "indices": kept}}
