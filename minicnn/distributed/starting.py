"""Starting MPI, and saying in a sentence why it does not start."""

from __future__ import annotations

from typing import Any

from .failures import Watcher, end_with_name, ended_after
from .launching import Place
from .mpi import MpiCommunicator

_started: MpiCommunicator | None = None


def start_mpi(here: Place, timeout: float) -> MpiCommunicator:
    """The ranks that the launcher has started; from then on a failure of this one ends them all.

    MPI starts and ends once in a process: where `init` has failed for one device, and another is asked for, they are
    the same ranks with the new timeout.

    Raises ImportError without mpi4py, RuntimeError if no MPI library loads or if it is not the launcher's.
    """
    global _started
    if _started is None:
        _started = _start(here, timeout)
    _started.timeout = timeout
    return _started


def _start(here: Place, timeout: float) -> MpiCommunicator:
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
