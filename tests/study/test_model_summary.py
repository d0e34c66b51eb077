"""The summary: rows as data, the table as text, what a run leaves behind, what it refuses."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import models, nn


class Branches(nn.Module):
    """Two blocks around a shared layer, a Parameter of its own, and a layer that nobody calls."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.block = nn.Sequential({"first": self.shared, "relu": nn.ReLU()})
        self.unused = nn.Linear(3, 4)
        self.scale = nn.Parameter(np.ones(2, np.float32))

    def forward(self, x):
        return self.shared(self.block(x)) * self.scale


def test_rows_of_lenet_are_the_published_numbers():
    s = mc.summary(models.lenet5(), (28, 28, 1))
    assert [row.name for row in s.rows] == [name for name, _ in models.lenet5().named_children()]
    assert [row.parameters for row in s.rows] == [156, 0, 2_416, 0, 0, 48_120, 10_164, 850]
    assert [row.multiply_adds for row in s.rows] == [117_600, 0, 240_000, 0, 0, 48_000, 10_080, 840]
    assert [row.output_shape for row in s.rows][:2] == [(28, 28, 6), (14, 14, 6)]
    assert (s.parameters, s.trainable, s.frozen, s.buffers) == (61_706, 61_706, 0, 0)
    assert s.multiply_adds == 416_520
    assert s.parameter_bytes == 4 * 61_706
    # Flatten looks into the memory that is there already.
    assert s.activation_bytes == 4 * (28 * 28 * 6 + 14 * 14 * 6 + 10 * 10 * 16 + 5 * 5 * 16 + 120 + 84 + 10)


def test_totals_of_the_other_models():
    digits = mc.summary(models.digit_cnn(), (28, 28, 1))
    assert (digits.parameters, digits.multiply_adds) == (1_199_882, 11_992_448)
    paper = mc.summary(models.lenet5("1998"), (28, 28, 1))
    assert (paper.trainable, paper.buffers) == (60_000, 840)
    assert "buffers        840" in str(paper)


@pytest.mark.parametrize("name", ["lenet5", "lenet5:1998", "lenet1", "digit_cnn"])
def test_table_fits_80_columns_and_says_the_totals(name):
    s = mc.summary(models.build(name))
    lines = str(s).split("\n")
    assert max(map(len, lines)) <= 80
    assert repr(s) == str(s)
    assert lines[0] == "input 28x28x1"
    for row in s.rows:
        (line,) = [line for line in lines if line.split()[:1] == [row.name] and row.kind in line]
        if row.parameters:
            assert f" {row.parameters:,} " in line
    assert f"parameters     {s.parameters:,} ({s.trainable:,} trainable, 0 not trainable)" in lines
    assert f"multiply-adds  {s.multiply_adds:,} for one sample" in lines


def test_sizes_are_written_with_three_digits():
    text = str(mc.summary(models.digit_cnn(), (28, 28, 1)))
    assert "1.25 KB" in text  # 320 float32
    assert "4.58 MB of weights" in text
    assert "512 B" in text


def test_nested_modules_are_indented_outer_ones_first():
    model = nn.Sequential(
        {
            "a": nn.Sequential({"x": nn.Linear(4, 3), "y": nn.Sequential(nn.Linear(3, 3), nn.Tanh())}),
            "b": nn.Linear(3, 2),
        }
    )
    s = mc.summary(model, (4,))
    assert [(row.depth, row.name) for row in s.rows] == [
        (0, "a"), (1, "a.x"), (1, "a.y"), (2, "a.y.0"), (2, "a.y.1"), (0, "b"),
    ]  # fmt: skip
    lines = str(s).split("\n")
    assert any(line.startswith("    0") for line in lines)
    assert [row.parameters for row in s.rows] == [0, 15, 0, 12, 0, 8]
    assert s.activation_bytes == 4 * (3 + 3 + 3 + 2)  # the containers' outputs are those of their last layers


