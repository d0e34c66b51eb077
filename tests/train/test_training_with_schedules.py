"""Schedules in the Trainer: what they see of it, and that a run which goes on has the same rates and the same bits."""

import pytest

import minicnn as mc
from minicnn import optim, train


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


def test_a_run_that_is_broken_off_and_begun_again_has_the_rates_of_its_epochs(small, dataset, tmp_path):
    """The epoch is trained again from its first step on, also where it had begun before the process."""

    class Interrupting(train.Callback):
        def __init__(self, *at):
            self.at = list(at)  # (epoch, batch)

        def on_step_end(self, trainer, record):
            trainer.save(tmp_path / "step")
            if self.at and (trainer.epoch, trainer.batch) == self.at[0]:
                del self.at[0]
                raise KeyboardInterrupt

    def make(*at):
        made = small.trainer(schedule=False)
        parts = {"schedule": optim.OneCycleLR(made.optimizer, 0.1, total_steps=3 * 4), "schedule_interval": "step"}
        return mc.Trainer(made.model, made.optimizer, callbacks=[Interrupting(*at)], accumulate=2, **parts)

    def fit(trainer):
        return trainer.fit(dataset, 3 - trainer.epoch, batch_size=7)["lr"]  # 8 batches an epoch, 4 steps

    rates = fit(make())
    trainer = make((1, 2), (2, 8))  # in the middle of an epoch, and after its last step
    for steps in (4, 8):
        with pytest.raises(KeyboardInterrupt):
            fit(trainer)
        assert (trainer.schedule.count, trainer.batch) == (steps, 0)
    assert fit(trainer) == rates

    first, resumed = make((1, 4)), make((1, 6))
    with pytest.raises(KeyboardInterrupt):
        fit(first)
    resumed.load(tmp_path / "step")
    with pytest.raises(KeyboardInterrupt):
        fit(resumed)
    assert resumed.schedule.count == 4
    assert fit(resumed) == rates
    assert resumed.optimizer.groups[0].momentum == pytest.approx(0.95)


def test_an_epoch_that_is_not_gone_on_with_is_not_lost(small, dataset, tmp_path):
    class Stopping(train.Callback):
        def on_fit_begin(self, trainer):
            trainer.stop()

    class Interrupting(train.Callback):
        def on_step_end(self, trainer, record):
            trainer.save(tmp_path / "run")
            raise KeyboardInterrupt

    def make(callback):
        made = small.trainer(schedule=False)
        return mc.Trainer(made.model, made.optimizer, schedule=one_cycle(made.optimizer), schedule_interval="step",
                          callbacks=[callback])  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        make(Interrupting()).fit(dataset, 1, batch_size=8)
    resumed = make(Stopping())
    resumed.load(tmp_path / "run")
    resumed.fit(dataset, 1, batch_size=8)
    assert (resumed.batch, resumed.schedule.count) == (1, 1)


def test_a_plateau_without_a_validation_says_so(small, dataset):
    made = small.trainer(schedule=False)
    trainer = mc.Trainer(made.model, made.optimizer, schedule=plateau(made.optimizer))
    with pytest.raises(ValueError, match="monitors 'val_loss', and got loss, accuracy, lr, seconds: give fit"):
        trainer.fit(dataset, 1)
    assert not trainer.model[6].weight.is_filled  # nothing was trained
