"""Every schedule gives PyTorch's learning rates over a whole run, to each group, and after a resume the same ones."""

import json
import warnings

import numpy as np
import pytest

from minicnn import nn, optim

torch = pytest.importorskip("torch")

RATES = (0.3, 0.02)
STEPS = 24


def warm_up_and_cosine(lib, optimizer):
    parts = [lib.LinearLR(optimizer, 0.1, total_iters=5), lib.CosineAnnealingLR(optimizer, 19)]
    return lib.SequentialLR(optimizer, parts, milestones=[5])


def three_parts(lib, optimizer):
    parts = [lib.StepLR(optimizer, 2, gamma=0.7), lib.LinearLR(optimizer), lib.ExponentialLR(optimizer, 0.8)]
    return lib.SequentialLR(optimizer, parts, milestones=[3, 11])


def one_cycle(**settings):
    return lambda lib, optimizer: lib.OneCycleLR(optimizer, [0.4, 0.05], STEPS, **settings)


CASES = {
    "StepLR": lambda lib, optimizer: lib.StepLR(optimizer, 4, gamma=0.5),
    "StepLR, gamma 0.1": lambda lib, optimizer: lib.StepLR(optimizer, 7),
    "MultiStepLR": lambda lib, optimizer: lib.MultiStepLR(optimizer, [1, 3, 4, 15], gamma=0.5),
    "ExponentialLR": lambda lib, optimizer: lib.ExponentialLR(optimizer, 0.9),
    "LinearLR": lambda lib, optimizer: lib.LinearLR(optimizer),
    "LinearLR down": lambda lib, optimizer: lib.LinearLR(optimizer, 0.9, 0.0, 13),
    "CosineAnnealingLR": lambda lib, optimizer: lib.CosineAnnealingLR(optimizer, 15, 0.01),  # it rises again
    "OneCycleLR": one_cycle(),
    "OneCycleLR, other settings": one_cycle(
        pct_start=0.6, base_momentum=0.5, max_momentum=0.8, div_factor=5, final_div_factor=50
    ),
    "OneCycleLR without momentum": one_cycle(cycle_momentum=False),
    "OneCycleLR that only falls": one_cycle(pct_start=0.0),
    "SequentialLR": warm_up_and_cosine,
    "SequentialLR of three": three_parts,
}


def ours():
    a, b = (nn.Parameter(np.ones(1)) for _ in range(2))
    return optim.SGD([{"params": [a]}, {"params": [b], "lr": RATES[1]}], RATES[0], momentum=0.9)


def theirs():
    a, b = (torch.ones(1, requires_grad=True) for _ in range(2))
    return torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": RATES[1]}], RATES[0], momentum=0.9)


def state(optimizer):
    return [(group.lr, group.momentum) for group in optimizer.groups]


@pytest.mark.parametrize("name", CASES)
def test_a_run_as_pytorch(name):
    optimizer, reference = ours(), theirs()
    schedule, expected = CASES[name](optim, optimizer), CASES[name](torch.optim.lr_scheduler, reference)
    rates = set()
    for _ in range(STEPS):  # from before the first step on
        torch_state = [(group["lr"], group["momentum"]) for group in reference.param_groups]
        np.testing.assert_allclose(state(optimizer), torch_state, rtol=1e-9, atol=1e-15)
        rates.add(optimizer.lr)
        schedule.step()
        reference.step()
        with warnings.catch_warnings():  # of its own SequentialLR
            warnings.simplefilter("ignore")
            expected.step()
    assert len(rates) > 3


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("done", [0, 1, 8])
def test_a_resumed_run_has_the_same_rates(name, done):
    def run(schedule, steps):
        for _ in range(steps):
            schedule.step()
            yield state(schedule.optimizer)

    schedule = CASES[name](optim, ours())
    list(run(schedule, done))
    saved = json.loads(json.dumps(schedule.state_dict()))  # as in a checkpoint
    resumed = CASES[name](optim, ours())
    resumed.load_state_dict(saved)
    assert list(run(resumed, STEPS - done)) == list(run(schedule, STEPS - done))


def test_one_cycle_moves_the_first_beta():
    optimizer = optim.Adam([nn.Parameter(np.ones(1))], 0.1)
    reference = torch.optim.Adam([torch.ones(1, requires_grad=True)], 0.1)
    schedule = optim.OneCycleLR(optimizer, 0.2, 10)
    expected = torch.optim.lr_scheduler.OneCycleLR(reference, 0.2, 10)
    for _ in range(10):
        group = reference.param_groups[0]
        assert optimizer.lr == pytest.approx(group["lr"], rel=1e-9)
        assert optimizer.betas == pytest.approx(group["betas"], rel=1e-9)
        schedule.step()
        reference.step()
        expected.step()


VALUES = np.random.default_rng(4).standard_normal(60).cumsum() / 20  # it rises and falls, above 0 and below


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    "settings",
    [
        {"patience": 2},
        {"patience": 0, "factor": 0.5, "min_lr": 0.01},
        {"patience": 1, "factor": 0.5, "cooldown": 3},
        {"patience": 1, "factor": 0.7, "threshold": 0.05},
        {"patience": 1, "factor": 0.7, "threshold": 0.05, "threshold_mode": "abs"},
    ],
)
def test_a_plateau_as_pytorch(mode, settings):
    optimizer, reference = ours(), theirs()
    schedule = optim.ReduceLROnPlateau(optimizer, mode=mode, **settings)
    expected = torch.optim.lr_scheduler.ReduceLROnPlateau(reference, mode=mode, eps=0, **settings)
    rates = set()
    for value in VALUES:
        schedule.step({"val_loss": value})
        expected.step(value)
        rates.add(optimizer.lr)
        assert [group.lr for group in optimizer.groups] == pytest.approx([g["lr"] for g in reference.param_groups])
    assert len(rates) > 3
