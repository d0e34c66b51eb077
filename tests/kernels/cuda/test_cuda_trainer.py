"""What the Trainer does beside plain steps, with recorded ones: the same bits as without recording."""

import gc
import weakref

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import minicnn as mc
from minicnn import data, device, nn, optim, train
from minicnn.train import gpu_steps


def digits():
    rng = np.random.default_rng(0)
    return data.ArrayDataset(rng.integers(0, 256, (22, 8, 8, 1), np.uint8), rng.integers(0, 3, 22))


class Weighing(train.Callback):
    """Notes the weights after each step."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, trainer, record):
        self.seen.append(trainer.model[0].weight.numpy().copy())


def make(averaged=False, steps=None, **settings):
    mc.seed(3)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(72, 3))
    model.to("cuda")
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    schedule = optim.CosineAnnealingLR(optimizer, 10)
    average = optim.WeightAverage(model, 0.8) if averaged else None
    return mc.Trainer(model, optimizer, schedule=schedule, average=average, **settings)


def loader(**settings):
    """Five batches an epoch, the last one smaller."""
    return data.DataLoader(digits(), 5, shuffle=True, **settings)


def fitted(epochs=2, averaged=False, **settings):
    trainer = make(averaged, **settings)
    trainer.fit(loader(), epochs, progress=False)
    return trainer


def assert_alike(one, other):
    for name, value in one.model.state_dict().items():
        assert_array_equal(device.to_device(other.model.state_dict()[name], "cpu"), device.to_device(value, "cpu"))
    for name in one.history.keys() - {"seconds"}:
        assert one.history[name] == other.history[name]


def graphs(trainer):
    return [step.graph for step in trainer._gpu_steps.sizes.values()]


def test_bounds_and_averages_are_recorded(cupy):
    settings = {"averaged": True, "clip_norm": 0.5}
    recorded, eager = fitted(**settings), fitted(capture=False, **settings)
    assert None not in graphs(recorded)
    assert_alike(recorded, eager)
    for name, value in eager.average.state_dict().items():
        averaged = recorded.average.state_dict()[name]
        assert_array_equal(device.to_device(averaged, "cpu"), device.to_device(value, "cpu"))


def test_steps_of_several_batches_are_not_recorded(cupy):
    one, other = fitted(accumulate=2), fitted(capture=False, accumulate=2)
    assert graphs(one) == [None, None]
    assert_alike(one, other)
    assert one.history["loss"] != fitted().history["loss"]


@pytest.mark.parametrize("settings", [{}, {"averaged": True, "clip_norm": 0.5}, {"precision": "float16"}])
def test_steps_with_rates_of_their_own_are_recorded_up_to_the_gradients(cupy, monkeypatch, settings):
    """A batch of each epoch is smaller, so there are two recordings, of which each has gradients of its own."""
    recordings = []
    before = device.recorded
    monkeypatch.setattr(device, "recorded", lambda function: recordings.append(function) or before(function))
    settings = {"schedule_interval": "step", "epochs": 3, **settings}
    one, other = fitted(**settings), fitted(capture=False, **settings)
    assert len(recordings) == 2
    assert None not in graphs(one)
    assert_alike(one, other)
    # the rate of the fifth step, of the tenth and of the fifteenth
    assert one.history["lr"] == pytest.approx([0.05 * (1 + np.cos(np.pi * step / 10)) for step in (4, 9, 14)])


def test_one_cycle_moves_the_momentum_of_recorded_steps_too(cupy):
    def run(capture):
        mc.seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to("cuda")
        optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        schedule = optim.OneCycleLR(optimizer, 0.2, 10)
        trainer = mc.Trainer(model, optimizer, schedule=schedule, schedule_interval="step", capture=capture)
        trainer.fit(loader(), 2, progress=False)
        return trainer

    recorded, eager = run(True), run(False)
    assert None not in graphs(recorded)
    assert_alike(recorded, eager)
    assert recorded.optimizer.momentum == eager.optimizer.momentum != 0.9


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}])
def test_a_run_that_is_stopped_in_mid_epoch_goes_on_with_the_same_bits(cupy, tmp_path, settings):
    straight = fitted(**settings)
    for batch in (2, 4):
        stopped = make(**settings, callbacks=[Stop(batch)])
        with pytest.raises(KeyboardInterrupt):
            stopped.fit(loader(), 2, checkpoint=tmp_path / "run", checkpoint_every=1, progress=False)
        resumed = make(**settings)
        resumed.load(tmp_path / "run")
        assert (resumed.epoch, resumed.batch) == (1, batch - (2 if settings else 1))
        resumed.fit(loader(), 1, progress=False)
        assert_alike(resumed, straight)


class Stop(train.Callback):
    """Ctrl-C after so many batches of the second epoch, before they are saved."""

    def __init__(self, batch):
        self.batch = batch

    def on_step_end(self, trainer, record):
        if (trainer.epoch, trainer.batch) == (1, self.batch):
            raise KeyboardInterrupt


def test_a_callback_sees_the_weights_after_its_step(cupy):
    recorded, eager = Weighing(), Weighing()
    fitted(callbacks=[recorded])
    fitted(callbacks=[eager], capture=False)
    assert len(recorded.seen) == 10
    for one, other in zip(recorded.seen, eager.seen, strict=True):
        assert_array_equal(one, other)
    assert all((one != other).any() for one, other in zip(recorded.seen, recorded.seen[1:], strict=False))


def test_batches_that_are_changed_are_copied(cupy):
    def mirrored(x, labels, rng):
        return (x[:, :, ::-1] if rng.random() < 0.5 else x), labels

    trainers = [make(capture=capture) for capture in (True, False)]
    for trainer in trainers:
        trainer.fit(loader(batch_transform=mirrored), 2, progress=False)
    assert type(trainers[0]._gpu_steps.source) is gpu_steps.Sent
    assert trainers[1]._gpu_steps is None
    assert_alike(*trainers)


class Changing(train.Callback):
    """Changes something after each epoch."""

    def __init__(self, change):
        self.change = change

    def on_epoch_end(self, trainer, record):
        self.change(trainer)


class ChangingSteps(train.Callback):
    """Changes something after each step."""

    def __init__(self, change):
        self.change = change

    def on_step_end(self, trainer, record):
        self.change(trainer)


def set_clip_norm(trainer):
    trainer.clip_norm = 0.01 * (1 + trainer.batch)


def freeze_for_an_epoch(trainer):
    trainer.model[1].weight.requires_grad = trainer.epoch != 1


def drop_much(trainer):
    trainer.model[2].p = 0.9


def forget_velocities(trainer):
    trainer.optimizer.load_state_dict(trainer.optimizer.groups[0].settings)


def augment(trainer):
    trainer.loader.transform = data.transforms.Cutout(3)


def small(callbacks=(), epochs=3, **settings):
    """A run without schedule: nothing of a step changes by itself."""
    mc.seed(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6, activation="relu"), nn.Dropout(0.2), nn.Linear(6, 3)).to(
        "cuda"
    )
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    trainer = mc.Trainer(model, optimizer, callbacks=callbacks, **settings)
    trainer.loader = loader()
    trainer.fit(trainer.loader, epochs, progress=False)
    return trainer


@pytest.mark.parametrize("change", [freeze_for_an_epoch, drop_much, set_clip_norm, forget_velocities, augment])
def test_what_a_callback_changes_after_an_epoch_is_changed_in_the_next(cupy, change):
    recorded, eager = small([Changing(change)]), small([Changing(change)], capture=False)
    assert_alike(recorded, eager)
    unchanged = small(capture=False).history["loss"]
    assert recorded.history["loss"][0] == unchanged[0]
    assert recorded.history["loss"][2] != unchanged[2]


@pytest.mark.parametrize("change", [drop_much, set_clip_norm, forget_velocities])
def test_what_a_callback_changes_after_a_step_is_changed_in_the_next(cupy, change):
    recorded, eager = small([ChangingSteps(change)], 2), small([ChangingSteps(change)], 2, capture=False)
    assert graphs(recorded) == [None, None]
    assert_alike(recorded, eager)
    assert recorded.history["loss"][0] != small(epochs=1, capture=False).history["loss"][0]


class Looking(train.Callback):
    @train.only_looks
    def on_epoch_end(self, trainer, record):
        assert trainer.history["loss"][-1] == record["loss"]


class Unmarked(Looking):
    """Its method is another, of which nothing is said."""

    def on_epoch_end(self, trainer, record):
        super().on_epoch_end(trainer, record)


def test_only_callbacks_that_may_change_something_cost_a_recording_an_epoch(cupy, monkeypatch, tmp_path):
    recordings = []  # for each how many of those before were still there

    def counted(function, before=device.recorded):
        recordings.append(sum(each() is not None for each in known))
        made = before(function)
        known.append(weakref.ref(made))
        return made

    monkeypatch.setattr(device, "recorded", counted)
    known = []
    quiet = [train.CSVLog(tmp_path / "log"), train.EarlyStopping("loss"), train.BestCheckpoint(tmp_path / "b", "loss")]
    small([*quiet, Looking()])
    assert len(recordings) == 2  # of batches of five in the first epoch, of the last ones in the second
    recordings.clear()
    gc.collect()
    gc.disable()
    try:
        small([*quiet, Changing(lambda trainer: None)])
        assert recordings == [0, 0, 0]  # the memory of one is free for the next
        recordings.clear()
        small([Unmarked()])
        assert len(recordings) == 3
    finally:
        gc.enable()


def test_labels_of_two_kinds_are_two_kinds_of_batches(cupy):
    """One batch in two is mixed, and has rows of probabilities for labels."""
    mix = data.transforms.Mixup(0.4, 3)

    def sometimes(x, labels, rng):
        return mix(x, labels, rng) if rng.random() < 0.5 else (x, labels)

    def run(capture):
        trainer = make(capture=capture)
        mixed = loader(batch_transform=sometimes, drop_last=True)
        assert {labels.ndim for _, labels in mixed.batches(0)} == {1, 2}
        trainer.fit(mixed, 2, progress=False)
        return trainer

    recorded, eager = run(True), run(False)
    assert len(graphs(recorded)) == 2
    assert None not in graphs(recorded)
    assert_alike(recorded, eager)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("capture", [True, False])
def test_a_first_layer_that_does_not_know_its_sizes_is_filled_by_the_first_step(cupy, capture, bias):
    """Of its Parameters the bias has values from the beginning; without one there are none at all."""

    def run(features, device, **settings):
        mc.seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(features, 3, bias=bias)).to(device)
        trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1), **settings)
        trainer.fit(loader(), 2, progress=False)
        return trainer

    lazy = run(None, "cuda", capture=capture)
    assert lazy.model[1].weight.device == "cuda"
    assert (None in graphs(lazy)) is not capture
    assert_alike(lazy, run(64, "cuda"))


def test_a_label_that_only_the_batch_has_is_looked_at_in_every_batch(cupy):
    """Every one has an output in the end, until the fourth batch."""
    changed = []

    def halved(x, labels, rng):
        changed.append(labels)
        return x, labels // 2 if len(changed) < 4 else labels

    trainer = make()
    fives = data.ArrayDataset(digits().images, np.full(22, 5))
    with pytest.raises(ValueError, match="labels from 0 to 2 for 3 classes, got 5"):
        trainer.fit(data.DataLoader(fives, 5, batch_transform=halved), 1, progress=False)
    assert graphs(trainer)[0] is not None
    assert len(changed) == 4
