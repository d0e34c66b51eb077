"""Starting MPI, and saying in a sentence why it does not start."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from .failures import Watcher, end_with_name
from .launching import Place
from .mpi import MpiCommunicator


@cache  # MPI starts and ends once in a process: where `init` has failed for one device, another may be asked for
def start_mpi(here: Place, timeout: float) -> MpiCommunicator:
    """The ranks that the launcher has started; from then on a failure of this one ends them all.

    Raises ImportError without mpi4py, RuntimeError if no MPI library loads or if it is not the launcher's.
    """
    MPI = _loaded()
    watcher = Watcher(here, timeout)
    with ended_after(timeout):
        if not MPI.Is_initialized():
            MPI.Init_thread()  # returns when all ranks do so
        size = MPI.COMM_WORLD.Get_size()
        if size != here.size:
            watcher.dismiss()
            raise RuntimeError(_of_another_mpi(MPI, here, size))
        ranks = MpiCommunicator(MPI, timeout, watcher)  # waits too, if the script has started MPI itself
    watcher.says_started()
    end_with_name(ranks)
    return ranks


def _of_another_mpi(MPI: Any, here: Place, size: int) -> str:
    version = " ".join(MPI.Get_library_version().split("\n")[0].split())[:60]
    return (
        f"{here.launcher} has started {here.size} processes, but MPI counts {size}: mpi4py has loaded another MPI, "
        f"{version}; start them with that one's mpiexec, or install mpi4py for the launcher's "
        "(srun: try --mpi=pmi2 for MPICH, --mpi=pmix for Open MPI)"
    )


def _loaded() -> Any:
    """mpi4py's MPI, which is not started yet."""
    try:
        import mpi4py
    except ImportError as error:
        raise ImportError('to run as one of several ranks mpi4py is needed: pip install "minicnn[mpi]"') from error
    mpi4py.rc.initialize = False  # an MPI that is started by being imported cannot be given a limit
    try:
        from mpi4py import MPI
    except (RuntimeError, ImportError) as error:
        said = str(error).splitlines()[0]
        raise RuntimeError(
            f"mpi4py has found no MPI library to load ({said}): pip install mpich, or load your site's own, such as "
            "by `module load openmpi`"
        ) from error
    return MPI


@contextmanager
def ended_after(timeout: float) -> Iterator[None]:
    """A call into a library that waits for other ranks, and cannot be given a limit: after `timeout` seconds this
    process ends. The library may hold Python's lock meanwhile, so the system has the clock."""
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
