"""What the training scripts share: here how a run says where it was stopped."""

import argparse
import json
import re

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


def test_a_log_has_a_line_for_each_epoch_and_a_terminal_has_the_bar_instead(start, monkeypatch, capsys):
    start()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    number = r"\d+\.\d"
    form = rf"epoch 1: loss {number}\d*, accuracy {number}\d %, on the test {number}\d %, {number} s"
    assert re.fullmatch(form, lines[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    script = launch.module("script", monkeypatch)
    script.EpochLine().on_epoch_end(argparse.Namespace(is_main=True, epoch=1), {})
    assert capsys.readouterr().out == ""


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """parsed(saved, *options): the settings of a script x.py that goes on with a run of these saved settings."""
    training = launch.module("training", monkeypatch)

    def call(saved, *options):
        (tmp_path / "run.json").write_text(json.dumps(saved))
        monkeypatch.setattr("sys.argv", ["examples/x.py", "--resume", str(tmp_path), *options])
        parser = argparse.ArgumentParser()
        parser.add_argument("--workers", type=int, default=2)
        return training.parse(parser)

    return call


def test_a_resumed_run_has_its_own_settings_and_those_of_the_machine_that_it_is_on(parsed, monkeypatch):
    monkeypatch.setattr(mc, "cuda_available", lambda: True)
    saved = {"script": "x.py", "seed": 3, "threads": 8, "workers": 4, "device": "cuda", "data_folder": "there"}
    settings = parsed(saved, "--seed", "5", "--threads", "1")
    assert (settings.seed, settings.threads, settings.workers) == (3, 1, 2)
    assert (settings.device, settings.data_folder) == ("cuda", "there")
    settings = parsed(saved, "--device", "cpu", "--data-folder", "here")
    assert (settings.threads, settings.device, settings.data_folder) == (None, "cpu", "here")
    assert parsed(saved, "--device", "auto").device == "auto", "given, though it is the default"
    assert parsed({"seed": 3}).seed == 3, "a run of before, which does not say whose it is"


def test_a_run_of_a_gpu_goes_on_without_one_if_that_is_said(parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(mc, "cuda_available", lambda: False)
    with pytest.raises(RuntimeError) as said:
        parsed({"device": "cuda"})
    assert str(said.value) == (
        f"the run in {tmp_path} was begun with --device cuda, and there is no GPU here that can be used: go on with "
        "--device cpu"
    )
    for device in ("cpu", "auto", "cuda"):  # what is wrong with the GPU, who asks for it is told where it is used
        assert parsed({"device": "cuda"}, "--device", device).device == device
    assert parsed({"device": "auto"}).device == "auto"


def test_on_a_cpu_a_run_of_another_precision_goes_on_in_float32(monkeypatch, capsys):
    training = launch.module("training", monkeypatch)
    monkeypatch.setattr(mc, "cuda_available", lambda: False)
    given = {"epochs": 1, "seed": 0, "device": "auto", "precision": "float16"}
    with pytest.raises(ValueError, match="--precision float16 is for a GPU, and this is the device cpu: use float32"):
        training.begin(argparse.Namespace(**given, resume=None))
    settings = argparse.Namespace(**given, resume="runs/a")
    assert (training.begin(settings), settings.precision) == ("cpu", "float32")
    said = "The run in runs/a was begun in float16, which is for a GPU: on the CPU it goes on in float32.\n"
    assert capsys.readouterr().out == said
    training.begin(settings)
    assert capsys.readouterr().out == ""


def test_a_run_of_another_script_is_not_gone_on_with(parsed, tmp_path):
    with pytest.raises(ValueError, match=r"holds a run of degradation\.py: go on with it by that script"):
        parsed({"script": "degradation.py", "seed": 3})


def test_mnist_is_read_from_no_folder(monkeypatch):
    training = launch.module("training", monkeypatch)
    with pytest.raises(ValueError, match="MNIST comes with minicnn, nothing is read from mine: leave out --data-f"):
        training.load_data(argparse.Namespace(dataset="mnist", data_folder="mine"))
