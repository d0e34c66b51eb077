"""The learning-rate finder: what it computes, where theory knows the answer, and that nothing is left of it."""

import math
import warnings

import numpy as np
import pytest
from threads import run_ranks

import minicnn as mc
from minicnn import data, nn, optim
from minicnn import functional as F
from minicnn.train import find_learning_rate


def full_trainer(small):
    """A Trainer in the middle of its training, with everything that has a state."""
    made = small.trainer(schedule=False)
    model = made.model
    groups = [{"params": list(model.parameters())[:2]}, {"params": list(model.parameters())[2:], "lr": 0.01}]
    optimizer = optim.SGD(groups, 0.05, momentum=0.9)
    schedule = optim.OneCycleLR(optimizer, [0.1, 0.02], 1000)
    settings = {"schedule_interval": "step", "clip_norm": 1.0, "average": optim.WeightAverage(model)}
    return mc.Trainer(model, optimizer, schedule=schedule, **settings)


def everything(trainer, small):
    """All that a training can change, as bytes and plain values."""
    state = {name: array.tobytes() for name, array in small.arrays(trainer).items()}
    state |= {name: array.tobytes() for name, array in trainer.average.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.tobytes() for p in trainer.model.parameters()]
    modes = [module.training for module in trainer.model.modules()]
    groups = [group.settings for group in trainer.optimizer.groups]
    rest = (trainer.schedule.state_dict(), trainer.epoch, trainer.history, trainer.batch)
    return state, gradients, modes, groups, rest


def test_a_trainer_of_several_ranks_is_refused(small, dataset):
    def work(communicator):
        model = small.trainer().model
        trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1), communicator=communicator)
        with pytest.raises(ValueError, match="expected a Trainer of one process, got one of 2 ranks: find the rate in"):
            find_learning_rate(trainer, dataset)

    run_ranks(2, work)


def test_nothing_is_left_of_it(small, dataset):
    trainer, untouched = (full_trainer(small) for _ in range(2))
    loader = data.DataLoader(dataset, 8, shuffle=True)
    for each in (trainer, untouched):
        each.fit(loader, 2)
    trainer.model.eval()
    next(trainer.model.parameters()).grad = None
    before, epoch = everything(trainer, small), loader.epoch
    curve = find_learning_rate(trainer, loader, steps=60)
    assert len(curve.lrs) > 10
    assert everything(trainer, small) == before
    assert loader.epoch == epoch
    for each in (trainer, untouched):
        each.fit(data.DataLoader(dataset, 8, shuffle=True), 1)
    assert small.same(small.arrays(trainer), small.arrays(untouched))


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_it_after_a_fault(small, dataset, fault):
    trainer, calls = full_trainer(small), []
    trainer.fit(dataset, 1, batch_size=8)
    before = everything(trainer, small)

    def loss(outputs, labels):
        calls.append(len(labels))
        if len(calls) == 6:
            raise fault
        return F.cross_entropy(outputs, labels)

    trainer.loss = loss
    with pytest.raises(fault):
        find_learning_rate(trainer, dataset, batch_size=8)
    assert len(calls) == 6
    assert everything(trainer, small) == before


def test_it_is_the_loop_written_by_hand(small, dataset):
    """The rates, the batches, the losses; groups keep their ratio."""
    trainer = small.trainer(schedule=False)
    trainer.optimizer = optim.SGD(
        [{"params": [p], "lr": 0.05 * (i + 1)} for i, p in enumerate(trainer.model.parameters())], 0.05, momentum=0.9
    )
    curve = find_learning_rate(trainer, dataset, batch_size=16, start=1e-3, end=0.1, steps=10)

    other = small.trainer(schedule=False).model
    steppers = [optim.SGD([p], 1.0, momentum=0.9) for p in other.parameters()]
    loader = data.DataLoader(dataset, 16, shuffle=True)
    batches = [batch for epoch in range(3) for batch in loader.batches(epoch)]
    expected, smoothed, average = [], [], 0.0
    for i, (x, labels) in enumerate(batches[:10]):
        for k, stepper in enumerate(steppers):
            stepper.lr = 1e-3 * 100 ** (i / 9) * (k + 1)
        loss = F.cross_entropy(other(mc.Tensor(x)), labels)
        other.zero_grad()
        loss.backward()
        for stepper in steppers:
            stepper.step()
        expected.append(loss.item())
        average = 0.9 * average + 0.1 * expected[-1]
        smoothed.append(average / (1 - 0.9 ** (i + 1)))
    assert curve.lrs == pytest.approx(np.geomspace(1e-3, 0.1, 10))
    assert curve.losses == pytest.approx(expected, rel=1e-5)
    assert curve.smoothed == pytest.approx(smoothed, rel=1e-5)
    assert not curve.diverged
    assert curve.fall == pytest.approx(1 - min(smoothed) / smoothed[0], rel=1e-4)
    assert curve.suggestion == pytest.approx(curve.lrs[int(np.argmin(smoothed))] / 10)


