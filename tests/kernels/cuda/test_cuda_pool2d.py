"""Pooling in the CUDA room against the reference."""

import numpy as np
import pytest
from agreement import DTYPES, assert_sums_agree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from test_cpu_pool2d import (
    assert_a_spoilt_cell_reaches_only_its_windows_and_its_channel,
    assert_adaptive_agrees,
    assert_max_agrees,
    assert_sums_and_averages_agree,
    image,
    problems,
)

from minicnn.kernels import cuda
from minicnn.kernels.cuda import _grid

# The emulator is the same for all examples: nothing of one is left in it for the next.
SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EVERY_WAY = [((3, 3), (2, 2), ((1, 1), (0, 1)), True), ((2, 3), (3, 2), ((0, 1), (2, 0)), False)]


@SETTINGS
@given(problem=problems(), kind=st.sampled_from(["any", "negative", "ties", "special"]), dtype=st.sampled_from(DTYPES))
def test_pooling_is_the_reference(emulator, problem, kind, dtype):
    shape, *where, ceil_mode = problem
    x = image(shape, kind).astype(dtype)
    assert_max_agrees(cuda, x, where, ceil_mode)
    assert_sums_and_averages_agree(cuda, np.where(np.isfinite(x), x, x.dtype.type(1)), where, ceil_mode)


@pytest.mark.parametrize("shape", [(2, 5, 600, 1), (1, 4, 9, 1030), (2, 3, 70, 67)])
@pytest.mark.parametrize("way", EVERY_WAY)
def test_several_blocks_for_columns_and_more_channels_than_a_block_takes_at_once(emulator, shape, way):
    *where, ceil_mode = way
    x = image(shape).astype(np.float32)
    assert_max_agrees(cuda, x, where, ceil_mode)
    assert_sums_and_averages_agree(cuda, x, where, ceil_mode)


def test_a_grid_that_has_too_few_blocks_for_the_columns_takes_several_turns(emulator, monkeypatch):
    monkeypatch.setattr(_grid, "MOST_ROWS", 2)
    *where, ceil_mode = EVERY_WAY[0]
    x = image((1, 3, 1100, 2)).astype(np.float32)
    assert_max_agrees(cuda, x, where, ceil_mode)
    assert_sums_and_averages_agree(cuda, x, where, ceil_mode)
    assert_sums_agree("adaptive_avg_pool2d_backward", (image((1, 2, 3, 2)), x.shape), cuda)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_spoilt_cell_reaches_only_its_windows_and_its_channel(emulator, value):
    assert_a_spoilt_cell_reaches_only_its_windows_and_its_channel(cuda, value)


def test_a_batch_of_nothing_gives_nothing(emulator):
    x, where = np.zeros((0, 4, 4, 3), np.float32), ((2, 2), (2, 2), ((0, 0), (0, 0)))
    y, index = cuda.max_pool2d_forward(x, *where, False)
    assert y.shape == index.shape == (0, 2, 2, 3)
    assert cuda.max_pool2d_backward(y, index, x.shape, *where).shape == x.shape
    assert cuda.avg_pool2d_forward(x, *where, False, False).shape == y.shape
    assert cuda.avg_pool2d_backward(y, x.shape, *where, False).shape == x.shape
    assert cuda.adaptive_avg_pool2d_forward(x, (1, 3)).shape == (0, 1, 3, 3)
    assert cuda.adaptive_avg_pool2d_backward(y, x.shape).shape == x.shape


@SETTINGS
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3, 20])),
    output_size=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    dtype=st.sampled_from(DTYPES),
)
def test_adaptive_pooling_is_the_reference(emulator, shape, output_size, dtype):
    assert_adaptive_agrees(cuda, shape, output_size, dtype)


@pytest.mark.parametrize(
    ("shape", "output_size"),
    [((2, 7, 7, 70), (1, 1)), ((2, 13, 11, 300), (6, 6)), ((1, 2, 3, 1030), (2, 2)), ((1, 40, 3, 2), (1, 2))],
)
def test_adaptive_pooling_with_several_blocks_for_channels_and_threads_that_share_a_window(
    emulator, shape, output_size
):
    assert_adaptive_agrees(cuda, shape, output_size, np.float32)


def test_windows_of_images_whose_sides_multiply_to_more_than_a_32_bit_integer(emulator):
    assert_adaptive_agrees(cuda, (1, 1, 70_000, 1), (1, 70_001), np.float32)


def test_the_average_of_a_large_float32_image_keeps_its_digits(emulator):
    y = cuda.adaptive_avg_pool2d_forward(np.full((1, 500, 500, 2), 0.1, np.float32), (1, 1))
    assert_allclose(y, np.float32(0.1), rtol=1e-7)
