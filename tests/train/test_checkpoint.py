"""The checkpoint file: what is in it, and what is refused without changing anything."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import minicnn as mc
from minicnn import nn, optim


@pytest.fixture
def saved(small, dataset, tmp_path):
    trainer = small.trainer()
    trainer.fit(dataset, 1, checkpoint=tmp_path / "run.safetensors")
    return tmp_path / "run.safetensors"


def metadata_of(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def refused(small, trainer, path, text, error=ValueError):
    """Loading raises, and leaves every array and number as it was."""
    trainer.predict(np.zeros((1, 8, 8, 1)))  # fills what is lazy
    before, numbers = small.arrays(trainer), (trainer.epoch, dict(trainer.history), trainer.optimizer.lr)
    with pytest.raises(error, match=text) as caught:
        trainer.load(path)
    assert small.same(small.arrays(trainer), before)
    assert (trainer.epoch, trainer.history, trainer.optimizer.lr) == numbers
    return str(caught.value)


def test_what_is_in_the_file(saved):
    tensors = load_file(saved)
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert {f"model.{name}" for name in [*names, "6.weight", "6.bias"]} == {
        n for n in tensors if n.startswith("model.")
    }
    assert {n for n in tensors if n.startswith("buffer.")} == {"buffer.5.counter"}
    assert {n for n in tensors if n.startswith("optimizer.")} == {f"optimizer.velocity.{i}" for i in range(6)}
    assert tensors["buffer.5.counter"].shape == ()
    assert tensors["model.0.weight"].shape == (3, 3, 1, 4)
    metadata = metadata_of(saved)
    assert (metadata["format"], metadata["layout"], metadata["version"]) == ("minicnn", "HWIO", "2")
    state = json.loads(metadata["state"])
    assert state["epoch"] == 1
    assert state["seed"] == 3
    assert state["model"] == "Sequential"
    assert state["optimizer"]["class"] == "SGD"
    assert state["optimizer"]["settings"]["momentum"] == 0.9
    assert state["schedule"]["settings"]["T_max"] == 4


def test_the_model_part_fits_load_state_dict(small, saved, dataset):
    model = small.network()
    model.load_state_dict({n.removeprefix("model."): a for n, a in load_file(saved).items() if n.startswith("model.")})
    trainer = small.trainer()
    trainer.load(saved)
    np.testing.assert_array_equal(mc.Trainer(model, optim.SGD(model.parameters(), 1)).predict(dataset.images),
                                  trainer.predict(dataset.images))  # fmt: skip


def test_every_truncation_is_refused(small, saved):
    whole = saved.read_bytes()
    trainer = small.trainer()
    trainer.predict(np.zeros((1, 8, 8, 1)))
    before = small.arrays(trainer)
    for length in [*range(0, len(whole), 50), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            trainer.load(saved)
    saved.write_bytes(whole + b"\0")
    refused(small, trainer, saved, "not a whole safetensors file")
    assert small.same(small.arrays(trainer), before)
    saved.write_bytes(whole)
    trainer.load(saved)


@pytest.mark.parametrize(
    "content", [b"<!doctype html><html>" * 9, b"\x89HDF\r\n\x1a\n" * 40, b"\xff" * 200, b"\0" * 64]
)
def test_other_files_are_refused(small, tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert "run" not in refused(small, small.trainer(), tmp_path / "file", "not a whole safetensors file")


def test_no_file_and_a_folder(small, tmp_path):
    refused(small, small.trainer(), tmp_path / "none", "none", FileNotFoundError)
    refused(small, small.trainer(), tmp_path, "is a folder", IsADirectoryError)
    trainer = small.trainer()
    trainer.predict(np.zeros((1, 8, 8, 1)))
    with pytest.raises(OSError, match="directory"):
        trainer.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        (None, "OIHW.*load_pretrained"),
        ({"format": "pt"}, "OIHW.*load_pretrained"),
        ({"format": "minicnn", "layout": "OIHW", "version": "1", "state": "{}"}, "got .*'layout': 'OIHW'"),
        ({"format": "minicnn", "layout": "HWIO"}, "not a checkpoint"),
        ({"format": "minicnn", "layout": "HWIO", "version": "3", "state": "{}"}, "version 3.*reads versions 1 and 2"),
        ({"format": "minicnn", "layout": "HWIO", "version": "2", "state": "{"}, "damaged"),
        ({"format": "minicnn", "layout": "HWIO", "version": "1", "state": "{}"}, "damaged"),
        ({"format": "minicnn", "layout": "HWIO", "version": "2", "state": "[]"}, "damaged"),
    ],
)
def test_weights_of_another_library_are_refused(small, saved, metadata, text):
    save_file(load_file(saved), saved, metadata=metadata)
    refused(small, small.trainer(), saved, text)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1},
        {"model": None},
        {"epoch": 1.0},
        {"epoch": 2},
        {"seed": 2**64},
        {"seed": None},
        {"history": {"loss": 1.0}},
        {"history": []},
        {"history": {"loss": ["low"]}},
        {"optimizer": None},
        {"optimizer": {"class": "SGD"}},
        {"schedule": {"settings": {}}},
        {"optimizer": {"class": "SGD", "settings": {"lr": 0.1}}},
        {"schedule": {"class": "CosineAnnealingLR", "settings": {}}},
        {"under_way": None},
        {"under_way": {}},
        {"under_way": {"batch": 1, "sums": {}, "samples": 5, "lr": 0.1, "seconds": 1.0, "data": {}}},
        {"under_way": {"batch": 3, "sums": {}, "samples": 5, "lr": 0.1, "seconds": 1.0, "data": {"batches": 2}}},
        {"under_way": {"batch": -1, "sums": {}, "samples": 5, "lr": 0.1, "seconds": 1.0, "data": {"batches": 2}}},
        {"average": {}},
        {"callbacks": []},
        {"callbacks": {"CSVLog": 3}},
        {"dropout": {"5": [1]}},
        {"dropout": {"5": [-1, 0]}},
        {"dropout": {"5": [0, 2**32]}},
    ],
)
def test_a_damaged_state_is_refused(small, saved, change):
    metadata = metadata_of(saved)
    state = {**json.loads(metadata["state"]), **change}
    save_file(load_file(saved), saved, metadata={**metadata, "state": json.dumps(state)})
    refused(small, small.trainer(), saved, "run.safetensors")


def test_a_state_that_never_ends_is_refused(small, saved):
    save_file(load_file(saved), saved, metadata={**metadata_of(saved), "state": "[" * 10**5})
    refused(small, small.trainer(), saved, "the state in the metadata is damaged")


def wider():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(None, 5),
    )


def shorter():
    return nn.Sequential(nn.Flatten(), nn.Linear(None, 5))


class OtherClass(nn.Sequential):
    pass


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (wider, r"model.0.weight: expected shape \(3, 3, 1, 8\), the file has \(3, 3, 1, 4\)"),
        (shorter, "missing in the file: model.1.weight|model.1.weight: expected shape"),
        (lambda: OtherClass(*wider()), "the file holds a Sequential, this model is a OtherClass"),
        (lambda: nn.Sequential(*wider(), nn.Linear(5, 5)), "missing in the file: model.7.weight"),
        (lambda: wider().to(dtype=np.float64), "another architecture"),
    ],
)
def test_another_architecture_is_named(small, saved, model, text):
    model = model()
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1, momentum=0.9))
    message = refused(small, trainer, saved, text)
    assert "nothing was changed" in message
    assert len(message.splitlines()) <= 13


def test_what_the_file_has_too_much_and_other_dtypes_are_named(small, saved):
    model = nn.Sequential(*list(small.network())[:5])
    refused(small, mc.Trainer(model, optim.SGD(model.parameters(), 1)), saved, "unknown to this model: model.6.bias")
    trainer = small.trainer()
    trainer.model.to(dtype=np.float64)
    refused(small, trainer, saved, "model.0.weight: expected float64, the file has float32")


def test_another_optimizer_or_schedule_is_named(small, saved):
    refused(small, small.trainer("adadelta"), saved, "had the optimizer SGD, this Trainer has Adadelta")
    refused(small, small.trainer(schedule=False), saved, "had the schedule CosineAnnealingLR, this Trainer has none")
    model = small.network()
    optimizer = optim.SGD(model.parameters(), 0.1)
    schedule = optim.CosineAnnealingLR(optimizer, 9)
    refused(small, mc.Trainer(model, optimizer, schedule=schedule), saved, "saved with T_max=4 and has T_max=9")
    some = optim.SGD(list(model.parameters())[2:], 0.1)
    trainer = mc.Trainer(model, some, schedule=optim.CosineAnnealingLR(some, 4))
    refused(small, trainer, saved, "velocity")


def test_an_unfilled_model_cannot_be_saved(small, tmp_path):
    with pytest.raises(RuntimeError, match=r"model\.6\.weight has no values yet"):
        small.trainer().save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_model_can_be_saved_before_the_first_step(small, tmp_path):
    first = small.trainer()
    first.predict(np.zeros((1, 8, 8, 1)))
    first.save(str(tmp_path / "run"))
    second = small.trainer(seed=8)
    second.load(str(tmp_path / "run"))
    assert small.same(small.arrays(first), small.arrays(second))
    assert second.history == {}
