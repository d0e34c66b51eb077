"""Optimizers and schedules follow PyTorch's, ten steps of a small network."""

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
]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_ten_steps_follow_torch(name, settings, dtype, rtol):
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in [(3, 3, 2, 4), (4,)]]
    ours = [nn.Parameter(array) for array in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(array)) for array in arrays]
    optimizer = getattr(optim, name)(ours, **settings)
    reference = getattr(torch.optim, name)(theirs, **settings)
    for _ in range(10):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = rng.standard_normal(p.shape).astype(dtype)
            q.grad = torch.tensor(p.grad)
        optimizer.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


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
