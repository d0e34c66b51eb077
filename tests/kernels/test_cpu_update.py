"""The optimizers' steps of the cpu room against the reference: in place, whatever the memory layout."""

import numpy as np
import pytest
from agreement import DTYPES, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cpu, reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=100)
SHAPES = st.lists(st.integers(1, 9), min_size=0, max_size=4).map(tuple)
# A handful of roundings of numbers near 1 in each of three steps.
TOLERANCE = {np.float32: {"rtol": 5e-6, "atol": 2e-6}, np.float64: {"rtol": 1e-13, "atol": 1e-14}}
UPDATES = {
    "sgd": ("sgd_update", 1, [(0.1, 0.9, False, 0.0), (0.1, 0.9, True, 0.01), (0.05, 0.0, False, 0.1)]),
    "adadelta": (
        "adadelta_update",
        2,
        [(1.0, 0.95, 1e-6, 0.0), (0.5, 0.9, 1e-4, 0.01), (1.0, 0.999, 1e-6, 0.0), (1.0, 0.9999, 1e-6, 0.0)],
    ),
}
LAYOUTS = {
    "plain": lambda a: a.copy(),
    "transposed": lambda a: a.copy(order="F"),
    "backwards": lambda a: np.flip(np.flip(a).copy()) if a.ndim else a.copy(),
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a.copy(),
}


def steps(room, name, states, shape, numbers, dtype, layout):
    """w and the states after three steps."""
    rng = np.random.default_rng(0)
    w = LAYOUTS[layout](np.asarray(rng.standard_normal(shape), dtype))
    written = [w, *(LAYOUTS[layout](np.zeros(shape, dtype)) for _ in range(states))]
    for _ in range(3):
        dw = LAYOUTS[layout](np.asarray(rng.standard_normal(shape), dtype))
        dw.setflags(write=False)
        before = dw.copy()
        w, *rest = ([a] for a in written)
        assert getattr(room, name)(w, [dw], *rest, *numbers) is None
        assert_array_equal(dw, before)
    return written


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("optimizer", UPDATES)
@SETTINGS
@given(shape=SHAPES, which=st.integers(0, 3), dtype=st.sampled_from(DTYPES), parts=st.sampled_from([1, 3]))
def test_three_steps_are_the_reference(optimizer, layout, shape, which, dtype, parts):
    name, states, settings_ = UPDATES[optimizer]
    numbers = settings_[which % len(settings_)]
    with split(parts):
        got = steps(cpu, name, states, shape, numbers, dtype, layout)
    expected = steps(reference, name, states, shape, numbers, dtype, "plain")
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == dtype
        assert_allclose(a, b, **TOLERANCE[dtype])
        if name == "adadelta_update" and b is not expected[0]:
            assert_allclose(a, b, rtol=TOLERANCE[dtype]["rtol"])  # averages of squares: nothing cancels


@pytest.mark.parametrize("room", [cpu, reference])
@pytest.mark.parametrize("optimizer", UPDATES)
def test_many_arrays_in_one_call_are_the_single_ones(optimizer, room):
    """Small ones and one for several threads, float32 beside float64, and each with its own state."""
    name, states, settings_ = UPDATES[optimizer]
    rng = np.random.default_rng(0)
    shapes = [(3,), (2, 3, 4), (), (300, 400), (5, 0)]
    arrays = [[rng.random(shape).astype(dtype) for shape in shapes for dtype in DTYPES] for _ in range(2 + states)]
    together, alone = [[[a.copy() for a in row] for row in arrays] for _ in range(2)]
    getattr(room, name)(*together, *settings_[0])
    for single in zip(*alone, strict=True):
        getattr(room, name)(*([a] for a in single), *settings_[0])
    for row, other, before in zip(together, alone, arrays, strict=True):
        for a, b in zip(row, other, strict=True):
            assert_array_equal(a, b)
        assert row is together[1] or all((a != b).any() for a, b in zip(row, before, strict=True) if a.size)


@pytest.mark.parametrize("room", [cpu, reference])
def test_as_many_gradients_as_weights(room):
    w = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="shorter"):
        room.sgd_update([w, w.copy()], [w], None, 0.1, 0.0, False, 0.0)


def test_without_momentum_no_velocity_is_needed():
    w, dw = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)
    cpu.sgd_update([w], [dw], None, 0.1, 0.0, False, 0.5)
    assert_allclose(w, 1 - 0.1 * 2.5, rtol=1e-6)


@pytest.mark.parametrize("optimizer", UPDATES)
def test_the_bits_do_not_depend_on_the_number_of_threads(optimizer):
    name, states, settings_ = UPDATES[optimizer]
    results = []
    for parts in (1, 2, 5):
        with split(parts):
            results.append(steps(cpu, name, states, (1000, 77), settings_[1], np.float32, "plain"))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_a_nan_spoils_only_its_own_weight():
    w, dw, v, u = (np.ones(100, np.float32) for _ in range(4))
    dw[40] = np.nan
    cpu.adadelta_update([w], [dw], [v], [u], 1.0, 0.9, 1e-6, 0.0)
    cpu.sgd_update([w], [dw], [v], 0.1, 0.9, True, 0.0)
    for array in (w, v, u):
        assert_array_equal(np.flatnonzero(np.isnan(array)), [40])
