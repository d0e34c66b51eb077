"""The parts of 1989 and 1998: connection tables, subsampling, squashing, the RBF output, the loss of equation 9."""

import pickle

import numpy as np
import pytest

import minicnn as mc
from minicnn import models
from minicnn.models import lenet_1998 as parts
from minicnn.models import lenet_early as early
from minicnn.models import lenet_output


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def test_table_1_is_what_the_text_of_section_2b_says():
    columns = [{c for c in range(6) if parts.C3_TABLE[c][o] == "X"} for o in range(16)]
    assert columns[:6] == [{i, (i + 1) % 6, (i + 2) % 6} for i in range(6)]  # every contiguous subset of three
    assert columns[6:12] == [{(i + k) % 6 for k in range(4)} for i in range(6)]  # every contiguous subset of four
    assert columns[12:15] == [{0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}]  # discontinuous subsets of four
    assert columns[15] == set(range(6))
    assert [row.count("X") for row in parts.C3_TABLE] == [10] * 6


def test_table_of_1989_is_two_independent_halves_of_ten_connections():
    assert [row.count("X") for row in parts.H3_TABLE] == [5, 5, 5, 5]
    first, second = [row[:6] for row in parts.H3_TABLE], [row[6:] for row in parts.H3_TABLE]
    assert first[:2] == second[2:] == ["XXX.XX", ".XXXXX"]
    assert first[2:] == second[:2] == ["......", "......"]


def test_maps_of_lenet4_see_three_maps_each_another_three():
    columns = [frozenset(s for s in range(8) if early.LENET4_TABLE[s][o] == "X") for o in range(16)]
    assert columns[:8] == [{o, (o + 1) % 8, (o + 2) % 8} for o in range(8)]  # every contiguous subset of three
    assert len(set(columns)) == 16
    assert all(len({s % 4 for s in column}) == 3 for column in columns)  # S2's maps s and s + 4 see the same of C1
    assert [row.count("X") for row in early.LENET4_TABLE] == [6] * 8


def test_lenet4_has_two_subsampling_maps_for_each_map():
    layer = early.PairedSubsampling(3)
    coefficient, bias = layer.coefficient.numpy(), layer.bias.numpy()
    assert coefficient.shape == bias.shape == (6,)
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)
    y = layer(mc.tensor(x)).numpy()
    assert y.shape == (2, 2, 3, 6)
    for n, h, w, m in np.ndindex(y.shape):
        cells = x[n, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2, m % 3].sum()
        squashed = 1.7159 * np.tanh(2 / 3 * (coefficient[m] * cells + bias[m]))
        assert y[n, h, w, m] == pytest.approx(squashed, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("table", [parts.C3_TABLE, parts.H3_TABLE])
def test_a_map_depends_on_exactly_the_maps_it_is_connected_to(table):
    layer = parts.TableConv2d(table, 5)
    C, O = len(table), len(table[0])
    x = np.random.default_rng(1).normal(size=(1, 7, 7, C)).astype(np.float32)
    before = layer(mc.tensor(x)).numpy()
    for c in range(C):
        moved = x.copy()
        moved[..., c] += 1
        changed = (layer(mc.tensor(moved)).numpy() != before).any(axis=(0, 1, 2))
        assert list(changed) == [cell == "X" for cell in table[c]]
    for o in range(O):
        leaf = mc.tensor(x, requires_grad=True)
        layer(leaf)[..., o].sum().backward()
        assert list((leaf.grad != 0).any(axis=(0, 1, 2))) == [row[o] == "X" for row in table]


def test_dense_weight_holds_each_kernel_in_its_place_and_zero_elsewhere():
    layer = parts.TableConv2d(parts.C3_TABLE, 5)
    assert layer.weight.shape == (5, 5, 60)
    dense, kernels = layer.dense_weight().numpy(), layer.weight.numpy()
    p = 0
    for o in range(16):
        for c in range(6):
            if parts.C3_TABLE[c][o] == "X":
                np.testing.assert_array_equal(dense[:, :, c, o], kernels[:, :, p])
                p += 1
            else:
                assert not dense[:, :, c, o].any()
    assert p == 60


def gradcheck_layer(layer, x, eps=1e-6):
    """The input by mc.gradcheck, every Parameter by central differences along its elements, in float64."""
    layer.to(dtype="float64")
    assert mc.gradcheck(layer, [x])
    r = np.random.default_rng(9).uniform(-1, 1, layer(mc.tensor(x)).shape)
    layer.zero_grad()
    layer(mc.tensor(x, requires_grad=True)).backward(r)
    for name, parameter in layer.named_parameters():
        expected = np.empty(parameter.shape)
        for index in np.ndindex(parameter.shape):
            kept, sides = parameter.data[index], []
            for moved in (kept + eps, kept - eps):
                parameter.data[index] = moved
                sides.append((layer(mc.tensor(x)).numpy() * r).sum())
            parameter.data[index] = kept
            expected[index] = (sides[0] - sides[1]) / (2 * eps)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: parts.SquashedConv2d(2, 3, 2), (2, 3, 4, 2)),
        (lambda: parts.Subsampling(3), (2, 4, 5, 3)),
        (lambda: parts.TableConv2d(("X.XX", ".XX.", "XX..") , 2), (2, 3, 3, 3)),
        (lambda: parts.SquashedLinear(4, 3), (2, 4)),
        (lambda: lenet_output.EuclideanRBF(), (2, 84)),
        (lambda: parts.GreyLevels(-0.1, 1.175, 1), (2, 2, 3, 1)),
    ],
)  # fmt: skip
def test_gradcheck_of_the_parts(layer, shape):
    gradcheck_layer(layer(), np.random.default_rng(2).normal(size=shape))


