"""The optimizers' steps of the CUDA room against the reference: in place, many arrays in one launch."""

import numpy as np
import pytest
from agreement import DTYPES
from numpy.testing import assert_allclose, assert_array_equal
from updates import LAYOUTS, SQUARES, TOLERANCE, UPDATES, copied, singles, steps, together

from minicnn.kernels import cuda, reference
from minicnn.kernels.cuda import _update

SHAPES = [(), (1,), (3, 5), (2048,), (3, 33, 47)]  # a piece of float32 and two of float64, and pieces with a rest
OPTIMIZERS = pytest.mark.parametrize("optimizer", UPDATES)
EVERY_SETTING = [(optimizer, which) for optimizer, (*_, settings) in UPDATES.items() for which in range(len(settings))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("optimizer", "which"), EVERY_SETTING)
def test_three_steps_are_the_reference(emulator, optimizer, which, dtype):
    for shape in SHAPES:
        got, expected = (steps(room, optimizer, which, shape, dtype, "plain") for room in (cuda, reference))
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == dtype
            assert_allclose(a, b, **TOLERANCE[dtype], err_msg=f"{shape}")
            if optimizer in SQUARES and b is not expected[0]:
                assert_allclose(a, b, rtol=TOLERANCE[dtype]["rtol"], err_msg=f"{shape}")


@OPTIMIZERS
def test_the_memory_layout_changes_no_bit(emulator, optimizer):
    plain, *others = (steps(cuda, optimizer, 1, (3, 4, 5), np.float32, layout) for layout in ("plain", *LAYOUTS))
    for other in others:
        for a, b in zip(other, plain, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@OPTIMIZERS
def test_arrays_may_begin_anywhere(emulator, optimizer, dtype):
    """Not only where 16 bytes do, as vectors must: parameters that lie one behind the other in one flat array."""
    for moved in ((1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 1, 1), (3, 3, 3, 3, 3)):
        assert_place_does_not_matter(optimizer, moved, dtype)


def assert_place_does_not_matter(optimizer, moved, dtype):
    name, rows, numbers = together(optimizer, [(4099,)], [dtype])
    expected, given, views = copied(rows), {}, list(rows)
    getattr(reference, name)(*expected, *numbers)
    for i, by in enumerate(moved[: len(rows)]):
        if rows[i] is not None:
            given[i] = np.pad(rows[i][0].reshape(-1), (by, 1), constant_values=7)
            views[i] = [given[i][by:-1].reshape(rows[i][0].shape)]
    getattr(cuda, name)(*views, *numbers)
    for i, array in given.items():
        assert_allclose(views[i][0], expected[i][0], **TOLERANCE[dtype])
        assert_array_equal(array[[*range(moved[i]), -1]], 7)


@OPTIMIZERS
def test_many_arrays_in_one_call_are_the_single_ones(emulator, optimizer):
    """Empty, small and large ones, float32 beside float64, more than one launch takes."""
    shapes = [(3,), (2, 3, 4), (), (5000,), (5, 0), (2, 4096)] + 60 * [(7,)] + [(4097,), (2,)]
    name, rows, numbers = together(optimizer, shapes, DTYPES)
    one_by_one = copied(rows)
    getattr(cuda, name)(*rows, *numbers)
    for single in singles(one_by_one):
        getattr(reference, name)(*single, *numbers)
    for row, expected in zip(rows, one_by_one, strict=True):
        for a, b in zip(row or [], expected or [], strict=True):
            assert_allclose(a, b, **TOLERANCE[a.dtype.type])


@OPTIMIZERS
def test_a_launch_takes_64_arrays(emulator, monkeypatch, optimizer):
    grids = []

    def launch(file, kernel, dtype, grid, *_):
        if kernel.endswith("_update"):
            grids.append(grid)

    monkeypatch.setattr(_update, "launch", launch)
    for count, launches in [(1, 1), (64, 1), (65, 2), (128, 2)]:
        grids.clear()
        name, rows, numbers = together(optimizer, count * [(5,)], [np.float32])
        getattr(cuda, name)(*rows, *numbers)
        assert len(grids) == launches
        assert sum(blocks for (blocks,) in grids) == count


@OPTIMIZERS
def test_as_many_gradients_as_weights(emulator, optimizer):
    name, rows, numbers = together(optimizer, [(3,), (3,)], [np.float32])
    rows[1].pop()
    with pytest.raises(ValueError, match="shorter"):
        getattr(cuda, name)(*rows, *numbers)


def test_without_momentum_no_velocity_is_needed(emulator):
    """And then neither momentum nor Nesterov counts, as in the reference."""
    for momentum, nesterov in ((0.0, False), (0.9, True)):
        w, dw = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)
        cuda.sgd_update([w], [dw], None, 0.1, momentum, nesterov, 0.5)
        assert_allclose(w, 1 - 0.1 * 2.5, rtol=1e-6)


@pytest.mark.parametrize("optimizer", [name for name in UPDATES if name != "lars"])
def test_a_nan_spoils_only_its_own_weight(emulator, optimizer):
    name, rows, numbers = together(optimizer, [(100,)], [np.float32])
    rows[1][0][40] = np.nan
    getattr(cuda, name)(*rows, *numbers)
    for row in (row for row in rows if row is not None and row[0].ndim):
        assert_array_equal(np.flatnonzero(np.isnan(row[0])), [40])


def test_a_count_late_in_the_training(emulator):
    """1 - beta^t where it is nearly 1, and where float32 has room for it no longer."""
    for count in (1e3, 1e5, 2.0**24):
        rows = [[np.ones((), np.float32)] for _ in range(5)]
        rows[4][0][...] = count
        expected = copied(rows)
        for room, call in ((cuda, rows), (reference, expected)):
            room.adam_update(*call, 0.1, 0.9, 0.99999, 1e-8, 0.0, False)
        for (a,), (b,) in zip(rows, expected, strict=True):
            assert_allclose(a, b, rtol=1e-6)


def test_lars_leaves_weights_that_are_0_and_gradients_that_are_0(emulator):
    """There the trust is 1, as in the reference; beside it one that is not."""
    w, dw = [np.zeros(5000), np.ones(5000), np.ones(3)], [np.ones(5000), np.zeros(5000), np.full(3, 2.0)]
    v = [np.zeros(a.shape) for a in w]
    expected = copied([w, dw, v])
    cuda.lars_update(w, dw, v, 0.5, 0.9, 0.0, 0.1)
    reference.lars_update(*expected, 0.5, 0.9, 0.0, 0.1)
    for a, b in zip(w, expected[0], strict=True):
        assert_allclose(a, b, rtol=1e-12)
    assert [float(a[0]) for a in w] == pytest.approx([-0.5, 1.0, 1 - 0.5 * 0.1 / 2 * 2])
