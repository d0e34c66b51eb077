"""The curve of a learning-rate finder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..figure import FAINT, INK, PathLike, new_figure, plain_axes, save_figure
from .curves import TRAINING, VALIDATION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...train import LearningRateCurve


def learning_rate_curve(curve: LearningRateCurve, path: PathLike | None = None) -> Figure:
    """The loss over the learning rate: of the batches pale, smoothed bold; its least value and the suggestion marked.

    curve: what `train.find_learning_rate` returned. path: where the PNG goes; None writes nothing.

    The learning rates lie on a logarithmic scale. In the manner of figure 3 of Smith 2017, "Cyclical learning rates
    for training neural networks", which shows accuracy over the rate.
    """
    figure = new_figure(6.4, 4)
    axes = figure.add_subplot()
    plain_axes(axes, "Loss while the learning rate rises")
    axes.plot(curve.lrs, curve.losses, color=TRAINING, alpha=0.25, linewidth=1, label="of each batch")
    axes.plot(curve.lrs, curve.smoothed, color=TRAINING, linewidth=2.2, label="smoothed")
    least = curve.lrs[curve.least]
    axes.plot(least, curve.smoothed[curve.least], "o", markersize=10, markerfacecolor="none", markeredgecolor=INK,
              linestyle="none", label=f"least at {least:.2g}")  # fmt: skip
    axes.axvline(curve.suggestion, color=VALIDATION, linestyle="--", label=f"suggestion {curve.suggestion:.2g}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate", color=INK)
    # One batch after the divergence may be higher than all that is to be seen.
    low, high = min(curve.losses), max(curve.smoothed)
    margin = 0.08 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.legend(frameon=False, fontsize=9, loc="best")
    return save_figure(figure, path)
