"""Losses of the CUDA room against the reference in float64; what they are told and what they tell stays on the GPU."""

import numpy as np
import pytest
from agreement import DTYPES
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cuda, reference

TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}
# One class, rows of a warp and of a block, and more rows than the block has threads that takes their mean.
SHAPES = [(1, 1), (3, 1), (1, 10), (9, 33), (2, 1024), (3, 1025), (2500, 3)]
SIZES = [(1,), (3, 5), (1023,), (32, 32), (1025,), (7, 33, 31)]


def classes(rng, N, K):
    return rng.integers(0, K, N)


def rows(rng, N, K):
    return rng.dirichlet(np.ones(K), N)


def weighted_rows(rng, N, K):
    """As class weights make them: they add up to anything, which the caller then puts into p."""
    return rows(rng, N, K) * rng.integers(0, 5, K)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("targets", [classes, rows, weighted_rows])
def test_cross_entropy_is_the_reference(emulator, targets, shape, dtype):
    rng = np.random.default_rng(0)
    logits, target = (5 * rng.standard_normal(shape)).astype(dtype), targets(rng, *shape)
    loss, p = cuda.cross_entropy_forward(logits, target)
    expected_loss, expected_p = reference.cross_entropy_forward(logits.astype(np.float64), target)
    assert loss.shape == ()
    assert loss.dtype == p.dtype == dtype
    assert_allclose(loss, expected_loss, rtol=TOLERANCE[dtype])
    assert_allclose(p, expected_p, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    dloss = np.array(0.7, dtype)
    p = p * target.sum(axis=1, keepdims=True).astype(dtype) if target.ndim == 2 else p
    got = cuda.cross_entropy_backward(dloss, p, target)
    expected = reference.cross_entropy_backward(dloss.astype(np.float64), p.astype(np.float64), target)
    assert got.dtype == dtype
    assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] / len(p))


def test_classes_may_be_any_whole_numbers(emulator):
    logits = np.random.default_rng(0).standard_normal((5, 4))
    target = np.array([3, 0, 1, 2, 3])
    loss, p = cuda.cross_entropy_forward(logits, target)
    for kind in (np.int8, np.int32, np.uint8):
        assert_array_equal(cuda.cross_entropy_forward(logits, target.astype(kind))[0], loss)
        assert_array_equal(cuda.cross_entropy_backward(loss, p, target.astype(kind)),
                           cuda.cross_entropy_backward(loss, p, target))  # fmt: skip


def test_a_probability_that_has_become_zero_still_costs_its_nats(emulator):
    logits = np.array([[0.0, -1000.0], [-1000.0, 0.0]], np.float32)
    for target in (np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)):
        loss, p = cuda.cross_entropy_forward(logits, target)
        assert loss == 1000
        assert_array_equal(p, [[1, 0], [0, 1]])


def test_an_impossible_class_costs_nothing_where_its_target_is_zero(emulator):
    logits = np.array([[0.0, -np.inf, 0.0], [0.0, 0.0, 0.0]], np.float32)
    target = np.array([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]], np.float32)
    loss, p = cuda.cross_entropy_forward(logits, target)
    assert_allclose(loss, (np.log(2) + np.log(3)) / 2, rtol=1e-6)
    assert_array_equal(p[0], [0.5, 0, 0.5])
    assert np.isposinf(cuda.cross_entropy_forward(logits, target[::-1])[0])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("targets", [classes, rows])
def test_infinity_and_nan_come_out_as_in_the_reference(emulator, targets, number):
    logits = np.random.default_rng(0).standard_normal((12, 40))
    target = targets(np.random.default_rng(1), 12, 40)
    logits[7, 35] = number
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = reference.cross_entropy_forward(logits, target)
    for a, b in zip(cuda.cross_entropy_forward(logits, target), expected, strict=True):
        assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("name", ["mean_squared_error", "half_squared_error"])
def test_squared_errors_are_the_reference(emulator, name, shape, dtype):
    rng = np.random.default_rng(0)
    y, target, dloss = (np.asarray(rng.standard_normal(s), dtype) for s in (shape, shape, ()))
    wide = [a.astype(np.float64) for a in (dloss, y, target)]
    loss, dy = getattr(cuda, f"{name}_forward")(y, target), getattr(cuda, f"{name}_backward")(dloss, y, target)
    assert loss.shape == ()
    assert loss.dtype == dy.dtype == dtype
    assert_allclose(loss, getattr(reference, f"{name}_forward")(*wide[1:]), rtol=TOLERANCE[dtype])
    expected = getattr(reference, f"{name}_backward")(*wide)
    assert_allclose(dy, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * abs(expected).max())


def test_the_mean_of_a_million_squares_keeps_its_digits(emulator):
    """Each block has a share of several rounds here; squares of 1 and of 1000 stand side by side."""
    y = np.ones(2**20 + 3, np.float32)
    y[::7] = 1000
    y[-1] = 3000
    expected = np.mean(y.astype(np.float64) ** 2)
    assert_allclose(cuda.mean_squared_error_forward(y, np.zeros_like(y)), expected, rtol=1e-6)


class OnTheGpu(np.ndarray):
    """An array whose numbers Python must not read."""

    def refuse(self, *arguments, **settings):
        raise AssertionError("a number was brought to the CPU")

    __array_ufunc__ = __array_function__ = __float__ = __int__ = __bool__ = __getitem__ = item = tolist = refuse


def test_no_number_is_brought_to_the_cpu(emulator):
    """Python would wait for the GPU, and a graph captured from these calls would go on with the old number."""
    rng = np.random.default_rng(0)
    dloss, y, target = (np.asarray(rng.random(shape)).view(OnTheGpu) for shape in ((), (3, 4), (3, 4)))
    for a in (dloss, y, target):
        a.setflags(write=False)  # else the emulator writes to them
    for name in ("mean_squared_error", "half_squared_error", "cross_entropy"):
        getattr(cuda, f"{name}_forward")(y, target)
        getattr(cuda, f"{name}_backward")(dloss, y, target)
    for name in ("cross_entropy_backward", "mean_squared_error_backward"):
        with pytest.raises(AssertionError, match="brought to the CPU"):
            getattr(reference, name)(dloss, y, target)
