"""Optimizers: ten steps against the formulas written by hand in float64, and what may not be asked of them."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, nn, optim
from minicnn.nn import init

SHAPES = [(3, 4), (4,)]
GENERATOR_SEED = 7


def parameters(dtype=np.float64):
    rng = np.random.default_rng(GENERATOR_SEED)
    return [nn.Parameter(rng.standard_normal(shape).astype(dtype)) for shape in SHAPES]


def gradients(steps=10):
    rng = np.random.default_rng(GENERATOR_SEED + 1)
    return [[rng.standard_normal(shape) for shape in SHAPES] for _ in range(steps)]


def walk(optimizer, steps):
    for dws in steps:
        for parameter, dw in zip(optimizer.params, dws, strict=True):
            parameter.grad = dw.astype(parameter.dtype)
        optimizer.step()


def sgd_by_hand(w, dws, lr, momentum, nesterov, weight_decay):
    velocity = np.zeros_like(w)
    for dw in dws:
        g = dw + weight_decay * w
        velocity = momentum * velocity + g
        w = w - lr * (g + momentum * velocity if nesterov else velocity)
    return w


def adadelta_by_hand(w, dws, lr, rho, eps, weight_decay):
    squares, updates = np.zeros_like(w), np.zeros_like(w)
    for dw in dws:
        g = dw + weight_decay * w
        squares = rho * squares + (1 - rho) * g**2
        delta = np.sqrt(updates + eps) / np.sqrt(squares + eps) * g
        updates = rho * updates + (1 - rho) * delta**2
        w = w - lr * delta
    return w


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_follows_its_formula(momentum, nesterov, weight_decay):
    params, steps = parameters(), gradients()
    expected = [
        sgd_by_hand(p.data.copy(), [dws[i] for dws in steps], 0.05, momentum, nesterov, weight_decay)
        for i, p in enumerate(params)
    ]
    walk(optim.SGD(params, 0.05, momentum, nesterov, weight_decay), steps)
    for p, w in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, w, rtol=1e-12)


@pytest.mark.parametrize(("lr", "rho", "eps", "weight_decay"), [(1.0, 0.95, 1e-6, 0.0), (0.5, 0.8, 1e-4, 0.1)])
def test_adadelta_follows_its_formula(lr, rho, eps, weight_decay):
    params, steps = parameters(), gradients()
    expected = [
        adadelta_by_hand(p.data.copy(), [dws[i] for dws in steps], lr, rho, eps, weight_decay)
        for i, p in enumerate(params)
    ]
    walk(optim.Adadelta(params, lr, rho, eps, weight_decay), steps)
    for p, w in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, w, rtol=1e-12)


def test_adadelta_has_the_papers_defaults():
    optimizer = optim.Adadelta(parameters())
    assert (optimizer.lr, optimizer.rho, optimizer.eps, optimizer.weight_decay) == (1.0, 0.95, 1e-6, 0.0)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, np.float64(0.1), 0.9), lambda p: optim.Adadelta(p)])
def test_the_dtype_and_the_array_stay(make):
    params = parameters(np.float32)
    arrays = [p.data for p in params]
    optimizer = make(params)
    walk(optimizer, gradients(2))
    assert all(p.data is array and array.dtype == np.float32 for p, array in zip(params, arrays, strict=True))
    state = [value for value in optimizer.state_dict().values() if isinstance(value, np.ndarray)]
    assert state
    assert all(value.dtype == np.float32 for value in state)


def test_state_follows_a_model_that_changes_its_dtype():
    model = nn.Linear(4, 2)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for dtype in (np.float32, np.float64):
        model.to(dtype=dtype)
        F.mean_squared_error(model(mc.tensor(np.ones((2, 4), dtype))), mc.tensor(np.ones((2, 2), dtype))).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.state_dict()["velocity.0"].dtype == np.float64


def test_momentum_may_be_switched_on_later():
    params = parameters()
    optimizer = optim.SGD(params, 0.1)
    walk(optimizer, gradients(1))
    optimizer.momentum = 0.9
    walk(optimizer, gradients(1))
    assert "velocity.1" in optimizer.state_dict()


def test_a_parameter_without_gradient_is_left_alone_and_zero_grad_forgets():
    params = parameters()
    optimizer = optim.SGD(params, 0.1, momentum=0.9)
    before = params[1].data.copy()
    params[0].grad = np.ones(SHAPES[0])
    optimizer.step()
    np.testing.assert_array_equal(params[1].data, before)
    assert "velocity.1" not in optimizer.state_dict()
    optimizer.zero_grad()
    assert params[0].grad is None


def test_steps_without_gradients_or_values_are_errors():
    with pytest.raises(RuntimeError, match=r"no gradients: call loss.backward\(\) first"):
        optim.SGD(parameters(), 0.1).step()
    lazy = nn.Linear(None, 2)
    optimizer = optim.SGD(lazy.parameters(), 0.1)
    with pytest.raises(RuntimeError, match="no values yet"):
        optimizer.step()
    F.mean_squared_error(
        lazy(mc.tensor(np.ones((2, 3), np.float32))), mc.tensor(np.ones((2, 2), np.float32))
    ).backward()
    before = lazy.weight.data.copy()
    optimizer.step()
    assert not np.array_equal(lazy.weight.data, before)


@pytest.mark.parametrize("gradient", [np.ones((4, 3)), np.ones((3, 4), np.float32), np.ones((3, 4), int)])
def test_a_gradient_of_another_shape_or_dtype_changes_nothing(gradient):
    params = parameters()
    params[0].grad, params[1].grad = gradient, np.ones(4)
    before = [p.data.copy() for p in params]
    with pytest.raises(ValueError, match="Parameter 1 a gradient of float64"):
        optim.SGD([params[1], params[0]], 0.1).step()
    for p, w in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.data, w)


def test_what_params_may_be():
    params = parameters()
    assert optim.SGD((p for p in params), 0.1).params == params
    for wrong, error, text in [
        ([], ValueError, "no Parameters"),
        ([params[0], params[0]], ValueError, "twice"),
        ([mc.tensor([1.0], requires_grad=True)], TypeError, "got Tensor at place 0"),
        (params[0], TypeError, "got Parameter"),
        (nn.Linear(2, 2), TypeError, r"model.parameters\(\)"),
        (nn.Sequential(nn.ReLU()), TypeError, "got ReLU at place 0"),
        (nn.Linear(2, 2).named_parameters(), TypeError, "got tuple"),
        (None, TypeError, "got NoneType"),
    ]:
        with pytest.raises(error, match=text):
            optim.SGD(wrong, 0.1)


MAKERS = [optim.SGD, optim.Adadelta, optim.Adagrad, optim.RMSprop, optim.Adam, optim.AdamW, optim.Lion, optim.LARS]


@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), "0.1", None, True])
def test_a_learning_rate_has_to_be_positive(lr):
    for make in MAKERS:
        with pytest.raises((ValueError, TypeError), match="lr"):
            make(parameters(), lr)


def test_lr_can_be_set_to_zero_later_but_not_below():
    params = parameters()
    optimizer = optim.SGD(params, 0.1)
    optimizer.lr = 0
    before = params[0].data.copy()
    walk(optimizer, gradients(1))
    np.testing.assert_array_equal(params[0].data, before)
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="lr"):
            optimizer.lr = wrong
    assert optimizer.lr == 0


@pytest.mark.parametrize(
    ("make", "settings", "name"),
    [
        (optim.SGD, {"momentum": 1.0}, "momentum"),
        (optim.SGD, {"momentum": -0.1}, "momentum"),
        (optim.SGD, {"momentum": float("nan")}, "momentum"),
        (optim.SGD, {"nesterov": True}, "momentum"),
        (optim.SGD, {"nesterov": 1, "momentum": 0.9}, "nesterov"),
        (optim.SGD, {"weight_decay": -1e-4}, "weight_decay"),
        (optim.Adadelta, {"rho": 1.0}, "rho"),
        (optim.Adadelta, {"rho": -0.5}, "rho"),
        (optim.Adadelta, {"eps": 0}, "eps"),
        (optim.Adadelta, {"eps": "small"}, "eps"),
        (optim.Adadelta, {"weight_decay": float("inf")}, "weight_decay"),
        (optim.Adagrad, {"eps": 0.0}, "eps"),
        (optim.Adagrad, {"weight_decay": -1}, "weight_decay"),
        (optim.RMSprop, {"alpha": 1.0}, "alpha"),
        (optim.RMSprop, {"eps": -1e-8}, "eps"),
        (optim.RMSprop, {"momentum": 1.0}, "momentum"),
        (optim.RMSprop, {"centered": 1}, "centered"),
        (optim.RMSprop, {"weight_decay": None}, "weight_decay"),
        (optim.Adam, {"betas": (0.9, 1.0)}, r"betas\[1\] in \[0, 1\)"),
        (optim.Adam, {"betas": (-0.1, 0.999)}, r"betas\[0\]"),
        (optim.Adam, {"betas": 0.9}, "betas to be a pair"),
        (optim.Adam, {"betas": (0.9, 0.99, 0.999)}, "betas to be a pair"),
        (optim.Adam, {"betas": ("a", 0.9)}, r"betas\[0\]"),
        (optim.Adam, {"eps": 0}, "eps"),
        (optim.AdamW, {"weight_decay": -0.01}, "weight_decay"),
        (optim.AdamW, {"eps": float("nan")}, "eps"),
        (optim.Lion, {"betas": (0.9, float("nan"))}, r"betas\[1\]"),
        (optim.Lion, {"weight_decay": -1}, "weight_decay"),
        (optim.LARS, {"momentum": -0.9}, "momentum"),
        (optim.LARS, {"trust_coefficient": 0.0}, "trust_coefficient"),
        (optim.LARS, {"trust_coefficient": "small"}, "trust_coefficient"),
        (optim.LARS, {"weight_decay": float("nan")}, "weight_decay"),
    ],
)
def test_wrong_settings_are_refused(make, settings, name):
    with pytest.raises((ValueError, TypeError), match=name):
        make(parameters(), lr=0.1, **settings)


OPTIMIZERS = [
    lambda p: optim.SGD(p, 0.1),
    lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    lambda p: optim.Adadelta(p),
    lambda p: optim.Adagrad(p),
    lambda p: optim.RMSprop(p),
    lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
    lambda p: optim.Adam(p, weight_decay=0.1),
    lambda p: optim.AdamW(p),
    lambda p: optim.Lion(p),
    lambda p: optim.LARS(p, 0.1),
    lambda p: optim.LARS([{"params": p[:1]}, {"params": p[1:], "trust_coefficient": None}], 0.1),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_state_goes_on_with_the_same_bits(make):
    steps, straight, stopped = gradients(6), parameters(np.float32), parameters(np.float32)
    walk(make(straight), steps)
    first = make(stopped)
    walk(first, steps[:3])
    state = first.state_dict()
    walk(first, gradients(1))  # the state is a copy, which this must not touch
    resumed = [nn.Parameter(p.data) for p in parameters(np.float32)]
    walk(make(resumed), steps[:3])
    second = make(resumed)
    second.load_state_dict(state)
    walk(second, steps[3:])
    for a, b in zip(straight, resumed, strict=True):
        assert a.data.tobytes() == b.data.tobytes()


@pytest.mark.parametrize("steps_before_saving", [0, 1])
@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda p: optim.SGD(p, 0.1, momentum=0.9), "momentum", 0.0),
        (lambda p: optim.SGD(p, 0.1), "momentum", 0.9),
        (lambda p: optim.RMSprop(p, momentum=0.9, centered=True), "momentum", 0.0),
        (lambda p: optim.RMSprop(p, momentum=0.9, centered=True), "centered", False),
        (lambda p: optim.RMSprop(p), "momentum", 0.9),
        (lambda p: optim.RMSprop(p), "centered", True),
    ],
)
def test_a_state_goes_on_when_a_setting_was_switched(make, name, value, steps_before_saving):
    """Saved right after it was switched or a step later, and switched back in the end."""
    weights = [parameters(np.float32) for _ in range(2)]
    straight, resumed = (make(each) for each in weights)
    before = getattr(straight, name)
    walk(straight, gradients(3))
    setattr(straight, name, value)
    walk(straight, gradients(steps_before_saving))
    for there, here in zip(*weights, strict=True):
        here.data[...] = there.data
    resumed.load_state_dict(straight.state_dict())
    for optimizer in (straight, resumed):
        walk(optimizer, gradients(2))
        setattr(optimizer, name, before)
        walk(optimizer, gradients(2))
    for a, b in zip(*weights, strict=True):
        assert a.data.tobytes() == b.data.tobytes()


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_what_is_lazy_or_without_gradient_joins_later(make):
    """Parameter 0 is filled after the optimizer was made, Parameter 1 gets its first gradient at the second step."""
    lazy, late = nn.Parameter.drawn(init.zeros, (None,)), nn.Parameter(np.ones(2, np.float32))
    optimizer = make([lazy, late])
    with pytest.raises(RuntimeError, match="no values yet"):
        optimizer.step()
    lazy.fill((3,))
    lazy.grad = np.ones(3, np.float32)
    optimizer.step()
    assert lazy.data.all()
    np.testing.assert_array_equal(late.data, 1)
    assert not any(name.endswith(".1") for name in optimizer.state_dict())
    late.grad = np.ones(2, np.float32)
    optimizer.step()
    alone = nn.Parameter(np.ones(2, np.float32))
    alone.grad = late.grad
    make([nn.Parameter(np.ones(1)), alone]).step()  # its first step is that of a fresh optimizer
    assert late.data.tobytes() == alone.data.tobytes()


def test_a_count_is_a_single_number():
    optimizer = optim.Adam(parameters())
    walk(optimizer, gradients(3))
    state = optimizer.state_dict()
    assert (state["steps.0"].shape, state["steps.0"].dtype, state["steps.0"]) == ((), np.float64, 3)
    for wrong in (np.zeros(1), np.zeros((3, 4))):
        with pytest.raises(ValueError, match=r"steps\.0 expected shape \(\)"):
            optimizer.load_state_dict({**state, "steps.0": wrong})
    optimizer.load_state_dict({**state, "betas": [0.5, 0.6]})  # a pair as JSON has it
    assert optimizer.groups[0].betas == (0.5, 0.6)


def test_the_decay_of_adam_depends_on_the_gradient_and_that_of_adamw_does_not():
    """Beside gradients of 1000 and -1000 in turn Adam's decay of 0.1 * w is nothing."""
    kept = {}
    for make in (optim.Adam, optim.AdamW):
        w = nn.Parameter(np.ones(1))
        optimizer = make([w], 1e-3, betas=(0.0, 0.9), weight_decay=0.1)
        for step in range(1000):
            w.grad = np.full(1, 1000.0 * (-1) ** step)
            optimizer.step()
        kept[make] = w.data[0]
    assert kept[optim.Adam] == pytest.approx(1, abs=3e-3)
    assert kept[optim.AdamW] == pytest.approx((1 - 1e-4) ** 1000, abs=3e-3)


