"""Our arrays as PyTorch's tensors in either of its memory layouts, and back.

layout: "nchw", PyTorch's default, or "nhwc", which it calls channels_last.
"""

from __future__ import annotations

from typing import Any

import torch

Array = Any
Tensor = torch.Tensor


def as_image(x: Tensor, layout: str) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W), in memory as the layout says."""
    return _stored(x.permute(0, 3, 1, 2), layout)


def as_weight(w: Tensor, layout: str) -> Tensor:
    """(KH, KW, C, O) -> (O, C, KH, KW), in memory as the layout says."""
    return _stored(w.permute(3, 2, 0, 1), layout)


def _stored(t: Tensor, layout: str) -> Tensor:
    return t.contiguous(memory_format=torch.contiguous_format if layout == "nchw" else torch.channels_last)


def from_image(t: Tensor) -> Array:
    """(N, C, H, W) -> (N, H, W, C), a NumPy array."""
    return plain(t.permute(0, 2, 3, 1))


def plain(t: Tensor) -> Array:
    """The same values as a NumPy array."""
    return t.detach().cpu().numpy()


def empty_image(shape: tuple[int, ...], layout: str, like: Tensor) -> Tensor:
    """Some backward operators read the shape of x through x itself, and nothing of its values."""
    return as_image(like.new_zeros(shape), layout)


def symmetric(padding: Any) -> list[int]:
    """((top, bottom), (left, right)) -> [top, left], or ValueError where that is not the whole of it."""
    (top, bottom), (left, right) = padding
    if top != bottom or left != right:
        raise ValueError(f"PyTorch's operators pad both sides alike, got {padding}: choose another shape")
    return [top, left]
