"""What all pictures share: an empty figure, axes without a frame, the way into a PNG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
