"""The graph's layout and its SVG: levels, arrows, shapes, and no name that could break out of it."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import minicnn as mc
from minicnn import kernels, models, nn
from minicnn.graph import trace

pytest.importorskip("igraph")
from minicnn.study.backprop.layout import BOX_WIDTH, Arrow, Box, Diagram, diagram_of_graph, place

SVG = "{http://www.w3.org/2000/svg}"
TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture(autouse=True)
def reference():
    with kernels.use("reference"):
        yield


def words_of(root):
    """The texts in the picture, with the letter x for the times sign."""
    return [t.text.replace(TIMES, "x") for t in root.iter(f"{SVG}text")]


def drawing_of(model, shape=None):
    return place(diagram_of_graph(trace(model, shape)))


@pytest.mark.parametrize("name", ["lenet5", "lenet5:1998", "resnet20"])
def test_each_arrow_goes_down_and_no_two_boxes_touch(name):
    drawing = drawing_of(models.build(name))
    boxes, places = drawing.diagram.boxes, drawing.places
    for arrow, route in zip(drawing.diagram.arrows, drawing.routes, strict=True):
        x, y = places[arrow.source]
        assert route[0] == (x, y + boxes[arrow.source].height)
        assert route[-1] == places[arrow.target]
        assert [y for _, y in route] == sorted(y for _, y in route)
    for i, (x, y) in enumerate(places):
        assert BOX_WIDTH / 2 <= x <= drawing.width - BOX_WIDTH / 2
        assert 0 <= y <= drawing.height - boxes[i].height
        for j, (u, v) in enumerate(places[:i]):
            apart = abs(x - u) >= BOX_WIDTH or y + boxes[i].height <= v or v + boxes[j].height <= y
            assert apart, (boxes[i], boxes[j])


def test_an_arrow_over_levels_passes_between_the_boxes():
    drawing = drawing_of(models.build("resnet20"))
    for arrow, route in zip(drawing.diagram.arrows, drawing.routes, strict=True):
        for x, y in route[1:-1]:
            for k, (u, v) in enumerate(drawing.places):
                inside = abs(x - u) < BOX_WIDTH / 2 and v < y < v + drawing.diagram.boxes[k].height
                assert not inside, (arrow, drawing.diagram.boxes[k])


def test_what_reads_no_input_stands_just_above_its_reader():
    """x -> a -> b -> c, and the mask m, from constants alone, into c."""
    boxes = [Box("x", "input", "x"), *(Box(name, "operation", name) for name in "abmc")]
    drawing = place(Diagram(boxes, [Arrow(0, 1, 0, ()), Arrow(1, 2, 1, ()), Arrow(3, 4, 3, ()), Arrow(2, 4, 2, ())]))
    y = dict(zip("xabmc", (y for _, y in drawing.places), strict=True))
    assert y["x"] < y["a"] < y["b"] == y["m"] < y["c"]


def test_a_chain_of_two_thousand_operations_is_drawn():
    boxes = [Box(0, "input", "x"), *(Box(i, "operation", "ReLU") for i in range(1, 2000))]
    drawing = place(Diagram(boxes, [Arrow(i, i + 1, i, (1,)) for i in range(1999)]))
    assert len({x for x, _ in drawing.places}) == 1


def test_the_svg_stands_alone_and_names_operations_and_shapes(tmp_path):
    text = mc.study.graph_svg(models.lenet5(), tmp_path / "lenet5.svg")
    assert (tmp_path / "lenet5.svg").read_text() == text
    root = ElementTree.fromstring(text)
    words = words_of(root)
    assert words.count("Conv2d") == 2
    assert words.count("Linear") == 3
    for shape in ("1x28x28x1", "1x28x28x6", "1x14x14x6", "1x10x10x16", "1x5x5x16", "1x400", "1x10", "5x5x6x16"):
        assert shape in words
    assert root.get("aria-label") == "Computation graph of Sequential: 8 operations"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


class Branching(nn.Module):
    """A model of the user's own, with Functions called in its forward."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        left, right = x * self.scale, x.exp()
        return (left + right).reshape(1, -1)


def test_any_module_is_drawn_and_left_as_it_was():
    model = Branching().train()
    root = ElementTree.fromstring(mc.study.graph_svg(model, input_shape=(2, 2, 3)))
    words = words_of(root)
    assert {"Multiply", "Exp", "Add", "Reshape", "scale", "1x2x2x3", "1x12"} <= set(words)
    assert model.training
    assert len(list(root.iter(f"{SVG}path"))) == 4 * 6  # two lines and two heads for each of six arrows


def test_names_cannot_break_out_of_the_svg():
    name = "</text><script>alert(1)</script>"
    root = ElementTree.fromstring(mc.study.graph_svg(nn.Sequential({name: nn.ReLU()}), input_shape=(2, 2, 1)))
    assert not list(root.iter(f"{SVG}script"))
    assert name in [t.text for t in root.iter(f"{SVG}title")][1]


def test_faults_are_one_sentence(tmp_path):
    with pytest.raises(TypeError, match="expected a Module, got int"):
        mc.study.graph_svg(3)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mc.study.graph_svg(models.lenet5(), tmp_path / "nowhere" / "a.svg")
