"""Optimizers and schedules follow PyTorch's, fifty steps of two Parameters."""

import numpy as np
import pytest

from minicnn import nn, optim

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

CASES = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
    ("Adadelta", {"lr": 0.3, "rho": 0.9, "eps": 1e-4, "weight_decay": 0.01}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.003, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.003, "momentum": 0.9, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.003, "centered": True}),
    ("RMSprop", {"lr": 0.001, "centered": True, "momentum": 0.5, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.01}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1}),
]


def both(name, settings, arrays, groups=None):
    """Our Parameters and optimizer, PyTorch's Parameters and optimizer; groups: of settings, one for each array."""
    ours = [nn.Parameter(array) for array in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(array)) for array in arrays]

    def given(params):
        return params if groups is None else [{"params": [p], **g} for p, g in zip(params, groups, strict=True)]

    optimizers = [getattr(optim, name)(given(ours), **settings), getattr(torch.optim, name)(given(theirs), **settings)]
    return ours, theirs, optimizers


def assert_follows(ours, theirs, optimizers, rng, rtol, steps):
    for _ in range(steps):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = rng.standard_normal(p.shape).astype(p.dtype)
            q.grad = torch.tensor(p.grad)
        for optimizer in optimizers:
            optimizer.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_fifty_steps_follow_torch(name, settings, dtype, rtol):
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in [(3, 3, 2, 4), (4,)]]
    assert_follows(*both(name, settings, arrays), rng, rtol, steps=50)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_groups_follow_torch(name):
    rng = np.random.default_rng(3)
    groups = [{"lr": 0.003}, {"weight_decay": 0.1}, {"lr": 0.03, "weight_decay": 0.0}]
    arrays = [rng.standard_normal(3) for _ in groups]
    ours, theirs, optimizers = both(name, {"lr": 0.01, "weight_decay": 0.05}, arrays, groups)
    assert_follows(ours, theirs, optimizers, rng, 1e-12, steps=5)
    for optimizer in (optimizers[0].groups[1:], optimizers[1].param_groups[1:]):
        for group in optimizer:  # what a schedule does
            if isinstance(group, dict):
                group["lr"] = 0.002
            else:
                group.lr = 0.002
    assert_follows(ours, theirs, optimizers, rng, 1e-12, steps=5)


@pytest.mark.parametrize("name", ["Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW"])
def test_the_defaults_are_those_of_torch(name):
    """The paper's too; of Adadelta's lr the libraries are of two minds."""
    defaults = torch.optim.__dict__[name]([torch.nn.Parameter(torch.ones(1))]).defaults
    (group,) = getattr(optim, name)([nn.Parameter(np.ones(1))]).groups
    expected = {key: defaults[key] for key in group.settings if (name, key) != ("Adadelta", "rho")}
    assert {key: group.settings[key] for key in expected} == expected


@pytest.mark.parametrize("eta_min", [0.0, 0.01])
def test_cosine_annealing_follows_torch(eta_min):
    ours = optim.SGD([nn.Parameter(np.ones(1))], 0.3)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.3)
    schedule = optim.CosineAnnealingLR(ours, 7, eta_min)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 7, eta_min)
    theirs.step()
    for _ in range(20):  # past T_max, where the cosine rises again
        schedule.step()
        reference.step()
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