def test_lion_moves_every_weight_by_lr():
    w = nn.Parameter(np.zeros(4))
    optimizer = optim.Lion([w], 0.25, betas=(0.5, 0.5))
    for dw, expected in [([3, -1e-9, 0, 0], [-0.25, 0.25, 0, 0]), ([-1, 1, 0, 5], [-0.5, 0, 0, -0.25])]:
        w.grad = np.array(dw, np.float64)
        optimizer.step()
        np.testing.assert_array_equal(w.data, expected)


def lion_by_hand(w, dws, lr, betas, weight_decay):
    average = np.zeros_like(w)
    for dw in dws:
        direction = np.sign(betas[0] * average + (1 - betas[0]) * dw)
        average = betas[1] * average + (1 - betas[1]) * dw
        w = w - lr * (direction + weight_decay * w)
    return w


def lars_by_hand(w, dws, lr, momentum, weight_decay, trust_coefficient):
    velocity = np.zeros_like(w)
    for dw in dws:
        size, slope = np.sqrt((w * w).sum()), np.sqrt((dw * dw).sum())
        trust = 1.0 if trust_coefficient is None else trust_coefficient * size / (slope + weight_decay * size)
        velocity = momentum * velocity + lr * trust * (dw + weight_decay * w)
        w = w - velocity
    return w


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize(
    ("make", "by_hand", "settings"),
    [
        (optim.Lion, lion_by_hand, {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0}),
        (optim.Lion, lion_by_hand, {"lr": 0.03, "betas": (0.95, 0.98), "weight_decay": 0.5}),
        (optim.LARS, lars_by_hand, {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.0, "trust_coefficient": 0.01}),
        (optim.LARS, lars_by_hand, {"lr": 0.5, "momentum": 0.0, "weight_decay": 0.1, "trust_coefficient": 0.1}),
        (optim.LARS, lars_by_hand, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "trust_coefficient": None}),
    ],
)
def test_fifty_steps_of_what_torch_has_not(make, by_hand, settings, dtype, rtol):
    params, steps = parameters(dtype), gradients(50)
    expected = [by_hand(p.data.astype(np.float64), [dws[i] for dws in steps], **settings) for i, p in enumerate(params)]
    walk(make(params, **settings), steps)
    for p, w in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, w, rtol=rtol, atol=rtol)


