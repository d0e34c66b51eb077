"""A run that is stopped, in any way, goes on with the same bits; and no moment of stopping spoils the file."""

import errno
import os

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, nn, optim, train
from minicnn import functional as F


def without_seconds(history):
    return {name: values for name, values in history.items() if name != "seconds"}


@pytest.mark.parametrize("optimizer", ["sgd", "adadelta"])
def test_2_epochs_and_2_more_are_4(small, dataset, tmp_path, optimizer):
    straight = small.trainer(optimizer)
    straight.fit(dataset, 4, batch_size=16, validation=dataset)

    first = small.trainer(optimizer)
    first.fit(dataset, 2, batch_size=16, validation=dataset, checkpoint=tmp_path / "run.safetensors")
    second = small.trainer(optimizer)
    second.load(tmp_path / "run.safetensors")
    assert second.epoch == 2
    history = second.fit(dataset, 2, batch_size=16, validation=dataset)

    assert small.same(small.arrays(straight), small.arrays(second))
    assert without_seconds(history) == without_seconds(straight.history)
    assert second.schedule.count == 4
    assert second.optimizer.lr == straight.optimizer.lr
    np.testing.assert_array_equal(straight.predict(dataset.images), second.predict(dataset.images))


def test_the_file_brings_the_seeds_too(small, dataset, tmp_path):
    """A notebook that made its network under another seed, after other layers, still goes on with the same bits."""
    straight = small.trainer(seed=3)
    straight.fit(dataset, 2)

    first = small.trainer(seed=3)
    first.fit(dataset, 1, checkpoint=tmp_path / "run")
    mc.seed(99)
    nn.Linear(3, 3)
    second = small.trainer(seed=99)
    second.load(tmp_path / "run")
    second.fit(dataset, 1)
    assert small.same(small.arrays(straight), small.arrays(second))


def test_loading_restarts_the_construction_numbers_only_under_another_seed(small, dataset, tmp_path):
    first = small.trainer()
    first.fit(dataset, 1, checkpoint=tmp_path / "run")
    before = nn.Linear(4, 4).weight
    first.load(tmp_path / "run")
    assert nn.Linear(4, 4).weight.number > before.number


def test_a_loader_with_augmentation_resumes(small, dataset, tmp_path):
    def noise(image, rng):
        return image // 2 + rng.integers(0, 100, image.shape, dtype=np.uint8)

    def fit(trainer, epochs):
        loader = data.DataLoader(dataset, 16, shuffle=True, transform=noise, drop_last=True)
        trainer.fit(loader, epochs, validation=data.DataLoader(dataset, 20, transform=noise))

    straight = small.trainer()
    fit(straight, 3)
    first = small.trainer()
    fit(first, 1)
    first.save(tmp_path / "run")
    second = small.trainer()
    second.load(tmp_path / "run")
    fit(second, 2)
    assert small.same(small.arrays(straight), small.arrays(second))
    assert without_seconds(straight.history) == without_seconds(second.history)


def test_an_unfilled_model_is_filled_by_the_file_and_a_used_one_goes_back(small, dataset, tmp_path):
    trainer = small.trainer()
    trainer.fit(dataset, 1, checkpoint=tmp_path / "run")
    saved = small.arrays(trainer)
    trainer.fit(dataset, 1)
    assert not small.same(small.arrays(trainer), saved)
    arrays = [p.data for p in trainer.model.parameters()]
    trainer.load(tmp_path / "run")
    assert small.same(small.arrays(trainer), saved)
    assert all(p.data is array for p, array in zip(trainer.model.parameters(), arrays, strict=True))
    lazy = small.trainer()
    assert not lazy.model[6].weight.is_filled
    lazy.load(tmp_path / "run")
    assert small.same(small.arrays(lazy), saved)


def test_a_shared_parameter_is_saved_once(dataset, tmp_path):
    def make():
        mc.seed(1)
        layer = nn.Linear(64, 64)
        model = nn.Sequential(nn.Flatten(), layer, nn.Tanh(), layer, nn.Linear(64, 5))
        return mc.Trainer(model, optim.SGD(model.parameters(), 0.1, momentum=0.5))

    first, second = make(), make()
    first.fit(dataset, 1, checkpoint=tmp_path / "run")
    second.load(tmp_path / "run")
    first.fit(dataset, 1)
    second.fit(dataset, 1)
    np.testing.assert_array_equal(first.model[1].weight.data, second.model[1].weight.data)


