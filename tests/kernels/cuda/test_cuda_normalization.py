"""Batch normalisation and local response normalisation of the CUDA room against the reference."""

import numpy as np
import pytest
from agreement import DTYPES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_cpu_normalization import (
    SHAPES,
    assert_a_spoilt_number_reaches_only_its_channel,
    assert_a_spoilt_number_reaches_only_the_channels_around_it,
    assert_batch_normalisation_agrees,
    assert_local_response_normalisation_agrees,
    assert_the_gradient_passes_where_something_came_through,
)

from minicnn.kernels import cuda
from minicnn.kernels.cuda import _grid

# The emulator is the same for all examples: nothing of one is left in it for the next.
SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SETTINGS
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_batch_normalisation_is_the_reference(emulator, shape, dtype):
    assert_batch_normalisation_agrees(cuda, shape, dtype)


@pytest.mark.parametrize("shape", [(5000, 1), (1500, 3), (700, 33), (150, 70)])
def test_several_parts_and_several_groups_of_channels(emulator, shape):
    (groups, parts), _, part = _grid.column_grid(*shape)
    assert parts > 1
    assert shape[0] % part  # the last part is a shorter one
    assert groups == (shape[1] > 32) + (shape[1] > 64) + 1
    assert_batch_normalisation_agrees(cuda, shape, np.float32)


def test_more_parts_than_a_block_has_threads_to_add_them_up(emulator, monkeypatch):
    monkeypatch.setattr(_grid, "LEAST", 1)
    assert _grid.column_grid(2500, 32)[0][1] == 313
    assert_batch_normalisation_agrees(cuda, (2500, 32), np.float32)


def test_long_arrays_have_longer_parts_not_more(emulator, monkeypatch):
    monkeypatch.setattr(_grid, "PARTS", 5)
    assert _grid.column_grid(3001, 40)[0] == (2, 2)
    assert_batch_normalisation_agrees(cuda, (3001, 40), np.float32)


@pytest.mark.parametrize("direction", ["batch_norm", "batch_norm_inference"])
@SETTINGS
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_the_gradient_passes_where_the_forward_direction_let_something_through(emulator, direction, shape, dtype):
    assert_the_gradient_passes_where_something_came_through(cuda, direction, shape, dtype)


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
    assert_a_spoilt_number_reaches_only_its_channel(cuda, [0, 17])


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


@SETTINGS
@given(
    shape=SHAPES,
    size=st.integers(1, 9),
    constants=st.sampled_from([(1e-4, 0.75, 1.0), (0.5, 0.75, 2.0), (1.0, 0.5, 1.5), (2.0, 1.0, 0.5)]),
    dtype=st.sampled_from(DTYPES),
)
def test_local_response_normalisation_is_the_reference(emulator, shape, size, constants, dtype):
    assert_local_response_normalisation_agrees(cuda, shape, size, constants, dtype)


@pytest.mark.parametrize("size", [5, 256, 257, 520, 1400])
def test_windows_that_reach_over_several_blocks(emulator, size):
    assert_local_response_normalisation_agrees(cuda, (3, 700), size, (3.0, 0.75, 2.0), np.float64)


def test_the_largest_window_is_that_of_all_channels(emulator):
    x, largest = np.random.default_rng(0).standard_normal((2, 20)), 2**31 - 1
    for name, arguments in [("forward", (x,)), ("backward", (x + 1, x))]:
        kernel = getattr(cuda, f"local_response_norm_{name}")
        few, most = (kernel(*arguments, size, 0.5 * size, 0.75, 2.0) for size in (40, largest))
        assert_allclose(few, most, rtol=1e-12)


def test_a_spoilt_number_reaches_only_the_channels_around_it(emulator):
    assert_a_spoilt_number_reaches_only_the_channels_around_it(cuda)
