"""Where each operation of a computation graph stands in its picture: levels from the input down to the loss.

A Diagram says what is joined to what; `place` gives it coordinates. Values flow down along its arrows, gradients up.
Parameters and constants are written into the box of the operation that reads them: as boxes of their own they would
hide the shape of the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ...graph import Graph
from ...graph.network import INPUT

# In pixels of the drawing.
BOX_WIDTH, LINE, PADDING = 196.0, 17.0, 9.0
SIDE_GAP, LEVEL_GAP, MARGIN = 26.0, 58.0, 16.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Leaf:
    """A Parameter, buffer or constant that an operation reads. name: the last part of the dotted one."""

    tensor: int | str
    name: str
    shape: tuple[int, ...]
    learned: bool


@dataclass(frozen=True)
class Box:
    """An operation, or the tensor at either end of the graph.

    key: of the operation or tensor in what was drawn. kind: "operation", "input" or "result".
    """

    key: int | str
    kind: str
    title: str
    module: str = ""
    leaves: tuple[Leaf, ...] = ()

    @property
    def height(self) -> float:
        """Of the box: a line each for title, module and leaves."""
        lines = 1 + bool(self.module) + len(self.leaves)
        return 2 * PADDING + LINE * lines


@dataclass(frozen=True)
class Arrow:
    """A tensor on its way from the box that made it to one that reads it; boxes by their place in the list."""

    source: int
    target: int
    tensor: int | str
    shape: tuple[int, ...]


@dataclass
class Diagram:
    """Boxes, each after those that it reads, and the arrows between them."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)

    def join(self, makers: Mapping[Any, int], tensor: int | str, shape: tuple[int, ...]) -> None:
        """An arrow for `tensor` into the box that was added last."""
        self.arrows.append(Arrow(makers[tensor], len(self.boxes) - 1, tensor, shape))


@dataclass(frozen=True)
class Drawing:
    """A Diagram with coordinates: the middle of each box's upper edge, and the points through which each arrow runs."""

    diagram: Diagram
    places: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


def diagram_of_document(document: dict[str, Any]) -> Diagram:
    """The Diagram of a recorded pass, from the input to the loss; keys are the ids of nodes and tensors."""
    tensors = {tensor["id"]: tensor for tensor in document["tensors"]}
    diagram, makers = Diagram(), dict[int, int]()
    for tensor in document["tensors"]:
        if tensor["role"] == "input":
            makers[tensor["id"]] = len(diagram.boxes)
            diagram.boxes.append(Box(tensor["id"], "input", tensor["name"]))
    for node in document["nodes"]:
        leaves = [tensors[i] for i in dict.fromkeys(node["inputs"]) if i not in makers]
        shown = tuple(
            Leaf(t["id"], t["name"].rpartition(".")[2], tuple(t["shape"]), t["role"] == "parameter") for t in leaves
        )
        diagram.boxes.append(Box(node["id"], "operation", node["operation"], node["module"], shown))
        for i in dict.fromkeys(node["inputs"]):
            if i in makers:
                diagram.join(makers, i, tuple(tensors[i]["shape"]))
        makers[node["output"]] = len(diagram.boxes) - 1
    read = {i for node in document["nodes"] for i in node["inputs"]}
    for i in [node["output"] for node in document["nodes"] if node["output"] not in read]:
        diagram.boxes.append(Box(i, "result", tensors[i]["name"]))
        diagram.join(makers, i, tuple(tensors[i]["shape"]))
    return diagram


def diagram_of_graph(graph: Graph) -> Diagram:
    """The Diagram of a model's operations, from the input to the logits; keys are the names in the Graph."""
    shapes, values = graph.shapes(), graph.values()
    learned = {name for name, _ in graph.named_parameters()}
    diagram, makers = Diagram([Box(INPUT, "input", "input")]), {INPUT: 0}
    for node in graph.nodes:
        reads = tuple(dict.fromkeys(node.inputs))
        leaves = tuple(
            Leaf(name, name.rpartition(".")[2], tuple(values[name].shape), name in learned)
            for name in reads
            if name in values
        )
        diagram.boxes.append(Box(node.output, "operation", node.operation.name, node.module, leaves))
        for name in reads:
            if name in makers:
                diagram.join(makers, name, shapes[name])
        makers[node.output] = len(diagram.boxes) - 1
    diagram.boxes.append(Box(graph.output, "result", "result"))
    diagram.join(makers, graph.output, shapes[graph.output])
    return diagram


