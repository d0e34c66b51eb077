"""Batch normalisation and local response normalisation of the cpu room against the reference."""

import itertools

import numpy as np
import pytest
from agreement import DTYPES, call, converted, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cpu, reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=120)
# float32: a result is a few products of numbers near 1, each rounded once, and a sum taken in float64.
TOLERANCE = {np.float32: {"rtol": 1e-5, "atol": 1e-5}, np.float64: {"rtol": 1e-11, "atol": 1e-11}}
SHAPES = st.one_of(
    st.tuples(st.integers(2, 400), st.sampled_from([1, 2, 3, 16, 33])),
    st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(1, 9), st.sampled_from([1, 2, 5, 40, 70])),
)


def assert_agrees(room, name, arguments, dtype):
    given = converted(arguments, dtype)
    exact = call(reference, name, converted(given, np.float64))
    for got, expected in zip(call(room, name, given), exact, strict=True):
        assert got.dtype == dtype
        assert got.shape == expected.shape
        scale = max(1.0, abs(expected).max())
        assert_allclose(got / scale, expected / scale, **TOLERANCE[dtype], err_msg=name)


def assert_batch_normalisation_agrees(room, shape, dtype):
    rng = np.random.default_rng(0)
    x, dy, residual = rng.standard_normal((3, *shape))
    gamma, beta = rng.standard_normal((2, shape[-1]))
    _, mean, var = reference.batch_norm_forward(x, gamma, beta, 1e-5, None, None)
    # Two equal numbers have a variance of nothing but eps, and a quotient by its root is no test of anything.
    var = var + 0.1
    for end in [(None, None), (None, "relu"), (residual, None), (residual, "relu")]:
        assert_agrees(room, "batch_norm_forward", (x, gamma, beta, 1e-2, *end), dtype)
        assert_agrees(room, "batch_norm_inference_forward", (x, gamma, beta, mean, var, 1e-5, *end), dtype)
    assert_agrees(room, "batch_norm_backward", (dy, x, gamma, beta, mean, var, 1e-5, None), dtype)
    assert_agrees(room, "batch_norm_inference_backward", (dy, x, gamma, beta, mean, var, 1e-5, None), dtype)


def assert_the_gradient_passes_where_something_came_through(room, direction, shape, dtype):
    """To the bit: the backward direction computes y again to see its sign, and near 0 any rounding would show."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, shape[-1])).astype(dtype)
    x.reshape(-1, shape[-1])[1::2] = x.reshape(-1, shape[-1])[:1]  # many equal values, which beta moves to about 0
    _, mean, var = room.batch_norm_forward(x, gamma, beta, 1e-2, None, None)
    y = room.batch_norm_inference_forward(x, gamma, beta * 0, mean, var, 1e-2, None, None)
    beta = -y.reshape(-1, shape[-1])[0]
    y = room.batch_norm_inference_forward(x, gamma, beta, mean, var, 1e-2, None, "relu")
    backward, rest = getattr(room, f"{direction}_backward"), (x, gamma, beta, mean, var, 1e-2)
    fused, separate = backward(dy, *rest, "relu"), backward(room.relu_backward(dy, y), *rest, None)
    for a, b in zip(fused, separate, strict=True):
        assert_array_equal(a, b)


def assert_a_spoilt_number_reaches_only_its_channel(room, rows):
    """rows: in which one number is spoilt, each in turn."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 300, 5))
    ones = np.ones(5)
    for value, row in itertools.product((np.nan, np.inf), rows):
        spoilt = x.copy()
        spoilt[row, 3] = value
        with np.errstate(invalid="ignore"):
            for name, arguments in [
                ("batch_norm_forward", (spoilt, ones, ones, 1e-5, None, None)),
                ("batch_norm_forward", (spoilt, ones, ones, 1e-5, dy, "relu")),
                ("batch_norm_forward", (dy, ones, ones, 1e-5, spoilt, "relu")),
                ("batch_norm_backward", (spoilt, dy, ones, ones, ones, ones, 1e-5, None)),
                ("batch_norm_backward", (spoilt, dy, ones, ones, ones, ones, 1e-5, "relu")),
                ("batch_norm_backward", (dy, spoilt, ones, ones, ones, ones, 1e-5, None)),
                ("batch_norm_inference_forward", (spoilt, ones, ones, ones, ones, 1e-5, dy, "relu")),
                ("batch_norm_inference_backward", (dy, spoilt, ones, ones, ones, ones, 1e-5, None)),
                ("batch_norm_inference_backward", (dy, spoilt, ones, ones, ones, ones, 1e-5, "relu")),
            ]:
                results = (call(r, name, arguments) for r in (room, reference))
                for got, expected in zip(*results, strict=True):
                    assert np.isfinite(expected[..., [0, 1, 2, 4]]).all()
                    assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


