"""`python -m minicnn.study`: each picture in one command, of models by name, of files and of runs; its errors."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from drawings import read_png

import minicnn as mc
from minicnn import data, models, optim
from minicnn.study import __main__ as command
from minicnn.study import sources

pytestmark = pytest.mark.usefixtures("plain_kernels")

OWN = """
import minicnn as mc
from minicnn import functional as F, nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(nn.init.kaiming_uniform((3, 3, 3, 4), __import__("numpy").random.default_rng(0)))
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(F.relu(F.conv2d(x, self.kernel, stride=2)).mean(axis=(1, 2)))

def build():
    return Small()

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model of functional operations in a file of the user's; the folder is where commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return ["--model", "own.py:build", "--input-shape", "12", "10", "3"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run as train_lenet.py leaves it."""
    folder = tmp_path_factory.mktemp("run")
    mc.seed(7)
    model = models.lenet5()
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
    trainer.save(folder / "model.safetensors")
    (folder / "run.json").write_text(json.dumps({"model": "lenet5", "dataset": "mnist", "data_folder": None}))
    (folder / "history.json").write_text(json.dumps({"loss": [1.0, 0.5], "accuracy": [0.5, 0.8]}))
    return folder, model


PICTURES = {
    "filters": [], "features": ["--layer", "conv2d,relu"], "saliency": ["--number", "3"], "grad-cam": ["--label", "4"],
    "receptive-fields": ["--position", "1", "2"], "activations": ["--batch-size", "8"],
    "gradients": ["--steps", "3", "--batch-size", "8"], "confusion": ["--images", "50"], "mistakes": ["--images", "5"],
}  # fmt: skip


