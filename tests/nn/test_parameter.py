"""Parameter: its stream, filling it late, and that late filling changes no value."""

import copy
import pickle

import numpy as np
import pytest

import minicnn as mc
from minicnn import _random, nn
from minicnn.nn import init


@pytest.fixture(autouse=True)
def _seeded():
    mc.seed(0)


def test_holds_a_copy_of_an_array_and_asks_for_its_gradient():
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    parameter = nn.Parameter(array)
    array[0, 0] = 99
    assert isinstance(parameter, mc.Tensor)
    assert parameter.requires_grad
    assert parameter.is_filled
    assert parameter.dtype == np.float64
    assert parameter.data[0, 0] == 0
    (parameter * 3).sum().backward()
    np.testing.assert_array_equal(parameter.grad, np.full((2, 3), 3.0))


def test_integers_are_refused():
    with pytest.raises(TypeError, match="float32 or float64"):
        nn.Parameter(np.arange(3))


def test_draws_from_the_stream_of_its_seed_and_number():
    mc.seed(7)
    nn.Parameter(np.zeros(1, np.float32))  # takes number 0
    parameter = nn.Parameter.drawn(init.lecun_normal, (4, 5))
    expected = init.lecun_normal((4, 5), _random.generator(7, _random.PARAMETER, 1))
    np.testing.assert_array_equal(parameter.data, expected)


def test_what_others_draw_moves_nothing():
    draws = []
    for size in (2, 3):
        mc.seed(1)
        nn.Parameter.drawn(init.lecun_normal, (size, size))
        draws.append(nn.Parameter.drawn(init.lecun_normal, (4, 4)).data)
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("known", [None, (None, 5), (4, None), (None, None)])
def test_late_filling_draws_the_same_bits(known):
    at_once = nn.Parameter.drawn(init.kaiming_normal, (4, 5))
    mc.seed(0)
    late = nn.Parameter.drawn(init.kaiming_normal, known)
    assert not late.is_filled
    mc.seed(3)  # the seed at construction counts, not that at filling
    nn.Parameter.drawn(init.ones, (2,))
    late.fill((4, 5))
    assert late.is_filled
    np.testing.assert_array_equal(late.data, at_once.data)


@pytest.mark.parametrize("read", ["data", "shape", "size", "ndim", "dtype", "device"])
def test_reading_an_unfilled_one_says_what_to_do(read):
    parameter = nn.Parameter.drawn(init.zeros)
    with pytest.raises(RuntimeError, match="run one forward pass first so that the layer can infer its sizes"):
        getattr(parameter, read)
    with pytest.raises(RuntimeError, match="run one forward pass first"):
        parameter.numpy()
    assert "unfilled" in repr(parameter)


def test_fill_refuses_a_second_time_and_a_contradiction():
    parameter = nn.Parameter.drawn(init.zeros, (None, 5))
    for wrong in ((4, 6), (4,), (4, 5, 1)):
        with pytest.raises(ValueError, match=r"\(None, 5\)"):
            parameter.fill(wrong)
    assert not parameter.is_filled
    parameter.fill((4, 5))
    with pytest.raises(RuntimeError, match="filled already"):
        parameter.fill((4, 5))


def test_initialize_redraws_in_place_from_the_same_stream():
    parameter = nn.Parameter.drawn(init.zeros, (4, 5))
    array = parameter.data
    parameter.initialize(init.lecun_normal)
    assert parameter.data is array
    np.testing.assert_array_equal(array, init.lecun_normal((4, 5), _random.generator(0, _random.PARAMETER, 0)))
    parameter.initialize(init.ones)
    np.testing.assert_array_equal(array, np.ones((4, 5), np.float32))


def test_initialize_of_an_unfilled_one_waits():
    parameter = nn.Parameter.drawn(init.zeros)
    assert parameter.initialize(init.lecun_normal) is None
    assert not parameter.is_filled
    parameter.fill((4, 5))
    np.testing.assert_array_equal(parameter.data, init.lecun_normal((4, 5), _random.generator(0, _random.PARAMETER, 0)))


@pytest.mark.parametrize(
    "wrong", [lambda shape, rng: np.zeros((3, 3), np.float32), lambda shape, rng: np.zeros(shape, np.int64)]
)
def test_an_initialiser_of_another_shape_or_kind_is_refused(wrong):
    parameter = nn.Parameter.drawn(init.ones, (2, 3))
    with pytest.raises(ValueError, match=r"floats of shape \(2, 3\)"):
        parameter.initialize(wrong)
    np.testing.assert_array_equal(parameter.data, np.ones((2, 3), np.float32))
    parameter.initialize(init.zeros)  # the wrong one was not remembered
    with pytest.raises(TypeError, match="function"):
        parameter.initialize("zeros")


def test_move_keeps_the_object_and_converts_the_gradient():
    parameter = nn.Parameter(np.array([1.0, 2.0], np.float32))
    (parameter * 2).sum().backward()
    parameter.move(dtype="float64")
    assert parameter.dtype == np.float64
    assert parameter.grad.dtype == np.float64
    assert parameter.data.tolist() == [1.0, 2.0]


def test_move_of_an_unfilled_one_is_remembered():
    parameter = nn.Parameter.drawn(init.ones)
    parameter.move(dtype="float64")
    assert parameter.place == ("cpu", np.float64)
    parameter.move(device="cpu")
    parameter.fill((2,))
    assert parameter.dtype == np.float64


def test_assign_refuses_to_broadcast():
    parameter = nn.Parameter(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(3,\)"):
        parameter.assign(np.ones(3, np.float32))


def test_assign_to_an_unfilled_one_copies():
    values = np.ones((2, 3), np.float32)
    parameter = nn.Parameter.drawn(init.zeros)
    parameter.assign(values)
    values[:] = 5
    np.testing.assert_array_equal(parameter.data, np.ones((2, 3)))


def test_a_deep_copy_is_another_parameter_with_the_same_values():
    parameter = nn.Parameter.drawn(init.lecun_normal, (2, 3))
    other = copy.deepcopy(parameter)
    other.data += 1
    np.testing.assert_allclose(other.data - 1, parameter.data, atol=1e-6)
    assert other.number == parameter.number


def test_a_typo_is_an_attribute_error():
    with pytest.raises(AttributeError, match="gard"):
        _ = nn.Parameter(np.zeros(1, np.float32)).gard


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_an_unfilled_parameter_is_copied_as_one(copied):
    """Both fill later, with the same values."""
    layer = nn.Linear(None, 3)
    other = copied(layer)
    assert not other.weight.is_filled
    x = mc.tensor(np.ones((2, 5), np.float32))
    np.testing.assert_array_equal(other(x).numpy(), layer(x).numpy())
    again = copied(layer)
    np.testing.assert_array_equal(again.weight.numpy(), layer.weight.numpy())
    assert again.weight is not layer.weight
