"""Activations and softmax against their definitions, and gradients against complex steps."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference

TIGHT = {"rtol": 1e-12, "atol": 1e-14}
rng = np.random.default_rng(0)
X, DY = 3 * rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))


def elementwise(f):
    """The definition, applied to one number after another."""
    return lambda x: np.array([f(v) for v in x.ravel()]).reshape(x.shape)


def softmax(x):
    y = np.empty_like(x)
    for i in np.ndindex(x.shape):
        y[i] = np.exp(x[i]) / sum(np.exp(x[(*i[:-1], j)]) for j in range(x.shape[-1]))
    return y


DEFINITIONS = {
    "tanh": elementwise(lambda v: (np.exp(v) - np.exp(-v)) / (np.exp(v) + np.exp(-v))),
    "sigmoid": elementwise(lambda v: 1 / (1 + np.exp(-v))),
    "softmax": softmax,
    "log_softmax": lambda x: np.log(softmax(x)),
}


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_the_output_and_the_gradient_are_those_of_the_definition(name, gradient):
    y = getattr(reference, f"{name}_forward")(X)
    assert_allclose(y, DEFINITIONS[name](X), **TIGHT)
    dx = getattr(reference, f"{name}_backward")(DY, y)
    assert_allclose(dx, gradient(DEFINITIONS[name], X, DY), rtol=1e-11, atol=1e-13)


def test_relu_element_by_element():
    y = reference.relu_forward(X)
    assert_array_equal(y, [[[v if v > 0 else 0 for v in row] for row in plane] for plane in X])
    expected = [dy if x > 0 else 0 for x, dy in zip(X.ravel(), DY.ravel(), strict=True)]
    assert_array_equal(reference.relu_backward(DY, y).ravel(), expected)


def test_relu_at_nan_zero_and_the_infinities():
    x = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf])
    y = reference.relu_forward(x)
    assert_array_equal(y, [np.nan, 0, 0, np.inf, 0])
    assert_array_equal(reference.relu_backward(np.full(5, 3.0), y), [3, 0, 0, 3, 0])
    assert_array_equal(reference.relu_backward(np.array([np.nan, np.inf]), np.array([0.0, 0.0])), [0, 0])


def test_relu6_element_by_element():
    x = 4 * X
    y = reference.relu6_forward(x)
    assert {0.0, 6.0} < set(y.ravel())  # and others
    assert_array_equal(y, [[[0 if v <= 0 else 6 if v >= 6 else v for v in row] for row in plane] for plane in x])
    expected = [dy if 0 < v < 6 else 0 for v, dy in zip(x.ravel(), DY.ravel(), strict=True)]
    assert_array_equal(reference.relu6_backward(DY, y).ravel(), expected)


def test_relu6_at_nan_zero_six_and_the_infinities():
    x = np.array([np.nan, 0.0, -0.0, 6.0, np.nextafter(6, 0), np.inf, -np.inf])
    y = reference.relu6_forward(x)
    assert_array_equal(y, [np.nan, 0, 0, 6, np.nextafter(6, 0), 6, 0])
    assert_array_equal(reference.relu6_backward(np.full(7, 3.0), y), [3, 0, 0, 0, 3, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_far_from_zero_neither_warns_nor_loses_small_values(dtype):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = reference.sigmoid_forward(np.array([-1e4, 1e4, -80, 0, np.inf, -np.inf], dtype))
    assert_allclose(y, [0, 1, math.exp(-80), 0.5, 1, 0], rtol=1e-5)
    assert np.isnan(reference.sigmoid_forward(np.array([np.nan], dtype))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_logits_of_1000(dtype):
    x = np.array([[1000, 1000], [-1000, -1000], [1000, 0]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert_allclose(reference.softmax_forward(x), [[0.5, 0.5], [0.5, 0.5], [1, 0]])
        expected = [[-math.log(2)] * 2, [-math.log(2)] * 2, [0, -1000]]
        assert_allclose(reference.log_softmax_forward(x), expected, rtol=1e-6)
