"""The fully connected layer against loops over every index."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minicnn.kernels import reference

TIGHT = {"rtol": 1e-12, "atol": 1e-12}
sizes = st.integers(1, 6)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sizes, sizes, sizes)
def test_linear_in_all_its_directions_by_loops(N, inputs, outputs):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((N, inputs)), rng.standard_normal((inputs, outputs))
    b, dy = rng.standard_normal(outputs), rng.standard_normal((N, outputs))
    y, dx, dw, db = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(w.shape), np.zeros(b.shape)
    for n, o in np.ndindex(N, outputs):
        db[o] += dy[n, o]
        for i in range(inputs):
            y[n, o] += x[n, i] * w[i, o]
            dx[n, i] += dy[n, o] * w[i, o]
            dw[i, o] += x[n, i] * dy[n, o]
    assert_allclose(reference.linear_forward(x, w, None, None), y, **TIGHT)
    assert_allclose(reference.linear_forward(x, w, b, None), y + b, **TIGHT)
    assert_allclose(reference.linear_backward_input(dy, w), dx, **TIGHT)
    assert_allclose(reference.linear_backward_weight(dy, x), dw, **TIGHT)
    assert_allclose(reference.bias_backward(dy), db, **TIGHT)


@pytest.mark.parametrize(
    ("name", "function"),
    [("relu", lambda v: max(v, 0)), ("tanh", math.tanh), ("sigmoid", lambda v: 1 / (1 + math.exp(-v)))],
)
def test_an_activation_is_applied_to_the_sums(name, function):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((3, 4)), rng.standard_normal((4, 5)), rng.standard_normal(5)
    expected = [[function(sum(x[n, i] * w[i, o] for i in range(4)) + b[o]) for o in range(5)] for n in range(3)]
    assert_allclose(reference.linear_forward(x, w, b, name), expected, **TIGHT)
    one_pixel = x.reshape(3, 1, 1, 4), w.reshape(1, 1, 4, 5), b, (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    for algorithm in ("im2col", "implicit_gemm"):
        y = reference.conv2d_forward(*one_pixel, algorithm, name)
        assert_allclose(y.reshape(3, 5), expected, **TIGHT)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 4, 5), (1, 1, 1, 1), (6, 2, 3)])
def test_bias_backward_sums_all_axes_but_the_last(shape):
    dy = np.random.default_rng(0).standard_normal(shape)
    db = np.zeros(shape[-1])
    for i in np.ndindex(shape):
        db[i[-1]] += dy[i]
    assert_allclose(reference.bias_backward(dy), db, **TIGHT)


def test_a_long_float32_sum_keeps_its_digits():
    db = reference.bias_backward(np.full((300_000, 2), 0.1, np.float32))
    assert_allclose(db, 300_000 * float(np.float32(0.1)), rtol=1e-7)
