"""state_dict and load_state_dict: names, copies, in place, all or nothing."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn


@pytest.fixture(autouse=True)
def _seeded():
    mc.seed(0)


def network(lazy=False):
    return nn.Sequential(
        nn.Conv2d(None if lazy else 2, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(None if lazy else 16, 5),
    )


IMAGES = np.random.default_rng(0).standard_normal((3, 4, 4, 2)).astype(np.float32)


def everything(module):
    """Copies of all arrays, to see whether anything has changed."""
    return [p.data.copy() if p.is_filled else None for p in module.parameters()] + [b.copy() for b in module.buffers()]


def assert_same(before, after):
    for a, b in zip(before, after, strict=True):
        assert (a is None and b is None) or np.array_equal(a, b)


def test_names_and_order_are_torchs_and_what_is_not_persistent_is_left_out():
    state = network().state_dict()
    assert list(state) == [
        "0.weight", "0.bias",
        "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
        "4.weight", "4.bias",
    ]  # fmt: skip
    assert state["0.weight"].shape == (3, 3, 2, 4)
    assert state["4.weight"].shape == (16, 5)
    assert state["1.num_batches_tracked"].dtype == np.int64
    assert all(type(array) is np.ndarray for array in state.values())


def test_the_arrays_are_copies():
    net = network()
    state = net.state_dict()
    kept = {name: array.copy() for name, array in state.items()}
    net(mc.tensor(IMAGES))
    for parameter in net.parameters():
        parameter.data += 1
    for name, array in state.items():
        np.testing.assert_array_equal(array, kept[name])
    state["0.weight"][:] = 9
    assert not (net[0].weight.data == 9).any()


def test_an_unfilled_parameter_is_named():
    with pytest.raises(RuntimeError, match=r"0.weight has no values yet: run one forward pass first"):
        network(lazy=True).state_dict()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_round_trip_restores_every_bit_and_keeps_the_objects(lazy):
    source = network()
    for _ in range(3):
        source(mc.tensor(IMAGES))
    for parameter in source.parameters():
        parameter.data += 0.25
    mc.seed(5)
    target = network(lazy)
    parameters = list(target.parameters())
    arrays = [p.data for p in parameters if p.is_filled]
    assert target.load_state_dict(source.state_dict()) is None
    assert all(a is b for a, b in zip(parameters, target.parameters(), strict=True))
    if not lazy:
        assert all(a is p.data for a, p in zip(arrays, parameters, strict=True))
    for name, array in source.state_dict().items():
        np.testing.assert_array_equal(target.state_dict()[name], array)
    x = mc.tensor(IMAGES)
    np.testing.assert_array_equal(target.eval()(x).data, source.eval()(x).data)
    assert target[0].in_channels == 2
    assert target[4].in_features == 16


def test_floats_of_another_width_are_converted():
    net = network()
    state = {
        k: v.astype(np.float64) if v.dtype.kind == "f" else v.astype(np.int32) for k, v in net.state_dict().items()
    }
    state["0.bias"] = np.full(4, 0.1, np.float16)
    net.load_state_dict(state)
    assert net[0].weight.dtype == np.float32
    np.testing.assert_array_equal(net[0].bias.data, np.full(4, 0.1, np.float16).astype(np.float32))
    assert net[1].num_batches_tracked.dtype == np.int64


def test_a_lazy_layer_moved_to_float64_is_filled_in_float64():
    net = network(lazy=True).to(dtype="float64")
    net.load_state_dict(network().state_dict())
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}


def test_nan_is_loaded():
    net = nn.Linear(2, 2)
    net.load_state_dict({"weight": np.full((2, 2), np.nan, np.float32), "bias": np.zeros(2, np.float32)})
    assert np.isnan(net.weight.data).all()


def test_the_loaded_arrays_are_not_shared_with_the_dict():
    for layer in (nn.Linear(2, 2), nn.Linear(None, 2)):
        state = {"weight": np.ones((2, 2), np.float32), "bias": np.zeros(2, np.float32)}
        layer.load_state_dict(state)
        layer.weight.data += 1
        assert (state["weight"] == 1).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_one_error_names_all_problems_and_nothing_has_changed(lazy):
    net = network(lazy)
    state = network().state_dict()
    state = {name: array + 1 for name, array in state.items()}
    del state["1.running_mean"]
    state["7.weight"] = np.zeros(1, np.float32)
    state["0.weight"] = np.zeros((3, 3, 2, 6), np.float32)
    state["1.weight"] = np.zeros(4, np.int64)
    state["1.num_batches_tracked"] = np.array(1.0)
    state["4.bias"] = [0.0] * 5
    before = everything(net)
    with pytest.raises(ValueError, match="changed nothing") as caught:
        net.load_state_dict(state)
    for problem in (
        "missing: 1.running_mean",
        "unexpected: 7.weight",
        f"0.weight: expected shape (3, 3, {None if lazy else 2}, 4), got (3, 3, 2, 6)",
        "1.weight: expected floats, got int64",
        "1.num_batches_tracked: expected integers, got float64",
        "4.bias: expected an array, got list",
    ):
        assert problem in str(caught.value)
    assert_same(before, everything(net))


@pytest.mark.parametrize(
    "wrong", [np.zeros((16, 6), np.float32), np.zeros((16, 5, 1), np.float32), np.zeros(5, np.float32)]
)
def test_an_unfilled_parameter_takes_only_what_agrees_with_what_is_known(wrong):
    layer = nn.Linear(None, 5)
    with pytest.raises(ValueError, match=r"weight: expected shape \(None, 5\)"):
        layer.load_state_dict({"weight": wrong, "bias": np.zeros(5, np.float32)})
    assert not layer.weight.is_filled


def test_a_long_list_of_problems_is_cut():
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(50)])
    with pytest.raises(ValueError, match="and 90 more") as caught:
        net.load_state_dict({})
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("layer", "weight"),
    [(nn.Conv2d(2, 4, 3), (4, 2, 3, 3)), (nn.Conv2d(2, 4, (1, 3)), (4, 2, 1, 3)), (nn.Linear(3, 5), (5, 3))],
)
def test_torchs_layout_is_recognised(layer, weight):
    state = layer.state_dict() | {"weight": np.zeros(weight, np.float32)}
    with pytest.raises(ValueError, match="load_pretrained"):
        layer.load_state_dict(state)


def test_a_merely_wrong_shape_is_not_called_torchs_layout():
    layer = nn.Linear(3, 5)
    with pytest.raises(ValueError, match=r"got \(4, 5\)$"):
        layer.load_state_dict(layer.state_dict() | {"weight": np.zeros((4, 5), np.float32)})


def test_what_is_no_dict_is_refused():
    with pytest.raises(TypeError, match="expected a dict"):
        network().load_state_dict([1, 2])


def test_a_shared_parameter_stands_under_each_name_and_is_loaded():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    np.testing.assert_array_equal(state["0.weight"], state["1.weight"])
    net.load_state_dict({name: array + 1 for name, array in state.items()})
    np.testing.assert_array_equal(net[1].weight.data, state["0.weight"] + 1)


def test_a_shared_unfilled_parameter_is_never_filled_halfway():
    net = nn.Sequential(nn.Linear(None, 3), nn.Linear(None, 3))
    net[1].weight = net[0].weight
    state = {name: np.zeros(3, np.float32) for name in ("0.bias", "1.bias")}
    state |= {"0.weight": np.zeros((3, 3), np.float32), "1.weight": np.zeros((4, 3), np.float32)}
    with pytest.raises(ValueError, match=r"1.weight: expected shape \(3, 3\), got \(4, 3\)"):
        net.load_state_dict(state)
    assert not net[0].weight.is_filled
