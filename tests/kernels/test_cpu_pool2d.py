"""Pooling in the cpu room against the reference."""

import numpy as np
import pytest
from agreement import DTYPES, assert_sums_agree, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cpu, reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=200)


@st.composite
def axes(draw):
    """size, kernel, stride, (before, after); no window lies wholly in the padding."""
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    smallest = max(1, kernel - before - after)
    return draw(st.integers(smallest, smallest + 9)), kernel, stride, (before, after)


@st.composite
def problems(draw):
    """The shape of x; kernel_size, stride, padding, ceil_mode."""
    (H, KH, SH, rows), (W, KW, SW, columns) = draw(axes()), draw(axes())
    shape = draw(st.integers(1, 3)), H, W, draw(st.sampled_from([1, 2, 3, 5, 17, 40]))
    return shape, (KH, KW), (SH, SW), (rows, columns), draw(st.booleans())


def image(shape, kind="any"):
    rng = np.random.default_rng(0)
    kinds = {
        "any": rng.standard_normal(shape),
        "negative": -1 - rng.random(shape),
        "ties": rng.integers(-2, 0, shape).astype(float),
        "special": rng.choice([np.nan, -np.inf, np.inf, -1.0], shape, p=[0.1, 0.6, 0.1, 0.2]),
    }
    return kinds[kind]


def assert_max_agrees(room, x, where, ceil_mode):
    (y, index), (expected, winners) = (r.max_pool2d_forward(x, *where, ceil_mode) for r in (room, reference))
    assert y.dtype == x.dtype
    assert index.dtype == np.int32
    assert_array_equal(y, expected)
    assert_array_equal(index, winners)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    assert_sums_agree("max_pool2d_backward", (dy, index, x.shape, *where), room)


def assert_sums_and_averages_agree(room, x, where, ceil_mode):
    dy = np.random.default_rng(1).standard_normal(reference.sum_pool2d_forward(x, *where, ceil_mode).shape)
    dy = dy.astype(x.dtype)
    assert_sums_agree("sum_pool2d_forward", (x, *where, ceil_mode), room)
    assert_sums_agree("sum_pool2d_backward", (dy, x.shape, *where), room)
    for include in (False, True):
        assert_sums_agree("avg_pool2d_forward", (x, *where, ceil_mode, include), room)
        assert_sums_agree("avg_pool2d_backward", (dy, x.shape, *where, include), room)


def assert_a_spoilt_cell_reaches_only_its_windows_and_its_channel(room, value):
    where = (3, 2), (2, 1), ((1, 0), (0, 1))
    _, winners = reference.max_pool2d_forward(image((2, 7, 5, 3)), *where, False)
    for i in (0, 100, 209):
        x = image((2, 7, 5, 3))
        x.flat[i] = value
        assert_max_agrees(room, x, where, False)
        dy = room.avg_pool2d_forward(x, *where, False, False)
        with np.errstate(invalid="ignore"):
            assert_allclose(dy, reference.avg_pool2d_forward(x, *where, False, False), rtol=1e-12, atol=1e-12)
            for got, expected in (
                [r.avg_pool2d_backward(dy, x.shape, *where, False) for r in (room, reference)],
                [r.max_pool2d_backward(dy, winners, x.shape, *where) for r in (room, reference)],
            ):
                assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
                assert np.isfinite(expected).any()


def assert_adaptive_agrees(room, shape, output_size, dtype):
    x = image(shape).astype(dtype)
    dy = image((shape[0], *output_size, shape[3])).astype(dtype)
    assert_sums_agree("adaptive_avg_pool2d_forward", (x, output_size), room)
    assert_sums_agree("adaptive_avg_pool2d_backward", (dy, x.shape), room)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(problem=problems(), kind=st.sampled_from(["any", "negative", "ties", "special"]), dtype=st.sampled_from(DTYPES))
def test_pooling_is_the_reference(parts, problem, kind, dtype):
    shape, *where, ceil_mode = problem
    x = image(shape, kind).astype(dtype)
    with split(parts):
        assert_max_agrees(cpu, x, where, ceil_mode)
        assert_sums_and_averages_agree(cpu, np.where(np.isfinite(x), x, x.dtype.type(1)), where, ceil_mode)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 16, 67])
def test_images_that_occupy_every_thread(channels, dtype):
    x = image((4, 37, 41, channels)).astype(dtype)
    where = (3, 3), (2, 2), ((1, 1), (0, 1))
    assert_max_agrees(cpu, x, where, True)
    assert_sums_and_averages_agree(cpu, x, where, True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_spoilt_cell_reaches_only_its_windows_and_its_channel(value):
    assert_a_spoilt_cell_reaches_only_its_windows_and_its_channel(cpu, value)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3, 20])),
    output_size=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    dtype=st.sampled_from(DTYPES),
)
def test_adaptive_pooling_is_the_reference(parts, shape, output_size, dtype):
    with split(parts):
        assert_adaptive_agrees(cpu, shape, output_size, dtype)


def test_the_average_of_a_large_float32_image_keeps_its_digits():
    y = cpu.adaptive_avg_pool2d_forward(np.full((1, 500, 500, 2), 0.1, np.float32), (1, 1))
    assert_allclose(y, np.float32(0.1), rtol=1e-7)