class Interrupting(data.ArrayDataset):
    """A data set that is interrupted at its `at`-th sample."""

    def __init__(self, dataset, at):
        super().__init__(dataset.images, dataset.labels)
        self.left = at

    def __getitem__(self, index):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__getitem__(index)


@pytest.mark.parametrize("at", [50, 50 + 17, 2 * 50 - 1])
def test_ctrl_c_leaves_the_last_finished_epoch_on_disk(small, dataset, tmp_path, at):
    path = tmp_path / "run"
    stopped = small.trainer()
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(Interrupting(dataset, at), 4, batch_size=16, checkpoint=path)
    assert os.listdir(tmp_path) == ["run"]

    resumed = small.trainer()
    resumed.load(path)
    assert resumed.epoch == 1
    resumed.fit(dataset, 3, batch_size=16)
    straight = small.trainer()
    straight.fit(dataset, 4, batch_size=16)
    assert small.same(small.arrays(resumed), small.arrays(straight))
    assert without_seconds(resumed.history) == without_seconds(straight.history)


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_ctrl_c_while_saving_keeps_the_old_file(small, dataset, tmp_path, monkeypatch, function):
    path = tmp_path / "run"
    trainer = small.trainer()
    trainer.fit(dataset, 1, checkpoint=path)
    whole = path.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, function, interrupt)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(dataset, 1, checkpoint=path)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]
    trainer.load(path)
    assert trainer.epoch == len(trainer.history["loss"]) == trainer.schedule.count == 1


def test_ctrl_c_after_the_renaming_has_saved(small, dataset, tmp_path, monkeypatch):
    replace = os.replace

    def replace_and_interrupt(*paths):
        replace(*paths)
        raise KeyboardInterrupt

    trainer = small.trainer()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(dataset, 1, checkpoint=tmp_path / "run")
    assert os.listdir(tmp_path) == ["run"]
    trainer = small.trainer()
    trainer.load(tmp_path / "run")
    assert trainer.epoch == 1


class FullDisk:
    """A file on a disk that has room for 500 bytes."""

    def __init__(self, path, mode):
        self.file, self.room = open(path, mode), 500  # noqa: SIM115  closed by __exit__

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        self.file.write(content[: self.room])
        if len(content) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_whole(small, dataset, tmp_path, monkeypatch):
    path = tmp_path / "run"
    trainer = small.trainer()
    trainer.fit(dataset, 1, checkpoint=path)
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("minicnn._files.open", FullDisk, raising=False)
        with pytest.raises(OSError, match=r"No space left.*what stood there before is untouched.*run") as caught:
            trainer.fit(dataset, 1, checkpoint=path)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]
    trainer.save(path)  # room again: nothing was lost
    assert path.read_bytes() != whole


def test_a_link_stays_a_link(small, dataset, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "real")
    small.trainer().fit(dataset, 1, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "disk" / "real").is_file()


@pytest.mark.parametrize("metrics", [("accuracy", "top5_accuracy"), ()])
def test_metrics_neither_join_nor_leave_in_the_middle_of_an_epoch(small, dataset, tmp_path, metrics):
    """Their means would be of a part of it."""

    class Interrupting(train.Callback):
        def on_step_end(self, trainer, record):
            trainer.save(tmp_path / "run")
            raise KeyboardInterrupt

    made = small.trainer(schedule=False)
    with pytest.raises(KeyboardInterrupt):
        mc.Trainer(made.model, made.optimizer, callbacks=[Interrupting()]).fit(dataset, 1, batch_size=20)
    resumed = mc.Trainer(made.model, made.optimizer, metrics=metrics)
    resumed.callbacks = (Interrupting(),)
    resumed.load(tmp_path / "run")
    with pytest.raises(ValueError, match="after batch 1 of 3, with the metrics loss, accuracy, and cannot go on with"):
        resumed.fit(dataset, 1, batch_size=20)


def test_a_metric_that_joins_later_gets_a_history_of_equal_length(small, dataset, tmp_path):
    first = small.trainer()
    first.fit(dataset, 2, checkpoint=tmp_path / "run")

    def margin(outputs, labels):
        return 1.0

    second = small.trainer()
    second = mc.Trainer(
        second.model, second.optimizer, loss=F.cross_entropy, metrics=(margin,), schedule=second.schedule
    )
    second.load(tmp_path / "run")
    history = second.fit(dataset, 1)
    assert np.isnan(history["margin"][:2]).all()
    assert np.isnan(history["accuracy"][2])
    second.save(tmp_path / "run")
    second.load(tmp_path / "run")
    assert len(second.history["margin"]) == 3
