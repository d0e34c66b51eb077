"""Softmax of the CUDA room against the reference in float64: rows of a warp, rows of a block, and odd numbers."""

import numpy as np
import pytest
from agreement import DTYPES
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cuda, reference

NAMES = ("softmax_forward", "softmax_backward", "log_softmax_forward", "log_softmax_backward")
# Rows that end within a warp, within the numbers that a thread takes together, and at the longest row of a warp.
SHAPES = [(1,), (3, 1), (2, 3, 2), (9, 31), (8, 32), (17, 33), (2, 129), (3, 1023), (2, 1024), (3, 1025), (2, 2600)]
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


def inputs(name, shape, dtype):
    """x, or dy and y, with numbers of very different sizes."""
    rng = np.random.default_rng(0)
    x = 5 * rng.standard_normal(shape)
    if name.endswith("forward"):
        return (x.astype(dtype),)
    y = getattr(reference, name.replace("backward", "forward"))(x)
    return rng.standard_normal(shape).astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_softmax_is_the_reference(emulator, name, shape, dtype):
    given = inputs(name, shape, dtype)
    got = getattr(cuda, name)(*given)
    expected = getattr(reference, name)(*(a.astype(np.float64) for a in given))
    assert got.dtype == dtype
    assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("K", [7, 1500])
@pytest.mark.parametrize("name", ["softmax_forward", "log_softmax_forward"])
def test_infinity_nan_and_large_numbers_come_out_as_in_the_reference(emulator, name, K):
    """In the first and the last place of a row, and in every place."""
    special = (np.nan, np.inf, -np.inf, 1e30, -1e30)
    x = np.random.default_rng(0).standard_normal((3 * len(special), K))
    for row, number in enumerate(special):
        x[3 * row, 0] = x[3 * row + 1, -1] = x[3 * row + 2, :] = number
    with np.errstate(invalid="ignore", divide="ignore"):
        assert_allclose(getattr(cuda, name)(x), getattr(reference, name)(x), rtol=1e-14, atol=1e-14)


def test_the_one_class_is_certain(emulator):
    x, dy = np.array([[3.0], [-1e30], [0.0]]), np.array([[5.0], [-2.0], [0.1]])
    assert_array_equal(cuda.softmax_forward(x), np.ones((3, 1)))
    assert_array_equal(cuda.log_softmax_forward(x), np.zeros((3, 1)))
    assert_array_equal(cuda.softmax_backward(dy, np.ones((3, 1))), np.zeros((3, 1)))
    assert_array_equal(cuda.log_softmax_backward(dy, np.zeros((3, 1))), np.zeros((3, 1)))


@pytest.mark.parametrize("K", [40, 1100])
def test_a_nan_in_any_place_spoils_its_row_and_no_other(emulator, K):
    x = np.random.default_rng(0).standard_normal((10, K)).astype(np.float32)
    x[4, 37] = np.nan
    for name in ("softmax_forward", "log_softmax_forward"):
        assert_array_equal(np.isnan(getattr(cuda, name)(x)), np.arange(10)[:, None] == np.full(K, 4))


def test_no_rows_are_no_rows(emulator):
    assert cuda.softmax_forward(np.zeros((0, 5), np.float32)).shape == (0, 5)
