"""Callbacks: when they are called, what they keep, and that a resumed run has them as they were."""

import csv
import json
import math
import resource
import struct
import sys

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, optim, train


class Noting(train.Callback):
    """Notes what it is called for."""

    def __init__(self):
        self.calls = []

    def on_fit_begin(self, trainer):
        self.calls.append(("begin", trainer.epoch, trainer.batch))

    def on_step_end(self, trainer, record):
        self.calls.append(("step", trainer.epoch, trainer.batch, sorted(record)))

    def on_epoch_end(self, trainer, record):
        self.calls.append(("epoch", trainer.epoch, trainer.batch, list(record)))

    def on_fit_end(self, trainer):
        self.calls.append(("end", trainer.epoch, trainer.batch))


class Dictating(train.Callback):
    """Puts numbers of its own in the place of what was measured."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, trainer, record):
        record[self.name] = self.values[trainer.epoch - 1]


def with_callbacks(small, *callbacks, seed=3, **settings):
    made = small.trainer(schedule=False, seed=seed)
    return mc.Trainer(made.model, made.optimizer, callbacks=callbacks, **settings)


def test_when_they_are_called(small, dataset):
    noting = Noting()
    trainer = with_callbacks(small, noting, accumulate=2)
    trainer.fit(dataset, 1, batch_size=20, validation=dataset)
    numbers = ["accuracy", "loss", "lr"]
    whole = ["loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert noting.calls == [
        ("begin", 0, 0), ("step", 0, 2, numbers), ("step", 0, 3, numbers), ("epoch", 1, 0, whole), ("end", 1, 0),
    ]  # fmt: skip


def test_a_steps_record_is_of_its_samples(small, dataset):
    """At a learning rate of almost 0 the losses of all batches are those of the first weights."""
    records = []

    class Keeping(train.Callback):
        def on_step_end(self, trainer, record):
            records.append(dict(record))

    trainer = with_callbacks(small, Keeping(), accumulate=2)
    trainer.model[5].p = 0.0
    trainer.optimizer.lr = 1e-30
    history = trainer.fit(dataset, 1, batch_size=20)
    weighted = (40 * records[0]["loss"] + 10 * records[1]["loss"]) / 50
    assert history["loss"][0] == pytest.approx(weighted, rel=1e-9)
    assert [record["lr"] for record in records] == [1e-30, 1e-30]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_end_is_told_whatever_happens(small, dataset, error):
    class Failing(train.Callback):
        def on_step_end(self, trainer, record):
            raise error

    noting = Noting()
    trainer = with_callbacks(small, noting, Failing())
    with pytest.raises(error):
        trainer.fit(dataset, 1)
    assert noting.calls[-1] == ("end", 0, 0)


def test_stop_ends_the_run_after_the_epoch(small, dataset):
    class Stopping(train.Callback):
        def on_step_end(self, trainer, record):
            if trainer.epoch == 1:
                trainer.stop()

    trainer = with_callbacks(small, Stopping())
    assert len(trainer.fit(dataset, 9, batch_size=10)["loss"]) == 2
    assert len(trainer.fit(dataset, 1)["loss"]) == 3


# Early stopping


def test_early_stopping_puts_back_the_best_weights(small, dataset):
    values, kept = [3.0, 2.0, 2.5, 2.0, 9.0], []

    class Keeping(train.Callback):
        def on_epoch_end(self, trainer, record):
            kept.append(trainer.model.state_dict())

    stopping = train.EarlyStopping("val_loss", patience=3)
    trainer = with_callbacks(small, Keeping(), Dictating("val_loss", values), stopping)
    trainer.fit(dataset, 9, validation=dataset)
    assert trainer.epoch == 5  # 2.0 was best; 2.5, 2.0 and 9.0 were not better
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, kept[1][name])
    with pytest.warns(UserWarning, match="ended this run after epoch 5"):
        trainer.fit(dataset, 3, validation=dataset)
    assert trainer.epoch == 5


@pytest.mark.parametrize(
    ("settings", "values", "epochs"),
    [
        ({"mode": "max", "monitor": "val_accuracy", "patience": 2}, [0.5, 0.6, 0.6, 0.55], 4),
        ({"patience": 2, "min_delta": 0.5}, [3.0, 2.6, 2.5, 2.4], 3),
        ({"patience": 1}, [3.0, math.nan, math.nan, 3.0], 4),
        ({"patience": 1, "restore": False}, [1.0, 2.0], 2),
        ({"patience": 1}, [math.inf, 5.0, 4.0, 4.0], 4),
    ],
)
def test_when_early_stopping_stops(small, dataset, settings, values, epochs):
    stopping = train.EarlyStopping(**settings)
    trainer = with_callbacks(small, Dictating(stopping.monitor.name, [*values, 0.0]), stopping)
    trainer.fit(dataset, len(values) + 1, validation=dataset)
    assert trainer.epoch == epochs


def test_early_stopping_puts_back_when_every_callback_has_seen_the_epoch(small, dataset, tmp_path):
    """The epoch that ends the run by one number may be the best by another, and is saved as such."""
    kept = []

    class Keeping(train.Callback):
        def on_epoch_end(self, trainer, record):
            kept.append(trainer.model.state_dict())

    callbacks = [Keeping(), Dictating("val_accuracy", [0.9, 0.8, 0.7]), Dictating("val_loss", [3.0, 2.0, 1.0]),
                 train.EarlyStopping("val_accuracy", patience=2, mode="max"),
                 train.BestCheckpoint(tmp_path / "best", "val_loss")]  # fmt: skip
    trainer = with_callbacks(small, *callbacks)
    trainer.fit(dataset, 9, validation=dataset, checkpoint=tmp_path / "last")
    assert trainer.epoch == 3
    for file, best in (("best", 3), ("last", 1)):
        trainer.load(tmp_path / file)
        for name, array in trainer.model.state_dict().items():
            np.testing.assert_array_equal(array, kept[best - 1][name])


def test_an_infinite_value_is_resumed_too(small, dataset, tmp_path):
    """As a loss may be in the first epoch; it is the best until a finite one comes."""
    stopping = train.EarlyStopping(patience=2)
    first = with_callbacks(small, Dictating("val_loss", [math.inf]), stopping)
    first.fit(dataset, 1, validation=dataset, checkpoint=tmp_path / "run")
    resumed = train.EarlyStopping(patience=2)
    trainer = with_callbacks(small, Dictating("val_loss", [math.inf, 5.0]), resumed)
    trainer.load(tmp_path / "run")
    assert resumed.monitor.best == math.inf
    trainer.fit(dataset, 1, validation=dataset)
    assert (resumed.monitor.best, resumed.waited) == (5.0, 0)


def test_callbacks_end_in_the_reverse_order_of_their_beginning(small, dataset):
    order = []

    class Noting(train.Callback):
        def __init__(self, name):
            self.name = name

        def on_fit_begin(self, trainer):
            order.append(f"begin {self.name}")

        def on_fit_end(self, trainer):
            order.append(f"end {self.name}")

    with_callbacks(small, Noting(1), Noting(2)).fit(dataset, 1)
    assert order == ["begin 1", "begin 2", "end 2", "end 1"]


def test_early_stopping_restores_averages_too(small, dataset):
    made = small.trainer(schedule=False)
    average = optim.WeightAverage(made.model, 0.5)
    measured = []

    class Measuring(train.Callback):
        def on_epoch_end(self, trainer, record):
            measured.append(trainer.evaluate(dataset))

    stopping = train.EarlyStopping(patience=2)
    trainer = mc.Trainer(made.model, made.optimizer, average=average,
                         callbacks=[Measuring(), Dictating("val_loss", [1.0, 2.0, 3.0]), stopping])  # fmt: skip
    trainer.fit(dataset, 5, validation=dataset)
    assert trainer.evaluate(dataset) == measured[0] != measured[2]


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_early_stopping_goes_on_in_a_resumed_run(small, dataset, tmp_path, epochs):
    """Stopped by hand after any epoch: the resumed run ends at the same epoch, with the same weights."""
    values = [3.0, 2.0, 2.5, 2.5, 2.5]

    def make():
        return with_callbacks(small, Dictating("val_loss", values), train.EarlyStopping(patience=3))

    straight = make()
    straight.fit(dataset, 9, batch_size=20, validation=dataset)
    make().fit(dataset, epochs, batch_size=20, validation=dataset, checkpoint=tmp_path / "run")
    resumed = make()
    resumed.load(tmp_path / "run")
    resumed.fit(dataset, 9 - epochs, batch_size=20, validation=dataset)
    assert resumed.epoch == straight.epoch == 5
    assert small.same(small.arrays(resumed), small.arrays(straight))


def test_a_run_continued_with_more_patience_ends_with_its_best_weights(small, dataset, tmp_path):
    """Also where the best epoch was before the first end."""

    def make(patience):
        dictating = Dictating("val_loss", [2.0, 1.0, *[3.0] * 9])
        return with_callbacks(small, dictating, train.EarlyStopping(patience=patience))

    ended = make(2)
    ended.fit(dataset, 9, validation=dataset, checkpoint=tmp_path / "run")
    best = small.arrays(ended)
    resumed = make(4)
    resumed.load(tmp_path / "run")
    resumed.fit(dataset, 9, validation=dataset)
    assert (ended.epoch, resumed.epoch) == (4, 6)
    for name, parameter in resumed.model.named_parameters():
        np.testing.assert_array_equal(parameter.data, best[name])


def test_a_best_value_is_that_of_its_own_number(small, dataset, tmp_path):
    """A loss is no best accuracy: with another monitor, or in another order, a state is refused."""

    def best(name, mode):
        return train.BestCheckpoint(tmp_path / name, name, mode)

    first = with_callbacks(small, train.EarlyStopping("loss"), best("loss", "min"), best("accuracy", "max"))
    first.fit(dataset, 1, checkpoint=tmp_path / "run")
    for callbacks, text in [
        ([train.EarlyStopping("lr")], "EarlyStopping cannot be used .*was saved with monitor='loss', mode='min' and "
         "has monitor='lr', mode='min': give the Trainer the same callbacks in the same order, or none of this class"),
        ([train.EarlyStopping("accuracy", mode="max")], "EarlyStopping cannot be used .*has monitor='accuracy', mode="),
        ([best("accuracy", "max"), best("loss", "min")], "BestCheckpoint cannot be used .*has monitor='accuracy'"),
    ]:  # fmt: skip
        resumed = with_callbacks(small, *callbacks)
        with pytest.raises(ValueError, match=f"nothing was changed: the state of the callback {text}"):
            resumed.load(tmp_path / "run")
        assert (resumed.epoch, callbacks[0].monitor.best) == (0, None)
    with_callbacks(small, train.EarlyStopping("loss", patience=9, min_delta=0.1)).load(tmp_path / "run")


def test_a_state_from_before_monitors_had_names_is_taken():
    stopping = train.EarlyStopping("val_accuracy", mode="max")
    stopping.load_state_dict({"best": 0.5, "waited": 2})
    assert (stopping.monitor.best, stopping.waited) == (0.5, 2)


@pytest.mark.parametrize("name", ["val_loss", "val_acc"])
def test_a_number_that_no_epoch_will_have_is_told_before_training(small, dataset, tmp_path, name):
    """The first epoch may take an hour, and would be lost."""
    settings = {} if name == "val_loss" else {"validation": dataset, "validate_every": 2}
    for watching in (train.EarlyStopping(name), train.BestCheckpoint(tmp_path / "best", name)):
        noting = Noting()
        trainer = with_callbacks(small, noting, watching)
        with pytest.raises(ValueError, match=f"{type(watching).__name__} monitors '{name}', and the record has loss, "):
            trainer.fit(dataset, 2, **settings)
        assert [call[0] for call in noting.calls] == ["begin", "end"]
        assert list(tmp_path.iterdir()) == []


class Spoilt(nn.Module):
    """Its outputs are NaN where it is measured."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 5)

    def forward(self, x):
        outputs = self.linear(x.reshape(len(x), 64))
        return outputs if self.training else outputs * float("nan")


