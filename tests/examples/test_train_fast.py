"""examples/train_fast.py, as a person runs it."""

import re
import subprocess
import sys
from pathlib import Path

import launch
import numpy as np
import pytest

import minicnn as mc

SCRIPT = Path(__file__).parents[2] / "examples" / "train_fast.py"


def run(*options):
    return subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True)


def test_faults_are_one_sentence():
    done = run("--seeds", "0")
    assert done.returncode == 1
    assert done.stderr == "train_fast.py: --seeds expected a number from 1, got 0\n"


def test_other_precisions_are_for_a_gpu():
    done = run("--device", "cpu", "--precision", "float16")
    assert done.returncode == 1
    assert done.stderr == ("train_fast.py: --precision float16 is for a GPU, and this is the device cpu: use float32\n")


@pytest.mark.slow
def test_a_training_comes_near_99_percent():
    """A single seed may miss it by a little; the median of many is what counts."""
    done = run("--seeds", "1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"seed 0 .*accuracy ([\d.]+) %", done.stdout)[1]) > 98.7
    assert re.search(r"[01] of 1 reached 99 %, on device cpu, float32", done.stdout)


@pytest.mark.parametrize("precision", ["float32", "tf32", "float16"])
def test_the_precision_reaches_the_gpu(monkeypatch, precision):
    """On the emulator, and one step."""
    import fake_cupy

    from minicnn import data
    from minicnn.kernels.cuda import _launch

    script = launch.module("train_fast", monkeypatch)
    monkeypatch.setattr(_launch, "float32_matmul_precision", "highest")
    fake_cupy.installed(monkeypatch)
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), np.uint8)
    few, seen, true = data.ArrayDataset(images, np.array([3, 7])), [], mc.Trainer.forward

    def forward(trainer, x):
        seen.append((trainer.precision, _launch.float32_matmul_precision))
        return true(trainer, x)

    monkeypatch.setattr(mc.Trainer, "forward", forward)
    seconds, accuracy = script.train_once(0, "cuda", precision, few, few)
    assert set(seen) == {("float16" if precision == "float16" else "float32",
                          "high" if precision == "tf32" else "highest")}  # fmt: skip
    assert seconds > 0
    assert accuracy in (0, 0.5, 1)
