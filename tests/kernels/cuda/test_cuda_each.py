"""Kernels that work number by number (each.cuh): pieces of all sizes, arrays that begin anywhere."""

import numpy as np
import pytest
from agreement import DTYPES, converted
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cuda, reference

EVERY_DTYPE = pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
FORWARD = ["relu_forward", "relu6_forward", "tanh_forward", "sigmoid_forward"]
BACKWARD = ["relu_backward", "relu6_backward", "tanh_backward", "sigmoid_backward"]
TOLERANCE = {np.float16: 6e-4, np.float32: 2e-6, np.float64: 1e-14}


def moved(n, by, dtype, seed):
    """n numbers, `by` numbers behind a place where 16 bytes begin."""
    x = np.random.default_rng(seed).uniform(-1, 1, n + by).astype(dtype)
    assert x.ctypes.data % 16 == 0
    return x[by:]


def assert_agrees(name, *arrays):
    before = [a.copy() for a in arrays]
    got, expected = getattr(cuda, name)(*arrays), getattr(reference, name)(*converted(arrays, np.float64))
    assert got.dtype == arrays[0].dtype
    assert_allclose(got, expected, rtol=TOLERANCE[got.dtype.type], atol=TOLERANCE[got.dtype.type])
    for a, b in zip(arrays, before, strict=True):
        assert_array_equal(a, b)


@EVERY_DTYPE
@pytest.mark.parametrize("n", [0, 1, 3, 31, 256, 257, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 5003])
def test_sizes_around_those_of_a_piece(emulator, n, dtype):
    """A piece is 1024 numbers of float64, 2048 of float32, 4096 of float16; the last one may be shorter."""
    for name in FORWARD:
        assert_agrees(name, moved(n, 0, dtype, 1))
    for name in BACKWARD:
        assert_agrees(name, moved(n, 0, dtype, 1), moved(n, 0, dtype, 2))


@EVERY_DTYPE
@pytest.mark.parametrize("by", [(1, 0), (0, 1), (1, 1), (2, 3), (4, 4)])
@pytest.mark.parametrize("n", [1, 2048, 4200])
def test_arrays_may_begin_anywhere(emulator, n, by, dtype):
    """Vectors are read where 16 bytes begin; a view such as x[1:] is dense, and begins elsewhere."""
    for name in FORWARD:
        assert_agrees(name, moved(n, by[0], dtype, 1))
    for name in BACKWARD:
        assert_agrees(name, moved(n, by[0], dtype, 1), moved(n, by[1], dtype, 2))
    y, target, dloss = moved(n, by[0], dtype, 1), moved(n, by[1], dtype, 2), np.array(0.7, dtype)
    got = cuda.mean_squared_error_backward(dloss, y, target)
    expected = reference.mean_squared_error_backward(*converted((dloss, y, target), np.float64))
    assert_allclose(got, expected, rtol=TOLERANCE[dtype] * 4, atol=TOLERANCE[dtype] / n)


@EVERY_DTYPE
@pytest.mark.parametrize("by", [0, 1])
def test_a_number_gives_the_same_bits_wherever_it_stands(emulator, by, dtype):
    """By vectors, one by one, and in the rest."""
    x = np.random.default_rng(0).standard_normal(7).astype(dtype)
    many = np.resize(x, 4200 + by)[by:]
    for name in FORWARD:
        kernel = getattr(cuda, name)
        assert_array_equal(kernel(many), np.resize(kernel(x), 4200 + by)[by:])


@EVERY_DTYPE
def test_nan_infinity_and_the_sign_of_zero_are_those_of_the_reference(emulator, dtype):
    x = np.resize(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1], dtype), 4200)
    dy = np.repeat(np.array([np.nan, np.inf, -np.inf, 1], dtype), 1050)
    with np.errstate(invalid="ignore"):
        for name in FORWARD:
            assert_agrees(name, x)
        for name in BACKWARD:
            assert_agrees(name, dy, x)
