"""The optimizers' steps against their formulas on single numbers; against PyTorch's they are tested as optimizers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference
from minicnn.kernels.reference.update_adaptive import correction

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


# One step of a single number by each paper's formula: (w, dw, what is kept) -> w; `kept` is changed.


def adagrad(w, dw, kept, lr, eps, weight_decay):
    g = dw + weight_decay * w
    kept[0] += g**2
    return w - lr * g / (math.sqrt(kept[0]) + eps)


def rmsprop(w, dw, kept, lr, alpha, eps, momentum, weight_decay):
    g = dw + weight_decay * w
    kept[0] = alpha * kept[0] + (1 - alpha) * g**2
    kept[1] = momentum * kept[1] + g / (math.sqrt(kept[0]) + eps)
    return w - lr * kept[1]


def centred_rmsprop(w, dw, kept, lr, alpha, eps, momentum, weight_decay):
    g = dw + weight_decay * w
    kept[0] = alpha * kept[0] + (1 - alpha) * g**2
    kept[1] = alpha * kept[1] + (1 - alpha) * g
    kept[2] = momentum * kept[2] + g / (math.sqrt(kept[0] - kept[1] ** 2) + eps)
    return w - lr * kept[2]


def adam(w, dw, kept, lr, beta1, beta2, eps, weight_decay, decoupled):
    g = dw if decoupled else dw + weight_decay * w
    kept[0] = beta1 * kept[0] + (1 - beta1) * g
    kept[1] = beta2 * kept[1] + (1 - beta2) * g**2
    kept[2] += 1
    delta = kept[0] / (1 - beta1 ** kept[2]) / (math.sqrt(kept[1] / (1 - beta2 ** kept[2])) + eps)
    return w - lr * delta - (lr * weight_decay * w if decoupled else 0)


def lion(w, dw, kept, lr, beta1, beta2, weight_decay):
    c = beta1 * kept[0] + (1 - beta1) * dw
    kept[0] = beta2 * kept[0] + (1 - beta2) * dw
    return w - lr * ((1 if c > 0 else -1 if c < 0 else 0) + weight_decay * w)


@pytest.mark.parametrize(
    ("formula", "name", "kept", "numbers"),
    [
        (adagrad, "adagrad_update", [True], (0.1, 1e-3, 0.0)),
        (adagrad, "adagrad_update", [True], (0.1, 1e-3, 0.3)),
        (rmsprop, "rmsprop_update", [True, None, True], (0.1, 0.9, 1e-3, 0.7, 0.3)),
        (centred_rmsprop, "rmsprop_update", [True, True, True], (0.1, 0.9, 1e-3, 0.7, 0.3)),
        (adam, "adam_update", [True, True, False], (0.1, 0.9, 0.99, 1e-3, 0.3, False)),
        (adam, "adam_update", [True, True, False], (0.1, 0.9, 0.99, 1e-3, 0.3, True)),
        (adam, "adam_update", [True, True, False], (0.1, 0.0, 0.0, 1e-3, 0.0, False)),
        (lion, "lion_update", [True], (0.1, 0.9, 0.99, 0.3)),
    ],
)
def test_the_others_on_single_numbers(formula, name, kept, numbers):
    """kept: for each thing that is kept True for an array, False for a single number."""
    w, gradients = draw()
    given = [None if k is None else np.zeros(w.shape if k else ()) for k in kept]
    arrays = [a for a in given if a is not None]
    expected, single = w.copy(), {i: [0.0] * len(arrays) for i in np.ndindex(w.shape)}
    for dw in gradients:
        assert getattr(reference, name)([w], [dw], *(None if a is None else [a] for a in given), *numbers) is None
        for i in np.ndindex(w.shape):
            expected[i] = formula(expected[i], dw[i], single[i], *numbers)
        assert_allclose(w, expected, **TIGHT)
        for k, array in enumerate(arrays):
            assert_allclose(array, np.reshape([single[i][k] for i in np.ndindex(w.shape)], w.shape), **TIGHT)


@pytest.mark.parametrize(("weight_decay", "coefficient"), [(0.0, 0.1), (0.3, 0.02), (0.3, None)])
def test_lars_on_single_numbers(weight_decay, coefficient):
    w, gradients = draw()
    velocity, expected, speeds = np.zeros(w.shape), w.copy(), np.zeros(w.shape)
    for dw in gradients:
        assert reference.lars_update([w], [dw], [velocity], 0.5, 0.9, weight_decay, coefficient) is None
        size = math.sqrt(sum(float(v) ** 2 for v in expected.flat))
        slope = math.sqrt(sum(float(d) ** 2 for d in dw.flat))
        trust = 1 if coefficient is None else coefficient * size / (slope + weight_decay * size)
        for i in np.ndindex(w.shape):
            speeds[i] = 0.9 * speeds[i] + 0.5 * trust * (dw[i] + weight_decay * expected[i])
            expected[i] -= speeds[i]
        assert_allclose(w, expected, **TIGHT)
        assert_allclose(velocity, speeds, **TIGHT)


def test_adam_at_its_first_steps_moves_by_lr():
    """With a constant slope both means are true ones from the first step on: the quotient is 1, or -1."""
    w, dw, average, square, step = np.zeros(2), np.array([3.0, -1e-3]), np.zeros(2), np.zeros(2), np.zeros(())
    for t in range(1, 6):
        reference.adam_update([w], [dw], [average], [square], [step], 0.01, 0.9, 0.999, 1e-12, 0.0, False)
        assert_allclose(w, [-0.01 * t, 0.01 * t], rtol=1e-8)
        assert step == t


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.999, 1 - 1e-9])
def test_a_correction_keeps_its_digits(beta):
    for step in (1, 2, 10):
        exact = 1 - Fraction(beta) ** step
        assert correction(beta, np.float32(step)) == pytest.approx(float(exact), rel=1e-15 if beta != 0.999 else 1e-14)


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