def place(diagram: Diagram) -> Drawing:
    """Coordinates for a Diagram: igraph's layered layout decides who stands beside whom, so that few arrows cross.

    An arrow that passes over levels gets a point in each, as if a box as narrow as nothing stood there; so it runs
    between the boxes, not across them.
    Source: Sugiyama, Tagawa, Toda 1981, "Methods for visual understanding of hierarchical system structures".
    """
    try:
        from igraph import Graph as LayeredGraph
    except ImportError as error:
        raise ImportError('the picture of a graph needs igraph: pip install "minicnn[study]"') from error
    levels = _levels(diagram)
    paths = _paths(diagram, levels)
    edges = [pair for path in paths for pair in pairwise(path)]
    layered = LayeredGraph(n=len(levels), edges=edges, directed=True)
    columns = [x for x, _ in layered.layout_sugiyama(layers=levels, hgap=BOX_WIDTH + SIDE_GAP).coords]
    left = min(columns)
    columns = [MARGIN + BOX_WIDTH / 2 + x - left for x in columns]
    tops, bottoms = _rows(diagram, levels)
    places = [(columns[i], tops[levels[i]]) for i in range(len(diagram.boxes))]
    routes = [_route(diagram, path, columns, levels, tops, bottoms) for path in paths]
    return Drawing(diagram, places, routes, max(columns) + BOX_WIDTH / 2 + MARGIN, bottoms[-1] + MARGIN)


def _levels(diagram: Diagram) -> list[int]:
    """The level of each box: below everything that it reads. What does not come from an input (the mask of a weight,
    say) stands just above its first reader."""
    levels = [0] * len(diagram.boxes)
    from_input = [box.kind == "input" for box in diagram.boxes]
    readers: list[list[int]] = [[] for _ in diagram.boxes]
    for arrow in diagram.arrows:  # in the order of their targets, so a source's level is settled before it is read
        levels[arrow.target] = max(levels[arrow.target], levels[arrow.source] + 1)
        from_input[arrow.target] |= from_input[arrow.source]
        readers[arrow.source].append(arrow.target)
    for i in reversed(range(len(levels))):
        if readers[i] and not from_input[i]:
            levels[i] = min(levels[j] for j in readers[i]) - 1
    return levels


def _paths(diagram: Diagram, levels: list[int]) -> list[list[int]]:
    """For each arrow the vertices through which it runs, one a level; those in between are added to `levels`."""
    paths = []
    for arrow in diagram.arrows:
        between = range(levels[arrow.source] + 1, levels[arrow.target])
        paths.append([arrow.source, *range(len(levels), len(levels) + len(between)), arrow.target])
        levels.extend(between)
    return paths


def _rows(diagram: Diagram, levels: list[int]) -> tuple[list[float], list[float]]:
    """The upper and lower edge of each level, as high as its highest box."""
    heights = [0.0] * (max(levels) + 1)
    for box, level in zip(diagram.boxes, levels, strict=False):
        heights[level] = max(heights[level], box.height)
    tops, bottoms, y = [], [], MARGIN
    for height in heights:
        tops.append(y)
        bottoms.append(y + height)
        y += height + LEVEL_GAP
    return tops, bottoms


def _route(
    diagram: Diagram, path: list[int], columns: list[float], levels: list[int], tops: list[float], bottoms: list[float]
) -> list[Point]:
    """The points of an arrow: from the lower edge of its source, straight through each level, to its target."""
    source, *between, target = path
    points = [(columns[source], tops[levels[source]] + diagram.boxes[source].height)]
    for i in between:
        points += [(columns[i], tops[levels[i]]), (columns[i], bottoms[levels[i]])]
    return [*points, (columns[target], tops[levels[target]])]
