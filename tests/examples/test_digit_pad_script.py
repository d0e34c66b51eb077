"""examples/digit_pad.py: which network it takes, and the whole of it as a person runs it."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import launch
import numpy as np
import pytest

from minicnn import data, models
from minicnn.study.digit_pad import reading

FOLDER = launch.FOLDER
SCRIPT = FOLDER / "digit_pad.py"
SETTINGS = {
    "model": "lenet5", "dataset": "mnist", "optimizer": "sgd", "lr": None, "weight_decay": None, "epochs": 1,
    "batch_size": 8, "seed": 3, "device": "auto", "precision": "float32", "kernels": "cpu", "threads": None,
    "data_folder": None,
}  # fmt: skip


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script as a module, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("digit_pad", "train_lenet", "training", "script"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import digit_pad

    return digit_pad


@pytest.fixture
def run_of(script):
    """run_of(name, **settings): a finished run of train_lenet.py below runs/, on a few images, and its model."""

    def call(name, **changes):
        settings = {**SETTINGS, **changes}
        folder = Path("runs") / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(settings))
        trainer = script.train_lenet.make_trainer(argparse.Namespace(**{**settings, "device": "cpu"}))
        images = np.random.default_rng(0).integers(0, 256, (16, 28, 28, 1), np.uint8)
        few = data.ArrayDataset(images, np.arange(16) % 10)
        trainer.fit(few, 1, batch_size=8, validation=few, progress=False)
        trainer.save(folder / "model.safetensors")
        return folder, trainer

    return call


def asked(**given):
    return argparse.Namespace(**{"model": None, "run": None, "weights": None, "port": 0, "device": "auto", **given})


def test_the_network_of_a_run_has_its_weights(script, run_of):
    folder, trainer = run_of("first")
    model, title = script.load_model(asked(run=folder))
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
    assert title == f"lenet5, {100 * trainer.history['val_accuracy'][0]:.2f} % of the test digits right"


def test_the_newest_run_that_reads_digits_is_taken(script, run_of):
    assert script.newest_run(None) is None
    own = Path("runs") / "own"  # a checkpoint of somebody's own
    own.mkdir(parents=True)
    (own / "model.safetensors").touch()
    first, second = run_of("b")[0], run_of("a", model="lenet5:d2l")[0]
    clothes = run_of("c", dataset="fashion-mnist")[0]
    for age, folder in enumerate((clothes, second, first)):
        os.utime(folder / "model.safetensors", (10**9 - age, 10**9 - age))
    photographs = Path("runs/d")
    photographs.mkdir()
    (photographs / "run.json").write_text(json.dumps({**SETTINGS, "model": "resnet20"}))
    (photographs / "model.safetensors").write_bytes(b"")
    assert script.newest_run(None) == second
    assert script.newest_run("lenet5") == first
    assert script.newest_run("digit_cnn") is None
    assert script.load_model(asked())[1].startswith("lenet5:d2l, ")
    for folder in (clothes, photographs):
        with pytest.raises(ValueError, match="holds no network for the digits of MNIST"):
            script.load_model(asked(run=folder))


def test_weights_as_pytorch_lays_them_out(script, tmp_path):
    from safetensors.numpy import save_file

    name = "highway:fully_connected"
    state = models.build(name).state_dict()
    turned = {key: np.ascontiguousarray(value.T) for key, value in state.items()}
    save_file(turned, tmp_path / "a.safetensors")
    model, title = script.load_model(asked(model=name, weights=str(tmp_path / "a.safetensors")))
    assert title == name
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[key])


def test_it_reads_on_the_device_that_is_asked_for(script, run_of, monkeypatch, devices):
    run_of("first")
    monkeypatch.setattr(script.digit_pad, "serve", lambda model, title, port: reading.check(model, range(10)))
    for device in ("cpu", "cuda"):
        devices.clear()
        monkeypatch.setattr(sys, "argv", ["digit_pad.py", "--device", device])
        script.main()
        assert devices == {device}


def test_it_trains_first_on_the_device_that_is_asked_for(script, monkeypatch):
    asked_for = []
    monkeypatch.setattr(script, "train", lambda model, device: asked_for.append((model, device)))
    monkeypatch.setattr(script, "model_of", lambda folder: None)
    script.load_model(asked(device="cpu"))
    assert asked_for == [("lenet5", "cpu")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "lenet55"], "no network is called 'lenet55': did you mean lenet5"),
        (["--model", "resnet20"], "resnet20 is made for images (32, 32, 3), not (28, 28, 1)"),
        (["--run", "nowhere"], "there is no run in nowhere: it has no run.json"),
        (["--port", "65536"], "--port expected a number from 0 to 65535, got 65536"),
        (["--port", "-1"], "--port expected a number from 0 to 65535, got -1"),
        (["--weights", "a.pth"], "--weights needs the --model that they are for, and no --run"),
        (["--model", "lenet5", "--weights", "nowhere.pth"], "nowhere.pth"),
    ],
)
def test_nonsense_is_one_sentence(script, monkeypatch, options, said):
    monkeypatch.setattr(sys, "argv", ["digit_pad.py", *options])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert str(ended.value).startswith("digit_pad.py: ")
    assert said in str(ended.value)
    assert not list(Path().iterdir())


def test_without_flask_it_says_so_before_it_trains(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["digit_pad.py"])
    monkeypatch.setattr(script.importlib.util, "find_spec", {}.get)
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert str(ended.value) == 'digit_pad.py: the digit pad needs Flask: pip install "minicnn[study]"'


@pytest.mark.slow
def test_it_trains_serves_reads_and_ends(tmp_path, web_page):
    """In an empty folder it trains first; then it reads a one and a seven that are drawn with the mouse."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--port", "0"], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, preexec_fn=launch.heed_ctrl_c,
    )  # fmt: skip
    try:
        said = []
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", said[-1] if said else "")):
            said.append(process.stdout.readline())
            assert said[-1], said
        assert "python examples/train_lenet.py --model lenet5 --epochs 3 --device auto\n" in said
        web_page.goto(found[0])
        for digit, strokes in {"1": [(0.5, 0.15), (0.5, 0.85)], "7": [(0.25, 0.2), (0.72, 0.2), (0.45, 0.85)]}.items():
            draw(web_page, strokes)
            assert web_page.locator("#verdict").inner_text() == f"It reads {digit}"
            web_page.get_by_role("button", name="Clear").click()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert not process.stdout.read()
    finally:
        process.kill()


def draw(page, points):
    box = page.locator("#pad").bounding_box()
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=6)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_selector('.answer[aria-busy="false"]')
