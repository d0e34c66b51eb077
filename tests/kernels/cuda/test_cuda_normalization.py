"""Batch normalisation and local response normalisation of the CUDA room against the reference."""

import numpy as np
import pytest
from agreement import DTYPES, call, converted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cuda, reference
from minicnn.kernels.cuda import _grid

# The emulator is the same for all examples: nothing of one is left in it for the next.
SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# float32: a result is a few products of numbers near 1, each rounded once, and a sum taken in float64.
TOLERANCE = {np.float32: {"rtol": 1e-5, "atol": 1e-5}, np.float64: {"rtol": 1e-11, "atol": 1e-11}}
SHAPES = st.one_of(
    st.tuples(st.integers(2, 400), st.sampled_from([1, 2, 3, 16, 33])),
    st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(1, 9), st.sampled_from([1, 2, 5, 40, 70])),
)


def assert_agrees(name, arguments, dtype):
    given = converted(arguments, dtype)
    for got, expected in zip(call(cuda, name, given), call(reference, name, converted(given, np.float64)), strict=True):
        assert got.dtype == dtype
        assert got.shape == expected.shape
        scale = max(1.0, abs(expected).max())
        assert_allclose(got / scale, expected / scale, **TOLERANCE[dtype], err_msg=name)


def assert_batch_normalisation_agrees(shape, dtype):
    rng = np.random.default_rng(0)
    x, dy, residual = rng.standard_normal((3, *shape))
    gamma, beta = rng.standard_normal((2, shape[-1]))
    _, mean, var = reference.batch_norm_forward(x, gamma, beta, 1e-5, None, None)
    # Two equal numbers have a variance of nothing but eps, and a quotient by its root is no test of anything.
    var = var + 0.1
    for end in [(None, None), (None, "relu"), (residual, None), (residual, "relu")]:
        assert_agrees("batch_norm_forward", (x, gamma, beta, 1e-2, *end), dtype)
        assert_agrees("batch_norm_inference_forward", (x, gamma, beta, mean, var, 1e-5, *end), dtype)
    assert_agrees("batch_norm_backward", (dy, x, gamma, beta, mean, var, 1e-5, None), dtype)
    assert_agrees("batch_norm_inference_backward", (dy, x, gamma, beta, mean, var, 1e-5, None), dtype)


@SETTINGS
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_batch_normalisation_is_the_reference(emulator, shape, dtype):
    assert_batch_normalisation_agrees(shape, dtype)


@pytest.mark.parametrize("shape", [(5000, 1), (1500, 3), (700, 33), (150, 70)])
def test_several_parts_and_several_groups_of_channels(emulator, shape):
    (groups, parts), _, part = _grid.column_grid(*shape)
    assert parts > 1
    assert shape[0] % part  # the last part is a shorter one
    assert groups == (shape[1] > 32) + (shape[1] > 64) + 1
    assert_batch_normalisation_agrees(shape, np.float32)


def test_more_parts_than_a_block_has_threads_to_add_them_up(emulator, monkeypatch):
    monkeypatch.setattr(_grid, "LEAST", 1)
    assert _grid.column_grid(2500, 32)[0][1] == 313
    assert_batch_normalisation_agrees((2500, 32), np.float32)


def test_long_arrays_have_longer_parts_not_more(emulator, monkeypatch):
    monkeypatch.setattr(_grid, "PARTS", 5)
    assert _grid.column_grid(3001, 40)[0] == (2, 2)
    assert_batch_normalisation_agrees((3001, 40), np.float32)