def test_lars_begins_with_weights_that_are_0():
    w = nn.Parameter(np.zeros(3))
    w.grad = np.array([1.0, 0.0, -2.0])
    optim.LARS([w], 0.1).step()
    np.testing.assert_allclose(w.data, [-0.1, 0.0, 0.2])


def test_a_state_brings_its_settings_even_lr_0():
    first = optim.SGD(parameters(), 0.1, momentum=0.9)
    first.lr = 0.0
    second = optim.SGD(parameters(), 0.7)
    second.load_state_dict(first.state_dict())
    assert (second.lr, second.momentum) == (0.0, 0.9)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lr": None}, "lr"),
        ({"lr": -1.0}, "lr"),
        ({"momentum": 2.0}, "momentum"),
        ({"velocity.2": np.zeros(3)}, "velocity.2"),
        ({"square_average.0": np.zeros((3, 4))}, "square_average.0"),
        ({"velocity.0": np.zeros((4, 3))}, "expected shape"),
        ({"velocity.0": np.zeros((3, 4), int)}, "float32 or float64"),
        ({"velocity.0": 3.0}, "float32 or float64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, text):
    optimizer = optim.SGD(parameters(), 0.1, momentum=0.9)
    walk(optimizer, gradients(1))
    before = optimizer.state_dict()
    with pytest.raises((ValueError, TypeError), match=text):
        optimizer.load_state_dict({**before, "lr": 0.5, **change})
    after = optimizer.state_dict()
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_states_that_lack_something():
    optimizer = optim.Adadelta(parameters())
    walk(optimizer, gradients(1))
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"misses update_average\.1"):
        optimizer.load_state_dict({name: value for name, value in state.items() if name != "update_average.1"})
    with pytest.raises(ValueError, match="misses rho"):
        optimizer.load_state_dict(optim.SGD(parameters(), 0.1).state_dict())


def test_a_subclass_needs_only_update():
    class SignDescent(optim.Optimizer):
        def update(self, group, ws, dws, state):
            for w, dw in zip(ws, dws, strict=True):
                w -= group.lr * np.sign(dw)

    parameter = nn.Parameter(np.ones(3))
    optimizer = SignDescent([parameter], 0.5)
    parameter.grad = np.array([2.0, 0.0, -3.0])
    optimizer.step()
    np.testing.assert_array_equal(parameter.data, [0.5, 1.0, 1.5])
    plain = optim.Optimizer([parameter], 0.5)
    with pytest.raises(NotImplementedError, match="Optimizer has no update"):
        plain.step()


def test_a_lazy_parameter_keeps_its_place_in_the_optimizer():
    model = nn.Sequential(nn.Linear(None, 3), nn.Linear(3, 2))
    optimizer = optim.Adadelta(model.parameters())
    model[0].weight.initialize(init.zeros)
    with kernels.use("reference"):
        F.cross_entropy(model(mc.tensor(np.ones((2, 5), np.float32))), np.array([0, 1])).backward()
        optimizer.step()
    assert optimizer.params[0] is model[0].weight
    assert optimizer.state_dict()["square_average.0"].shape == (5, 3)
