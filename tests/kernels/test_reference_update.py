"""The optimizers' steps against their formulas on single numbers, and against PyTorch."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference

TIGHT = {"rtol": 1e-12, "atol": 1e-14}
STEPS = 4
SGD = [
    {"lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    {"lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.3},
    {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.3},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
]
ADADELTA = [
    {"lr": 1.0, "rho": 0.95, "eps": 1e-6, "weight_decay": 0.0},
    {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.3},
]


def draw(dtype=np.float64):
    """w, and a gradient for each step."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 4)).astype(dtype), rng.standard_normal((STEPS, 3, 4)).astype(dtype)


@pytest.mark.parametrize("options", SGD)
def test_sgd_on_single_numbers(options):
    w, gradients = draw()
    velocity = np.zeros(w.shape) if options["momentum"] else None
    expected, speeds = w.copy(), np.zeros(w.shape)
    for dw in gradients:
        assert reference.sgd_update([w], [dw], None if velocity is None else [velocity], **options) is None
        for i in np.ndindex(w.shape):
            g = dw[i] + options["weight_decay"] * expected[i]
            speeds[i] = options["momentum"] * speeds[i] + g
            step = g + options["momentum"] * speeds[i] if options["nesterov"] else speeds[i]
            expected[i] -= options["lr"] * step
        assert_allclose(w, expected, **TIGHT)
        if velocity is not None:
            assert_allclose(velocity, speeds, **TIGHT)


@pytest.mark.parametrize("options", ADADELTA)
def test_adadelta_on_single_numbers(options):
    w, gradients = draw()
    lr, rho, eps, weight_decay = options.values()
    squares, updates = np.zeros(w.shape), np.zeros(w.shape)
    expected, mean_g, mean_d = w.copy(), np.zeros(w.shape), np.zeros(w.shape)
    for dw in gradients:
        assert reference.adadelta_update([w], [dw], [squares], [updates], **options) is None
        for i in np.ndindex(w.shape):
            g = dw[i] + weight_decay * expected[i]
            mean_g[i] = rho * mean_g[i] + (1 - rho) * g**2
            delta = math.sqrt(mean_d[i] + eps) / math.sqrt(mean_g[i] + eps) * g
            mean_d[i] = rho * mean_d[i] + (1 - rho) * delta**2
            expected[i] -= lr * delta
        for got, wanted in [(w, expected), (squares, mean_g), (updates, mean_d)]:
            assert_allclose(got, wanted, **TIGHT)


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", options) for options in SGD] + [("Adadelta", options) for options in ADADELTA]
)
def test_updates_are_those_of_torch(name, options):
    torch = pytest.importorskip("torch")
    w, gradients = draw()
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = getattr(torch.optim, name)([parameter], **options)
    state = [np.zeros(w.shape) for _ in range(2)]
    for dw in gradients:
        parameter.grad = torch.tensor(dw)
        optimizer.step()
        if name == "SGD":
            reference.sgd_update([w], [dw], [state[0]], **options)
        else:
            reference.adadelta_update([w], [dw], *([s] for s in state), **options)
    assert_allclose(w, parameter.detach(), **TIGHT)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_updates_write_into_the_given_views_and_leave_the_gradient(dtype):
    w, gradients = draw(dtype)
    dw = gradients[0]
    before = dw.copy()
    for update, options, states in [
        (reference.sgd_update, SGD[4], 1),
        (reference.adadelta_update, ADADELTA[1], 2),
    ]:
        plain, plain_states = w.copy(), [np.zeros(w.shape, dtype) for _ in range(states)]
        update([plain], [dw], *([s] for s in plain_states), **options)
        holder = np.stack([w[:, ::-1], w[:, ::-1]], axis=-1)
        view, view_states = holder[:, ::-1, 0], [np.zeros(w.shape[::-1], dtype).T for _ in range(states)]
        update([view], [dw], *([s] for s in view_states), **options)
        assert plain.dtype == dtype
        assert_array_equal(view, plain)
        assert_array_equal(holder[:, ::-1, 1], w)
        for got, wanted in zip(view_states, plain_states, strict=True):
            assert_array_equal(got, wanted)
            assert got.any()
        assert_array_equal(dw, before)
