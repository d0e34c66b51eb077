"""Batch and local response normalisation against their definitions, and gradients against complex steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minicnn.kernels import reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=40)
TIGHT = {"rtol": 1e-12, "atol": 1e-12}
GRADIENT = {"rtol": 1e-10, "atol": 1e-11}
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def batch_norm(x, gamma, beta, eps):
    """From the definition, one channel after another; takes complex numbers."""
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        values = [x[i] for i in np.ndindex(x.shape) if i[-1] == c]
        mean = sum(values) / len(values)
        var = sum((value - mean) ** 2 for value in values) / len(values)
        y[..., c] = gamma[c] * (x[..., c] - mean) / np.sqrt(var + eps) + beta[c]
    return y


@SETTINGS
@given(shapes, st.integers(1, 3), st.sampled_from([1e-5, 0.1]))
def test_batch_norm_by_loops(gradient, leading, C, eps):
    rng = np.random.default_rng(C)
    x, dy = rng.standard_normal((*leading, C)) * 2 + 3, rng.standard_normal((*leading, C))
    gamma, beta = rng.standard_normal(C), rng.standard_normal(C)
    if x.size == C:
        x = np.concatenate([x, x + 1])  # a variance of zero makes the gradient 1/sqrt(eps) large: tested below
        dy = np.concatenate([dy, 2 * dy])
    y, mean, var = reference.batch_norm_forward(x, gamma, beta, eps, None, None)
    flat = x.reshape(-1, C)
    assert_allclose(y, batch_norm(x, gamma, beta, eps), rtol=1e-12, atol=1e-11)
    assert_allclose(mean, [sum(flat[:, c]) / len(flat) for c in range(C)], **TIGHT)
    assert_allclose(
        var, [sum((v - sum(flat[:, c]) / len(flat)) ** 2 for v in flat[:, c]) / len(flat) for c in range(C)]
    )
    dx, dgamma, dbeta = reference.batch_norm_backward(dy, x, gamma, beta, mean, var, eps, None)
    assert_allclose(dx, gradient(lambda x: batch_norm(x, gamma, beta, eps), x, dy), **GRADIENT)
    assert_allclose(dgamma, gradient(lambda gamma: batch_norm(x + 0j, gamma, beta, eps), gamma, dy), **GRADIENT)
    assert_allclose(dbeta, gradient(lambda beta: batch_norm(x + 0j, gamma, beta, eps), beta, dy), **GRADIENT)


def test_batch_norm_of_a_constant_channel_gives_beta_and_no_gradient():
    x, gamma, beta = np.full((4, 3, 2), 7.0), np.array([2.0, 3.0]), np.array([-1.0, 5.0])
    y, mean, var = reference.batch_norm_forward(x, gamma, beta, 1e-5, None, None)
    assert_allclose(y, np.broadcast_to(beta, x.shape))
    dx, dgamma, _ = reference.batch_norm_backward(np.ones(x.shape), x, gamma, beta, mean, var, 1e-5, None)
    assert_allclose(dx, 0, atol=1e-10)
    assert_allclose(dgamma, 0, atol=1e-10)


def test_batch_norm_keeps_a_small_variance_around_a_large_mean_in_float32():
    x = (10_000 + np.random.default_rng(0).standard_normal((64, 8, 8, 2))).astype(np.float32)
    _, mean, var = reference.batch_norm_forward(x, np.ones(2, np.float32), np.zeros(2, np.float32), 1e-5, None, None)
    assert_allclose(mean, x.astype(float).mean(axis=(0, 1, 2)), rtol=2e-7)
    assert_allclose(var, x.astype(float).var(axis=(0, 1, 2)), rtol=1e-5)


def test_batch_norm_inference_by_loops(gradient):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((3, 2, 4)), rng.standard_normal((3, 2, 4))
    gamma, beta, mean, var = *rng.standard_normal((3, 4)), rng.random(4)

    def forward(x, gamma, beta):
        y = np.empty(x.shape, np.result_type(x, gamma, beta))
        for i in np.ndindex(x.shape):
            c = i[-1]
            y[i] = gamma[c] * (x[i] - mean[c]) / np.sqrt(var[c] + 0.01) + beta[c]
        return y

    got = reference.batch_norm_inference_forward(x, gamma, beta, mean, var, 0.01, None, None)
    assert_allclose(got, forward(x, gamma, beta), **TIGHT)
    dx, dgamma, dbeta = reference.batch_norm_inference_backward(dy, x, gamma, beta, mean, var, 0.01, None)
    assert_allclose(dx, gradient(lambda x: forward(x, gamma, beta), x, dy), **GRADIENT)
    assert_allclose(dgamma, gradient(lambda gamma: forward(x, gamma, beta), gamma, dy), **GRADIENT)
    assert_allclose(dbeta, gradient(lambda beta: forward(x, gamma, beta), beta, dy), **GRADIENT)


def test_a_residual_and_a_relu_behind_batch_norm(gradient):
    """The last step of a residual block by its definition, and the gradient of bn and ReLU without a residual."""
    rng = np.random.default_rng(0)
    x, dy, residual = rng.standard_normal((3, 3, 2, 4))
    gamma, beta = rng.standard_normal((2, 4))
    mean, var = x.mean((0, 1)), x.var((0, 1))
    plain = batch_norm(x, gamma, beta, 0.1)
    for added, name in ((residual, "relu"), (None, "relu"), (residual, None)):
        expected = plain if added is None else plain + added
        expected = np.where(expected > 0, expected, 0) if name else expected
        assert_allclose(reference.batch_norm_forward(x, gamma, beta, 0.1, added, name)[0], expected, **TIGHT)
        y = reference.batch_norm_inference_forward(x, gamma, beta, mean, var, 0.1, added, name)
        assert_allclose(y, expected, **TIGHT)

    def positive(y):
        return np.where(y.real > 0, y, 0)

    got = reference.batch_norm_backward(dy, x, gamma, beta, mean, var, 0.1, "relu")
    for i, start in enumerate((x, gamma, beta)):

        def f(moved, i=i):
            return positive(batch_norm(*[moved if k == i else a + 0j for k, a in enumerate((x, gamma, beta))], 0.1))

        assert_allclose(got[i], gradient(f, start, dy), **GRADIENT)
    dx, dgamma, dbeta = reference.batch_norm_inference_backward(dy, x, gamma, beta, mean, var, 0.1, "relu")
    passed = np.where(plain > 0, dy, 0)
    assert_allclose(dx, passed * gamma / np.sqrt(var + 0.1), **TIGHT)
    assert_allclose(dgamma, (passed * (x - mean) / np.sqrt(var + 0.1)).sum((0, 1)), **TIGHT)
    assert_allclose(dbeta, passed.sum((0, 1)), **TIGHT)


@SETTINGS
@given(st.integers(1, 7), st.integers(1, 6), st.sampled_from([(0.5, 0.75, 2.0), (2.0, 1.0, 1.0), (1e-4, 0.3, 0.5)]))
def test_local_response_norm_by_loops(gradient, C, size, constants):
    alpha, beta, k = constants
    rng = np.random.default_rng(C)
    x, dy = rng.standard_normal((2, 2, 1, C)), rng.standard_normal((2, 2, 1, C))

    def forward(x):
        y = np.empty_like(x)
        for *place, c in np.ndindex(x.shape):
            window = range(max(0, c - size // 2), min(C - 1, c + (size - 1) // 2) + 1)
            s = k + alpha / size * sum(x[(*place, j)] ** 2 for j in window)
            y[(*place, c)] = x[(*place, c)] / s**beta
        return y

    assert_allclose(reference.local_response_norm_forward(x, size, alpha, beta, k), forward(x), **TIGHT)
    dx = reference.local_response_norm_backward(dy, x, size, alpha, beta, k)
    assert_allclose(dx, gradient(forward, x, dy), **GRADIENT)


def test_local_response_norm_with_the_constants_of_alexnet():
    x = np.full((1, 1, 1, 8), 100.0)
    y = reference.local_response_norm_forward(x, size=5, alpha=5e-4, beta=0.75, k=2.0)
    neighbours = np.array([3, 4, 5, 5, 5, 5, 4, 3])
    assert_allclose(y.ravel(), 100 / (2 + 1e-4 * neighbours * 100**2) ** 0.75, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_local_response_norm_is_that_of_torch(size):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(size)
    x, dy = rng.standard_normal((2, 2, 3, 4, 6))
    tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    ty = torch.nn.functional.local_response_norm(tx, size, alpha=0.3, beta=0.75, k=2.0)
    ty.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
    y = reference.local_response_norm_forward(x, size, 0.3, 0.75, 2.0)
    assert_allclose(y, ty.detach().permute(0, 2, 3, 1), **TIGHT)
    dx = reference.local_response_norm_backward(dy, x, size, 0.3, 0.75, 2.0)
    assert_allclose(dx, tx.grad.permute(0, 2, 3, 1), **GRADIENT)
