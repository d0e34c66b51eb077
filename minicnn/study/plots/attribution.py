"""The pixels that decide, drawn: the saliency map and Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...nn import Module
from .. import attribution
from ..figure import INK, PathLike, class_names, new_figure, plain, save_figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any


def saliency(
    model: Module,
    image: Array,
    label: int | None = None,
    names: Sequence[str] | None = None,
    path: PathLike | None = None,
) -> Figure:
    """An image, and beside it how much each pixel moves the score of a class; see `attribution.saliency`.

    label: None is the class that the model says. names: those of the classes; None numbers them.
    Brightness goes by the square root, since a few pixels often outshine all others; the bar says the numbers.
    """
    found = attribution.saliency(model, image, label)
    figure = _image_and_class(found, names, "saliency")
    from matplotlib.colors import PowerNorm  # here, where new_figure has found matplotlib

    axes = figure.add_subplot(1, 2, 2)
    drawn = axes.imshow(found.map, cmap="inferno", norm=PowerNorm(0.5, vmin=0), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title("Saliency: max over channels\nof |d score / d pixel|", fontsize=9, color=INK)
    _add_bar(figure, axes, drawn)
    return save_figure(figure, path)


def grad_cam(
    model: Module,
    image: Array,
    label: int | None = None,
    layer: str | None = None,
    names: Sequence[str] | None = None,
    path: PathLike | None = None,
) -> Figure:
    """An image, and over it where a layer's maps speak for a class; see `attribution.grad_cam`.

    label, layer: None is the class that the model says, and the last convolution. names: as in `saliency`.
    The map has the layer's few cells; it is drawn over the whole image and smoothed in between.
    """
    found = attribution.grad_cam(model, image, label, layer)
    figure = _image_and_class(found, names, "grad_cam")
    H, W, _ = found.image.shape
    axes = figure.add_subplot(1, 2, 2)
    show_image(axes, found.image.mean(axis=2, keepdims=True))
    top = float(found.map.max()) or 1.0
    drawn = axes.imshow(found.map, cmap="inferno", vmin=0, vmax=top, alpha=0.6, interpolation="bilinear",
                        extent=(-0.5, W - 0.5, H - 0.5, -0.5))  # fmt: skip
    h, w = found.map.shape
    axes.set_title(f"Grad-CAM: {plain(found.layer)}, {h} x {w}", fontsize=9, color=INK)
    _add_bar(figure, axes, drawn)
    return save_figure(figure, path)


def _image_and_class(found: attribution.Attribution, names: Sequence[str] | None, what: str) -> Figure:
    """A figure with the image at the left, the class and its probability above it."""
    name = class_names(names, len(found.probabilities), what)[found.label]
    H, W, _ = found.image.shape
    figure = new_figure(7.6, 3.3 * min(max(H / W, 0.5), 2) + 0.5)
    axes = figure.add_subplot(1, 2, 1)
    show_image(axes, found.image)
    axes.set_title(f"{name}\nprobability {found.probabilities[found.label]:.1%}", fontsize=9, color=INK)
    return figure


def _add_bar(figure: Figure, axes: Any, drawn: Any) -> None:
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=INK)
