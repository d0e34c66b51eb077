"""--debug of the training scripts: the first NaN is named; a resumed run may be watched too."""

import argparse
import importlib
import json

import launch
import pytest

import minicnn as mc


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(launch.FOLDER)
    return importlib.import_module("training")


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_debug_names_what_went_wrong(training):
    pytest.importorskip("matplotlib")
    results = []

    def work(settings):
        results.append(mc.tensor([0.0]).log().item())

    def settings(debug):
        return lambda: argparse.Namespace(threads=None, kernels="reference", debug=debug)

    training.run("train_lenet.py", settings(False), work)
    assert results == [-float("inf")]
    with pytest.raises(SystemExit, match=r"^train_lenet\.py: an operation outside of any layer made an infinity"):
        training.run("train_lenet.py", settings(True), work)


def test_it_is_no_setting_of_the_run(training, tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text(json.dumps({"epochs": 3}))
    for extra in ([], ["--debug"]):
        monkeypatch.setattr("sys.argv", ["train_lenet.py", "--resume", str(tmp_path), *extra])
        resumed = training.parse(argparse.ArgumentParser())
        assert (resumed.epochs, resumed.debug) == (3, bool(extra))
    monkeypatch.setattr("sys.argv", ["train_lenet.py", "--debug"])
    fresh = training.parse(argparse.ArgumentParser())
    fresh.out = tmp_path / "new"
    assert fresh.debug
    assert "debug" not in json.loads((training.run_folder(fresh, "x") / "run.json").read_text())