def assert_local_response_normalisation_agrees(room, shape, size, constants, dtype):
    x, dy = np.random.default_rng(0).standard_normal((2, *shape))
    assert_agrees(room, "local_response_norm_forward", (x, size, *constants), dtype)
    assert_agrees(room, "local_response_norm_backward", (dy, x, size, *constants), dtype)


def assert_a_spoilt_number_reaches_only_the_channels_around_it(room):
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 12))
    for value in (np.nan, np.inf):
        spoilt = x.copy()
        spoilt[1, 5] = value
        with np.errstate(invalid="ignore"):
            for name, arguments in [("forward", (spoilt,)), ("backward", (spoilt, x)), ("backward", (dy, spoilt))]:
                name = f"local_response_norm_{name}"
                got, expected = (getattr(r, name)(*arguments, 4, 0.5, 0.75, 1.0) for r in (room, reference))
                assert np.isfinite(expected[:, [0, 11]]).all()
                assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_batch_normalisation_is_the_reference(parts, shape, dtype):
    with split(parts):
        assert_batch_normalisation_agrees(cpu, shape, dtype)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("direction", ["batch_norm", "batch_norm_inference"])
@SETTINGS
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_the_gradient_passes_where_the_forward_direction_let_something_through(direction, parts, shape, dtype):
    with split(parts):
        assert_the_gradient_passes_where_something_came_through(cpu, direction, shape, dtype)


def test_a_small_variance_around_a_large_mean_survives_float32():
    x = (1000 + 0.01 * np.random.default_rng(0).standard_normal((20000, 2))).astype(np.float32)
    _, mean, var = cpu.batch_norm_forward(x, np.ones(2, np.float32), np.zeros(2, np.float32), 0.0, None, None)
    assert_allclose(mean, x.mean(axis=0, dtype=float), rtol=1e-7)
    assert_allclose(var, x.var(axis=0, dtype=float), rtol=1e-6)


def test_a_first_value_far_from_the_others_costs_no_digits():
    """The sums are of the differences from it: here the mean of their squares is 20000 times the variance."""
    x = np.full((20000, 2), 1000, np.float32)
    x[0] = 0
    _, mean, var = cpu.batch_norm_forward(x, np.ones(2, np.float32), np.zeros(2, np.float32), 0.0, None, None)
    assert_allclose(mean, 1000 * (1 - 1 / 20000), rtol=1e-7)
    assert_allclose(var, 1000**2 / 20000 * (1 - 1 / 20000), rtol=1e-6)


def test_a_spoilt_number_reaches_only_its_channel():
    assert_a_spoilt_number_reaches_only_its_channel(cpu, [17])


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(
    shape=SHAPES,
    size=st.integers(1, 9),
    constants=st.sampled_from([(1e-4, 0.75, 1.0), (0.5, 0.75, 2.0), (1.0, 0.5, 1.5), (2.0, 1.0, 0.5)]),
    dtype=st.sampled_from(DTYPES),
)
def test_local_response_normalisation_is_the_reference(parts, shape, size, constants, dtype):
    with split(parts):
        assert_local_response_normalisation_agrees(cpu, shape, size, constants, dtype)


def test_a_spoilt_number_reaches_only_the_channels_around_it():
    assert_a_spoilt_number_reaches_only_the_channels_around_it(cpu)


def test_the_largest_window_is_that_of_all_channels_and_takes_no_longer():
    x, largest = np.random.default_rng(0).standard_normal((2, 20)), 2**31 - 1
    for name, arguments in [("forward", (x,)), ("backward", (x + 1, x))]:
        kernel = getattr(cpu, f"local_response_norm_{name}")
        few, most = (kernel(*arguments, size, 0.5 * size, 0.75, 2.0) for size in (40, largest))
        assert_allclose(few, most, rtol=1e-12)
