"""The job script for Slurm in the guide: a shell runs it, with programs in the place of Slurm's and Python that say how
they were called."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guide" / "16_many_machines.md"


@pytest.fixture
def submit(tmp_path):
    """Run the job as Slurm would on eight machines of 32 cores; returns what was called, a line each."""
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "job.sh").write_text(script)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    for name in ("srun", "python"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} on $SRUN_CPUS_PER_TASK: $*"\n')
        (programs / name).chmod(0o755)
    environment = {**os.environ, "SLURM_CPUS_PER_TASK": "32", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}

    def run():
        command = ["bash", "-eu", "job.sh"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return run


@pytest.mark.skipif(sys.platform == "win32", reason="a job script is for a POSIX shell")
def test_the_job_begins_a_run_and_the_same_job_goes_on_with_it(submit, tmp_path):
    started = "srun on 32: --mpi=pmi2 --kill-on-bad-exit=1 --label python examples/train_lenet.py --distributed"
    assert submit() == ["python on 32: -m minicnn.warmup", f"{started} --out runs/eight"]
    (tmp_path / "runs" / "eight").mkdir(parents=True)
    (tmp_path / "runs" / "eight" / "run.json").write_text("{}")
    assert submit()[1] == f"{started} --resume runs/eight"


def test_the_script_has_the_options_that_the_job_gives_it():
    command = [sys.executable, str(ROOT / "examples" / "train_lenet.py"), "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(option in text for option in ("--distributed", "--out", "--resume"))