def test_squash_maps_its_targets_to_themselves():
    y = parts.squash(mc.tensor(np.array([-1e3, -1.0, 0.0, 1.0, 1e3]))).numpy()
    np.testing.assert_allclose(y, [-1.7159, -1, 0, 1, 1.7159], atol=1e-5)


def test_subsampling_against_the_formula():
    layer = parts.Subsampling(2)
    x = np.random.default_rng(3).normal(size=(2, 5, 4, 2)).astype(np.float32)
    expected = np.empty((2, 2, 2, 2))
    for n, i, j, c in np.ndindex(expected.shape):
        total = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c].astype(np.float64).sum()
        a = layer.coefficient.numpy()[c] * total + layer.bias.numpy()[c]
        expected[n, i, j, c] = 1.7159 * np.tanh(2 / 3 * a)
    np.testing.assert_allclose(layer(mc.tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_input_has_the_grey_levels_of_the_paper():
    x = np.zeros((1, 28, 28, 1), np.float32)
    x[0, 0, 27] = 1
    y = models.lenet5("1998").input(mc.tensor(x)).numpy()
    assert y.shape == (1, 32, 32, 1)
    assert y[0, 2, 29, 0] == pytest.approx(1.175)
    y[0, 2, 29, 0] = -0.1
    np.testing.assert_allclose(y, -0.1, rtol=1e-6)


def test_weights_begin_within_2_4_over_the_fan_in():
    model = models.lenet5("1998")
    fan_ins = {"c1": 25, "s2": 4, "s4": 4, "c5": 400, "f6": 120}
    for name, fan_in in fan_ins.items():
        for parameter in getattr(model, name).parameters():
            assert np.abs(parameter.numpy()).max() <= 2.4 / fan_in
    for name in ("c1", "c5", "f6"):
        weight = getattr(model, name).weight.numpy()
        assert np.abs(weight).max() > 0.95 * 2.4 / fan_ins[name]
        assert weight.std() == pytest.approx(2.4 / fan_ins[name] / 3**0.5, rel=0.15)
    dense = np.abs(model.c3.dense_weight().numpy())
    for o in range(16):
        fan_in = 25 * sum(row[o] == "X" for row in parts.C3_TABLE)
        assert 0.85 * 2.4 / fan_in < dense[..., o].max() <= 2.4 / fan_in


def test_bitmaps_are_84_cells_of_plus_and_minus_one_all_different():
    bitmaps = lenet_output.digit_bitmaps()
    assert bitmaps.shape == (10, 84)
    assert bitmaps.dtype == np.float32
    assert set(np.unique(bitmaps)) == {-1, 1}
    differing = (bitmaps[:, None] != bitmaps[None]).sum(axis=2)
    assert differing[~np.eye(10, dtype=bool)].min() == 12  # 6 and 8
    # As many black cells as in figure 3, digit by digit, and the pictures stand upright.
    assert list((bitmaps == 1).sum(axis=1)) == [35, 27, 33, 32, 41, 35, 39, 25, 43, 39]
    one = bitmaps[1].reshape(12, 7)
    assert (one[9] == [-1, 1, 1, 1, 1, 1, 1]).all()
    assert (one[10:] == -1).all()


def test_output_is_minus_the_squared_distance_to_the_bitmaps():
    layer, bitmaps = lenet_output.EuclideanRBF(), lenet_output.digit_bitmaps()
    x = np.random.default_rng(4).normal(size=(3, 84)).astype(np.float32)
    expected = [[-sum((a - b) ** 2 for a, b in zip(row, w, strict=True)) for w in bitmaps] for row in x.astype(float)]
    np.testing.assert_allclose(layer(mc.tensor(x)).numpy(), expected, rtol=1e-5)
    perfect = layer(mc.tensor(bitmaps)).numpy()
    assert (np.diag(perfect) == 0).all()
    assert (perfect.argmax(axis=1) == np.arange(10)).all()


@pytest.mark.parametrize("j", [0.1, 1.0, 30.0])
def test_map_criterion_against_equation_9(j):
    generator = np.random.default_rng(5)
    y, labels = generator.uniform(0, 40, (6, 10)), generator.integers(0, 10, 6)
    expected = np.mean([y[n, d] + np.log(np.exp(-j) + np.exp(-y[n]).sum()) for n, d in enumerate(labels)])
    assert models.map_criterion(mc.tensor(-y), labels, j).item() == pytest.approx(expected, rel=1e-12)
    assert mc.gradcheck(lambda z: models.map_criterion(z, labels, j), [-y])


def test_map_criterion_neither_overflows_nor_loses_a_far_class():
    y = np.array([[1e4, 2e4], [0.0, 5e3]])
    assert models.map_criterion(mc.tensor(-y), np.array([0, 0]), 2.0).item() == pytest.approx(
        (1e4 - 2 + np.log1p(np.exp(-2.0))) / 2
    )


def test_map_criterion_refuses_what_is_wrong():
    z = mc.tensor(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="j > 0"):
        models.map_criterion(z, np.array([0, 1]), 0)
    with pytest.raises(ValueError, match="from 0 to 2"):
        models.map_criterion(z, np.array([0, 3]))
    with pytest.raises(ValueError, match="from 0"):
        models.map_criterion(z, np.array([0, -1]))
    with pytest.raises(ValueError, match=r"\(N, K\)"):
        models.map_criterion(z[0], np.array([0]))


@pytest.mark.parametrize("name", ["lenet1", "lenet4", "lenet5:1998"])
def test_the_networks_can_be_pickled(name):
    model = models.build(name)
    again = pickle.loads(pickle.dumps(model))
    for (key, before), after in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        np.testing.assert_array_equal(before, after, err_msg=key)
