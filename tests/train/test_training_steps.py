"""What a step of the optimizer is made of: several batches, a bound, an average, a schedule of steps."""

import math

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, nn, optim
from minicnn import functional as F


def linear(seed=1, dtype=np.float64):
    mc.seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).to(dtype=dtype)


def weights(trainer):
    return {name: p.data.copy() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize(("batch_size", "accumulate"), [(10, 5), (16, 4), (20, 3), (7, 100)])
def test_accumulated_batches_are_one_large_batch(dataset, batch_size, accumulate):
    """Also where the last one is smaller: 16 + 16 + 16 + 2, 20 + 20 + 10 and 7 times 7 and a 1 are the 50 samples."""
    trained = []
    for size, n in ((50, 1), (batch_size, accumulate)):
        model = linear()
        trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.5, momentum=0.9), accumulate=n)
        trainer.fit(data.DataLoader(dataset, size), 3)
        trained.append(weights(trainer))
    for name, array in trained[0].items():
        np.testing.assert_allclose(trained[1][name], array, rtol=1e-11, atol=1e-13)


def test_the_last_step_of_an_epoch_has_what_remains(dataset):
    """50 samples in batches of 8, two a step: steps of 16, 16, 16 and 2 samples, written by hand."""
    model, other = linear(), linear()
    mc.Trainer(model, optim.SGD(model.parameters(), 0.5), accumulate=2).fit(data.DataLoader(dataset, 8), 1)
    w, b = (parameter.data for parameter in other.parameters())
    x = dataset.images.reshape(50, 64).astype(np.float32).astype(np.float64) / 255
    for first in range(0, 50, 16):
        rows, labels = x[first : first + 16], dataset.labels[first : first + 16]
        y = rows @ w + b
        p = np.exp(y - y.max(axis=1, keepdims=True))
        dy = (p / p.sum(axis=1, keepdims=True) - np.eye(5)[labels]) / len(rows)
        w -= 0.5 * rows.T @ dy
        b -= 0.5 * dy.sum(axis=0)
    np.testing.assert_allclose(model[1].weight.data, w, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model[1].bias.data, b, rtol=1e-6, atol=1e-8)


def test_clipping_and_averaging_stand_where_they_belong(small, dataset):
    trainer = small.trainer(schedule=False)
    average = optim.WeightAverage(trainer.model, 0.8)
    mc.Trainer(trainer.model, trainer.optimizer, clip_norm=0.3, average=average).fit(dataset, 1, batch_size=16)

    other = small.trainer(schedule=False)
    expected = optim.WeightAverage(other.model, 0.8)
    for x, labels in data.DataLoader(dataset, 16, shuffle=True):
        loss = F.cross_entropy(other.model(mc.Tensor(x)), labels)
        other.optimizer.zero_grad()
        loss.backward()
        norm = optim.clip_grad_norm(other.model.parameters(), 0.3)
        assert norm > 0.3
        other.optimizer.step()
        expected.update()
    assert small.same(small.arrays(trainer), small.arrays(other))
    assert small.same(average.state_dict(), expected.state_dict())


def test_the_averages_are_measured_and_the_weights_trained(small, dataset):
    made = small.trainer(schedule=False)
    average = optim.WeightAverage(made.model, 0.9)
    trainer = mc.Trainer(made.model, made.optimizer, average=average)
    trainer.predict(dataset.images)  # before there are averages: the model as it is
    history = trainer.fit(dataset, 2, batch_size=16, validation=dataset)
    before = small.arrays(trainer)
    measured, predicted = trainer.evaluate(dataset, 16), trainer.predict(dataset.images)
    assert small.same(small.arrays(trainer), before)
    plain = mc.Trainer(trainer.model, trainer.optimizer)
    assert plain.evaluate(dataset, 16) != measured
    with average.applied():
        assert plain.evaluate(dataset, 16) == measured == {k: history[f"val_{k}"][-1] for k in ("loss", "accuracy")}
        np.testing.assert_array_equal(plain.predict(dataset.images), predicted)


def test_a_schedule_of_steps(small, dataset):
    """4 batches an epoch, two a step: the rates are those of the steps 0 and 1, 2 and 3; the last is in the history."""
    made = small.trainer(schedule=False)
    schedule = optim.CosineAnnealingLR(made.optimizer, 4)
    trainer = mc.Trainer(made.model, made.optimizer, schedule=schedule, schedule_interval="step", accumulate=2)
    history = trainer.fit(dataset, 2, batch_size=16)
    rates = [0.025 * (1 + math.cos(math.pi * step / 4)) for step in range(5)]
    assert history["lr"] == pytest.approx([rates[1], rates[3]])
    assert made.optimizer.lr == pytest.approx(rates[4])


def test_validation_every_few_epochs_counts_from_the_first_of_all(small, dataset):
    trainer = small.trainer()
    trainer.fit(dataset, 2, validation=dataset, validate_every=3)
    history = trainer.fit(dataset, 2, validation=dataset, validate_every=3)
    for name in ("val_loss", "val_accuracy"):
        assert [math.isnan(value) for value in history[name]] == [True, True, False, True]


def test_a_plateau_is_seen_through_epochs_without_validation(small, dataset):
    made = small.trainer(schedule=False)
    schedule = optim.ReduceLROnPlateau(made.optimizer, mode="min", patience=0, threshold=10.0, threshold_mode="abs")
    trainer = mc.Trainer(made.model, made.optimizer, schedule=schedule)
    history = trainer.fit(dataset, 5, validation=dataset, validate_every=2)
    assert history["lr"] == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.005])  # 10 less than the best loss is never seen
    with pytest.raises(ValueError, match="monitors 'val_loss'"):
        trainer.fit(dataset, 1)


def test_what_trainer_and_fit_refuse(small, dataset, tmp_path):
    made = small.trainer()
    for settings, text in [
        ({"schedule_interval": "batch"}, '"epoch" or "step"'),
        ({"schedule_interval": "step", "schedule": None}, "no schedule"),
        ({"accumulate": 0}, "accumulate"),
        ({"accumulate": 2.0}, "accumulate"),
        ({"clip_norm": 0}, "clip_norm > 0"),
        ({"clip_norm": -1.0}, "clip_norm > 0"),
        ({"clip_norm": math.inf}, "finite"),
        ({"clip_norm": "1"}, "clip_norm"),
        ({"average": 0.999}, "WeightAverage or None, got float"),
        ({"average": optim.WeightAverage(small.network())}, "another model"),
        ({"callbacks": "csv"}, "list of Callbacks"),
    ]:
        with pytest.raises((ValueError, TypeError), match=text):
            mc.Trainer(made.model, made.optimizer, **{"schedule": made.schedule, **settings})
    for settings, text in [
        ({"validate_every": 0, "validation": dataset}, "validate_every"),
        ({"validate_every": 2}, "nothing to validate with"),
        ({"checkpoint_every": 3}, "no place to save"),
        ({"checkpoint_every": 0, "checkpoint": tmp_path / "run"}, "checkpoint_every"),
        ({"checkpoint_every": 1.5, "checkpoint": tmp_path / "run"}, "checkpoint_every"),
        ({"checkpoint": 3}, "path"),
    ]:
        with pytest.raises((ValueError, TypeError), match=text):
            made.fit(dataset, 1, **settings)
    assert made.epoch == 0
    assert list(tmp_path.iterdir()) == []