def test_shared_and_uncalled_modules_are_counted_once():
    model = Branches()
    s = mc.summary(model, (5, 6, 2))
    assert [(row.name, row.kind, row.depth) for row in s.rows] == [
        ("", "Branches", 0),
        ("block", "Sequential", 1),
        ("shared", "Conv2d", 2),
        ("block.relu", "ReLU", 2),
        ("shared", "Conv2d", 1),
        ("unused", "Linear", 0),
    ]
    assert [row.parameters for row in s.rows] == [2, 0, 36, 0, 0, 16]
    assert s.parameters == sum(p.size for p in model.parameters()) == sum(row.parameters for row in s.rows)
    assert [row.again for row in s.rows] == [False, False, False, False, True, False]
    assert s.multiply_adds == 2 * 5 * 6 * 2 * 9 * 2  # it works twice
    assert s.rows[-1].output_shape is None
    assert "not called" in str(s)
    assert "Conv2d again" in str(s)


def test_a_single_layer_is_its_own_row():
    s = mc.summary(nn.Linear(4, 2), (4,))
    assert [(row.kind, row.output_shape, row.parameters) for row in s.rows] == [("Linear", (2,), 10)]
    assert "Linear" in str(s)


def test_frozen_parameters_are_not_trainable():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    for parameter in model[0].parameters():
        parameter.requires_grad = False
    s = mc.summary(model, (4,))
    assert (s.trainable, s.frozen, s.parameters) == (8, 15, 23)
    assert "23 (8 trainable, 15 not trainable)" in str(s)


def test_lazy_layers_learn_their_sizes():
    model = nn.Sequential(nn.Conv2d(None, 4, 3), nn.Flatten(), nn.Linear(None, 5))
    weight = model[2].weight
    s = mc.summary(model, (6, 6, 2))
    assert [row.parameters for row in s.rows] == [76, 0, 325]
    assert model[2].weight is weight
    assert weight.is_filled


def test_nothing_is_left_changed():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    model[1].eval()
    before, modes = model.state_dict(), [module.training for module in model.modules()]
    mc.summary(model, (4,))
    assert [module.training for module in model.modules()] == modes == [True, True, False, True, True]
    after = model.state_dict()
    assert all((before[name] == after[name]).all() for name in before)
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError, match="refused"):
        mc.summary(model, (5,))
    assert [module.training for module in model.modules()] == modes
    assert model(mc.tensor(np.ones((2, 4), np.float32))).requires_grad  # recording is on again
    assert not nn.module._observers


def test_a_float64_model_is_shown_in_float64():
    s = mc.summary(nn.Linear(4, 2).to(dtype="float64"), (4,))
    assert (s.parameter_bytes, s.activation_bytes) == (80, 16)


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (36, 36, 1), [28, 28, 3]])
def test_a_shape_that_the_model_refuses_is_named(shape):
    with pytest.raises(ValueError, match=r"the model refused one sample of shape \(\d+, .*expected"):
        mc.summary(models.lenet5(), shape)


def test_without_a_shape_it_is_the_models_own():
    assert str(mc.summary(models.lenet1())) == str(mc.summary(models.lenet1(), (28, 28, 1)))
    with pytest.raises(ValueError, match=r"expected the shape of one sample, like summary\(model"):
        mc.summary(nn.Flatten())


@pytest.mark.parametrize("shape", [28, (), (28, 28, 0), (28, -1, 1), (28.0, 28, 1), "28", (True, 2)])
def test_what_is_no_shape(shape):
    with pytest.raises(ValueError, match=r"like \(28, 28, 1\)"):
        mc.summary(models.lenet5(), shape)


def test_the_batch_axis_is_not_part_of_the_shape():
    with pytest.raises(ValueError, match="leave out the axis N"):
        mc.summary(models.lenet5(), (1, 28, 28, 1))


def test_what_is_no_module():
    with pytest.raises(TypeError, match="expected a Module, got function"):
        mc.summary(models.lenet5, (28, 28, 1))


def test_a_module_that_returns_several_things_was_called():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            return self.layer(x), x

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, x):
            return self.two(x)[0]

    assert "not called" not in str(mc.summary(Outer(), (4,)))
