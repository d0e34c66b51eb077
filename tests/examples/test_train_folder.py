"""Training on folders of photos, and fine-tuning, as a person does both; on drawn pictures, and few of them."""

import argparse
import json
import re
import shutil
from pathlib import Path

import launch
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minicnn as mc
from minicnn import data, models, nn
from minicnn.data import transforms
from minicnn.study import sources

PICTURES = 24  # in the fixture `pets`
FILES = ["confusion_matrix.png", "filters.png", "history.json", "learning_curves.png", "model.safetensors", "run.json",
         "worst_mistakes.png"]  # fmt: skip
SCRIPTS = ("train_folder.py", "fine_tune.py")


def settings(dataset, **given):
    return argparse.Namespace(**{"dataset": str(dataset), "demo": False, "validation": 0.25, "seed": 0, "resume": None,
                                 **given})  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_option_and_fits_the_terminal(script):
    printed = launch.help_of(script)
    for option in ("demo", "validation", "workers", "model", "lr", "epochs", "batch-size", "resume"):
        assert f"--{option} " in printed


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name a folder of photos, or take drawn ones with --demo"),
        (["photos", "--demo"], "name a folder of photos, or take drawn ones with --demo"),
        (["nowhere"], "nowhere: there is no such folder"),
        (["nowhere", "--validation", "1"], "--validation expected a share between 0 and 1, got 1"),
        (["nowhere", "--model", "lenet5"], "lenet5 is made for images (28, 28, 1), not for photos in colour"),
        (["--resume", "nowhere"], "there is nothing to resume in nowhere"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(tmp_path, monkeypatch, script, options, said):
    assert said in launch.failure_here(script, *options, cwd=tmp_path, monkeypatch=monkeypatch)


def test_the_drawings_are_those_of_the_seed_and_of_two_classes(pets, tmp_path, monkeypatch):
    photos = data.ImageFolder(pets)
    assert photos.classes == ("cat", "dog")
    assert np.bincount(photos.labels).tolist() == [PICTURES // 2, PICTURES // 2]
    assert len({photos[i][0].shape for i in range(PICTURES)}) > PICTURES // 2, "photos differ in size"
    drawn = launch.module("drawn_pets", monkeypatch)
    again = data.ImageFolder(drawn.draw_folder(tmp_path / "again", 10, seed=0))
    np.testing.assert_array_equal(again[0][0], photos[0][0])
    kept = drawn.draw_folder(tmp_path / "again", 20, seed=1)
    assert len(list(kept.iterdir())) == 10, "a folder that is there is left as it is"
    with pytest.raises(ValueError, match="at least 10, got 9"):
        drawn.draw_folder(tmp_path / "few", 9, seed=0)


def test_each_class_is_split_by_the_seed_and_no_photo_is_in_both_parts(pets, folders):
    train, test = folders.load_photos(settings(pets))
    assert [np.bincount(part.labels).tolist() for part in (train, test)] == [[9, 9], [3, 3]]
    paths = [part.describe(i) for part in (train, test) for i in range(len(part))]
    assert len(set(paths)) == PICTURES
    assert all((f"{part.classes[part[i][1]]}." in part.describe(i)) for part in (train, test) for i in range(len(part)))
    again, other = (folders.load_photos(settings(pets, seed=seed))[1].numbers.tolist() for seed in (0, 1))
    assert again == test.numbers.tolist() != other
    with pytest.raises(ValueError, match="no cat is left to learn"):
        folders.load_photos(settings(pets, validation=0.99))


def test_a_resumed_run_finds_the_photos_that_it_was_begun_with_or_says_so(pets, folders, tmp_path):
    moved = Path(shutil.copytree(pets, tmp_path / "moved"))
    begun = settings(pets)
    folders.load_photos(begun)
    again = folders.load_photos(settings(moved, photos=begun.photos))[1]
    assert again.numbers.tolist() == folders.load_photos(begun)[1].numbers.tolist()
    sorted(moved.iterdir())[0].unlink()
    with pytest.raises(ValueError, match="moved does not hold the photos that the run was begun with"):
        folders.load_photos(settings(moved, photos=begun.photos))


def test_the_new_head_takes_the_place_of_the_last_layer():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential({"relu": nn.ReLU(), "classes": nn.Linear(6, 10)}))
    head = sources.new_head(model, 3)
    assert model(mc.tensor(np.zeros((2, 4), np.float32))).shape == (2, 3)
    assert model[1].classes is head
    assert any(module is head for module in model.modules())
    with pytest.raises(ValueError, match="ends in a linear layer"):
        sources.new_head(nn.Sequential(nn.Flatten()), 3)


def test_a_last_batch_of_one_photo_is_left_out(pets, tmp_path, monkeypatch):
    """18 photos to train with: batch normalisation behind a linear layer has no spread of one."""
    layers = nn.AvgPool2d(8), nn.Flatten(), nn.Linear(4 * 4 * 3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 9)
    monkeypatch.setattr(models, "build", lambda name: nn.Sequential(*layers))
    monkeypatch.setattr(mc, "summary", lambda model: "a network")
    options = ("--model", "resnet20", "--validation", 0.25, "--batch-size", 17, "--epochs", 1, "--device", "cpu")
    launch.run_here("train_folder.py", pets, *options, "--kernels", "reference", "--out", "a", cwd=tmp_path,
                    monkeypatch=monkeypatch)  # fmt: skip
    history = json.loads((tmp_path / "a" / "history.json").read_text())
    assert len(history["val_accuracy"]) == 1


@pytest.mark.parametrize(
    ("ranks", "batch_size", "left_out"),
    [(1, 17, True), (1, 16, False), (1, 18, False), (1, 32, False), (3, 17, True), (3, 13, True), (3, 12, False),
     (3, 19, False)],
)  # fmt: skip
def test_a_last_batch_is_left_out_where_a_rank_would_have_one_photo(pets, folders, monkeypatch, ranks, batch_size,
                                                                    left_out):  # fmt: skip
    given = settings(pets, batch_size=batch_size, workers=0)
    monkeypatch.setattr(folders.together, "ranks", lambda _: None if ranks == 1 else argparse.Namespace(size=ranks))
    train, _ = folders.load_photos(settings(pets))
    assert folders.training_loader(given, train, transforms.Resize((8, 8))).drop_last is left_out


@pytest.mark.slow
def test_a_small_network_on_a_folder(pets, tmp_path, monkeypatch, capsys):
    """A run that goes on and has nothing left to train says the same."""
    options = ("--model", "resnet20", "--batch-size", 8, "--epochs", 1, "--device", "cpu", "--out", "a")
    launch.run_here("train_folder.py", pets, *options, cwd=tmp_path, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == FILES
    assert re.search(r"^test accuracy [\d.]+ % \(\d+ of 4 wrong\)$", printed, re.MULTILINE)
    history = json.loads((tmp_path / "a" / "history.json").read_text())
    (middle,) = re.findall(r"with its middle alone ([\d.]+) %", printed)
    assert float(middle) == 100 * history["val_accuracy"][0]
    launch.run_here("train_folder.py", "--resume", "a", cwd=tmp_path, monkeypatch=monkeypatch)
    assert capsys.readouterr().out.partition("class ")[2] == printed.partition("class ")[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of MobileNetV2, in a file as torchvision's are."""
    mc.seed(5)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.safetensors"
    state = models.mobilenet_v2().state_dict()
    turned = {name: value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T for name, value in state.items()}
    save_file({name: np.asarray(value, order="C") for name, value in turned.items()}, path)
    return path


def test_fine_tuning_begins_with_the_weights_and_a_new_head(weights, tmp_path, monkeypatch):
    script = launch.module("fine_tune", monkeypatch)
    given = {"model": "mobilenet_v2", "weights": str(weights), "fresh": False, "freeze": False, "lr": 0.1,
             "others": 0.2, "epochs": 1, "device": "cpu", "precision": "float32"}  # fmt: skip
    trainer = script.make_trainer(settings("", **given), 2)
    first = load_file(weights)["features.0.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(trainer.model.state_dict()["features.0.0.weight"], first)
    assert trainer.model.state_dict()["classifier.1.weight"].shape == (1280, 2)
    head, others = trainer.optimizer.groups
    assert (len(head.params), head.lr, others.lr) == (2, 0.1, pytest.approx(0.02))
    assert len(head.params) + len(others.params) == len(list(trainer.model.parameters()))
    frozen = script.make_trainer(settings("", **{**given, "freeze": True}), 2)
    assert len(frozen.optimizer.params) == 2 == sum(p.requires_grad for p in frozen.model.parameters())
    fresh = script.make_trainer(settings("", **{**given, "fresh": True}), 2)
    assert (fresh.model.state_dict()["features.0.0.weight"] != first).any()
    # A run that was stopped in its first epoch has saved none.
    again = script.make_trainer(settings("", **{**given, "resume": tmp_path}), 2)
    np.testing.assert_array_equal(again.model.state_dict()["features.0.0.weight"], first)


def test_a_frozen_network_learns_in_its_head_alone(pets, weights, tmp_path, monkeypatch):
    options = ("--weights", weights, "--freeze", "--size", 32, "--batch-size", 8, "--epochs", 1, "--device", "cpu")
    launch.run_here("fine_tune.py", pets, *options, "--out", "a", cwd=tmp_path, monkeypatch=monkeypatch)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == FILES
    saved, given = load_file(tmp_path / "a" / "model.safetensors"), load_file(weights)
    kept = given["features.18.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(saved["model.features.18.0.weight"], kept)
    assert saved["model.classifier.1.weight"].shape == (1280, 2)
