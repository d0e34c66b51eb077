"""The main job, as a person runs it."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import launch
import numpy as np
import pytest
from safetensors.numpy import load_file

SCRIPT = launch.FOLDER / "train_lenet.py"
FILES = ["confusion_matrix.png", "filters.png", "history.json", "learning_curves.png", "model.safetensors", "run.json",
         "worst_mistakes.png"]  # fmt: skip


def run(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return launch.run("train_lenet.py", *options, cwd=cwd)


def test_help_names_every_option_and_fits_the_terminal():
    printed = launch.help_of("train_lenet.py")
    options = ["model", "dataset", "optimizer", "lr", "epochs", "batch-size", "seed", "precision", "kernels", "resume"]
    for option in options:
        assert f"--{option} " in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "lenet55"], "no network is called 'lenet55': did you mean lenet5"),
        (["--model", "resnet20"], "resnet20 is made for images (32, 32, 3), not (28, 28, 1)"),
        (["--model", "lenet5:1989"], "no network is called 'lenet5:1989': did you mean lenet5:1998"),
        (["--lr", "-1"], "lr"),
        (["--lr", "0"], "lr"),
        (["--lr", "nan"], "lr"),
        (["--epochs", "0"], "epochs expected"),
        (["--batch-size", "0"], "batch_size"),
        (["--device", "cpu", "--precision", "tf32"], "--precision tf32 is for a GPU"),
        (["--threads", "0"], "threads expected a number from 1"),
        (["--seed", "-1"], "seed expected a number"),
        (["--dataset", "fashion-mnist", "--data-folder", "nowhere"], "the four files of Fashion-MNIST"),
        (["--dataset", "kmnist", "--data-folder", "nowhere"], "the four files of KMNIST"),
        (["--resume", "nowhere"], "there is nothing to resume in nowhere"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(tmp_path, options, said):
    assert said in launch.failure("train_lenet.py", *options, cwd=tmp_path)


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    done = run("--out", ".", cwd=tmp_path)
    assert done.returncode == 1
    assert "holds a run already" in done.stderr
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


@pytest.mark.slow
def test_lenet5_reaches_99_percent_within_two_minutes(tmp_path, processor_seconds):
    """Two minutes of two cores, counted by what the processors worked, since other tests run beside this one."""
    runs = []
    assert processor_seconds(lambda: runs.append(run(cwd=tmp_path))) < 2 * 120
    (done,) = runs
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "the progress display must be quiet where nobody looks"
    (accuracy,) = re.findall(r"test accuracy ([\d.]+) %", done.stdout)
    assert float(accuracy) >= 99.0
    assert "precision" in done.stdout
    folder = tmp_path / "runs" / "lenet5-mnist"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    history = json.loads((folder / "history.json").read_text())
    assert round(100 * history["val_accuracy"][-1], 2) == float(accuracy)


@pytest.mark.slow
def test_a_run_that_is_interrupted_and_resumed_ends_with_the_same_bits(tmp_path):
    options = ["--epochs", "3", "--batch-size", "256"]
    whole = run(*options, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr

    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *options, "--out", "parts"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=launch.heed_ctrl_c,
    )
    checkpoint = tmp_path / "parts" / "model.safetensors"
    deadline = time.monotonic() + 100
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "finished epochs, which are kept: go on with --resume parts" in error
    assert "Traceback" not in error

    resumed = run("--resume", "parts", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == FILES
    expected, got = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert expected.keys() == got.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