@pytest.mark.parametrize("direction", ["batch_norm", "batch_norm_inference"])
@SETTINGS
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_the_gradient_passes_where_the_forward_direction_let_something_through(emulator, direction, shape, dtype):
    """To the bit: the backward direction computes y again to see its sign, and near 0 any rounding would show."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, shape[-1])).astype(dtype)
    x.reshape(-1, shape[-1])[1::2] = x.reshape(-1, shape[-1])[:1]  # many equal values, which beta moves to about 0
    _, mean, var = cuda.batch_norm_forward(x, gamma, beta, 1e-2, None, None)
    y = cuda.batch_norm_inference_forward(x, gamma, beta * 0, mean, var, 1e-2, None, None)
    beta = -y.reshape(-1, shape[-1])[0]
    y = cuda.batch_norm_inference_forward(x, gamma, beta, mean, var, 1e-2, None, "relu")
    backward, rest = getattr(cuda, f"{direction}_backward"), (x, gamma, beta, mean, var, 1e-2)
    fused, separate = backward(dy, *rest, "relu"), backward(cuda.relu_backward(dy, y), *rest, None)
    for a, b in zip(fused, separate, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_relu_inside_gives_the_bits_of_one_behind(emulator, dtype):
    rng = np.random.default_rng(0)
    x, residual = rng.standard_normal((2, 300, 33)).astype(dtype)
    gamma, beta, mean = rng.standard_normal((3, 33)).astype(dtype)
    for added in (None, residual):
        fused, plain = (cuda.batch_norm_forward(x, gamma, beta, 1e-5, added, end)[0] for end in ("relu", None))
        assert_array_equal(fused, cuda.relu_forward(plain))
        rest = gamma, beta, mean, beta**2, 1e-5, added
        fused, plain = (cuda.batch_norm_inference_forward(x, *rest, end) for end in ("relu", None))
        assert_array_equal(fused, cuda.relu_forward(plain))


def test_a_small_variance_around_a_large_mean_survives_float32(emulator):
    x = (1000 + 0.01 * np.random.default_rng(0).standard_normal((20000, 2))).astype(np.float32)
    _, mean, var = cuda.batch_norm_forward(x, np.ones(2, np.float32), np.zeros(2, np.float32), 0.0, None, None)
    assert_allclose(mean, x.mean(axis=0, dtype=float), rtol=1e-7)
    assert_allclose(var, x.var(axis=0, dtype=float), rtol=1e-6)


def test_a_first_value_far_from_the_others_costs_no_digits(emulator):
    """The sums are of the differences from it: here the mean of their squares is 20000 times the variance."""
    x = np.full((20000, 2), 1000.1, np.float32)
    x[0] = 0.3
    _, mean, var = cuda.batch_norm_forward(x, np.ones(2, np.float32), np.zeros(2, np.float32), 0.0, None, None)
    assert_allclose(mean, x.mean(axis=0, dtype=float), rtol=1e-7)
    assert_allclose(var, x.var(axis=0, dtype=float), rtol=1e-6)


def test_a_spoilt_number_reaches_only_its_channel(emulator):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 300, 5))
    ones = np.ones(5)
    for value, row in [(np.nan, 17), (np.inf, 17), (np.inf, 0), (np.nan, 0)]:
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
                results = (call(room, name, arguments) for room in (cuda, reference))
                for got, expected in zip(*results, strict=True):
                    assert np.isfinite(expected[..., [0, 1, 2, 4]]).all()
                    assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


def test_of_a_batch_of_nothing_the_gradients_are_zeros(emulator):
    x, channel = np.zeros((0, 4, 4, 3), np.float32), np.ones(3, np.float32)
    y, mean, var = cuda.batch_norm_forward(x, channel, channel, 1e-5, x, "relu")
    assert y.shape == x.shape
    assert np.isnan(mean).all()  # as 0 / 0
    assert np.isnan(var).all()
    for backward in (cuda.batch_norm_backward, cuda.batch_norm_inference_backward):
        dx, dgamma, dbeta = backward(x, x, channel, channel, channel, channel, 1e-5, "relu")
        assert dx.shape == x.shape
        assert list(dgamma) == list(dbeta) == [0, 0, 0]
    assert cuda.local_response_norm_forward(x, 2, 0.5, 0.75, 2.0).shape == x.shape
    assert cuda.local_response_norm_backward(x, x, 2, 0.5, 0.75, 2.0).shape == x.shape


def assert_local_response_normalisation_agrees(shape, size, constants, dtype):
    x, dy = np.random.default_rng(0).standard_normal((2, *shape))
    assert_agrees("local_response_norm_forward", (x, size, *constants), dtype)
    assert_agrees("local_response_norm_backward", (dy, x, size, *constants), dtype)


@SETTINGS
@given(
    shape=SHAPES,
    size=st.integers(1, 9),
    constants=st.sampled_from([(1e-4, 0.75, 1.0), (0.5, 0.75, 2.0), (1.0, 0.5, 1.5), (2.0, 1.0, 0.5)]),
    dtype=st.sampled_from(DTYPES),
)
def test_local_response_normalisation_is_the_reference(emulator, shape, size, constants, dtype):
    assert_local_response_normalisation_agrees(shape, size, constants, dtype)


@pytest.mark.parametrize("size", [5, 256, 257, 520, 1400])
def test_windows_that_reach_over_several_blocks(emulator, size):
    assert_local_response_normalisation_agrees((3, 700), size, (3.0, 0.75, 2.0), np.float64)


def test_the_largest_window_is_that_of_all_channels(emulator):
    x, largest = np.random.default_rng(0).standard_normal((2, 20)), 2**31 - 1
    for name, arguments in [("forward", (x,)), ("backward", (x + 1, x))]:
        kernel = getattr(cuda, f"local_response_norm_{name}")
        few, most = (kernel(*arguments, size, 0.5 * size, 0.75, 2.0) for size in (40, largest))
        assert_allclose(few, most, rtol=1e-12)


def test_a_spoilt_number_reaches_only_the_channels_around_it(emulator):
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 12))
    for value in (np.nan, np.inf):
        spoilt = x.copy()
        spoilt[1, 5] = value
        with np.errstate(invalid="ignore"):
            for name, arguments in [("forward", (spoilt,)), ("backward", (spoilt, x)), ("backward", (dy, spoilt))]:
                name = f"local_response_norm_{name}"
                got, expected = (getattr(r, name)(*arguments, 4, 0.5, 0.75, 1.0) for r in (cuda, reference))
                assert np.isfinite(expected[:, [0, 11]]).all()
                assert_allclose(got, expected, rtol=1e-11, atol=1e-11)
