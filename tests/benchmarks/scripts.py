"""Running the benchmarks as a person does."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"
TINY = ("--quick", "--rounds", "1", "--no-torch", "--threads", "1")
TINY_WITH_TORCH = tuple(option for option in TINY if option != "--no-torch")


def run(script, *options, status=0):
    """What the script printed, or where it should fail its errors; after a look at its exit status."""
    command = [sys.executable, str(FOLDER / script), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout
