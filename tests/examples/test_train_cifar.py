"""Training on CIFAR-10, or on what stands in for it, as a person runs it."""

import importlib.util
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from launch import FOLDER, failure, run
from safetensors.numpy import load_file

SMALL = ("--dataset", "mnist", "--images", "64", "--batch-size", "32", "--no-augment")


@pytest.fixture(scope="module")
def training():
    """examples/training.py."""
    specification = importlib.util.spec_from_file_location("training", FOLDER / "training.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


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
    images = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28, 1)
    wide = training.as_photographs(training.data.ArrayDataset(images, np.array([3, 1])))
    assert wide.images.shape == (2, 32, 32, 3)
    for channel in range(3):
        np.testing.assert_array_equal(wide.images[:, 2:30, 2:30, channel], images[..., 0])
    assert wide.images.sum() == 3 * images.sum()
    assert training.as_photographs(wide) is wide


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_augmentation_shifts_by_up_to_four_pixels_and_mirrors_photographs(training, dataset):
    """Each of the 9 x 9 shifts occurs, mirrored about as often as not, and nothing else."""
    augment = training.augmentation(SimpleNamespace(augment=True, dataset=dataset))
    image = np.random.default_rng(0).integers(1, 256, size=(32, 32, 3), dtype=np.uint8)
    black = np.zeros((40, 40, 3), np.uint8)
    black[4:36, 4:36] = image
    crops = {black[i : i + 32, j : j + 32].tobytes(): (i, j) for i in range(9) for j in range(9)}
    rng, seen, mirrored = np.random.default_rng(1), set(), 0
    for _ in range(1000):
        changed = augment(image, rng)
        assert changed.shape == image.shape
        is_mirrored = changed.tobytes() not in crops
        mirrored += is_mirrored
        seen.add(crops[(changed[:, ::-1] if is_mirrored else changed).tobytes()])
    assert len(seen) == 81
    assert mirrored == 0 if dataset == "mnist" else 400 < mirrored < 600
    assert training.augmentation(SimpleNamespace(augment=False, dataset=dataset)) is None
