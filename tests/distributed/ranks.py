"""Starting the ranks of a job as a person does: by mpiexec."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

# Beside the Python that runs, where pip puts it; else the site's own.
MPIEXEC = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
IS_MPICH = (
    MPIEXEC is not None and "HYDRA" in subprocess.run([MPIEXEC, "--version"], capture_output=True, text=True).stdout
)
# Open MPI has to be told that ranks may share a core, and that root may start them.
os.environ.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or MPIEXEC is None,
    reason='mpi4py or mpiexec is missing: pip install "minicnn[mpi]"',
)
BEGIN = """
import os, sys, time
import numpy as np
import minicnn as mc
from minicnn import distributed
"""


@dataclass
class Job:
    """What a job has printed, how it ended, and how long it took."""

    status: int
    output: str
    errors: str
    seconds: float

    @property
    def said(self) -> str:
        """The errors without mpiexec's own report and the traceback: the lines that name a rank."""
        return "\n".join(line for line in self.errors.splitlines() if line.startswith("rank "))


def run(size, code, cwd, *options, before=(), **environment):
    """Run code on so many ranks, after BEGIN; the Job. Nothing of it may be left running.

    options: of mpiexec. before: a command that starts mpiexec.
    """
    script = cwd / "script.py"
    script.write_text(BEGIN + code)
    command = [*before, MPIEXEC, *options, "-n", str(size), sys.executable, script]
    start = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    seconds = time.monotonic() - start
    assert not processes_of(script), "processes of the job are left"
    return Job(done.returncode, done.stdout, done.stderr, seconds)


def processes_of(script):
    """The processes whose command line names a script."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(script) in line]


# For code that ranks run: refused(call, *arguments, says=...).
REFUSE = """
def refused(call, *arguments, says):
    try:
        call(*arguments)
    except ValueError as error:
        assert says in str(error), str(error)
    else:
        raise AssertionError(f"nothing refused: {says}")
"""
