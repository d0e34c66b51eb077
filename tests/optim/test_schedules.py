"""Schedules: what is told by hand, what a warm-up means for the one after it, and what is refused."""

import json
import math

import numpy as np
import pytest

from minicnn import nn, optim

NAN, INF = math.nan, math.inf


def sgd(lr=0.4, **settings):
    return optim.SGD([nn.Parameter(np.ones(1))], lr, **settings)


def rates(schedule, steps):
    """The rates that `steps` epochs are trained with."""
    found = []
    for _ in range(steps):
        found.append(schedule.optimizer.lr)
        schedule.step()
    return found


def test_rates_by_hand():
    assert rates(optim.StepLR(sgd(), 2, gamma=0.5), 5) == [0.4, 0.4, 0.2, 0.2, 0.1]
    assert rates(optim.ExponentialLR(sgd(), gamma=0.5), 3) == [0.4, 0.2, 0.1]
    assert rates(optim.LinearLR(sgd(), 0.25, total_iters=3), 5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_it_wants_an_optimizer():
    with pytest.raises(TypeError, match="expected an Optimizer, got list"):
        optim.CosineAnnealingLR([], 3)


def test_a_subclass_needs_only_lr_at():
    class Halved(optim.Schedule):
        def lr_at(self, count, base_lr):
            return base_lr / 2**count

    optimizer = sgd(0.4)
    schedule = Halved(optimizer)
    schedule.step()
    schedule.step()
    assert optimizer.lr == 0.1
    with pytest.raises(NotImplementedError):
        optim.Schedule(optimizer).step()


def test_the_cosine_at_known_points():
    optimizer = sgd(0.4)
    schedule = optim.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.2)
    rates = [optimizer.lr]
    for _ in range(4):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates == pytest.approx([0.4, 0.3 + 0.1 * math.sqrt(0.5), 0.3, 0.3 - 0.1 * math.sqrt(0.5), 0.2])


def test_the_fall_ends_at_exactly_zero():
    optimizer = sgd()
    schedule = optim.CosineAnnealingLR(optimizer, 1)
    schedule.step()
    assert optimizer.lr == 0.0


def test_one_cycle_at_its_corners():
    """10 steps, of which 0.3 rise: the peak is step 2, the end step 9."""
    optimizer = sgd(0.4, momentum=0.9)
    schedule = optim.OneCycleLR(optimizer, 1.0, total_steps=10, div_factor=20, final_div_factor=100)
    seen = []
    for _ in range(10):
        seen.append((optimizer.lr, optimizer.momentum))
        schedule.step()
    assert seen[0] == pytest.approx((0.05, 0.95))
    assert seen[1] == pytest.approx((0.525, 0.9))  # half of the way up
    assert seen[2] == pytest.approx((1.0, 0.85))
    assert seen[9] == pytest.approx((0.0005, 0.95))
    assert (optimizer.lr, optimizer.momentum) == seen[9]  # after the last step
    with pytest.raises(ValueError, match="made for 10 steps and is over"):
        schedule.step()


@pytest.mark.parametrize(("total", "pct_start"), [(1, 0.3), (10, 0.1), (10, 0.0), (10, 1.0)])
def test_one_cycle_whose_way_up_or_down_has_no_length(total, pct_start):
    schedule = optim.OneCycleLR(sgd(), 1.0, total, pct_start, cycle_momentum=False)
    assert all(0 < rate <= 1 for rate in rates(schedule, total))


def test_a_warm_up_does_not_lower_what_follows_it():
    optimizer = sgd(0.4)
    warm_up = optim.LinearLR(optimizer, 0.25, total_iters=2)
    fall = optim.CosineAnnealingLR(optimizer, 4, eta_min=0.2)  # above the rate of the warm-up
    assert optimizer.lr == 0.1
    schedule = optim.SequentialLR(optimizer, [warm_up, fall], [2])
    expected = [0.1, 0.25, 0.4, 0.3 + 0.1 * math.sqrt(0.5), 0.3, 0.3 - 0.1 * math.sqrt(0.5), 0.2]
    assert rates(schedule, 7) == pytest.approx(expected)


def test_a_rate_that_was_assigned_after_a_warm_up_counts():
    optimizer = sgd(0.4)
    optim.LinearLR(optimizer, 0.25)
    optimizer.lr = 0.3
    assert optim.ExponentialLR(optimizer, 0.5).base_lrs == [0.3]
    optim.LinearLR(optimizer, 0.5).step()
    assert optim.ExponentialLR(optimizer, 0.5).base_lrs == pytest.approx([0.18])  # what is trained with: 0.3 * 0.6


