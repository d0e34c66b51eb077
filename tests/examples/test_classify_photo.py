"""A photo classified with published weights, as a person does it."""

import re
from pathlib import Path

import launch
import numpy as np
import pytest
from safetensors.numpy import save_file

from minicnn import data, models

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "classify_photo.py"
PHOTO = ROOT / "docs" / "pictures" / "filters.png"
SHARED = ROOT.parent / "shared" / "data"
WEIGHTS = SHARED / "weights" / "mobilenet_v2.safetensors"
LINE = re.compile(r"  ( *\d+) (.{30})  ( *\d+\.\d) %(  #+)?$")


@pytest.fixture
def run(printed_by):
    """run(*options): the lines that the script prints."""
    return lambda *options: printed_by(SCRIPT.name, *options).splitlines()


def test_help_names_every_option_and_fits_the_terminal():
    printed = launch.help_of("classify_photo.py")
    for option in ("PHOTO", "--model NAME", "--weights SOURCE", "--device", "mobilenet_v2"):
        assert option in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere.jpg"], "nowhere.jpg"),
        ([SCRIPT], "classify_photo.py is no image that Pillow can read"),
        (["--model", "mobilenet_v3", "nowhere.jpg"], "no network is called 'mobilenet_v3': did you mean mobilenet_v"),
        (["--weights", "nowhere.pth", PHOTO], "there is no file 'nowhere.pth', and no weights are published under"),
        (["--model", "lenet5", PHOTO], "lenet5 is made for images (28, 28, 1), not for photos in colour"),
    ],
)
def test_nonsense_is_one_sentence(run, options, said):
    with pytest.raises(SystemExit) as ended:
        run(*options)
    assert str(ended.value).startswith("classify_photo.py: ")
    assert said in str(ended.value)
    assert "\n" not in str(ended.value)


def test_five_classes_with_a_bar_each(run, tmp_path):
    """Weights that say: class 7 with probability 1/2, class 3 with 3/10; all others share the rest."""
    bias = np.log(np.full(1000, 0.2 / 998)).astype(np.float32)
    bias[[7, 3]] = np.log([0.5, 0.3])
    state = {name: np.zeros_like(value) for name, value in models.mobilenet_v2().state_dict().items()}
    turned = {name: value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T for name, value in state.items()}
    turned["classifier.1.bias"] = bias
    save_file({name: np.asarray(value, order="C") for name, value in turned.items()}, tmp_path / "a")
    lines = run("--weights", tmp_path / "a", PHOTO, PHOTO)
    assert len(lines) == 12
    assert lines[:6] == lines[6:]
    assert lines[0] == "filters.png"
    assert max(map(len, lines)) <= 80
    classes = data.imagenet_classes()
    found = [LINE.match(line).groups() for line in lines[1:6]]
    first = [(int(number), name.strip(), percent.strip()) for number, name, percent, _ in found[:2]]
    assert first == [(7, classes[7], "50.0"), (3, classes[3], "30.0")]
    assert [bar and bar.strip() for *_, bar in found] == ["#" * 15, "#" * 9, None, None, None]


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no ../shared")
def test_torchvisions_mobilenet_knows_a_cat_from_a_coffee(run):
    """The probabilities that torchvision's own MobileNetV2 gives: .714 and .992."""
    lines = run("--weights", WEIGHTS, SHARED / "photos" / "chelsea.png", SHARED / "photos" / "coffee.png")
    number, name, percent, _ = LINE.match(lines[1]).groups()
    assert (int(number), name.strip(), percent.strip()) == (285, "Egyptian cat", "71.4")
    number, name, percent, _ = LINE.match(lines[7]).groups()
    assert (int(number), name.strip(), percent.strip()) == (967, "espresso", "99.2")
