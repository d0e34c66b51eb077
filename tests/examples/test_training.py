"""What the training scripts share: here how a run says where it was stopped."""

import argparse

import launch
import numpy as np
import pytest

import minicnn as mc
from minicnn import data, nn, optim


@pytest.fixture
def start(monkeypatch, tmp_path):
    """start(resume=False): train a tiny network for three epochs into the folder `run`; returns the trainer."""
    training = launch.module("training", monkeypatch)
    monkeypatch.setattr(mc, "summary", lambda model: "a network")
    folder = tmp_path / "run"

    def call(resume=False):
        settings = argparse.Namespace(model="tiny", dataset="drawn", out=folder, resume=folder if resume else None,
                                      epochs=3, kernels="reference")  # fmt: skip
        images = np.random.default_rng(0).random((4, 2, 2, 1), np.float32)
        dataset = data.ArrayDataset(images, np.array([0, 1, 0, 1]))
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
        with mc.kernels.use("reference"):
            training.train(settings, trainer, data.DataLoader(dataset, 2), dataset)
        return trainer

    return call


@pytest.mark.parametrize("call", [1, 2])
def test_ctrl_c_while_an_epoch_is_saved_names_the_epochs_that_are_in_the_file(start, monkeypatch, capsys, call):
    save, calls = mc.Trainer.save, []

    def interrupted(trainer, path):
        calls.append(path)
        if len(calls) == call:
            raise KeyboardInterrupt
        save(trainer, path)

    monkeypatch.setattr(mc.Trainer, "save", interrupted)
    with pytest.raises(SystemExit, match=f"stopped after {call - 1} finished epochs, which are kept: go on with --res"):
        start()
    capsys.readouterr()
    assert start(resume=True).epoch == 3
    assert f"{3 - (call - 1)} epochs on 4 images" in capsys.readouterr().out
