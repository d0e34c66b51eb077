"""How a process finds out that it is one of several."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from minicnn.device import check_device

from .agreement import check_same
from .communicator import Alone, Communicator

MPICH = "mpiexec of MPICH"
# Of each launcher the variables for: how many processes, which of them this is, which of those on its machine. The
# first whose variables are all there: mpiexec inside a Slurm job comes before Slurm, which has started mpiexec's own
# helpers and not the processes.
LAUNCHERS = {
    MPICH: ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
    "mpiexec of Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "srun --mpi=pmi2": ("PMI_SIZE", "PMI_RANK", "SLURM_LOCALID"),
    "another launcher with PMI": ("PMI_SIZE", "PMI_RANK", "PMI_RANK"),
    "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"),
}

_started: tuple[str, float, Communicator] | None = None


@dataclass(frozen=True)
class Place:
    """Where a launcher has put a process: the rank-th of `size`, the local_rank-th on its machine."""

    launcher: str
    size: int
    rank: int
    local_rank: int


def init(device: str = "cpu", timeout: float = 300.0) -> Communicator:
    """The ranks of this job: the processes that a launcher (`mpiexec`, `srun`) has started, or this one alone.

    device: "cpu" for sums of NumPy arrays by MPI, "cuda" for sums of CuPy arrays by NCCL, each rank on a GPU of its
    own. timeout: seconds that any wait for other ranks may take.

    Called again it returns the same communicator. From here on an exception that nothing catches, on any rank, ends
    the whole job with that rank's name. Call it first: a rank that ends before it leaves the others waiting here for
    `timeout` seconds.

    Raises ValueError for another device, for a device that is not that of all ranks, for a timeout that is no positive
    number, and where it was called before with others; ImportError without mpi4py; RuntimeError if no MPI library
    loads, if it is not the launcher's, if the device cannot be used, and in a batch script of Slurm without srun.
    """
    global _started
    _check_timeout(timeout)
    if _started is None:
        _started = (device, timeout, _start(device, timeout))
    if _started[:2] != (device, timeout):
        raise ValueError(
            f"init expected device {_started[0]!r} and timeout {_started[1]:g} as at its first call, "
            f"got {device!r} and {timeout:g}: a process has one communicator"
        )
    return _started[2]


def place(environment: Mapping[str, str]) -> Place | None:
    """What the launcher says in the environment; None without one. Raises RuntimeError for sbatch without srun."""
    for launcher, names in LAUNCHERS.items():
        if all(name in environment for name in names):
            return Place(launcher, *(int(environment[name]) for name in names))
    # without an option for tasks Slurm counts only nodes, and srun starts one task on each
    tasks = environment.get("SLURM_NTASKS", environment.get("SLURM_JOB_NUM_NODES", "1"))
    if "SLURM_JOB_ID" in environment and tasks != "1":
        raise RuntimeError(
            f"Slurm has given this job {tasks} tasks, but srun did not start this process: write `srun python ...` in "
            "the job script"
        )
    return None


def _start(device: str, timeout: float) -> Communicator:
    here = place(os.environ)
    if here is None:
        check_device(device)
        return Alone(timeout)
    from .starting import start_mpi

    ranks = start_mpi(here, timeout)
    check_same(ranks, "init: the device", device)
    check_device(device)  # only now, when the others hear of a rank that cannot use it
    if device == "cpu":
        return ranks
    from .nccl import NcclCommunicator

    return NcclCommunicator(ranks, here.local_rank)


def _check_timeout(timeout: float) -> None:
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 < timeout < math.inf:
        raise ValueError(f"init expected a timeout of more than 0 seconds, and an end to it, got {timeout!r}")