def test_a_number_that_is_nan_though_it_was_measured_is_told(dataset):
    """Else early stopping would wait for ever, as if there had been no validation, and nobody would know."""

    def recall(outputs, labels):
        return math.nan

    model = Spoilt()
    optimizer = optim.SGD(model.parameters(), 0.01)
    stopping = train.EarlyStopping(patience=1)
    trainer = mc.Trainer(model, optimizer, metrics=("accuracy", recall), callbacks=[stopping])
    with pytest.warns(UserWarning, match="was measured and is nan") as told:
        trainer.fit(dataset, 2, batch_size=20, validation=dataset, validate_every=2)
    names = [str(each.message).split()[0] for each in told]
    assert names == ["recall", "recall", "val_loss", "val_recall"]  # not those of the epoch without validation
    assert {each.filename for each in told} == {__file__}  # so Python tells each of them once
    assert len({str(each.message) for each in told}) == 3
    assert trainer.epoch == 2


# Files


def test_the_best_checkpoint(small, dataset, tmp_path):
    best = train.BestCheckpoint(tmp_path / "best", "val_loss")
    trainer = with_callbacks(small, Dictating("val_loss", [3.0, 1.0, 2.0]), best)
    trainer.fit(dataset, 3, validation=dataset, checkpoint=tmp_path / "last")
    other = with_callbacks(small, best)
    other.load(tmp_path / "best")
    assert (other.epoch, best.monitor.best) == (2, 1.0)
    other.load(tmp_path / "last")
    assert (other.epoch, best.monitor.best) == (3, 1.0)
    with pytest.raises(BlockingIOError, match="is writing"):
        other.fit(dataset, 1, validation=dataset, checkpoint=tmp_path / "best")


