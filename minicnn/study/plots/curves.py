"""Curves over the epochs of a training, and the norms of its gradients over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..figure import INK, PathLike, new_figure, over_epochs, plain, plain_axes, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING, VALIDATION = "#1f6fb4", "#d9622b"


def learning_curves(history: Mapping[str, Sequence[float]], path: PathLike | None = None) -> Figure:
    """Loss and accuracy over the epochs, training beside validation, the best validation epoch marked.

    history: lists of one number an epoch under "loss", "accuracy", "val_loss" and "val_accuracy"; what is
        missing is left out. Accuracies are fractions from 0 to 1. Other keys are ignored.
    path: where the PNG goes; None writes nothing.

    Raises ValueError if none of the four is there, or if a curve and its validation differ in length.
    """
    panels = [name for name in ("loss", "accuracy") if history.get(name) or history.get(f"val_{name}")]
    if not panels:
        raise ValueError(
            f'learning_curves expected a history with "loss" or "accuracy", got {sorted(history) or "an empty one"}'
        )
    figure = new_figure(5.2 * len(panels), 3.8)
    for i, name in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        plain_axes(axes, name.capitalize())
        _curves(axes, name, history.get(name) or [], history.get(f"val_{name}") or [])
    return save_figure(figure, path)


def _curves(axes: Axes, name: str, training: Sequence[float], validation: Sequence[float]) -> None:
    """One panel: the two curves, and a ring with its value at the best validation epoch."""
    from matplotlib.ticker import PercentFormatter

    if training and validation and len(training) != len(validation):
        raise ValueError(
            f"learning_curves expected as many epochs of {name} as of val_{name}, "
            f"got {len(training)} and {len(validation)}"
        )
    for values, label, colour in ((training, "training", TRAINING), (validation, "validation", VALIDATION)):
        if values:
            marker = "o" if len(values) <= 25 else ""
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, marker=marker, markersize=4, color=colour, label=label + _best(name, values))
    if validation and np.isfinite(validation).any():
        best = _best_epoch(name, validation)
        axes.plot(best, validation[best - 1], "o", markersize=10, markerfacecolor="none", markeredgecolor=VALIDATION)
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(y=0.12)
    over_epochs(axes)
    axes.legend(frameon=False, fontsize=9, loc="upper right" if name == "loss" else "lower right")


def error_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], path: PathLike | None = None) -> Figure:
    """The errors of several networks over the epochs: of training thin and broken, of the test bold.

    histories: for each network's name its history, with "accuracy" and, if there was a validation, "val_accuracy";
        they may differ in length.
    path: where the PNG goes; None writes nothing.

    In the manner of figure 6 of the ResNet paper (He et al. 2016). Raises ValueError where there is no accuracy.
    """
    if not histories or not all(history.get("accuracy") for history in histories.values()):
        raise ValueError(f'error_curves expected histories with "accuracy", got {sorted(histories) or "none"}')
    figure = new_figure(7.2, 4.4)
    from matplotlib.ticker import PercentFormatter  # here, where new_figure has found matplotlib

    axes = figure.add_subplot()
    plain_axes(axes, "Error: training broken, test bold")
    for place, (name, history) in enumerate(histories.items()):
        for key, style, width in (("accuracy", "--", 1.0), ("val_accuracy", "-", 2.2)):
            values = history.get(key) or []
            if np.isfinite(values).any():
                errors = 1 - np.asarray(values, dtype=float)
                label = f"{plain(name)}, {'training' if key == 'accuracy' else 'test'} {errors[-1]:.1%}"
                axes.plot(range(1, len(errors) + 1), errors, style, linewidth=width, color=f"C{place}", label=label)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(bottom=0)
    over_epochs(axes)
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    return save_figure(figure, path)


def _best_epoch(name: str, values: Sequence[float]) -> int:
    """The epoch, counted from 1, of the lowest loss or the highest accuracy; NaN is never best."""
    return 1 + int(np.nanargmin(values) if name == "loss" else np.nanargmax(values))


def _best(name: str, values: Sequence[float]) -> str:
    """What the legend says of a curve's best epoch."""
    if not np.isfinite(values).any():
        return ""
    epoch = _best_epoch(name, values)
    value = values[epoch - 1]
    return f", best {value:.4f} in epoch {epoch}" if name == "loss" else f", best {value:.2%} in epoch {epoch}"


def gradient_norms(norms: Mapping[str, Sequence[float]], path: PathLike | None = None) -> Figure:
    """How long the gradient of each layer was at each step: a row for each layer, the first on top, a column a step.

    norms: `by_layer` of a `GradientNorms`: for each layer a list of one number a step, >= 0.
    path: where the PNG goes; None writes nothing.

    The scale is logarithmic; what is 0 or was not there is left white. A column that fades towards the top is a
    gradient that vanishes on its way back. Raises ValueError for lists of different lengths, and where nothing is in.
    """
    rows = np.array([len(row) for row in norms.values()])
    if not len(rows) or len(set(rows)) != 1 or not rows[0]:
        raise ValueError(
            f"gradient_norms expected for each layer as many numbers, at least one, got {dict(zip(norms, rows))}"  # noqa: B905
        )
    values = np.array(list(norms.values()), dtype=float)
    shown = np.where(values > 0, values, np.nan)
    if not np.isfinite(shown).any():
        raise ValueError("gradient_norms expected at least one norm above 0, got none")
    height = min(1.6 + 0.24 * len(norms), 14)
    figure = new_figure(8.4, height)
    from matplotlib.colors import LogNorm  # here, where new_figure has found matplotlib
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot()
    steps = values.shape[1]
    picture = axes.imshow(shown, aspect="auto", cmap="viridis", norm=LogNorm(np.nanmin(shown), np.nanmax(shown)),
                          interpolation="nearest", extent=(0.5, steps + 0.5, len(norms) - 0.5, -0.5))  # fmt: skip
    plain_axes(axes, "Norm of the gradient, layer by layer")
    every = -(-len(norms) // 44)  # as many names as can be read
    axes.set_yticks(range(0, len(norms), every), [plain(name) for name in norms][::every])
    axes.tick_params(length=0)
    axes.tick_params("y", labelsize=9 if len(norms) <= 20 else 6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlabel("step", color=INK)
    bar = figure.colorbar(picture, ax=axes, pad=0.02, shrink=min(1.0, 4 / height), anchor=(0, 1))
    bar.outline.set_visible(False)
    return save_figure(figure, path)
