"""AlexNet's two towers on two ranks: the same network as the grouped one on one rank; and the script, as it is used."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import launch
import numpy as np
import pytest
from ranks import MPIEXEC, needs_mpi
from tower_worker import trained

import minicnn as mc
from minicnn import data, kernels, models, nn, optim
from minicnn.data import transforms
from minicnn.nn import init

SCRIPT = launch.FOLDER / "alexnet_two_gpus.py"
SIZES = {"filters": (8, 16, 24, 24, 16), "hidden": 16, "side": 1}  # for images 67 x 67: after the poolings 7, 3 and 1


def ranks(*command, n=2, cwd=None):
    """The finished job of n processes of Python."""
    start = [MPIEXEC, "-n", str(n), sys.executable, *map(str, command)]
    return subprocess.run(start, cwd=cwd, capture_output=True, text=True, timeout=400)


def narrow_grouped(classes, filters, hidden, side):
    """The grouped AlexNet of figure 2 with few filters, in one process."""
    a, b, c, d, e = filters
    norm = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2}
    features = nn.Sequential(
        nn.Conv2d(3, a, 11, stride=4), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(a, b, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(d, e, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Linear((side, side, e), hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(hidden, classes),
    )  # fmt: skip
    model = nn.Sequential({"features": features, "flatten": nn.Flatten(), "classifier": classifier})
    for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        layer.weight.initialize(init.normal(0.01))
    for layer in (*(features[i] for i in (4, 10, 12)), *(classifier[i] for i in (0, 3))):
        layer.bias.initialize(init.constant(1))
    return model


def compared(folder, model, images, labels, settings, tolerance):
    """Train the network in this process and its towers in two others: all that they compute is the same.

    tolerance: of a difference, by the largest number of the array.
    """
    begun = model.state_dict()
    np.savez(folder / "images.npz", images=images, labels=labels)
    (folder / "settings.json").write_text(json.dumps(settings))
    done = ranks(Path(__file__).with_name("tower_worker.py"), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    with kernels.use(settings["room"]):
        expected = trained(model, images, labels, settings["steps"])
    expected |= {f"whole {name}": value for name, value in model.state_dict().items()}
    with np.load(folder / "0.npz") as zero, np.load(folder / "1.npz") as one:
        assert set(zero.files) == set(one.files) == {*expected, *(f"begun {name}" for name in begun)}
        for name, value in begun.items():  # the towers' first weights are the grouped network's, bit for bit
            both = np.concatenate([zero[f"begun {name}"], one[f"begun {name}"]], axis=-1)
            np.testing.assert_array_equal(both, value, err_msg=name)
        for name, value in expected.items():
            if name[:2] in ("d ", "w "):
                whole = np.concatenate([zero[name], one[name]], axis=-1)
            else:
                whole = zero[name]
                np.testing.assert_array_equal(whole, one[name], err_msg=name)  # known to both, to the bit
            np.testing.assert_allclose(whole, value, rtol=0, atol=tolerance * np.abs(value).max(), err_msg=name)


@needs_mpi
def test_two_narrow_towers_are_the_grouped_network(tmp_path):
    """With dropout, an odd number of classes, and responses so large that the normalisation over the border counts."""
    mc.seed(3)
    model = narrow_grouped(5, **SIZES)
    model.to(dtype=np.float64)
    rng = np.random.default_rng(0)
    images, labels = 100 * rng.normal(size=(6, 67, 67, 3)), rng.integers(0, 5, 6)
    settings = {"seed": 3, "classes": 5, "sizes": SIZES, "steps": 4, "room": "reference"}
    compared(tmp_path, model, images, labels, settings, 1e-10)
    # Of 6 images, in float64: two channels at the border, then what each half has, there and back; the logits there.
    numbers = {"features.2": 15 * 15 * 4, "features.6": 7 * 7 * 4, "features.exchange_8": 3 * 3 * 16,
               "features.exchange_15": 16, "classifier.exchange_2": 16, "classifier.exchange_5": 16}  # fmt: skip
    expected = {**{name: [6 * 8 * n] * 2 for name, n in numbers.items()}, "classifier.exchange_7": [6 * 8 * 5, 0]}
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == expected


def test_help_names_every_option_and_fits_the_terminal():
    printed = launch.help_of(SCRIPT.name)
    for option in ("demo", "validation", "workers", "lr", "weight-decay", "epochs", "batch-size", "seed", "device",
                   "threads", "timeout", "out"):  # fmt: skip
        assert f"--{option} " in printed


def test_without_a_launcher_it_says_how_to_start_it(tmp_path, monkeypatch):
    said = launch.failure_here(SCRIPT.name, "--demo", cwd=tmp_path, monkeypatch=monkeypatch)
    assert said.endswith(
        "the two towers need two ranks, and this job has 1: start it with "
        "`mpiexec -n 2 python examples/alexnet_two_gpus.py --demo`"
    )


@needs_mpi
def test_three_ranks_are_one_too_many_and_one_of_them_says_so(tmp_path):
    done = ranks(SCRIPT, "--demo", n=3, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("the two towers need two ranks, and this job has 3") == 1


@needs_mpi
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "nowhere: there is no such folder"),
        ([], "name a folder of photos, or take drawn ones with --demo"),
        (["nowhere", "--out", "none/a"], "--out expected a file in a folder that can be written to, got none/a"),
        (["nowhere", "--out", "."], "--out expected a file in a folder that can be written to, got ."),
        (["nowhere", "--threads", "0"], "threads expected a number from 1 to"),
    ],
)
def test_nonsense_ends_both_ranks_with_a_sentence(tmp_path, options, said):
    done = ranks(SCRIPT, *options, cwd=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert re.search(r"^rank [01]: alexnet_two_gpus\.py: ", done.stderr, re.MULTILINE), "whoever finds it first"
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*"))


@needs_mpi
@pytest.mark.parametrize(
    ("pictures", "options", "said"),
    [
        (0, [], r"rank 1: .*: pets: there is no such folder"),
        (20, [], r"photos\['training'\] must be the same .* rank 0 has 20 and rank 1 has 16"),
        (0, ["--seed", "1"], r"settings\['seed'\] must be the same .* rank 0 has '0' and rank 1 has '1'"),
    ],
)
def test_ranks_that_differ_are_named(pets, tmp_path, monkeypatch, pictures, options, said):
    """The two are started in two folders, of which the second has other photos or none, or with other options."""
    if pictures:
        launch.module("drawn_pets", monkeypatch).draw_folder(tmp_path / "pets", pictures, seed=0)
    zero = ["-n", "1", "-wdir", str(pets.parent), sys.executable, str(SCRIPT), "pets"]
    one = ["-n", "1", "-wdir", str(tmp_path), *zero[4:], *options]
    done = subprocess.run([MPIEXEC, *zero, ":", *one], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


@needs_mpi
@pytest.mark.slow
def test_the_script_trains_the_grouped_network(pets, folders, tmp_path):
    """Its losses are those of one rank with the grouped network, and what it keeps is that network."""
    options = ("--epochs", 2, "--batch-size", 8, "--validation", 0.25, "--threads", 1, "--device", "cpu")
    done = ranks(SCRIPT, pets, *options, "--out", "towers.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 82
    # 8 photos: 13 x 13 x 256 numbers of four bytes.
    assert "features.exchange_8".ljust(60) + "1,384.4 + 1,384.4 kB\n" in done.stdout
    assert re.search(r"^parameters +28,438,209 +28,438,209 ", done.stdout, re.MULTILINE)
    lines = re.findall(r"^epoch (\d): loss ([\d.]+), .*on the test ([\d.]+) %", done.stdout, re.MULTILINE)
    assert [line[0] for line in lines] == ["1", "2"]

    mc.seed(0)
    model = models.alexnet(2, "2012")
    optimizer = optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    trainer = mc.Trainer(model, optimizer, schedule=optim.CosineAnnealingLR(optimizer, 2))
    given = {"dataset": str(pets), "demo": False, "validation": 0.25, "seed": 0, "resume": None}
    train, test = folders.load_photos(argparse.Namespace(**given))
    augment = [transforms.Resize(259), transforms.RandomCrop(227), transforms.RandomHorizontalFlip()]
    loader = data.DataLoader(train, 8, True, transforms.Compose(augment))
    middles = folders.middles(test, 227, 259, 8, 1)
    begun = model.state_dict()
    history = trainer.fit(loader, 2, validation=middles, progress=False)
    for line, loss, accuracy in zip(lines, history["loss"], history["val_accuracy"], strict=True):
        assert float(line[1]) == pytest.approx(loss, rel=1e-3)
        assert float(line[2]) == pytest.approx(100 * accuracy, abs=0.01)
    trained = model.state_dict()
    kept = mc.Trainer(model, optim.SGD(model.parameters(), 0.01))
    kept.load(tmp_path / "towers.safetensors")
    for name, value in model.state_dict().items():
        learnt, apart = np.linalg.norm(trained[name] - begun[name]), np.linalg.norm(value - trained[name])
        assert apart < 0.2 * learnt, f"{name}: more than some ReLU that falls to the other side in float32"
    assert 100 * kept.evaluate(middles)["accuracy"] == pytest.approx(float(lines[-1][2]), abs=0.01)


@needs_mpi
@pytest.mark.slow
def test_the_towers_of_2012_are_the_grouped_network(tmp_path):
    """In float64: in float32 a max or a ReLU here and there falls to the other side, and its gradient with it."""
    mc.seed(1)
    model = models.alexnet(variant="2012").to(dtype=np.float64)
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(2, 227, 227, 3)), rng.integers(0, 1000, 2)
    settings = {"seed": 1, "classes": 1000, "sizes": {}, "steps": 2, "room": "cpu"}
    compared(tmp_path, model, images, labels, settings, 1e-10)
