"""examples/train_fast.py, as a person runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "train_fast.py"


def run(*options):
    return subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True)


def test_faults_are_one_sentence():
    done = run("--seeds", "0")
    assert done.returncode == 1
    assert done.stderr == "train_fast.py: --seeds expected a number from 1, got 0\n"


@pytest.mark.slow
def test_a_training_comes_near_99_percent():
    """A single seed may miss it by a little; the median of many is what counts."""
    done = run("--seeds", "1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"seed 0 .*accuracy ([\d.]+) %", done.stdout)[1]) > 98.7
    assert re.search(r"[01] of 1 reached 99 %, on device cpu", done.stdout)
