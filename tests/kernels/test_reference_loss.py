"""The losses against their definitions, and gradients against complex steps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference

TIGHT = {"rtol": 1e-12, "atol": 1e-14}
rng = np.random.default_rng(0)
LOGITS = 2 * rng.standard_normal((5, 4))
CLASSES = np.array([3, 0, 0, 2, 1])
ROWS = rng.random((5, 4))
ROWS /= ROWS.sum(axis=1, keepdims=True)


def cross_entropy(logits, rows):
    total = 0
    for n, k in np.ndindex(logits.shape):
        total -= rows[n, k] * np.log(np.exp(logits[n, k]) / sum(np.exp(v) for v in logits[n]))
    return total / len(logits)


@pytest.mark.parametrize(("target", "rows"), [(CLASSES, np.eye(4)[CLASSES]), (ROWS, ROWS)], ids=["classes", "rows"])
def test_cross_entropy_by_loops(target, rows, gradient):
    loss, p = reference.cross_entropy_forward(LOGITS, target)
    assert_allclose(loss, cross_entropy(LOGITS, rows), **TIGHT)
    assert_allclose(p, [[np.exp(v) / np.exp(row).sum() for v in row] for row in LOGITS], **TIGHT)
    dlogits = reference.cross_entropy_backward(np.array(1.5), p, target)
    assert_allclose(dlogits, gradient(lambda logits: cross_entropy(logits, rows), LOGITS, 1.5), rtol=1e-11, atol=1e-14)


def test_rows_may_add_up_to_anything_where_backward_gets_p_times_the_sum(gradient):
    rows = ROWS * [0.5, 3, 0, 7]
    loss, p = reference.cross_entropy_forward(LOGITS, rows)
    assert_allclose(loss, cross_entropy(LOGITS, rows), **TIGHT)
    got = reference.cross_entropy_backward(np.array(1.5), p * rows.sum(axis=1, keepdims=True), rows)
    assert_allclose(got, gradient(lambda logits: cross_entropy(logits, rows), LOGITS, 1.5), rtol=1e-11, atol=1e-14)


def test_the_backward_direction_leaves_p_as_it_was():
    _, p = reference.cross_entropy_forward(LOGITS, CLASSES)
    before = p.copy()
    first = reference.cross_entropy_backward(np.array(1.0), p, CLASSES)
    assert_array_equal(p, before)
    assert_array_equal(reference.cross_entropy_backward(np.array(1.0), p, CLASSES), first)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_logits_of_1000_is_large_and_finite(dtype):
    loss, p = reference.cross_entropy_forward(np.array([[1000, 0], [0, 1000]], dtype), np.array([1, 1]))
    assert loss == 500
    assert_array_equal(reference.cross_entropy_backward(np.array(1, dtype), p, np.array([1, 1])), [[0.5, -0.5], [0, 0]])


def mean_squared_error(y, target):
    return sum((y[i] - target[i]) ** 2 for i in np.ndindex(y.shape)) / y.size


def half_squared_error(y, target):
    return sum((y[i] - target[i]) ** 2 / 2 for i in np.ndindex(y.shape)) / (y.size // y.shape[-1])


@pytest.mark.parametrize("shape", [(3,), (1, 4), (5, 3), (2, 3, 4)])
@pytest.mark.parametrize("definition", [mean_squared_error, half_squared_error])
def test_squared_errors_by_loops(definition, shape, gradient):
    y, target = rng.standard_normal((2, *shape))
    forward = getattr(reference, f"{definition.__name__}_forward")
    backward = getattr(reference, f"{definition.__name__}_backward")
    assert_allclose(forward(y, target), definition(y, target), **TIGHT)
    assert_allclose(backward(np.array(0.7), y, target), gradient(lambda y: definition(y, target), y, 0.7), **TIGHT)


def test_a_loss_is_an_array_without_axes():
    y = LOGITS.astype(np.float32)
    losses = [
        reference.cross_entropy_forward(y, CLASSES)[0],
        reference.cross_entropy_forward(y, ROWS)[0],
        reference.mean_squared_error_forward(y, y + 1),
        reference.half_squared_error_forward(y, y + 1),
    ]
    assert all(type(loss) is np.ndarray and loss.shape == () and loss.dtype == np.float32 for loss in losses)
