"""What one unit of a layer sees of the image: by the windows before it, and by the gradient that reaches the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...nn import Module
from .. import receptive_field
from ..figure import INK, PathLike, new_figure, plain, save_figure, show_image
from ..steps import Run, Step, run_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any
MAX_FIELDS = 10


@dataclass(frozen=True)
class _Seen:
    """Of the unit in the middle of a layer, or at the position asked for: the rows and columns that it sees."""

    name: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    rule: str  # its size and jump on an image without borders


def receptive_fields(
    model: Module,
    image: Array,
    layer: str | None = None,
    position: tuple[int, int] | None = None,
    path: PathLike | None = None,
) -> Figure:
    """The receptive fields of all layers up to one, drawn on the image; beside them how much each pixel really matters.

    image: (H, W, C), floats as the model takes them or uint8.
    layer: a step or Module that makes maps of more than one pixel; None takes the last one.
    position: row and column of the unit in that layer; None is the middle. Of the layers before, the middle is shown.

    Left: the frame of each layer by `receptive_field.receptive_fields`, computed from the windows that the run has
    recorded; in the legend its size and how far neighbours are apart, on an image without borders. Right: the
    gradient of the unit's channels in the pixels by `receptive_field.effective_field`, at this image,
    brightness by its square root.

    Raises ValueError for an unknown layer, one without maps, a position outside them, and where the layer depends on a
    Function of the user's own: which cells that reads is not known.
    """
    if np.ndim(image) != 3:
        raise ValueError(f"receptive_fields expected one image (H, W, C), got shape {np.shape(image)}")
    run = run_steps(model, image, "receptive_fields")
    fields = receptive_field.receptive_fields(run)
    step = _asked(run, fields, layer)
    position = _position(step, position)
    nested = _nested(run, fields, step, position)
    figure = new_figure(11, 5)
    from matplotlib.colors import PowerNorm  # here, where new_figure has found matplotlib

    figure.suptitle(f"{plain(step.name)}, unit {position[0]}, {position[1]}", fontsize=11, color=INK)
    grid = figure.add_gridspec(1, 3, width_ratios=[1, 0.45, 1])
    axes = figure.add_subplot(grid[0])
    show_image(axes, run.images.numpy()[0])
    axes.set_title("Sees, by its windows", fontsize=10, color=INK)
    colours = _draw_frames(axes, nested)
    _draw_legend(figure.add_subplot(grid[1]), nested, colours)
    axes = figure.add_subplot(grid[2])
    heat = receptive_field.effective_field(run, step, position)
    axes.imshow(heat, cmap="inferno", norm=PowerNorm(0.5, vmin=0), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title("Weighs, by its gradient", fontsize=10, color=INK)
    _draw_frames(axes, nested[-1:])
    return save_figure(figure, path)


def _asked(run: Run, fields: dict[str, receptive_field.Field], layer: str | None) -> Step:
    if layer is None:
        known = [step for step in run.steps if step.is_image and step.name in fields]
        if not known:
            raise ValueError("receptive_fields found no layer with maps of more than one pixel whose windows are known")
        return known[-1]
    step = run.find(layer, "receptive_fields")
    if not step.is_image:
        raise ValueError(f"receptive_fields expected a layer with maps of more than one pixel, {step.name} makes "
                         f"{step.output.shape}: name one before it")  # fmt: skip
    if step.name not in fields:
        raise ValueError(
            f"receptive_fields does not know which cells {step.name} reads: on the way from the image is a Function "
            "that is not minicnn's; name a layer before it"
        )
    return step


def _position(step: Step, position: tuple[int, int] | None) -> tuple[int, int]:
    OH, OW = step.output.shape[1:3]
    if position is None:
        return OH // 2, OW // 2
    i, j = position
    if not (0 <= i < OH and 0 <= j < OW):
        raise ValueError(f"receptive_fields expected a position inside {OH} x {OW}, got {position}")
    return i, j


def _nested(run: Run, fields: dict[str, receptive_field.Field], asked: Step, position: tuple[int, int]) -> list[_Seen]:
    """The layers up to the one asked for where a unit begins to see more, at most MAX_FIELDS of them."""
    found: list[_Seen] = []
    for step in run.steps[: run.steps.index(asked) + 1]:
        if step.is_image and step.name in fields:
            place = position if step is asked else _position(step, None)
            seen = _seen(step.name, fields[step.name], place)
            if found and step is not asked and _extent(seen) <= _extent(found[-1]):
                continue
            if found and step is asked and (seen.rows, seen.columns) == (found[-1].rows, found[-1].columns):
                found.pop()
            found.append(seen)
    places = np.linspace(0, len(found) - 1, min(MAX_FIELDS, len(found))).round().astype(int)
    return [found[i] for i in places]


def _seen(name: str, field: receptive_field.Field, place: tuple[int, int]) -> _Seen:
    rows, columns = ((int(axis.first[i]), int(axis.last[i])) for axis, i in zip(field, place, strict=True))
    if field[0].rule is None or field[1].rule is None:
        return _Seen(name, rows, columns, f"{rows[1] - rows[0] + 1} x {columns[1] - columns[0] + 1} here")
    (_, down, H), (_, across, W) = field[0].rule, field[1].rule
    return _Seen(name, rows, columns, f"{H} x {W}, {down if down == across else f'{down} and {across}'} apart")


def _extent(seen: _Seen) -> int:
    return (seen.rows[1] - seen.rows[0] + 1) * (seen.columns[1] - seen.columns[0] + 1)


def _draw_frames(axes: Axes, nested: list[_Seen]) -> list[Any]:
    """A frame around what each sees; the colours from small to large."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    colours = [colormaps["rainbow"](x) for x in np.linspace(0, 1, len(nested))] if len(nested) > 1 else ["#ff3030"]
    for seen, colour in zip(nested, colours, strict=True):
        (top, bottom), (left, right) = seen.rows, seen.columns
        if top <= bottom and left <= right:  # else it sees padding alone
            axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False,
                                     edgecolor=colour, linewidth=1.6, clip_on=False))  # fmt: skip
    return colours


def _draw_legend(axes: Axes, nested: list[_Seen], colours: list[Any]) -> None:
    """For each layer its size and its jump."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(MAX_FIELDS - 0.3, -0.7)
    for i, (seen, colour) in enumerate(zip(nested, colours, strict=True)):
        axes.plot([0.02, 0.1], [i, i], color=colour, linewidth=3)
        axes.text(0.14, i - 0.16, plain(seen.name), fontsize=8 if len(seen.name) <= 26 else 6, va="center", color=INK)
        axes.text(0.14, i + 0.22, seen.rule, fontsize=7, va="center", color=INK)
