"""The ensemble, as a person makes it; and the errors of all choices, in loops."""

import itertools
import json
import math
import re

import launch
import numpy as np
import pytest
from safetensors.numpy import load_file

SCRIPT = "train_ensemble.py"


def test_help_names_every_option_and_fits_the_terminal():
    printed = launch.help_of(SCRIPT)
    for option in ("members", "dataset", "images", "seed", "device", "precision", "out"):
        assert f"--{option} " in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--members", "1"], "--members expected a number from 2 to 12, got 1"),
        (["--members", "13"], "--members expected a number from 2 to 12, got 13"),
        (["--images", "0"], "--images expected a number from 1, got 0"),
        (["--device", "cpu", "--precision", "tf32"], "--precision tf32 is for a GPU"),
        (["--dataset", "fashion-mnist", "--data-folder", "nowhere"], "nowhere"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(tmp_path, monkeypatch, options, said):
    assert said in launch.failure_here(SCRIPT, *options, cwd=tmp_path, monkeypatch=monkeypatch)


def test_the_errors_of_all_choices_are_those_of_means_of_probabilities(monkeypatch):
    script = launch.module("train_ensemble", monkeypatch)
    rng = np.random.default_rng(0)
    outputs, labels = 2 * rng.standard_normal((3, 20, 4)), rng.integers(0, 4, 20)
    expected = []
    for m in (1, 2, 3):
        expected.append([])
        for choice in itertools.combinations(range(3), m):
            wrong = 0
            for n in range(20):
                p = np.zeros(4)
                for member in choice:
                    total = sum(math.exp(v) for v in outputs[member, n])
                    p += [math.exp(v) / total for v in outputs[member, n]]
                wrong += int(p.argmax() != labels[n])
            expected[-1].append(wrong / 20)
    assert script.errors_of_choices(outputs, labels) == expected


def test_two_networks_of_a_few_images(tmp_path, monkeypatch, capsys):
    options = ("--members", 2, "--images", 256, "--device", "cpu", "--out", "a")
    launch.run_here(SCRIPT, *options, cwd=tmp_path, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    each = [float(error) for error in re.findall(r"network \d +test error ([\d.]+) %", printed)]
    (together,) = re.findall(r"together +test error ([\d.]+) %", printed)
    errors = json.loads((tmp_path / "a" / "errors.json").read_text())
    assert [[round(100 * error, 2) for error in choices] for choices in errors] == [each, [float(together)]]
    assert each[0] != each[1], "two seeds make two networks"
    assert (tmp_path / "a" / "ensemble.png").read_bytes()[:4] == b"\x89PNG"
    saved = load_file(tmp_path / "a" / "ensemble.safetensors")
    assert (saved["model.members.0.0.weight"] != saved["model.members.1.0.weight"]).any()
    with pytest.raises(SystemExit, match="a holds a run already"):
        launch.run_here(SCRIPT, "--out", "a", cwd=tmp_path, monkeypatch=monkeypatch)
