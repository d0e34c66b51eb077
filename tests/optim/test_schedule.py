"""Schedules: the cosine at the points where it is known, and states that fit or do not."""

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
