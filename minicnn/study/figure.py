"""What all pictures share: an empty figure, axes without a frame, images, sheets of tiles, the way into a PNG."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any
PathLike = str | os.PathLike[str]

INK, FAINT = "#222222", "#d9d9d9"


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, in inches; 150 dots to the inch."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('the pictures need matplotlib: pip install "minicnn[plots]"') from error
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    return figure


def plain_axes(axes: Axes, title: str) -> None:
    """A title, and no frame."""
    axes.set_title(title, fontsize=11, color=INK, pad=10)
    axes.tick_params(colors=INK, labelsize=9)
    for side in axes.spines:
        axes.spines[side].set_visible(False)


def over_epochs(axes: Axes) -> None:
    """Whole epochs from left to right, and faint lines to read the values by."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=INK)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)


def show_image(axes: Axes, image: Array) -> None:
    """One (H, W, C) image, C 1 or 3, without ticks: 0 black and 1 white (uint8: 255), or further where it goes beyond.

    An image of another number of channels is shown as the mean over them.
    """
    image = np.asarray(image)
    limits = (0, 255) if image.dtype == np.uint8 else (min(image.min(), 0), max(image.max(), 1))
    scaled = (image.astype(np.float64) - limits[0]) / (limits[1] - limits[0])
    scaled = scaled if scaled.shape[2] == 3 else scaled.mean(axis=2)
    axes.imshow(scaled, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def tile_sheet(tiles: Array) -> Array:
    """Tiles (rows, columns, KH, KW, C) beside each other, one cell of NaN around each: one image (H, W, C)."""
    rows, columns, KH, KW, C = tiles.shape
    sheet = np.full((rows * (KH + 1) + 1, columns * (KW + 1) + 1, C), np.nan)
    for i in range(rows):
        for j in range(columns):
            sheet[i * (KH + 1) + 1 :, j * (KW + 1) + 1 :][:KH, :KW] = tiles[i, j]
    return sheet


def plain(text: str) -> str:
    """A name as it is: what stands between two dollar signs matplotlib would take for a formula."""
    return text.replace("$", r"\$")


def class_names(names: Sequence[str] | None, K: int, what: str) -> list[str]:
    """The names of K classes, by default their numbers. what: the caller, whom the ValueError for another K names."""
    given = [str(k) for k in range(K)] if names is None else [plain(str(name)) for name in names]
    if len(given) != K:
        raise ValueError(f"{what} expected {K} class names, got {len(given)}")
    return given


def save_figure(figure: Figure, path: PathLike | None) -> Figure:
    """Write the PNG beside its place and rename it, so that no crash leaves half of one."""
    if path is not None:
        target = Path(path)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            figure.savefig(unfinished, format="png")
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
    return figure
