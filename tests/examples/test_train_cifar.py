"""Training on CIFAR-10, or on what stands in for it, as a person runs it."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from launch import failure, module, run
from safetensors.numpy import load_file

from minicnn.data.transforms import Draws

SMALL = ("--dataset", "mnist", "--images", "64", "--batch-size", "32", "--no-augment")


@pytest.fixture
def training(monkeypatch):
    """examples/training.py."""
    return module("training", monkeypatch)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "resnet21", *SMALL], "no network is called 'resnet21': did you mean resnet"),
        (["--model", "lenet5", *SMALL], "lenet5 is made for images (28, 28, 1), not (32, 32, 3)"),
        ([*SMALL, "--images", "0"], "--images expected a number from 1, got 0"),
        ([*SMALL, "--epochs", "0"], "--epochs expected a number from 1, got 0"),
        ([*SMALL, "--lr", "-1"], "lr"),
        (["--data-folder", "nowhere"], "nowhere: CIFAR-10 not found there; put cifar-10-binary.tar.gz"),
        (["--resume", "nowhere"], "there is nothing to resume in nowhere"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(tmp_path, options, said):
    assert said in failure("train_cifar.py", *options, cwd=tmp_path)


@pytest.mark.slow
def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path):
    """Stopped by hand: with --epochs 1 first, since a signal would have to hit the right moment."""
    options = ("--dataset", "mnist", "--images", 256, "--batch-size", 64, "--threads", 2)
    whole = run("train_cifar.py", *options, "--epochs", 2, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert re.search(r"test accuracy \d", whole.stdout)
    history = json.loads((tmp_path / "whole" / "history.json").read_text())
    np.testing.assert_allclose(history["lr"], [0.1, 0.01])
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "run.json").write_text((tmp_path / "whole" / "run.json").read_text())
    for epochs in (1, 2):
        (parts / "run.json").write_text(
            re.sub(r'"epochs": \d', f'"epochs": {epochs}', (parts / "run.json").read_text())
        )
        done = run("train_cifar.py", "--resume", "parts", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    expected, got = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert expected.keys() == got.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def test_grey_images_become_photographs(training):
    settings = SimpleNamespace(dataset="mnist", data_folder=None, images=3)
    digits = training.load_data(settings)
    for photographs, grey in zip(training.load_photographs(settings), digits, strict=True):
        assert photographs.images.shape == (3, 32, 32, 3)
        for channel in range(3):
            np.testing.assert_array_equal(photographs.images[:, 2:30, 2:30, channel], grey.images[:3, ..., 0])
        assert photographs.images.sum() == 3 * grey.images[:3].astype(int).sum()  # nothing but black around it
        assert photographs.labels.tolist() == grey.labels[:3].tolist()
    color = training.data.ArrayDataset(np.ones((4, 32, 32, 3), np.uint8), np.arange(4))
    assert training._as_photographs(color).images.shape == (4, 32, 32, 3)


def test_mnist_stands_in_where_cifar10_cannot_be_had(training, monkeypatch, capsys):
    def missing(folder, download):
        raise FileNotFoundError("CIFAR-10 not found there")

    monkeypatch.setattr(training.data, "cifar10", missing)
    settings = SimpleNamespace(dataset=None, data_folder=None)
    training.find_photographs(settings, download=True)
    assert settings.dataset == "mnist"
    assert capsys.readouterr().out == "MNIST stands in for CIFAR-10: CIFAR-10 not found there\n"
    with pytest.raises(FileNotFoundError):  # whoever names a folder wants what is in it
        training.find_photographs(SimpleNamespace(dataset=None, data_folder="nowhere"), download=True)


def augmented(training, dataset, image, count=1000):
    """What the scripts make of so many samples that all are this image."""
    images = np.broadcast_to(image, (count, *image.shape))
    settings = SimpleNamespace(augment=True, dataset=dataset)
    return training.augmentation(settings, images).apply(images, Draws(0, 0, np.arange(count)))


@pytest.mark.parametrize(("dataset", "shape", "most"), [("cifar10", (32, 32, 3), 4), ("fashion-mnist", (28, 28, 1), 2)])
def test_augmentation_shifts_by_some_pixels_and_mirrors_what_is_not_written(training, dataset, shape, most):
    """Each shift by up to so many pixels occurs, mirrored about as often as not, and nothing else."""
    H, W, C = shape
    image = np.random.default_rng(0).integers(1, 256, size=shape, dtype=np.uint8)
    black = np.zeros((H + 2 * most, W + 2 * most, C), np.uint8)
    black[most : most + H, most : most + W] = image
    shifts = range(2 * most + 1)
    crops = {black[i : i + H, j : j + W].tobytes(): (i, j) for i in shifts for j in shifts}
    seen, mirrored = set(), 0
    for changed in augmented(training, dataset, image):
        is_mirrored = changed.tobytes() not in crops
        mirrored += is_mirrored
        seen.add(crops[(changed[:, ::-1] if is_mirrored else changed).tobytes()])
    assert len(seen) == len(shifts) ** 2
    assert 400 < mirrored < 600


@pytest.mark.parametrize("dataset", ["mnist", "kmnist"])
def test_writing_is_never_mirrored(training, dataset):
    """A stroke in the upper left corner of what is written stays in the upper left quarter."""
    image = np.zeros((28, 28, 1), np.uint8)
    image[6:10, 6:10] = 255
    changed = augmented(training, dataset, image).astype(float)
    mass = changed[..., 0].sum(axis=(1, 2))
    centres = [(changed[..., 0] * np.indices((28, 28))[axis]).sum(axis=(1, 2)) / mass for axis in range(2)]
    assert len(np.unique(changed, axis=0)) > 990
    assert max(centres[0].max(), centres[1].max()) < 14


def test_without_augmentation_images_stay_as_they_are(training):
    assert training.augmentation(SimpleNamespace(augment=False, dataset="cifar10"), np.zeros((1, 32, 32, 3))) is None
