"""Pictures of a training: its curves, its confusions, its filters, its worst mistakes.

Each function returns a matplotlib Figure, and writes it as a PNG if it is given a path. Figures are made with
matplotlib's object interface and drawn by Agg: no window, no global state, safe in threads and servers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .figure import INK, PathLike, new_figure, over_epochs, plain_axes, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any

TRAINING, VALIDATION = "#1f6fb4", "#d9622b"
WRONG, RIGHT = "#b3261e", "#2e7d32"

MAX_FILTERS, MAX_CHANNELS = 64, 16  # a picture of more tiles than this cannot be read
MAX_NUMBERED_CLASSES = 30


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
                label = f"{name}, {'training' if key == 'accuracy' else 'test'} {errors[-1]:.1%}"
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


def confusion_heatmap(matrix: Array, names: Sequence[str] | None = None, path: PathLike | None = None) -> Figure:
    """A confusion matrix: one row for each true class, one column for each predicted class.

    matrix: (K, K) counts, matrix[true, predicted].
    names: K class names; None numbers them.

    A cell's colour is its share of its row, on a square-root scale so that rare mistakes can be seen.
    Raises ValueError for another shape, negative counts, or a number of names that is not K.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0 or (counts < 0).any():
        raise ValueError(f"confusion_heatmap expected a matrix (K, K) of counts >= 0, got shape {counts.shape}")
    K = len(counts)
    labels = _class_names(names, K, "confusion_heatmap")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(2.2 + 0.62 * K, 16)
    figure = new_figure(side + 0.9, side)
    from matplotlib.colors import PowerNorm  # here, where new_figure has found matplotlib

    axes = figure.add_subplot()
    picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    total, right = counts.sum(), np.trace(counts)
    plain_axes(axes, f"{right:,} of {total:,} right ({right / max(total, 1):.2%})")
    if K <= MAX_NUMBERED_CLASSES:
        _write_counts(axes, counts, share)
    axes.set_xticks(range(K), labels, rotation=45 if max(map(len, labels)) > 3 else 0, rotation_mode="anchor")
    for tick in axes.get_xticklabels():
        tick.set_horizontalalignment("right" if max(map(len, labels)) > 3 else "center")
    axes.set_yticks(range(K), labels)
    axes.tick_params(length=0, labelsize=9 if K <= MAX_NUMBERED_CLASSES else 6)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1%", "10%", "25%", "50%", "100%"])
    bar.set_label("share of the true class", color=INK)
    bar.outline.set_visible(False)
    return save_figure(figure, path)


def _write_counts(axes: Axes, counts: Array, share: Array) -> None:
    """The count in each cell that is not 0, white on dark."""
    longest = len(f"{counts.max():,}")
    for i, j in np.argwhere(counts):
        axes.text(
            j,
            i,
            f"{counts[i, j]:,}",
            ha="center",
            va="center",
            fontsize=9 if longest <= 5 else 7,
            color="white" if share[i, j] > 0.35 else INK,
        )


def filter_grid(weights: Array, path: PathLike | None = None) -> Figure:
    """The kernels of a convolution as little pictures.

    weights: (KH, KW, C, O). With C = 1 there is one tile for each of the O filters; with C = 3 each filter is one
        tile in colour, grey being 0; else a column for each filter and a row for each input channel.

    Blue is negative, red is positive, white is 0, on one scale for all tiles. Of a large layer the first 64
    filters and 16 channels are shown, and the title says so. Raises ValueError for another number of axes.
    """
    w = np.asarray(weights)
    if w.ndim != 4 or w.size == 0:
        raise ValueError(f"filter_grid expected weights (KH, KW, C, O), got shape {w.shape}")
    KH, KW, C, O = w.shape
    shown = w[:, :, : C if C == 3 else MAX_CHANNELS, :MAX_FILTERS].astype(np.float64)
    limit = float(np.nanmax(np.abs(shown))) or 1.0
    title = f"{O} filters of {KH} x {KW} x {C}"
    if O > MAX_FILTERS:
        title += f", the first {MAX_FILTERS}"
    if shown.shape[2] < C:
        title += f", channels 0 to {MAX_CHANNELS - 1}"
    if C in (1, 3):
        filters = shown.transpose(3, 0, 1, 2)  # (KH, KW, C, O) -> (O, KH, KW, C)
        return _draw_tiles(_near_square(filters), limit, title, channels_down=False, path=path)
    tiles = shown.transpose(2, 3, 0, 1)[..., None]  # (KH, KW, C, O) -> (C, O, KH, KW, 1)
    return _draw_tiles(tiles, limit, title, channels_down=True, path=path)


def _near_square(filters: Array) -> Array:
    """(O, KH, KW, C) -> (rows, columns, KH, KW, C), filled up with NaN."""
    O = len(filters)
    columns = math.ceil(math.sqrt(O))
    rows = math.ceil(O / columns)
    tiles = np.full((rows * columns, *filters.shape[1:]), np.nan)
    tiles[:O] = filters
    return tiles.reshape(rows, columns, *filters.shape[1:])


