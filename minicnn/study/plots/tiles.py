"""Many small images on one sheet: the filters of a convolution, and feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...nn import Module
from ..figure import INK, PathLike, new_figure, plain, plain_axes, save_figure, show_image, tile_sheet
from ..steps import Run, Step, run_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any

MAX_TILES = 256  # a picture of more tiles than this cannot be read
MAX_FILTERS, MAX_CHANNELS = 64, 16  # likewise, where each filter has a tile for each channel
MAX_LAYERS = 18
RIGHT, TOP = 0.8, 0.4  # inches beside and above feature maps
TILE, GAP = 0.55, 0.1  # inches: a feature map, and between two layers
WIDEST = 3  # times as wide as high a grid of filters is at most


def filter_grid(weights: Array, path: PathLike | None = None, columns: int | None = None) -> Figure:
    """The kernels of a convolution as little pictures.

    weights: (KH, KW, C, O). With C = 1 there is one tile for each of the O filters; with C = 3 each filter is one
        tile in colour, grey being 0; else a column for each filter and a row for each input channel.
    columns: of a grid of one tile for each filter; None takes the widest grid without gaps that is at most three times
        as wide as high, 16 for AlexNet's 96 filters as in figure 3 of its paper, and else a square.

    Blue is negative, red is positive, white is 0, on one scale for all tiles. Of a large layer the first 256 filters
    are shown, or 64 filters and 16 channels, and the title says so. Raises ValueError for another number of axes.
    """
    w = np.asarray(weights)
    if w.ndim != 4 or w.size == 0:
        raise ValueError(f"filter_grid expected weights (KH, KW, C, O), got shape {w.shape}")
    KH, KW, C, O = w.shape
    most = MAX_TILES if C in (1, 3) else MAX_FILTERS
    shown = w[:, :, : C if C == 3 else MAX_CHANNELS, :most].astype(np.float64)
    limit = float(np.nanmax(np.abs(shown))) or 1.0
    title = f"{O} filters of {KH} x {KW} x {C}"
    if most < O:
        title += f", the first {most}"
    if shown.shape[2] < C:
        title += f", channels 0 to {MAX_CHANNELS - 1}"
    if C in (1, 3):
        filters = shown.transpose(3, 0, 1, 2)  # (KH, KW, C, O) -> (O, KH, KW, C)
        return _draw_tiles(_in_rows(filters, columns), limit, title, channels_down=False, path=path)
    tiles = shown.transpose(2, 3, 0, 1)[..., None]  # (KH, KW, C, O) -> (C, O, KH, KW, 1)
    return _draw_tiles(tiles, limit, title, channels_down=True, path=path)


def _in_rows(filters: Array, columns: int | None) -> Array:
    """(O, KH, KW, C) -> (rows, columns, KH, KW, C), filled up with NaN."""
    O = len(filters)
    if columns is None:
        full = [n for n in range(1, O + 1) if O % n == 0 and O <= n * n <= WIDEST * O]
        columns = max(full, default=math.ceil(math.sqrt(O)))
    elif columns < 1:
        raise ValueError(f"filter_grid expected columns >= 1, got {columns}")
    rows = math.ceil(O / columns)
    tiles = np.full((rows * columns, *filters.shape[1:]), np.nan)
    tiles[:O] = filters
    return tiles.reshape(rows, columns, *filters.shape[1:])


def _draw_tiles(tiles: Array, limit: float, title: str, channels_down: bool, path: PathLike | None) -> Figure:
    """One image of all tiles, one pixel apart."""
    rows, columns, KH, KW, C = tiles.shape
    sheet = tile_sheet(tiles)
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


def feature_maps(
    model: Module,
    image: Array,
    path: PathLike | None = None,
    layers: Sequence[str] | None = None,
    channels: int = 16,
) -> Figure:
    """What each layer makes of an image: a row for each, the image in the first.

    image: (H, W, C), floats as the model takes them or uint8. channels: how many maps of a layer at most, the first.
    layers: names of steps or Modules that make maps of more than one pixel; None takes all, or where there are more
        than 18, as many evenly spread ones, and the title says so.

    In each row black is the smallest and white the largest value of the maps shown, written at its right.
    Runs in evaluation mode; the model is left as it was. Raises ValueError for an unknown layer, one without maps, and
    a model without any.
    """
    if np.ndim(image) != 3 or channels < 1:
        raise ValueError(
            f"feature_maps expected one image (H, W, C) and channels >= 1, got {np.shape(image)} and {channels}"
        )
    run = run_steps(model, image, "feature_maps")
    chosen, every = _layers_with_maps(run, layers)
    rows = [("image", run.images.numpy()[0]), *((step.name, step.output.numpy()[0]) for step in chosen)]
    most = min(channels, max(maps.shape[2] for _, maps in rows))
    left = 0.3 + 0.065 * max(len(line) for row in rows for line in _label(*row).split("\n"))
    width, height = left + most * TILE + RIGHT, len(rows) * (TILE + GAP) + TOP
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    title = f"{len(chosen)} of {every} layers" if len(chosen) < every else f"{every} layers"
    figure.suptitle(title, fontsize=11, color=INK, y=1 - TOP / 2 / height, va="center")
    for i, (name, maps) in enumerate(rows):
        bottom = height - TOP - i * (TILE + GAP) - TILE
        axes = figure.add_axes((left / width, bottom / height, most * TILE / width, TILE / height))
        _draw_maps(axes, name, maps, most)
    return save_figure(figure, path)


def _layers_with_maps(run: Run, layers: Sequence[str] | None) -> tuple[list[Step], int]:
    """The steps to show, and of how many."""
    if layers is None:
        steps = [step for step in run.steps if step.is_image and step.output.requires_grad]
        if not steps:
            raise ValueError("feature_maps expected a model with maps of more than one pixel, this one makes none")
        places = np.linspace(0, len(steps) - 1, min(MAX_LAYERS, len(steps))).round().astype(int)
        return [steps[i] for i in places], len(steps)
    steps = [run.find(layer, "feature_maps") for layer in layers]
    for step in steps:
        if not step.is_image:
            raise ValueError(f"feature_maps expected layers with maps of more than one pixel, {step.name} makes "
                             f"{step.output.shape}: name one before it")  # fmt: skip
    return steps, len(steps)


def _draw_maps(axes: Axes, name: str, maps: Array, most: int) -> None:
    """One row: an image in colour, or the first `most` of the maps (H, W, C), on one scale; beside it what it is."""
    H, W, C = maps.shape
    if name == "image" and C == 3:
        show_image(axes, maps)
        low, high = float(maps.min()), float(maps.max())
    else:
        shown = maps[..., :most].astype(np.float64)
        low, high = float(shown.min()), float(shown.max())
        # Enlarged to about one size, so that the line between two maps is about as thin in each row.
        scale = math.ceil(48 / max(H, W))
        tiles = shown.transpose(2, 0, 1).repeat(scale, axis=1).repeat(scale, axis=2)  # (H, W, C) -> (C, H, W)
        axes.imshow(tile_sheet(tiles[np.newaxis, ..., np.newaxis])[..., 0], cmap="gray", vmin=low, vmax=high,
                    interpolation="nearest")  # fmt: skip
        axes.set_axis_off()
    axes.set_anchor("W")
    for side, ha, text in ((0, "right", _label(name, maps)), (1, "left", f"{low:.3g} to\n{high:.3g}")):
        axes.annotate(text, (side, 0.5), (7 if side else -7, 0), "axes fraction", "offset points", ha=ha, va="center",
                      fontsize=7, color=INK)  # fmt: skip


def _label(name: str, maps: Array) -> str:
    H, W, C = maps.shape
    return f"{plain(name)}\n{H} x {W} x {C}"