def test_gradient_descent_on_a_parabola_diverges_above_2_over_its_curvature():
    """The loss |X w - 1|**2 / N has the curvature 2 X'X / N: with less than 2 / its largest eigenvalue each step of
    gradient descent lowers the loss, with more one component of w grows."""
    X = np.random.default_rng(0).standard_normal((40, 6)) * [1, 1, 2, 3, 4, 5]
    edge = 2 / np.linalg.eigvalsh(2 * X.T @ X / 40).max()
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 1, bias=False))
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 1.0), lambda outputs, _: ((outputs - 1) ** 2).mean())
    images = data.ArrayDataset(X.reshape(40, 1, 1, 6).astype(np.float32), np.zeros(40, int))
    curve = find_learning_rate(trainer, images, batch_size=40)
    losses = np.array(curve.losses)
    assert curve.diverged
    falling = losses[np.array(curve.lrs) < edge]
    assert falling[-1] < 0.5 * falling[0]
    assert (np.diff(falling) < 1e-6).all()
    assert edge < 10 * curve.suggestion < 4 * edge  # that component was almost 0, and the mean looks back
    smoothed = np.array(curve.smoothed)
    assert (smoothed <= 4 * np.minimum.accumulate(smoothed)).all()


def test_a_loss_that_is_no_longer_finite_ends_it(small, dataset):
    trainer, calls = small.trainer(schedule=False), []

    def loss(outputs, labels):
        calls.append(0)
        return F.cross_entropy(outputs, labels) / len(calls) + (math.inf if len(calls) > 20 else 0.0)

    trainer.loss = loss
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve = find_learning_rate(trainer, dataset, batch_size=10, end=1e-3)
    assert curve.diverged
    assert len(curve.lrs) == len(curve.losses) == len(curve.smoothed) == 20


def test_a_lazy_layer_gets_the_values_that_it_would_have_drawn(small, dataset):
    trainer, other = (small.trainer(schedule=False) for _ in range(2))
    assert not trainer.model[-1].weight.is_filled
    find_learning_rate(trainer, dataset, batch_size=10, steps=20)
    trainer.fit(dataset, 1)
    other.fit(dataset, 1)
    assert small.same(small.arrays(trainer), small.arrays(other))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"start": 0}, "start > 0"),
        ({"start": -1e-3}, "start > 0"),
        ({"end": math.nan}, "end to be finite"),
        ({"end": "1"}, "end to be a number"),
        ({"start": 0.1, "end": 0.1}, "end above start"),
        ({"steps": 1}, "at least 2 steps"),
        ({"steps": 10.5}, "steps to be a whole number"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_arguments_are_refused(small, dataset, settings, text):
    with pytest.raises((ValueError, TypeError), match=text):
        find_learning_rate(small.trainer(), dataset, **settings)


def test_a_model_is_no_trainer(small, dataset):
    with pytest.raises(TypeError, match="find_learning_rate expected a Trainer, got Sequential"):
        find_learning_rate(small.network(), dataset)


def test_labels_that_do_not_fit_are_refused(small, dataset):
    wrong = data.ArrayDataset(dataset.images, dataset.labels + 5)
    with pytest.raises(ValueError, match="the model has 5 outputs"):
        find_learning_rate(small.trainer(), wrong)


def test_where_nothing_is_learnt_it_says_so(small, dataset):
    trainer = small.trainer(schedule=False)
    with pytest.raises(RuntimeError, match="never fell below what it was at the learning rate 1000"):
        find_learning_rate(trainer, dataset, batch_size=25, start=1e3, end=1e4)
