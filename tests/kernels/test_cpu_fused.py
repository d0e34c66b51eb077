"""Activations that a kernel of the cpu room applies to its own result: the same bits as the activation on its own."""

import numpy as np
import pytest
from agreement import DTYPES, split
from numpy.testing import assert_array_equal

from minicnn.kernels import cpu

NAMES = ["relu", "tanh", "sigmoid"]
WHERE = (1, 1), ((1, 1), (1, 1)), (1, 1), 1


def separately(y, name):
    return getattr(cpu, f"{name}_forward")(y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [(1, 9, 1), (3, 5, 600), (4, 5, 33), (9, 300, 70), (130, 20, 83), (17, 3, 1100)])
def test_the_linear_layer(sizes, name, dtype):
    """Few samples and many, sums of one and of two blocks, whole vectors of columns and not."""
    M, K, N = sizes
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in [(M, K), (K, N), (N,)])
    for parts in (1, 2, 3):
        with split(parts):
            for bias in (b, None):
                expected = separately(cpu.linear_forward(x, w, bias, None), name)
                assert_array_equal(cpu.linear_forward(x, w, bias, name), expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_linear_layer_with_a_sum_over_nothing(name):
    b = np.array([-1, 2], np.float32)
    y = cpu.linear_forward(np.zeros((3, 0), np.float32), np.zeros((0, 2), np.float32), b, name)
    assert_array_equal(y, separately(np.stack([b] * 3), name))


@pytest.mark.parametrize("algorithm", ["im2col", "implicit_gemm"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("C", "O", "K", "groups"), [(3, 40, 3, 1), (2, 3, 3, 1), (5, 5, 3, 5), (6, 20, 3, 2), (7, 9, 1, 1)]
)
def test_convolution(C, O, K, groups, name, dtype, algorithm):
    rng = np.random.default_rng(0)
    padding = (K // 2, K // 2)
    where = (1, 1), (padding, padding), (1, 1), groups, algorithm
    x, b = rng.standard_normal((2, 9, 7, C)).astype(dtype), rng.standard_normal(O).astype(dtype)
    w = rng.standard_normal((K, K, C // groups, O)).astype(dtype)
    for parts in (1, 3):
        with split(parts):
            expected = separately(cpu.conv2d_forward(x, w, b, *where, None), name)
            assert_array_equal(cpu.conv2d_forward(x, w, b, *where, name), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_nan_and_infinity(name, value):
    """The identity matrix takes x to the activation as it is, and infinity times 0 makes the rest of its row NaN."""
    x = np.eye(9, dtype=np.float32)
    x[4, 4] = value
    with np.errstate(invalid="ignore"):
        expected = separately(x @ np.eye(9, dtype=np.float32), name)
    assert_array_equal(cpu.linear_forward(x, np.eye(9, dtype=np.float32), None, name), expected)
