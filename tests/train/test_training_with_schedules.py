"""Schedules in the Trainer: what they see of it, and that a run which goes on has the same rates and the same bits."""

import pytest

import minicnn as mc
from minicnn import optim


def one_cycle(optimizer):
    return optim.OneCycleLR(optimizer, 0.1, total_steps=4 * 7)  # batches of 8 of 50 images


def warm_up_and_fall(optimizer):
    parts = [optim.LinearLR(optimizer, 0.1, total_iters=2), optim.StepLR(optimizer, 1, gamma=0.5)]
    return optim.SequentialLR(optimizer, parts, [2])


def plateau(optimizer):
    """Nothing is good enough for it."""
    return optim.ReduceLROnPlateau(optimizer, "val_loss", patience=0, threshold=10, threshold_mode="abs")


@pytest.mark.parametrize(
    ("make", "interval"), [(one_cycle, "step"), (warm_up_and_fall, "epoch"), (warm_up_and_fall, "step"),
                           (plateau, "epoch")]
)  # fmt: skip
def test_2_epochs_and_2_more_are_4(small, dataset, tmp_path, make, interval):
    def trainer():
        made = small.trainer(schedule=False)
        return mc.Trainer(made.model, made.optimizer, schedule=make(made.optimizer), schedule_interval=interval)

    straight, first, second = trainer(), trainer(), trainer()
    settings = {"batch_size": 8, "validation": dataset, "validate_every": 2}
    straight.fit(dataset, 4, **settings)
    first.fit(dataset, 2, **settings)
    first.save(tmp_path / "run")
    second.load(tmp_path / "run")
    second.fit(dataset, 2, **settings)
    rates = [*straight.history["lr"], straight.optimizer.lr]
    assert [*second.history["lr"], second.optimizer.lr] == rates
    assert len(set(rates)) > 1
    assert small.same(small.arrays(straight), small.arrays(second))
    assert straight.schedule.state_dict() == second.schedule.state_dict()


def test_a_plateau_without_a_validation_says_so(small, dataset):
    made = small.trainer(schedule=False)
    trainer = mc.Trainer(made.model, made.optimizer, schedule=plateau(made.optimizer))
    with pytest.raises(ValueError, match="monitors 'val_loss', and step got loss, accuracy, lr, seconds: give fit"):
        trainer.fit(dataset, 1)
