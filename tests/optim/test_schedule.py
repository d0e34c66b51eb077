"""Schedules: the cosine at the points where it is known, and states that fit or do not."""

import json
import math

import numpy as np
import pytest

from minicnn import nn, optim


def sgd(lr=0.4):
    return optim.SGD([nn.Parameter(np.ones(1))], lr)


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


@pytest.mark.parametrize(
    "settings", [(0,), (-1,), (2.5,), (None,), (True,), (3, -0.1), (3, 0.5), (3, float("nan")), (3, "small")]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises((ValueError, TypeError), match="CosineAnnealingLR"):
        optim.CosineAnnealingLR(sgd(), *settings)


def test_it_wants_an_optimizer():
    with pytest.raises(TypeError, match="expected an Optimizer, got list"):
        optim.CosineAnnealingLR([], 3)


def test_a_state_goes_on_even_if_the_optimizer_was_made_with_another_lr():
    first, second = sgd(0.4), sgd(0.1)
    a, b = optim.CosineAnnealingLR(first, 5), optim.CosineAnnealingLR(second, 5)
    a.step()
    b.load_state_dict(a.state_dict())
    a.step()
    b.step()
    assert first.lr == second.lr
    assert (b.epoch, b.base_lr) == (2, 0.4)


@pytest.mark.parametrize("change", [{"T_max": 6}, {"eta_min": 0.1}, {"epoch": -1}, {"epoch": 1.5}, {"gamma": 1}])
def test_states_that_do_not_fit(change):
    schedule = optim.CosineAnnealingLR(sgd(), 5)
    with pytest.raises((ValueError, TypeError), match="CosineAnnealingLR"):
        schedule.load_state_dict({**schedule.state_dict(), "epoch": 3, **change})
    assert schedule.epoch == 0


def test_a_subclass_needs_only_lr_at():
    class Halved(optim.Schedule):
        def lr_at(self, epoch):
            return self.base_lr / 2**epoch

    optimizer = sgd(0.4)
    schedule = Halved(optimizer)
    schedule.step()
    schedule.step()
    assert optimizer.lr == 0.1
    with pytest.raises(NotImplementedError):
        optim.Schedule(optimizer).step()


def test_steps_at_milestones_as_pytorch_takes_them():
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], 0.4)
    reference = torch.optim.lr_scheduler.MultiStepLR(theirs, [1, 3, 4], gamma=0.5)
    ours = sgd(0.4)
    schedule = optim.MultiStepLR(ours, [1, 3, 4], gamma=0.5)
    for _ in range(6):
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        schedule.step()
        theirs.step()
        reference.step()


@pytest.mark.parametrize(
    "settings",
    [([0],), ([2, 1],), ([2, 2],), ([1.5],), ([True],), (["1"],), ([1], 0), ([1], -1), ([1], float("nan")), ([1], "x")],
)
def test_wrong_milestones_are_refused(settings):
    with pytest.raises((ValueError, TypeError), match="MultiStepLR"):
        optim.MultiStepLR(sgd(), *settings)


def test_milestones_go_through_json():
    """As in a checkpoint, where they are kept."""
    schedule = optim.MultiStepLR(sgd(), (2, 5))
    schedule.load_state_dict(json.loads(json.dumps({**schedule.state_dict(), "epoch": 3})))
    assert schedule.epoch == 3
    with pytest.raises(ValueError, match=r"saved with milestones=\[2, 5\] and has milestones=\[2, 6\]"):
        optim.MultiStepLR(sgd(), [2, 6]).load_state_dict(schedule.state_dict())
