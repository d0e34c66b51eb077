"""What a classifier got right and wrong: its confusions, and its worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figure import INK, PathLike, class_names, new_figure, plain_axes, save_figure, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any

WRONG, RIGHT = "#b3261e", "#2e7d32"
MAX_NUMBERED_CLASSES = 30


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
    labels = class_names(names, K, "confusion_heatmap")
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
    named = class_names(names, K, "worst_mistakes")
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
        show_image(axes, images[n])
        said = f"{named[predicted[n]]} {np.exp(log_p[n, predicted[n]]):.0%}"
        _caption(axes, said, f"is {named[labels[n]]}")
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
