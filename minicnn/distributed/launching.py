"""How a process finds out that it is one of several."""

from __future__ import annotations

import os

from .communicator import Alone, Communicator

# What launchers tell each process: how many there are.
SIZES = ("PMI_SIZE", "PMIX_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")


def init(timeout: float = 300.0) -> Communicator:
    """The ranks of this job: of MPI, if a launcher started the process, else this one alone."""
    if not any(name in os.environ for name in SIZES):
        return Alone(timeout)
    from .mpi import MpiCommunicator

    return MpiCommunicator(timeout)
