"""A photo classified with published weights, as a person does it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from minicnn import data, models

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "classify_photo.py"
SHARED = ROOT.parent / "shared" / "data"
WEIGHTS = SHARED / "weights" / "mobilenet_v2.safetensors"
LINE = re.compile(r"  ( *\d+) (.{30})  ( *\d+\.\d) %(  #+)?$")


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, options)], capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
    )  # fmt: skip


def test_help_names_every_option_and_fits_the_terminal():
    done = run("--help")
    assert done.returncode == 0
    for option in ("PHOTO", "--model NAME", "--weights SOURCE", "--device", "mobilenet_v2"):
        assert option in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere.jpg"], "nowhere.jpg"),
        ([SCRIPT], "classify_photo.py is no image that Pillow can read"),
        (["--model", "mobilenet_v3", "nowhere.jpg"], "no network is called 'mobilenet_v3': did you mean mobilenet_v"),
        (["--weights", "nowhere.pth", "PHOTO"], "there is no file 'nowhere.pth', and no weights are published under"),
        (["--model", "lenet5", "PHOTO"], "lenet5 is made for images (28, 28, 1), not for photos in colour"),
    ],
)
def test_nonsense_is_one_sentence(tmp_path, options, said):
    photo = ROOT / "docs" / "pictures" / "filters.png"
    done = run(*[photo if option == "PHOTO" else option for option in options], MINICNN_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_five_classes_with_a_bar_each(tmp_path):
    """Weights that say: class 7 with probability 1/2, class 3 with 3/10; all others share the rest."""
    rest = 0.2 / 998
    bias = np.log(np.full(1000, rest)).astype(np.float32)
    bias[[7, 3]] = np.log([0.5, 0.3])
    state = {name: np.zeros_like(value) for name, value in models.mobilenet_v2().state_dict().items()}
    turned = {name: value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T for name, value in state.items()}
    turned["classifier.1.bias"] = bias
    save_file({name: np.asarray(value, order="C") for name, value in turned.items()}, tmp_path / "a")
    done = run("--weights", tmp_path / "a", *[ROOT / "docs" / "pictures" / "filters.png"] * 2)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert lines[:6] == lines[6:]
    assert lines[0] == "filters.png"
    classes = data.imagenet_classes()
    found = [LINE.match(line).groups() for line in lines[1:6]]
    assert [(int(n), name.strip(), p.strip()) for n, name, p, _ in found[:2]] == [(7, classes[7], "50.0"),
                                                                                  (3, classes[3], "30.0")]  # fmt: skip
    assert [bar and bar.strip() for *_, bar in found] == ["#" * 15, "#" * 9, None, None, None]
    assert max(map(len, lines)) <= 80


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no ../shared")
@pytest.mark.parametrize(("photo", "number", "name", "percent"), [
    ("chelsea.png", 285, "Egyptian cat", "71.4"), ("coffee.png", 967, "espresso", "99.2")])  # fmt: skip
def test_torchvisions_mobilenet_knows_a_cat_from_a_coffee(photo, number, name, percent):
    done = run("--weights", WEIGHTS, SHARED / "photos" / photo)
    assert done.returncode == 0, done.stderr
    first = LINE.match(done.stdout.splitlines()[1]).groups()
    assert (int(first[0]), first[1].strip(), first[2].strip()) == (number, name, percent)
