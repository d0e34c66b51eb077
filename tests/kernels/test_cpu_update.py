"""The optimizers' steps of the cpu room against the reference: in place, on any layout, in one pass."""

import numpy as np
import pytest
from agreement import DTYPES, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from updates import LAYOUTS, SQUARES, TOLERANCE, UPDATES, copied, singles, steps, together

from minicnn.kernels import cpu, reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=50)
SHAPES = st.lists(st.integers(1, 9), min_size=0, max_size=4).map(tuple)
OPTIMIZERS = pytest.mark.parametrize("optimizer", UPDATES)


@pytest.mark.parametrize("layout", LAYOUTS)
@OPTIMIZERS
@SETTINGS
@given(shape=SHAPES, which=st.integers(0, 3), dtype=st.sampled_from(DTYPES), parts=st.sampled_from([1, 3]))
def test_three_steps_are_the_reference(optimizer, layout, shape, which, dtype, parts):
    with split(parts):
        got = steps(cpu, optimizer, which, shape, dtype, layout)
    expected = steps(reference, optimizer, which, shape, dtype, "plain")
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == dtype
        assert_allclose(a, b, **TOLERANCE[dtype])
        if optimizer in SQUARES and b is not expected[0]:
            assert_allclose(a, b, rtol=TOLERANCE[dtype]["rtol"])


@pytest.mark.parametrize("room", [cpu, reference])
@OPTIMIZERS
def test_many_arrays_in_one_call_are_the_single_ones(optimizer, room):
    """Small ones and one for several threads, float32 beside float64, and each with its own state."""
    name, rows, numbers = together(optimizer, [(3,), (2, 3, 4), (), (300, 400), (5, 0)], DTYPES)
    given, alone = copied(rows), copied(rows)
    getattr(room, name)(*given, *numbers)
    for single in singles(alone):
        getattr(room, name)(*single, *numbers)
    for row, other, before in zip(given, alone, rows, strict=True):
        for a, b, old in zip(row or [], other or [], before or [], strict=True):
            assert_array_equal(a, b)
            assert row is given[1] or (a != old).any() or not a.size


@pytest.mark.parametrize("room", [cpu, reference])
@OPTIMIZERS
def test_as_many_gradients_as_weights(optimizer, room):
    name, rows, numbers = together(optimizer, [(3,), (3,)], [np.float32])
    rows[1].pop()
    with pytest.raises(ValueError, match="shorter"):
        getattr(room, name)(*rows, *numbers)


def test_without_momentum_no_velocity_is_needed():
    w, dw = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)
    cpu.sgd_update([w], [dw], None, 0.1, 0.0, False, 0.5)
    assert_allclose(w, 1 - 0.1 * 2.5, rtol=1e-6)


@OPTIMIZERS
def test_the_bits_do_not_depend_on_the_number_of_threads(optimizer):
    results = []
    for parts in (1, 2, 5):
        with split(parts):
            results.append(steps(cpu, optimizer, 1, (1000, 77), np.float32, "plain"))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("room", [cpu, reference])
@pytest.mark.parametrize("optimizer", [name for name in UPDATES if name != "lars"])
def test_a_nan_spoils_only_its_own_weight(optimizer, room):
    name, rows, numbers = together(optimizer, [(100,)], [np.float32])
    rows[1][0][40] = np.nan
    getattr(room, name)(*rows, *numbers)
    for row in (row for row in rows if row is not None and row[0].ndim):
        assert_array_equal(np.flatnonzero(np.isnan(row[0])), [40])


@pytest.mark.parametrize("room", [cpu, reference])
def test_a_nan_spoils_all_weights_of_its_parameter_in_lars(room):
    """It is in the norm; the other Parameters of the call have norms of their own."""
    name, rows, numbers = together("lars", [(100,), (5,)], [np.float32])
    rows[1][0][40] = np.nan
    getattr(room, name)(*rows, *numbers)
    assert np.isnan(rows[0][0]).all()
    assert np.isfinite(rows[0][1]).all()


@pytest.mark.parametrize("room", [cpu, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_a_constant_slope_to_rounding_has_no_variance_below_0(room, dtype):
    """Of a constant gradient the mean of the squares is the square of the mean, but for rounding, up or down."""
    rng = np.random.default_rng(0)
    (w, dw), (square, average) = rng.standard_normal((2, 1000)).astype(dtype), np.zeros((2, 1000), dtype)
    for _ in range(100):
        room.rmsprop_update([w], [dw], [square], [average], None, 1e-9, 0.5, 1e-3, 0.0, 0.0)
    assert ((square - average**2) < 0).any()  # else this has tested nothing
    assert np.isfinite(w).all()


@pytest.mark.parametrize("room", [cpu, reference])
def test_lars_sums_in_float64(room):
    """A million squares of which each is too small to be seen beside the sum of all: in float32 some would be lost."""
    w, dw, v = np.full(1 << 20, 1e-3, np.float32), np.ones(1 << 20, np.float32), np.zeros(1 << 20, np.float32)
    room.lars_update([w], [dw], [v], 1.0, 0.0, 0.0, 1.0)
    assert_allclose(v, np.float32(1e-3), rtol=1e-6)  # |w| / |dw|
