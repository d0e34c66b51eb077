"""examples/train_fast.py, as a person runs it."""

import json
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


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_training_is_kept_with_the_machine(monkeypatch, tmp_path, capsys, device):
    """Of trainings that take seconds and learn as told; the last one is cut off."""
    script, path = launch.module("train_fast", monkeypatch), tmp_path / "a.json"
    monkeypatch.setattr(sys, "path", [*sys.path, str(SCRIPT.parents[1] / "benchmarks")])
    import report

    monkeypatch.setattr(report, "gpu", lambda: {"gpu": "Emulated GPU"})
    monkeypatch.setattr(script.script, "chosen_device", lambda device: device)
    told = iter([(9.0, 0.5), (1.0, 0.99), (3.0, 0.9899), (2.0, 0.995)])  # the first is not counted
    monkeypatch.setattr(script, "train_once", lambda *given: next(told))
    options = ["train_fast.py", "--seeds", "4", "--device", device, "--json", str(path)]
    monkeypatch.setattr(sys, "argv", options)
    with pytest.raises(StopIteration):
        script.main()
    content = json.loads(path.read_text())
    assert content["machine"].get("gpu") == ("Emulated GPU" if device == "cuda" else None)
    assert content["machine"]["precision"] == "float32"
    assert content["settings"] == {"device": device, "wanted": 0.99, "epochs": 2, "batch size": 64}
    assert content["seconds"] == [1, 3, 2]
    assert content["accuracies"] == [0.99, 0.9899, 0.995]
    assert (content["median seconds"], content["reached"]) == (2, 2)


def test_a_file_that_cannot_be_written_is_a_fault_in_one_sentence(monkeypatch, tmp_path):
    script = launch.module("train_fast", monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])  # which grows
    monkeypatch.setattr(script, "train_once", lambda *given: (1.0, 0.99))
    monkeypatch.setattr(sys, "argv", ["train_fast.py", "--device", "cpu", "--json", str(tmp_path / "no" / "a.json")])
    with pytest.raises(SystemExit, match=r"train_fast.py: .*a.json"):
        script.main()


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