def test_a_plateau_by_hand():
    schedule = optim.ReduceLROnPlateau(sgd(), "val_accuracy", "max", factor=0.5, patience=1)
    found = []
    for accuracy in (0.5, 0.6, 0.6, NAN, 0.59, 0.61, 0.6, 0.6):  # NaN: an epoch without validation
        schedule.step({"loss": 1.0, "val_accuracy": accuracy})
        found.append(schedule.optimizer.lr)
    assert found == [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1]
    assert (schedule.best, schedule.count) == (0.61, 8)


def test_a_plateau_resumes_in_the_middle():
    values = [3.0, 2.0, 2.0, 2.1, 2.2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    def run(schedule, values):
        for value in values:
            schedule.step({"val_loss": value})
            yield schedule.optimizer.lr

    for done in range(len(values)):
        first, second = (optim.ReduceLROnPlateau(sgd(), patience=1, cooldown=1) for _ in range(2))
        list(run(first, values[:done]))
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        second.optimizer.lr = first.optimizer.lr
        assert list(run(second, values[done:])) == list(run(first, values[done:]))


def test_a_loss_that_is_infinite_is_no_best_one():
    schedule = optim.ReduceLROnPlateau(sgd(), patience=0)
    schedule.step({"val_loss": INF})
    assert schedule.best is None
    assert schedule.optimizer.lr == pytest.approx(0.04)
    json.dumps(schedule.state_dict(), allow_nan=False)


def test_a_plateau_raises_no_rate():
    """One that is below min_lr already stays where it is."""
    large, small = [{"params": [nn.Parameter(np.ones(1))], "lr": lr} for lr in (0.1, 0.001)]
    optimizer = optim.SGD([large, small], 0.1)
    schedule = optim.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.03)
    for _ in range(3):
        schedule.step({"val_loss": 1.0})
    assert [group.lr for group in optimizer.groups] == [0.03, 0.001]


def test_a_plateau_says_what_it_misses():
    schedule = optim.ReduceLROnPlateau(sgd(), "val_los")
    with pytest.raises(ValueError, match="monitors 'val_los', and got loss, val_loss: "):
        schedule.step({"loss": 1.0, "val_loss": 2.0})
    with pytest.raises(ValueError, match="monitors 'val_los', and got NoneType"):
        schedule.step()
    assert schedule.count == 0


WRONG = [
    *(("CosineAnnealingLR", {"T_max": wrong}) for wrong in (0, -1, 2.5, None, True)),
    *(("CosineAnnealingLR", {"T_max": 3, "eta_min": wrong}) for wrong in (-0.1, 0.5, NAN, "small")),
    *(("MultiStepLR", {"milestones": wrong}) for wrong in ([0], [2, 1], [2, 2], [1.5], [True], ["1"])),
    *(("MultiStepLR", {"milestones": [1], "gamma": wrong}) for wrong in (0, -1, NAN, "x")),
    ("StepLR", {"step_size": 0}),
    ("StepLR", {"step_size": 1.5}),
    ("StepLR", {"step_size": 3, "gamma": 0}),
    ("ExponentialLR", {"gamma": -0.1}),
    ("ExponentialLR", {"gamma": NAN}),
    ("ExponentialLR", {"gamma": "0.9"}),
    ("LinearLR", {"start_factor": 0}),
    ("LinearLR", {"start_factor": 1.1}),
    ("LinearLR", {"end_factor": -0.1}),
    ("LinearLR", {"end_factor": 2}),
    ("LinearLR", {"total_iters": 0}),
    ("OneCycleLR", {"max_lr": 0, "total_steps": 3}),
    ("OneCycleLR", {"max_lr": [0.1, 0.2], "total_steps": 3}),
    ("OneCycleLR", {"max_lr": [-0.1], "total_steps": 3}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 0}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 3, "pct_start": 1.1}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 3, "cycle_momentum": 1}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 3, "max_momentum": 1.0}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 3, "base_momentum": -0.1}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 3, "div_factor": 0}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 3, "final_div_factor": INF}),
    ("ReduceLROnPlateau", {"monitor": ""}),
    ("ReduceLROnPlateau", {"monitor": None}),
    ("ReduceLROnPlateau", {"mode": "least"}),
    ("ReduceLROnPlateau", {"factor": 1.0}),
    ("ReduceLROnPlateau", {"factor": 0}),
    ("ReduceLROnPlateau", {"patience": -1}),
    ("ReduceLROnPlateau", {"patience": 1.5}),
    ("ReduceLROnPlateau", {"threshold": -1e-4}),
    ("ReduceLROnPlateau", {"threshold_mode": "relative"}),
    ("ReduceLROnPlateau", {"cooldown": True}),
    ("ReduceLROnPlateau", {"min_lr": -1}),
]


@pytest.mark.parametrize(("name", "settings"), WRONG)
def test_wrong_settings_are_refused(name, settings):
    optimizer = sgd()
    with pytest.raises((ValueError, TypeError), match=f"{name} expected"):
        getattr(optim, name)(optimizer, **settings)
    assert optimizer.lr == 0.4


