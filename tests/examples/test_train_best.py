"""The residual network with all that makes it err less, as a person trains it."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from launch import FOLDER, failure, heed_ctrl_c, help_of, run
from safetensors.numpy import load_file

SMALL = ("--images", 256, "--width", 4, "--batch-size", 64, "--threads", 2)


def test_its_help_names_the_options():
    printed = help_of("train_best.py")
    for option in ("--dataset {mnist,fashion-mnist,kmnist}", "--width N", "--epochs N", "--resume FOLDER"):
        assert option in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--width", "0"], "--width expected a number from 1, got 0"),
        (["--images", "0"], "--images expected a number from 1, got 0"),
        (["--images", "100"], "drop_last leaves no batch"),
        (["--epochs", "0"], "--epochs expected a number from 1, got 0"),
        (["--lr", "-1"], "lr"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(tmp_path, options, said):
    assert said in failure("train_best.py", *options, cwd=tmp_path)


@pytest.mark.slow
def test_a_run_that_is_interrupted_and_resumed_ends_with_the_same_bits(tmp_path):
    """Weights, averages, velocities and dropout's counters; the rate follows one cycle over all steps."""
    options = (*SMALL, "--epochs", 3)
    whole = run("train_best.py", *options, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert re.search(r"test accuracy \d", whole.stdout)
    history = json.loads((tmp_path / "whole" / "history.json").read_text())
    np.testing.assert_allclose(history["lr"][-1], 0.2 / 25 / 1e4, rtol=1e-6)  # PyTorch's div_factor, final_div_factor
    command = [sys.executable, str(FOLDER / "train_best.py"), *map(str, options), "--out", "parts"]
    process = subprocess.Popen(command, cwd=tmp_path, preexec_fn=heed_ctrl_c)
    deadline = time.monotonic() + 100
    while not (tmp_path / "parts" / "model.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 1
    assert run("train_best.py", "--resume", "parts", cwd=tmp_path).returncode == 0
    expected, got = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert expected.keys() == got.keys()
    assert any(name.startswith("average.") for name in expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
