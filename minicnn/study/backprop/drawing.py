"""A computation graph as SVG: what a browser, or any program that shows pictures, draws without help."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from ..._files import PathLike, write_whole
from ...graph import trace
from ...nn import Module
from .layout import BOX_WIDTH, LINE, PADDING, Box, Drawing, Leaf, Point, diagram_of_graph, place

WEB = Path(__file__).with_name("web")  # styles, scripts and template

TITLE_LETTERS, MODULE_LETTERS = 22, 26  # that fit into a box
INSIDE = BOX_WIDTH / 2 - 12  # from the middle of a box to where its text ends
TIMES = "\N{MULTIPLICATION SIGN}"
BESIDE = 9.0  # from a value's line to its gradient's


def graph_svg(model: Module, path: PathLike | None = None, input_shape: Sequence[int] | None = None) -> str:
    """The operations that a model computes, in levels, with the shapes on the arrows: an SVG of its own.

    model: any Module that `graph.trace` can record, in the mode of evaluation; it is left as it was.
    path: where the file goes; None writes nothing.
    input_shape: of one sample, without the axis N; None for the model's own.

    Returns the text of the file. It needs no other file and no program, and follows the reader's choice of dark or
    light. Names are escaped. Raises as `trace` does, OSError where the file cannot be written, and ImportError without
    igraph.
    """
    drawing = place(diagram_of_graph(trace(model, input_shape)))
    operations = sum(box.kind == "operation" for box in drawing.diagram.boxes)
    label = f"Computation graph of {type(model).__name__}: {operations} operations"
    style = "".join((WEB / name).read_text(encoding="utf-8") for name in ("colours.css", "graph.css"))
    text = svg(drawing, label, 'xmlns="http://www.w3.org/2000/svg" role="img" class="graph alone"', style)
    if path is not None:
        write_whole(path, text.encode(), "the picture of the graph")
    return text


def svg(drawing: Drawing, label: str, attributes: str, style: str = "") -> str:
    """The <svg> element of a Drawing. label: for who cannot see it. attributes: more of the element, as they stand.

    For a script boxes bear the key of what they show as data-key; arrows that of their tensor as data-tensor, and that
    of the operation that reads it as data-reader.
    """
    width, height = drawing.width, drawing.height
    arrows = [_arrow(drawing, i) for i in range(len(drawing.routes))]
    boxes = [_box(box, at) for box, at in zip(drawing.diagram.boxes, drawing.places, strict=True)]
    return "\n".join(
        [
            f'<svg {attributes} width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
            f'aria-label="{escape(label)}">',
            *([f"<style>{style}</style>"] if style else []),
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def _box(box: Box, at: Point) -> str:
    """An operation's box, its parameters in lines of their own; or the pill at either end."""
    title = _text("title", -INSIDE, 0, _short(box.title, TITLE_LETTERS))
    lines = [title] if box.kind == "operation" else [_text("title", 0, 0, _short(box.title, TITLE_LETTERS))]
    if box.module:
        lines.append(_text("module", -INSIDE, 1, _short(box.module, MODULE_LETTERS)))
    lines += [_leaf(leaf, len(lines) + i) for i, leaf in enumerate(box.leaves)]
    round_corner = 8 if box.kind == "operation" else box.height / 2
    full = f"{box.title} {box.module}".strip()
    return (
        f'<g class="box {box.kind}" data-key="{escape(str(box.key))}" transform="translate({at[0]:g} {at[1]:g})">'
        f"<title>{escape(full)}</title>"
        f'<rect class="plate" x="{-BOX_WIDTH / 2:g}" width="{BOX_WIDTH:g}" height="{box.height:g}" '
        f'rx="{round_corner:g}"/>{"".join(lines)}</g>'
    )


def _leaf(leaf: Leaf, line: int) -> str:
    """A line with a leaf's name and shape; what is learned has a dot, which shows whether its gradient has come."""
    y = PADDING + LINE * (line + 0.5)
    dot = f'<circle class="dot" cx="{-INSIDE + 4:g}" cy="{y:g}" r="3.5"/>' if leaf.learned else ""
    name = _text("name", -INSIDE + 13, line, _short(leaf.name, 13))
    shape = _text("shape", INSIDE, line, shape_text(leaf.shape))
    return f'<g class="leaf" data-tensor="{escape(str(leaf.tensor))}">{dot}{name}{shape}</g>'


def _arrow(drawing: Drawing, number: int) -> str:
    """A tensor's way down, its gradient's way up beside it, and its shape."""
    arrow, route = drawing.diagram.arrows[number], drawing.routes[number]
    target = drawing.diagram.boxes[arrow.target]
    reader = str(target.key) if target.kind == "operation" else ""
    (x, y), (x_end, y_end) = route[0], route[-1]
    beside = [(x + BESIDE, y) for x, y in route]
    return (
        f'<g class="arrow" data-tensor="{escape(str(arrow.tensor))}" data-reader="{escape(reader)}">'
        f'<path class="value" d="{_curve(route)}"/>'
        f'<path class="value head" d="M{x_end:g} {y_end:g}l-4 -8h8z"/>'
        f'<path class="gradient" d="{_curve(beside)}"/>'
        f'<path class="gradient head" d="M{x + BESIDE:g} {y:g}l-4 8h8z"/>'
        f"{_label(route, shape_text(arrow.shape))}</g>"
    )


def _label(route: list[Point], text: str) -> str:
    """A shape beside the middle of an arrow's first stretch, on the side to which it bends."""
    (x, y), (x_next, y_next) = route[:2]
    bends_left = x_next < x
    beside = -8 if bends_left else BESIDE + 7
    return (
        f'<text class="shape{" left" * bends_left}" x="{(x + x_next) / 2 + beside:g}" y="{(y + y_next) / 2:g}">'
        f"{text}</text>"
    )


def _curve(route: list[Point]) -> str:
    """A path through the points that leaves and reaches each of them vertically."""
    steps = [f"M{route[0][0]:g} {route[0][1]:g}"]
    for (x, y), (x_next, y_next) in pairwise(route):
        half = (y + y_next) / 2
        straight = x == x_next
        steps.append(f"V{y_next:g}" if straight else f"C{x:g} {half:g} {x_next:g} {half:g} {x_next:g} {y_next:g}")
    return "".join(steps)


def _text(kind: str, x: float, line: int, text: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{PADDING + LINE * (line + 0.5):g}">{escape(text)}</text>'


def _short(text: str, letters: int) -> str:
    """The end of a text that is too long: in a dotted name that is what tells."""
    return text if len(text) <= letters else "…" + text[1 - letters :]


def shape_text(shape: Sequence[int]) -> str:
    """A shape as it is written on an arrow: 1, 28, 28 and 6 with times signs in between."""
    return TIMES.join(map(str, shape)) if shape else "one number"
