"""The filters that people designed: what identity, edge detectors, sharpening and blur make of a photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import functional as F
from ..._function import no_grad
from ..._tensor import Tensor
from ..figure import INK, PathLike, new_figure, save_figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any

# The filters of the lectures, (3, 3), with what they are divided by.
CLASSICAL: dict[str, tuple[list[list[int]], int]] = {
    "Identity": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
    "Edges: corners": ([[1, 0, -1], [0, 0, 0], [-1, 0, 1]], 1),
    "Edges: 4 neighbours": ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1),
    "Edges: 8 neighbours": ([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], 1),
    "Sharpen": ([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], 1),
    "Box blur": ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], 9),
    "Gaussian blur": ([[1, 2, 1], [2, 4, 2], [1, 2, 1]], 16),
}


def filtered(photo: Array, name: str) -> Array:
    """A photo (H, W, C) after the classical filter of that name, each channel by itself, 0 around it: `F.conv2d`.

    The blurs and the Laplacians (4 and 8 neighbours) are explained in Gonzalez and Woods, "Digital Image Processing",
    chapter 3; the first of the edge detectors is the mixed second derivative, which answers to corners.
    """
    kernel, divisor = CLASSICAL[name]
    x = np.ascontiguousarray(photo, np.float32)[np.newaxis]
    C = x.shape[3]
    w = np.tile((np.array(kernel, np.float32) / divisor)[:, :, np.newaxis, np.newaxis], (1, 1, 1, C))
    with no_grad():
        return F.conv2d(Tensor(x), Tensor(w), padding="same", groups=C).numpy()[0]


def classical_filters(photo: Array, path: PathLike | None = None) -> Figure:
    """A photo after seven filters: identity, three that find edges, sharpening, box and Gaussian blur, numbers below.

    photo: (H, W, C), C 1 or 3, uint8 or floats from 0 to 1. What leaves 0 to 1 is cut off, as image programs do.
    The filters are those that people designed; the first layer of a trained network has learned such ones.
    """
    image = np.asarray(photo)
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.size == 0:
        raise ValueError(f"classical_filters expected a photo (H, W, C) with C 1 or 3, got shape {image.shape}")
    image = image / np.float32(255) if image.dtype == np.uint8 else image
    H, W, _ = image.shape
    figure = new_figure(11, 2 * (2.6 * H / W + 0.95))
    for place, name in enumerate(CLASSICAL):
        axes = figure.add_subplot(2, 4, place + 1)
        show_image(axes, filtered(image, name).clip(0, 1))
        axes.set_title(name, fontsize=10, color=INK)
        axes.text(0.5, -0.03, _written(name), transform=axes.transAxes, ha="center", va="top", fontsize=8, color=INK,
                  family="monospace")  # fmt: skip
    return save_figure(figure, path)


def _written(name: str) -> str:
    """The numbers of a classical filter in three lines."""
    kernel, divisor = CLASSICAL[name]
    width = max(len(str(n)) for row in kernel for n in row)
    lines = [" ".join(f"{n:{width}}" for n in row) for row in kernel]
    return "\n".join(lines) + (f"\n/ {divisor}" if divisor > 1 else "\n")
