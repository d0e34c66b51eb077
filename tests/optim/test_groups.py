"""Parameter groups: settings of their own, checked whenever they are assigned, and kept in the optimizer's state."""

import numpy as np
import pytest

from minicnn import nn, optim


def three():
    """Three Parameters of different shapes, each with a gradient of ones."""
    params = [nn.Parameter(np.full(n, 2.0)) for n in (1, 2, 3)]
    for parameter in params:
        parameter.grad = np.ones(parameter.shape)
    return params


def grouped(params, **settings):
    """Two groups: the first Parameter with settings of its own, then the others."""
    return optim.SGD([{"params": params[:1], **settings}, {"params": iter(params[1:])}], lr=0.1, momentum=0.5)


def test_each_group_steps_with_its_own_settings():
    params = three()
    optimizer = grouped(params, lr=0.01, weight_decay=3.0)
    optimizer.step()
    np.testing.assert_allclose(params[0].data, 2 - 0.01 * (1 + 3.0 * 2))
    for parameter in params[1:]:
        np.testing.assert_allclose(parameter.data, 2 - 0.1)
    assert optimizer.params == params
    assert [group.params for group in optimizer.groups] == [params[:1], params[1:]]
    assert optimizer.groups[1].settings == {"lr": 0.1, "momentum": 0.5, "nesterov": False, "weight_decay": 0.0}


def test_a_group_without_gradients_is_left_alone():
    params = three()
    params[0].grad = None
    optimizer = grouped(params)
    optimizer.step()
    np.testing.assert_array_equal(params[0].data, [2.0])
    assert sorted(name for name in optimizer.state_dict() if "velocity" in name) == ["velocity.1", "velocity.2"]


def test_the_optimizers_setting_is_that_of_all_groups():
    optimizer = grouped(three(), lr=0.01)
    assert optimizer.lr == 0.01
    optimizer.lr = 0.3
    optimizer.momentum = 0.7
    assert [(group.lr, group.momentum) for group in optimizer.groups] == [(0.3, 0.7), (0.3, 0.7)]
    optimizer.groups[1].lr = 0.4
    assert (optimizer.lr, optimizer.groups[1].lr) == (0.3, 0.4)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("lr", -0.1, ValueError),
        ("lr", float("nan"), ValueError),
        ("lr", "0.1", TypeError),
        ("momentum", 1.0, ValueError),
        ("nesterov", 1, TypeError),
        ("momentun", 0.9, AttributeError),
        ("params", [], AttributeError),
    ],
)
def test_nonsense_is_refused_by_a_group_and_changes_nothing(name, value, error):
    optimizer = grouped(three(), lr=0.01)
    before = [group.settings for group in optimizer.groups]
    with pytest.raises(error, match=name):
        setattr(optimizer.groups[0], name, value)
    if error is not AttributeError:
        with pytest.raises(error, match=name):
            setattr(optimizer, name, value)
    assert [group.settings for group in optimizer.groups] == before


def test_what_is_wrong_in_one_group_is_assigned_to_none():
    params = three()
    optimizer = optim.SGD([{"params": params[:1]}, {"params": params[1:], "momentum": 0.9, "nesterov": True}], lr=0.1)
    with pytest.raises(ValueError, match="momentum > 0 with nesterov=True"):
        optimizer.nesterov = True  # the first group has no momentum
    assert [group.nesterov for group in optimizer.groups] == [False, True]


def test_what_groups_may_be():
    p, q, r = three()
    for wrong, error, text in [
        ([{"params": [p]}, q], TypeError, "got both"),
        ({"params": [p]}, TypeError, "list of groups"),
        ([{"lr": 0.1}], ValueError, '"params" in group 0'),
        ([{}], ValueError, "got only nothing"),
        ([{"params": [p]}, {"params": [q], "momentun": 0.9}], ValueError, "momentun for group 1: there are lr, mom"),
        ([{"params": p}], TypeError, "group 0, got Parameter"),
        ([{"params": 3}], TypeError, "group 0, got int"),
        ([{"params": [p]}, {"params": []}], ValueError, "no Parameters"),
        ([{"params": [p]}, {"params": [r, p]}], ValueError, "twice"),
        ([{"params": [p, "w"]}], TypeError, "got str at place 1"),
        ([{"params": [p], "lr": 0}], ValueError, "lr > 0"),
        ([{"params": [p], "weight_decay": -1}], ValueError, "weight_decay >= 0"),
    ]:
        with pytest.raises(error, match=text):
            optim.SGD(wrong, 0.1)


def test_a_state_goes_on_with_every_groups_settings():
    first, params = grouped(three(), lr=0.01), three()
    first.step()
    first.groups[1].lr = 0.0
    second = grouped(params)
    second.load_state_dict(first.state_dict())
    assert [group.settings for group in second.groups] == [group.settings for group in first.groups]
    assert second.state_dict().keys() == first.state_dict().keys()


def test_the_names_of_a_state():
    """One group's are those of the checkpoints that were written before there were groups."""
    one, two = optim.SGD(three(), lr=0.1).state_dict(), grouped(three(), lr=0.01).state_dict()
    assert one == {"lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    assert (two["lr"], two["groups.1.lr"], two["groups.1.first"]) == (0.01, 0.1, 1)


def test_the_state_of_other_groups_changes_nothing():
    params = three()
    one, two = optim.SGD(three(), lr=0.1, momentum=0.5), grouped(three())
    other = optim.SGD([{"params": params[:2]}, {"params": params[2:]}], lr=0.1, momentum=0.5)
    for optimizer, values, text in [
        (one, two.state_dict(), r"1 groups cannot use groups\.1\.lr"),
        (two, one.state_dict(), r"misses groups\.1\.lr"),
        (two, other.state_dict(), r"groups\.1\.first to be 1"),
        (two, {**two.state_dict(), "groups.1.momentum": 2}, "momentum"),
    ]:
        before = optimizer.state_dict()
        with pytest.raises(ValueError, match=text):
            optimizer.load_state_dict({**values, "lr": 0.5})
        assert optimizer.state_dict() == before


def test_a_schedule_keeps_the_ratio_of_the_groups():
    optimizer = grouped(three(), lr=0.01)
    schedule = optim.MultiStepLR(optimizer, [1, 2], gamma=0.5)
    for factor in (0.5, 0.25):
        schedule.step()
        assert [group.lr for group in optimizer.groups] == pytest.approx([0.01 * factor, 0.1 * factor])
    assert schedule.state_dict()["base_lrs"] == [0.01, 0.1]
    with pytest.raises(ValueError, match=r"eta_min in \[0, lr=0.0025\]"):
        optim.CosineAnnealingLR(optimizer, 3, eta_min=0.01)


def test_a_schedule_of_before_there_were_groups_goes_on():
    optimizer = optim.SGD(three(), lr=0.1)
    schedule = optim.MultiStepLR(optimizer, [1], gamma=0.5)
    schedule.load_state_dict({"epoch": 1, "base_lr": 0.4, "milestones": [1], "gamma": 0.5})
    assert (schedule.count, schedule.base_lrs) == (1, [0.4])
    for wrong in (-0.4, None, float("nan")):
        with pytest.raises((ValueError, TypeError), match="base_lrs"):
            schedule.load_state_dict({"epoch": 1, "base_lr": wrong, "milestones": [1], "gamma": 0.5})
    with pytest.raises(ValueError, match="list of 1 numbers"):
        schedule.load_state_dict({**schedule.state_dict(), "base_lrs": [0.1, 0.2]})