def test_one_cycle_knows_at_once_what_would_be_refused_at_its_peak():
    optimizer = optim.SGD([nn.Parameter(np.ones(1))], 0.1, momentum=0.9, nesterov=True)
    with pytest.raises(ValueError, match="expected momentum > 0 with nesterov=True"):
        optim.OneCycleLR(optimizer, 1.0, 10, base_momentum=0.0)
    assert (optimizer.lr, optimizer.momentum) == (0.1, 0.9)
    optim.OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False, base_momentum=0.0)


def test_one_cycle_wants_momentum_or_to_be_told():
    optimizer = optim.Adadelta([nn.Parameter(np.ones(1))])
    with pytest.raises(ValueError, match="neither momentum nor betas in Adadelta: use cycle_momentum=False"):
        optim.OneCycleLR(optimizer, 1.0, 10)
    optim.OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False)


def test_a_sequence_of_what_does_not_belong_together():
    optimizer = sgd()
    a, b = optim.StepLR(optimizer, 2), optim.ExponentialLR(optimizer, 0.5)
    for schedules, milestones, text in [
        ([a, b], [], "one milestone fewer than schedules, got 0 for 2"),
        ([a, b], [1, 2], "got 2 for 2"),
        ([a, b], [0], "each milestone"),
        ([a, b, a], [2, 2], "milestones that rise"),
        ([], [], "expected a list of schedules"),
        (a, [], "expected a list of schedules"),
        ([a, 3], [1], "follow a count, got int"),
        ([a, optim.ReduceLROnPlateau(optimizer)], [1], "follow a count, got ReduceLROnPlateau"),
        ([a, optim.StepLR(sgd(), 2)], [1], "a StepLR of another optimizer"),
    ]:
        with pytest.raises((ValueError, TypeError), match=text):
            optim.SequentialLR(optimizer, schedules, milestones)
    assert optimizer.lr == 0.4


def sequence():
    optimizer = sgd()
    return optim.SequentialLR(optimizer, [optim.LinearLR(optimizer), optim.StepLR(optimizer, 2)], [3])


def test_a_state_goes_on_even_if_the_optimizer_was_made_with_another_lr():
    first, second = sgd(0.4), sgd(0.1)
    a, b = optim.CosineAnnealingLR(first, 5), optim.CosineAnnealingLR(second, 5)
    a.step()
    b.load_state_dict(a.state_dict())
    a.step()
    b.step()
    assert first.lr == second.lr
    assert (b.count, b.base_lrs) == (2, [0.4])


def test_milestones_go_through_json():
    """As in a checkpoint, where they are kept."""
    schedule = optim.MultiStepLR(sgd(), (2, 5))
    schedule.load_state_dict(json.loads(json.dumps({**schedule.state_dict(), "count": 3})))
    assert schedule.count == 3
    with pytest.raises(ValueError, match=r"saved with milestones=\[2, 5\] and has milestones=\[2, 6\]"):
        optim.MultiStepLR(sgd(), [2, 6]).load_state_dict(schedule.state_dict())


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: optim.CosineAnnealingLR(sgd(), 5), {"T_max": 6}),
        (lambda: optim.CosineAnnealingLR(sgd(), 5), {"eta_min": 0.1}),
        (lambda: optim.CosineAnnealingLR(sgd(), 5), {"count": -1}),
        (lambda: optim.CosineAnnealingLR(sgd(), 5), {"count": 1.5}),
        (lambda: optim.CosineAnnealingLR(sgd(), 5), {"gamma": 1}),
        (lambda: optim.OneCycleLR(sgd(), 0.1, 9), {"total_steps": 8}),
        (lambda: optim.ReduceLROnPlateau(sgd()), {"patience": 9}),
        (lambda: optim.ReduceLROnPlateau(sgd()), {"bad": -1}),
        (lambda: optim.ReduceLROnPlateau(sgd()), {"best": "small"}),
        (lambda: optim.ReduceLROnPlateau(sgd()), {"cooling": None}),
        (sequence, {"milestones": [4]}),
        (sequence, {"schedules": None}),
        (sequence, {"schedules": []}),
        (sequence, {"schedules": [1, 2]}),
        (sequence, {"schedules": sequence().state_dict()["schedules"][::-1]}),
        (sequence, {"schedules": [{"class": "LinearLR"}, {"class": "StepLR"}]}),
    ],
)
def test_states_that_do_not_fit(make, change):
    schedule = make()
    before = schedule.state_dict()
    with pytest.raises((ValueError, TypeError)):
        schedule.load_state_dict({**before, "count": 3, **change})
    assert schedule.state_dict() == before