def _draw_tiles(tiles: Array, limit: float, title: str, channels_down: bool, path: PathLike | None) -> Figure:
    """One image of all tiles, one pixel apart."""
    rows, columns, KH, KW, C = tiles.shape
    sheet = np.full((rows * (KH + 1) + 1, columns * (KW + 1) + 1, C), np.nan)
    for i in range(rows):
        for j in range(columns):
            sheet[i * (KH + 1) + 1 :, j * (KW + 1) + 1 :][:KH, :KW] = tiles[i, j]
    scale = min(max(0.55, 3.2 / columns), 12 / columns, 12 / rows)
    figure = new_figure(columns * scale + 1.5, rows * scale + 1.1)
    axes = figure.add_subplot()
    if C == 3:
        # Colours run from -limit to limit; the space between tiles is white.
        axes.imshow(np.nan_to_num(sheet / (2 * limit) + 0.5, nan=1.0), interpolation="nearest")
    else:
        picture = axes.imshow(sheet[..., 0], cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set_facecolor("#c8c8c8")
        bar = figure.colorbar(picture, ax=axes, shrink=0.9, pad=0.02)
        bar.outline.set_visible(False)
    plain_axes(axes, title)
    axes.set_xticks([])
    axes.set_yticks([])
    if channels_down:
        every = max(1, columns // 16)
        named = range(0, columns, every)
        axes.set_xticks([j * (KW + 1) + (KW + 1) / 2 for j in named], [str(j) for j in named])
        axes.set_yticks([i * (KH + 1) + (KH + 1) / 2 for i in range(rows)], [str(i) for i in range(rows)])
        axes.tick_params(length=0, labelsize=8)
        axes.set_xlabel("filter", color=INK)
        axes.set_ylabel("input channel", color=INK)
    return save_figure(figure, path)


def worst_mistakes(
    images: Array,
    labels: Array,
    outputs: Array,
    names: Sequence[str] | None = None,
    path: PathLike | None = None,
    count: int = 25,
) -> Figure:
    """The wrong predictions with the highest loss, the worst first.

    images: (N, H, W, C) with C 1 or 3, or (N, H, W). labels: (N,) whole numbers. outputs: (N, K) logits.
    names: K class names; None numbers them. count: how many at most.

    Above each image stands in red what the network said, with its probability, and in green what it is.
    Raises ValueError for shapes that do not fit.
    """
    images, labels, logits = np.asarray(images), np.asarray(labels), np.asarray(outputs, dtype=np.float64)
    images = images[..., None] if images.ndim == 3 else images
    _check_predictions(images, labels, logits, count)
    N, K = logits.shape
    class_names = _class_names(names, K, "worst_mistakes")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    predicted = logits.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(log_p[wrong, labels[wrong]], kind="stable")][:count]
    columns = max(min(5, len(worst)), 1)
    rows = max(math.ceil(len(worst) / columns), 1)
    figure = new_figure(max(1.75 * columns, 3.6), 2.2 * rows + 0.5)
    title = f"{len(wrong):,} of {N:,} wrong" + (f", the worst {len(worst)}" if len(worst) < len(wrong) else "")
    figure.suptitle(title, fontsize=12, color=INK)
    if not len(worst):
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No mistakes.", ha="center", va="center", fontsize=14, color=RIGHT)
    for position, n in enumerate(worst):
        axes = figure.add_subplot(rows, columns, position + 1)
        _show_image(axes, images[n])
        said = f"{class_names[predicted[n]]} {np.exp(log_p[n, predicted[n]]):.0%}"
        _caption(axes, said, f"is {class_names[labels[n]]}")
    return save_figure(figure, path)


def _check_predictions(images: Array, labels: Array, logits: Array, count: int) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or images.ndim != 4 or len(images) != len(logits):
        raise ValueError(
            f"worst_mistakes expected images (N, H, W, C), labels (N,) and outputs (N, K) of one N, "
            f"got {images.shape}, {labels.shape} and {logits.shape}"
        )
    K = logits.shape[1]
    if labels.dtype.kind not in "iu" or (labels.size and not 0 <= labels.min() <= labels.max() < K):
        raise ValueError(f"worst_mistakes expected labels of whole numbers from 0 to {K - 1}, got {labels!r:.80}")
    if count < 1:
        raise ValueError(f"worst_mistakes expected count >= 1, got {count}")


def _caption(axes: Axes, said: str, truth: str) -> None:
    """Two lines above an image, small enough that long names do not run into the neighbour's."""
    longest = max(len(said), len(truth))
    size = 9 if longest <= 20 else 7 if longest <= 26 else 5
    axes.set_title(f"{said}\n", fontsize=size, color=WRONG, pad=3)
    axes.text(0.5, 1.03, truth, transform=axes.transAxes, ha="center", fontsize=size, color=RIGHT)


def _show_image(axes: Axes, image: Array) -> None:
    """One (H, W, C) image, black background first, without ticks."""
    limits = (0, 255) if image.dtype == np.uint8 else (min(image.min(), 0), max(image.max(), 1))
    scaled = (image.astype(np.float64) - limits[0]) / (limits[1] - limits[0])
    axes.imshow(scaled if image.shape[2] == 3 else scaled[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def _class_names(names: Sequence[str] | None, K: int, what: str) -> list[str]:
    given = [str(k) for k in range(K)] if names is None else [str(name) for name in names]
    if len(given) != K:
        raise ValueError(f"{what} expected {K} class names, got {len(given)}")
    return given
