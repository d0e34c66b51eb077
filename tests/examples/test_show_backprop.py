"""The backprop page from the command line, as a person asks for it."""

import base64
import json
import re
from functools import partial

import launch
import numpy as np
import pytest

import minicnn as mc
from minicnn import models, optim

SCRIPT = launch.FOLDER / "show_backprop.py"
PHOTO = launch.FOLDER.parent / "docs" / "pictures" / "filters.png"


@pytest.fixture
def run(printed_by):
    """run(*options): what the script prints."""
    return partial(printed_by, SCRIPT.name, "--kernels", "reference")


def recording_in(path):
    """What the page holds."""
    found = re.search(r'<script type="application/json" id="recording">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(found[1])


def value(recording, name):
    tensor = next(t for t in recording["tensors"] if t["name"] == name)
    return np.frombuffer(base64.b64decode(tensor["value"]["data"]), "<f4").reshape(tensor["shape"])


def test_help_names_every_option_and_fits_the_terminal():
    printed = launch.help_of("show_backprop.py")
    options = ["model NAME", "weights SOURCE", "image FILE", "index N", "label CLASS", "training", "out FILE", "open"]
    for option in options:
        assert f"--{option} " in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "lenet55"], "no network is called 'lenet55': did you mean lenet5"),
        (["--model", "resnet20"], "resnet20 is made for images (32, 32, 3): name one with --image, and its --label"),
        (["--index", "10000"], "--index expected a number from 0 to 9999, got 10000"),
        (["--image", "nowhere.png"], "nowhere.png"),
        (["--image", SCRIPT], "show_backprop.py is no image that Pillow can read"),
        (["--weights", "nowhere"], "nowhere"),
        (["--out", "nowhere/page.html"], "nowhere, the folder of the backprop page, does not exist"),
        (["--label", "10"], "label"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(run, tmp_path, options, said):
    with pytest.raises(SystemExit) as ended:
        run(*options)
    assert str(ended.value).startswith("show_backprop.py: ")
    assert said in str(ended.value)
    assert "Traceback" not in str(ended.value)
    assert not list(tmp_path.iterdir())


def test_the_page_of_a_digit(run, tmp_path):
    assert re.fullmatch(r"backprop-lenet1\.html \(\d\.\d MB\)\n", run("--model", "lenet1", "--index", "1"))
    recording = recording_in(tmp_path / "backprop-lenet1.html")
    assert (recording["model"], recording["sample"]["label"], recording["training"]) == ("lenet1", 2, False)
    _, test = mc.data.mnist()
    np.testing.assert_array_equal(value(recording, "x")[0], test[1][0] / np.float32(255))


def test_the_weights_of_a_run_and_its_model(run, tmp_path):
    mc.seed(5)
    model = models.lenet1()
    folder = tmp_path / "run"
    folder.mkdir()
    mc.Trainer(model, optim.SGD(model.parameters(), 0.1)).save(folder / "model.safetensors")
    (folder / "run.json").write_text(json.dumps({"model": "lenet1"}))
    run("--weights", folder, "--out", "a.html", "--training")
    recording = recording_in(tmp_path / "a.html")
    assert recording["model"] == "lenet1"
    assert recording["training"] is True
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(value(recording, name), parameter.numpy())


def test_a_page_from_a_gpu_shows_the_same_numbers(run, tmp_path, devices):
    for device in ("cpu", "cuda"):
        run("--model", "lenet1", "--device", device, "--image", PHOTO, "--out", f"{device}.html")
        assert devices == {device}
        devices.clear()
    cpu, cuda = (recording_in(tmp_path / f"{device}.html") for device in ("cpu", "cuda"))
    assert [t["name"] for t in cuda["tensors"]] == [t["name"] for t in cpu["tensors"]]
    for t in cpu["tensors"]:
        np.testing.assert_allclose(value(cuda, t["name"]), value(cpu, t["name"]), rtol=1e-3, atol=1e-4)


def test_the_folder_of_several_networks_is_one_sentence(run, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"dataset": "mnist"}))
    with pytest.raises(SystemExit, match=r"is not the folder of a run: it has no model\.safetensors"):
        run("--weights", tmp_path)


def test_a_picture_of_ones_own_is_labelled_as_the_network_takes_it(run, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run("--model", "lenet1", "--image", PHOTO, "--out", "b.html", "--open")
    assert opened == [(tmp_path / "b.html").as_uri()]
    sample = recording_in(tmp_path / "b.html")["sample"]
    assert sample["shape"] == [1, 28, 28, 1]
    assert sample["label"] == int(np.argmax(sample["probabilities"]))
