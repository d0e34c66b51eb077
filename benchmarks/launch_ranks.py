"""Starting the ranks of `bench_distributed.py`: minicnn's by mpiexec, PyTorch's by its own launcher.

Run as a script this file is a rank.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cli
import report
from harness import Pace
from networks import Task
from rank_work import measure

LIMIT = 900.0  # seconds that a job may take


def why_no_mpi() -> str:
    """What is missing for the ranks of minicnn; "" if nothing is."""
    missing = [] if find_spec("mpi4py") else ["mpi4py"]
    missing += [] if _mpiexec() else ["mpiexec"]
    return f'{" and ".join(missing)} not found: pip install "minicnn[mpi]"' if missing else ""


def _mpiexec() -> str | None:
    """That of this Python's environment, else the first on the path."""
    return shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def run(task: Task, name: str, ranks: int, threads: int, pace: Pace) -> dict[str, Any]:
    """What rank 0 printed; see `rank_work.measure`. Raises RuntimeError if the job fails or takes too long."""
    said = json.dumps({"task": asdict(task), "name": name, "threads": threads, "pace": asdict(pace)})
    environment = {**os.environ, **dict.fromkeys(cli.THREAD_VARIABLES, str(threads))}
    printed = _finished([*command(name, ranks), __file__, said], environment, LIMIT)
    return dict(json.loads(printed.splitlines()[-1]))


def command(name: str, ranks: int) -> list[str]:
    """What starts Python on so many ranks."""
    if name.startswith("torch"):
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return [_mpiexec() or "mpiexec", "-n", str(ranks), sys.executable]


def _finished(command: list[str], environment: dict[str, str], limit: float) -> str:
    """What a command printed. None of its processes is left behind, whatever happens."""
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                           start_new_session=True)  # fmt: skip
    try:
        printed, complaints = job.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command[:-2])} did not end within {limit:g} s") from None
    finally:
        if job.poll() is None:
            _end(job)
    if job.returncode:
        # What went wrong stands at the beginning; a launcher's report on it comes last.
        said = complaints if len(complaints) <= 3000 else f"{complaints[:2000]}\n...\n{complaints[-1000:]}"
        raise RuntimeError(f"{' '.join(command[:-2])} ended with status {job.returncode}:\n{said}")
    return printed


def _end(job: subprocess.Popen[str]) -> None:
    """Ask a launcher to end its ranks, and if it does not, end all of its session."""
    job.terminate()
    with suppress(subprocess.TimeoutExpired):
        job.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def _main() -> None:
    said = json.loads(sys.argv[1])
    library, _, layout = said["name"].partition(" ")
    cli.set_threads(said["threads"], library == "torch")
    task, pace = Task(**said["task"]), Pace(**said["pace"])
    if library == "torch":
        from torch_rank import torch_rank

        work = torch_rank(task, layout)
        answer = measure(work, pace)
    else:
        from minicnn_rank import MinicnnRank

        rank = MinicnnRank(task)
        work = rank.work()
        answer = measure(work, pace)
        step = rank.observed()
        answer |= {"numba threads": report.machine(said["threads"])["numba threads"], "mpi": _mpi()}
        answer["step"] = step and asdict(step)
    if work.rank == 0:
        print(json.dumps(answer), flush=True)


def _mpi() -> str:
    """Which library it is, and its version."""
    from mpi4py import MPI

    return " ".join(MPI.Get_library_version().splitlines()[0].split())


if __name__ == "__main__":
    _main()
