"""The training scripts on several ranks: as a person starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ranks import MPIEXEC, needs_mpi

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "train_best.py"
pytestmark = [pytest.mark.slow, needs_mpi]


def start(size, cwd, *options, script=SCRIPT):
    """What the script prints, and what it complains of."""
    launcher = [MPIEXEC, "-n", str(size)] if size else []
    return subprocess.run(
        [*launcher, sys.executable, str(script), "--device", "cpu", *options],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_ranks_report_once_and_one_process_reads_what_they_left(tmp_path):
    settings = ("--images", "300", "--width", "2", "--batch-size", "64")
    done = start(2, tmp_path, *settings, "--epochs", "1", "--distributed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["residual-mnist"]
    folder = tmp_path / "runs" / "residual-mnist"
    kept = json.loads((folder / "run.json").read_text())
    assert "distributed" not in kept  # how many ranks there are is no setting of the run
    again = start(0, tmp_path, "--resume", str(folder))
    assert again.returncode == 0, again.stderr
    report = [line for line in done.stdout.splitlines() if line.startswith("test accuracy")]
    assert report == [line for line in again.stdout.splitlines() if line.startswith("test accuracy")]


def test_photos_are_read_by_two_ranks_and_reported_once(tmp_path, pets):
    settings = ("--model", "resnet20", "--validation", "0.25", "--batch-size", "9", "--epochs", "1")
    done = start(2, tmp_path, str(pets), *settings, "--distributed", script=EXAMPLES / "train_folder.py")
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("epoch 1:") for line in done.stdout.splitlines()) == 1
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_threads_may_be_given_for_one_rank_alone(tmp_path):
    each = [sys.executable, str(SCRIPT), "--device", "cpu", "--images", "300", "--width", "2", "--epochs", "1"]
    distributed = ["--distributed", "--timeout", "30"]
    done = subprocess.run(
        [MPIEXEC, "-n", "1", *each, *distributed, "--threads", "1", ":", "-n", "1", *each, *distributed],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1


def test_a_fault_of_the_user_ends_all_ranks_with_one_sentence(tmp_path):
    done = start(2, tmp_path, "--width", "0", "--distributed")
    assert done.returncode != 0
    assert "--width expected a number from 1, got 0" in done.stderr
    assert "Traceback" not in done.stderr