@pytest.mark.parametrize("picture", PICTURES)
def test_each_picture_of_a_users_own_model(picture, own, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    command.main([picture, *own, *PICTURES[picture], "-o", "out/picture.png"])
    assert capsys.readouterr().out == "out/picture.png\n"
    assert read_png(tmp_path / "out" / "picture.png").std() > 0.01


def test_the_graph_of_a_users_own_model(own, tmp_path, capsys):
    command.main(["graph", *own])
    assert capsys.readouterr().out == "graph.svg\n"
    drawn = {text.text for text in ElementTree.parse(tmp_path / "graph.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {"input", "Conv2d"} <= drawn
    assert "1\N{MULTIPLICATION SIGN}12\N{MULTIPLICATION SIGN}10\N{MULTIPLICATION SIGN}3" in drawn


def test_every_picture_has_its_command():
    others = {"curves", "classical", "graph"}
    assert {p.__name__.replace("_", "-") for p in command.PICTURES} == others | set(PICTURES)


def test_the_pictures_without_a_model(tmp_path, monkeypatch, run_folder):
    monkeypatch.chdir(tmp_path)
    folder, _ = run_folder
    whole = command.deep_stack
    monkeypatch.setattr(command, "deep_stack", lambda activation: whole(activation, depth=2, width=9))
    for arguments in (["classical"], ["curves", str(folder)], ["curves", str(folder), str(folder)],
                      ["activations", "--batch-size", "4"]):  # fmt: skip
        command.main(arguments)
        assert read_png(tmp_path / f"{arguments[0]}.png").std() > 0.01
        (tmp_path / f"{arguments[0]}.png").unlink()


def test_a_photo_is_taken_by_every_picture_of_an_image(own, tmp_path):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)).save(
        tmp_path / "photo.png"
    )
    for picture in ("saliency", "classical"):
        (tmp_path / picture).mkdir()
        options = own if picture == "saliency" else []
        command.main([picture, *options, "--image", "photo.png", "-o", f"{picture}/a.png"])
        assert read_png(tmp_path / picture / "a.png").std() > 0.05


def test_a_run_brings_its_model_and_its_weights(run_folder):
    folder, model = run_folder
    for weights in (folder, folder / "model.safetensors"):
        mc.seed(0)
        source = sources.load(None, str(weights))
        assert source.settings["dataset"] == "mnist"
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(source.model.state_dict()[name], value)


@pytest.mark.parametrize(
    ("name", "K", "first"),
    [
        ("fashion-mnist", 10, "T-shirt/top"),
        ("kmnist", 10, "o"),
        ("cifar10", 10, "airplane"),
        ("cifar100", 100, "apple"),
    ],
)
def test_every_data_set_brings_the_names_of_its_classes(tmp_path, name, K, first):
    source = sources.Source(models.lenet5(), (28, 28, 1), settings={"dataset": name})
    assert sources.class_names(source, None, K)[0] == first
    assert sources.class_names(source, None, K + 1) is None
    with pytest.raises(FileNotFoundError, match="not found there"):
        sources.dataset(source, name, str(tmp_path))


def test_a_run_on_photos_brings_the_number_of_its_classes(tmp_path):
    trained = models.mobilenet_v2()
    sources.new_head(trained, 2)
    mc.Trainer(trained, optim.SGD(trained.parameters(), 0.1)).save(tmp_path / "model.safetensors")
    for script, mean in (("train_folder.py", (0, 0, 0)), ("fine_tune.py", data.photos.MEAN)):
        (tmp_path / "run.json").write_text(json.dumps({"model": "mobilenet_v2", "script": script}))
        source = sources.load(None, str(tmp_path))
        assert source.prepared.mean == mean
        for name, array in trained.state_dict().items():
            np.testing.assert_array_equal(source.model.state_dict()[name], array)


def test_published_weights_are_prepared_for(tmp_path):
    from safetensors.numpy import save_file

    model = models.squeezenet1_0()
    turned = {name: np.ascontiguousarray(a.transpose(3, 2, 0, 1)) if a.ndim == 4 else a
              for name, a in model.state_dict().items()}  # fmt: skip
    save_file(turned, tmp_path / "weights.safetensors")
    source = sources.load("squeezenet1_0", str(tmp_path / "weights.safetensors"))
    assert (source.prepared.short_side, source.prepared.mean) == (256, data.photos.MEAN)
    np.testing.assert_array_equal(
        source.model.state_dict()["features.0.weight"], model.state_dict()["features.0.weight"]
    )


def test_a_photo_is_cut_and_normalised_as_the_weights_expect_it(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    plain = sources.Source(models.lenet5(), (16, 12, 3))
    np.testing.assert_array_equal(
        sources.read_image(str(tmp_path / "photo.png"), plain), pixels[:, 2:14] / np.float32(255)
    )
    grey = sources.Source(models.lenet5(), (16, 16, 1))
    np.testing.assert_allclose(sources.read_image(str(tmp_path / "photo.png"), grey)[..., 0],
                               pixels.mean(axis=2) / 255, atol=1e-6)  # fmt: skip
    prepared = sources.Published("", 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    middle = sources.read_image(str(tmp_path / "photo.png"), sources.Source(models.lenet5(), (8, 8, 3), prepared))
    np.testing.assert_allclose(middle, pixels[4:12, 4:12] / 127.5 - 1, atol=1e-6)
    x = pixels / np.float32(255)
    np.testing.assert_allclose(sources.normalised(x, sources.Source(models.lenet5(), (16, 16, 3), prepared)), 2 * x - 1,
                               atol=1e-6)  # fmt: skip
    np.testing.assert_array_equal(sources.normalised(x, plain), x)


def test_images_are_fitted_by_whole_pixels():
    digits = np.arange(2 * 28 * 28, dtype=np.uint16).reshape(2, 28, 28, 1)
    np.testing.assert_array_equal(sources.fitted(digits, (28, 28, 1)), digits)
    wide = sources.fitted(digits, (32, 32, 3))  # as examples/train_cifar.py pads them
    np.testing.assert_array_equal(wide, np.pad(digits, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3))
    large = sources.fitted(digits, (61, 58, 1))
    assert large.shape == (2, 61, 58, 1)
    assert (large[0, 2 + 2 * 5 : 4 + 2 * 5, 1 + 2 * 9 : 3 + 2 * 9, 0] == digits[0, 5, 9, 0]).all()
    assert sources.fitted(digits, (61, 90, 1)).shape == (2, 61, 90, 1)  # twice as large, since three times do not fit
    small = sources.fitted(digits, (14, 7, 1))
    np.testing.assert_array_equal(small, digits[:, ::2, ::4])
    colour = np.array([[[[10, 20, 60]]]], np.uint8)
    assert sources.fitted(colour, (1, 1, 1)).tolist() == [[[[30]]]]
    with pytest.raises(ValueError, match="images of 3 channels cannot be shown to a model for 4"):
        sources.fitted(colour, (1, 1, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a picture, as in `python -m minicnn.study filters --model lenet5`"),
        (["filters", "--model", "lenet6"], "no network is called 'lenet6': did you mean lenet5"),
        (["filters", "--model", "none.py:build"], "there is no file none.py"),
        (["filters", "--model", "own.py:built"], "own.py has no function 'built'"),
        (["filters", "--model", "own.py:build"], "does not say which images it is made for: add --input-shape"),
        (["filters", "--weights", "."], "is not the folder of a run: it has no model.safetensors"),
        (["filters", "--weights", "runs/none"], "there is no file 'runs/none'"),
        (["filters", "--layer", "dense"], "there are no filters in dense: it is no convolution"),
        (["filters", "--layer", "dens"], "filters knows no layer 'dens' of this model: there are dense"),
        (["filters", "-o", "none/a.png"], "the folder of the picture, does not exist"),
        (["saliency", "--label", "10"], "saliency expected a label from 0 to 9, got 10"),
        (["saliency", "--number", "10000"], "--number expected 0 to 9999, got 10000"),
        (["saliency", "--image", "none.jpg"], "none.jpg"),
        (["gradients", "--steps", "0"], "--steps expected a number from 1, got 0"),
        (["curves", "."], "has no history.json"),
    ],
)
def test_faults_are_one_sentence(arguments, message, own):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert message in str(stop.value)
    assert "\n" not in str(stop.value)


def test_help_lists_the_pictures_in_eighty_columns():
    run = [sys.executable, "-m", "minicnn.study", "--help"]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env={"COLUMNS": "80"})
    for picture in command.PICTURES:
        assert f"\n    {picture.__name__.replace('_', '-')}" in done.stdout
        assert picture.__doc__ in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
