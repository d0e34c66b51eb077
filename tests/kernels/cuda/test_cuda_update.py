"""The optimizers' steps of the CUDA room against the reference: in place, many arrays in one launch."""

import numpy as np
import pytest
from agreement import DTYPES
from numpy.testing import assert_allclose, assert_array_equal
from test_cpu_update import LAYOUTS, TOLERANCE, UPDATES, steps

from minicnn.kernels import cuda, reference
from minicnn.kernels.cuda import update

SHAPES = [(), (1,), (3, 5), (2048,), (3, 33, 47)]  # a piece of float32 and two of float64, and pieces with a rest
OPTIMIZERS = pytest.mark.parametrize("optimizer", UPDATES)


def together(optimizer, shapes, dtypes):
    """The name of a kernel, its numbers, and arrays: ws, dws and states, one of each for every shape and dtype."""
    name, states, settings = UPDATES[optimizer]
    rng = np.random.default_rng(0)
    arrays = [[rng.random(shape).astype(dtype) for shape in shapes for dtype in dtypes] for _ in range(2 + states)]
    return name, settings[0], arrays


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("which", range(4))
@OPTIMIZERS
def test_three_steps_are_the_reference(emulator, optimizer, which, shape, dtype):
    name, states, settings = UPDATES[optimizer]
    numbers = settings[which % len(settings)]
    got, expected = (steps(room, name, states, shape, numbers, dtype, "plain") for room in (cuda, reference))
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == dtype
        assert_allclose(a, b, **TOLERANCE[dtype])
        if name == "adadelta_update" and b is not expected[0]:
            assert_allclose(a, b, rtol=TOLERANCE[dtype]["rtol"])  # averages of squares: nothing cancels


@pytest.mark.parametrize("layout", LAYOUTS)
@OPTIMIZERS
def test_the_memory_layout_changes_no_bit(emulator, optimizer, layout):
    name, states, settings = UPDATES[optimizer]
    got, plain = (steps(cuda, name, states, (3, 4, 5), settings[1], np.float32, each) for each in (layout, "plain"))
    for a, b in zip(got, plain, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("moved", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1), (3, 3, 3, 3)])
@OPTIMIZERS
def test_arrays_may_begin_anywhere(emulator, optimizer, moved, dtype):
    """Not only where 16 bytes do, as vectors must: parameters that lie one behind the other in one flat array."""
    name, numbers, arrays = together(optimizer, [(4099,)], [dtype])
    expected = [[a.copy() for a in row] for row in arrays]
    getattr(reference, name)(*expected, *numbers)
    given = [[np.pad(a, (by, 1), constant_values=7)] for (a,), by in zip(arrays, moved, strict=False)]
    getattr(cuda, name)(*([a[by:-1]] for (a,), by in zip(given, moved, strict=False)), *numbers)
    for (a,), (b,), by in zip(given, expected, moved, strict=False):
        assert_allclose(a[by:-1], b, **TOLERANCE[dtype])
        assert_array_equal(a[[*range(by), -1]], 7)


@OPTIMIZERS
def test_many_arrays_in_one_call_are_the_single_ones(emulator, optimizer):
    """Empty, small and large ones, float32 beside float64, more than one launch takes."""
    shapes = [(3,), (2, 3, 4), (), (5000,), (5, 0), (2, 4096)] + 60 * [(7,)] + [(4097,), (2,)]
    name, numbers, arrays = together(optimizer, shapes, DTYPES)
    one_by_one = [[a.copy() for a in row] for row in arrays]
    getattr(cuda, name)(*arrays, *numbers)
    for single in zip(*one_by_one, strict=True):
        getattr(reference, name)(*([a] for a in single), *numbers)
    for row, expected in zip(arrays, one_by_one, strict=True):
        for a, b in zip(row, expected, strict=True):
            assert_allclose(a, b, **TOLERANCE[a.dtype.type])


@pytest.mark.parametrize(("count", "launches"), [(1, 1), (64, 1), (65, 2), (128, 2)])
@OPTIMIZERS
def test_a_launch_takes_64_arrays(emulator, monkeypatch, optimizer, count, launches):
    grids = []
    monkeypatch.setattr(update, "launch", lambda file, kernel, dtype, grid, *_: grids.append(grid))
    name, numbers, arrays = together(optimizer, count * [(5,)], [np.float32])
    getattr(cuda, name)(*arrays, *numbers)
    assert len(grids) == launches
    assert sum(blocks for (blocks,) in grids) == count


def test_as_many_gradients_as_weights(emulator):
    w = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="shorter"):
        cuda.sgd_update([w, w.copy()], [w], None, 0.1, 0.0, False, 0.0)


def test_without_momentum_no_velocity_is_needed(emulator):
    """And then neither momentum nor Nesterov counts, as in the reference."""
    for momentum, nesterov in ((0.0, False), (0.9, True)):
        w, dw = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)
        cuda.sgd_update([w], [dw], None, 0.1, momentum, nesterov, 0.5)
        assert_allclose(w, 1 - 0.1 * 2.5, rtol=1e-6)


def test_a_nan_spoils_only_its_own_weight(emulator):
    w, dw, v, u = (np.ones(100, np.float32) for _ in range(4))
    dw[40] = np.nan
    cuda.adadelta_update([w], [dw], [v], [u], 1, 0.9, 1e-6, 0)
    cuda.sgd_update([w], [dw], [v], 1, 0.9, True, 0)
    for array in (w, v, u):
        assert_array_equal(np.flatnonzero(np.isnan(array)), [40])