def test_logs_have_a_line_an_epoch(small, dataset, tmp_path):
    paths = tmp_path / "log.csv", tmp_path / "log.jsonl"
    logs = train.CSVLog(paths[0]), train.JSONLinesLog(paths[1])
    history = with_callbacks(small, *logs).fit(dataset, 3, validation=dataset, validate_every=2)
    with open(paths[0], newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in paths[1].read_text().splitlines()]
    assert [int(row["epoch"]) for row in rows] == [line["epoch"] for line in lines] == [1, 2, 3]
    for name, values in history.items():
        for value, row, line in zip(values, rows, lines, strict=True):
            if math.isnan(value):
                assert row[name] == ""
                assert line[name] is None
            else:
                assert float(row[name]) == line[name] == value
    assert rows[0]["val_loss"] == rows[2]["val_loss"] == ""


def scalars(folder):
    """(step, tag, value) of every scalar in the event files of a folder, read as TFRecord and protobuf."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack("<Q", content[at : at + 8])
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                yield event.step, value.tag, value.simple_value


def test_tensorboard_has_every_number_once(small, dataset, tmp_path, monkeypatch):
    if "torch" not in sys.modules:
        monkeypatch.setitem(sys.modules, "torch", None)  # tensorboardX would import it, for seconds and for nothing
    pytest.importorskip("tensorboardX")
    folder = tmp_path / "logs" / "run"

    def make():
        return with_callbacks(small, train.TensorBoardLog(folder))

    make().fit(dataset, 1, checkpoint=tmp_path / "run")
    later = make()
    later.load(tmp_path / "run")
    later.fit(dataset, 2)  # two epochs that no checkpoint knows
    resumed = make()
    resumed.load(tmp_path / "run")
    (folder / "events.out.tfevents.1.other").write_bytes(b"")
    history = resumed.fit(dataset, 1, validation=dataset)
    found = list(scalars(folder))
    assert sorted((step, tag) for step, tag, _ in found) == sorted(
        (epoch + 1, name) for epoch in range(2) for name in history if not math.isnan(history[name][epoch])
    )
    for step, tag, value in found:
        assert value == np.float32(history[tag][step - 1])
    assert (folder / "events.out.tfevents.1.other").exists()
    assert not (folder / "events.lock").exists()


def test_a_full_disk_ends_the_tensorboard_log_with_an_error_and_without_a_claim(small, dataset, tmp_path):
    pytest.importorskip("tensorboardX")
    folder = tmp_path / "logs"
    trainer = with_callbacks(small, train.TensorBoardLog(folder))
    trainer.epoch, trainer.history = 2000, {"loss": [0.1] * 2000}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # the system itself refuses larger files
    try:
        with pytest.raises(OSError, match=r"the TensorBoard log was not written: .*logs"):
            trainer.fit(dataset, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    other = with_callbacks(small, train.TensorBoardLog(folder))
    other.fit(dataset, 1)
    assert {step for step, _, _ in scalars(folder)} == {1}
    assert not (folder / "events.lock").exists()


def test_without_tensorboardx_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "minicnn\[tensorboard\]"'):
        train.TensorBoardLog(tmp_path)


def test_a_resumed_log_drops_what_the_checkpoint_does_not_know(small, dataset, tmp_path):
    def make():
        return with_callbacks(small, train.CSVLog(tmp_path / "log.csv"))

    make().fit(dataset, 2, checkpoint=tmp_path / "run")
    known = (tmp_path / "log.csv").read_text()
    later = make()
    later.load(tmp_path / "run")
    later.fit(dataset, 2)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    resumed = make()
    resumed.load(tmp_path / "run")
    resumed.fit(dataset, 1, validation=dataset)  # which also has columns that the first two epochs had not
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2", "3"]
    assert [line.split(",")[1] for line in lines[:3]] == [line.split(",")[1] for line in known.splitlines()]


def test_own_state_is_in_the_checkpoint(small, dataset, tmp_path):
    class Counting(train.Callback):
        def __init__(self):
            self.count, self.array = 0, np.zeros(2)

        def on_epoch_end(self, trainer, record):
            self.count += 1
            self.array += 0.1

        def state_dict(self):
            return {"count": self.count, "array": self.array}

        def load_state_dict(self, values):
            self.count, self.array = values["count"], values["array"]

    first, second = Counting(), Counting()
    with_callbacks(small, first, second).fit(dataset, 2, checkpoint=tmp_path / "run")
    second.count = 7
    resumed = with_callbacks(small, Counting(), Counting(), train.EarlyStopping("loss"))
    resumed.load(tmp_path / "run")
    assert [callback.count for callback in resumed.callbacks[:2]] == [2, 2]
    np.testing.assert_array_equal(resumed.callbacks[1].array, np.full(2, 0.1) + 0.1)
    alone = with_callbacks(small)
    alone.load(tmp_path / "run")
    assert alone.epoch == 2


def test_a_state_that_does_not_fit_changes_nothing(small, dataset, tmp_path):
    class EarlyStopping(train.Callback):
        def state_dict(self):
            return {"waited": -1, "best": None}

    with_callbacks(small, train.BestCheckpoint(tmp_path / "best", "loss"), EarlyStopping()).fit(
        dataset, 1, checkpoint=tmp_path / "run"
    )
    best = train.BestCheckpoint(tmp_path / "other", "loss")
    trainer = with_callbacks(small, best, train.EarlyStopping("loss"))
    with pytest.raises(ValueError, match="nothing was changed: the state of the callback EarlyStopping cannot be used"):
        trainer.load(tmp_path / "run")
    assert trainer.epoch == 0
    assert best.monitor.best is None


def test_what_they_refuse(small, dataset, tmp_path):
    for make, text in [
        (lambda: train.EarlyStopping(patience=0), "patience"),
        (lambda: train.EarlyStopping(patience=1.5), "patience"),
        (lambda: train.EarlyStopping(mode="best"), '"min" or "max"'),
        (lambda: train.EarlyStopping("val_accuracy"), 'use mode="max"'),
        (lambda: train.EarlyStopping("val_top5_accuracy", mode="min"), 'use mode="max"'),
        (lambda: train.EarlyStopping(mode="max"), 'use mode="min"'),
        (lambda: train.EarlyStopping(min_delta=-1), "min_delta >= 0"),
        (lambda: train.EarlyStopping(min_delta=math.nan), "finite"),
        (lambda: train.EarlyStopping(monitor=3), "a name"),
        (lambda: train.EarlyStopping(restore=1), "restore"),
        (lambda: train.BestCheckpoint(tmp_path / "x", mode="up"), '"min" or "max"'),
        (lambda: train.BestCheckpoint(7), "path"),
        (lambda: train.CSVLog(None), "path"),
        (lambda: with_callbacks(small, train.CSVLog), "list of Callbacks"),
        (lambda: with_callbacks(small, None), "list of Callbacks"),
        (lambda: with_callbacks(small, *[train.Callback()] * 2), "twice"),
    ]:
        with pytest.raises((ValueError, TypeError), match=text):
            make()
    for callback, text in [
        (train.EarlyStopping(), "EarlyStopping monitors 'val_loss', and the record has loss, accuracy, lr, seconds"),
        (train.BestCheckpoint(tmp_path / "best"), "BestCheckpoint monitors 'val_loss'"),
        (train.CSVLog(tmp_path / "none" / "log"), "folder of the log"),
        (train.JSONLinesLog(tmp_path), "is a folder"),
    ]:
        with pytest.raises((ValueError, OSError), match=text):
            with_callbacks(small, callback).fit(dataset, 1)
    assert list(tmp_path.iterdir()) == []
