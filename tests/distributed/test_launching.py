"""How a process finds its ranks, and what it says where that fails."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ranks import IS_MPICH, needs_mpi, run

from minicnn.distributed import launching
from minicnn.distributed.launching import Place, init, place

INIT = "import minicnn as mc; mc.distributed.init(timeout=5)"
HYDRA = {"PMI_SIZE": "4", "PMI_RANK": "2", "MPI_LOCALRANKID": "0"}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "6", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
WAYS = ["sys.exit('train.py: no data')", pytest.param("time.sleep(60)", marks=pytest.mark.slow)]
SLURM = {**BATCH, "SLURM_STEP_NUM_TASKS": "6", "SLURM_PROCID": "4", "SLURM_LOCALID": "1"}


@pytest.fixture(autouse=True)
def _first_call(monkeypatch):
    monkeypatch.setattr(launching, "_started", None)
    for name in list(os.environ):
        if name.startswith(("PMI_", "OMPI_COMM_", "SLURM_", "MPI_")):
            monkeypatch.delenv(name)


def failure(code=INIT, **environment):
    """The last line that a process says as it fails."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (HYDRA, Place("mpiexec of MPICH", 4, 2, 0)),
        (OPEN_MPI, Place("mpiexec of Open MPI", 8, 5, 1)),
        (SLURM, Place("srun", 6, 4, 1)),
        ({**SLURM, **HYDRA}, Place("mpiexec of MPICH", 4, 2, 0)),  # mpiexec in a job of Slurm
        ({**SLURM, "PMI_SIZE": "6", "PMI_RANK": "4"}, Place("srun --mpi=pmi2", 6, 4, 1)),
        ({"PMI_SIZE": "6", "PMI_RANK": "4"}, Place("another launcher with PMI", 6, 4, 4)),
        ({**BATCH, "SLURM_NTASKS": "1"}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1"}, None),
    ],
)
def test_the_launcher_is_read_from_the_environment(environment, expected):
    assert place(environment) == expected


@pytest.mark.parametrize(
    ("environment", "tasks"),
    [
        (BATCH, 6),
        ({**BATCH, "SLURM_JOB_NUM_NODES": "2"}, 6),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "8"}, 8),  # one on each node
    ],
)
def test_sbatch_without_srun_is_named(environment, tasks):
    with pytest.raises(RuntimeError, match=f"{tasks} tasks, but srun did not start this process: write `srun python"):
        place(environment)


def test_without_a_launcher_there_is_one_rank_and_no_mpi():
    code = "import minicnn as mc, sys; r = mc.distributed.init(); print(r.rank, r.size, 'mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1", "False"]


@pytest.mark.parametrize("array", [np.ones(3, np.uint8), np.ones(3, ">f4"), [1.0]])
def test_one_rank_refuses_the_sums_that_several_would(array):
    with pytest.raises(ValueError, match="all_reduce expected float32, float64, int32 or int64, got "):
        init().all_reduce(array)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_a_timeout_that_is_no_positive_number_is_refused(timeout):
    with pytest.raises(ValueError, match="expected a timeout of more than 0 seconds"):
        init(timeout=timeout)


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match='expected "cpu" or "cuda"'):
        init("tpu")


def test_init_again_is_the_same_communicator_and_other_settings_are_refused():
    ranks = init(timeout=5)
    assert init(timeout=5) is ranks
    with pytest.raises(ValueError, match="timeout 5 as at its first call, got 'cpu' and 6"):
        init(timeout=6)


@needs_mpi
def test_init_after_one_that_failed_has_the_same_ranks_and_its_own_timeout(tmp_path):
    code = """
try:
    distributed.init("tpu", timeout=5)
except ValueError:
    ranks = distributed.init(timeout=2)
    told = ranks.gather([ranks.rank, ranks.timeout])
    if ranks.is_main:
        print(told)
"""
    job = run(2, code, tmp_path)
    assert (job.status, job.output, job.errors) == (0, "[[0, 2], [1, 2]]\n", "")


def test_without_mpi4py_it_says_what_to_install(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('not here')")
    said = failure(**HYDRA, PYTHONPATH=str(tmp_path))
    assert said == 'ImportError: to run as one of several ranks mpi4py is needed: pip install "minicnn[mpi]"'


@needs_mpi
def test_without_an_mpi_library_it_says_so():
    said = failure(**HYDRA, MPI4PY_LIBMPI="/nowhere/libmpi.so")
    assert said.startswith("RuntimeError: mpi4py has found no MPI library to load (cannot load MPI library): pip")


@needs_mpi
def test_a_launcher_of_another_mpi_is_named():
    said = failure(**OPEN_MPI)
    assert said.startswith("RuntimeError: mpiexec of Open MPI has started 8 processes, but MPI counts 1: mpi4py has")


@needs_mpi
@pytest.mark.parametrize("way", WAYS)
def test_a_rank_that_never_comes_to_init_ends_the_job(tmp_path, way):
    job = run(2, f"if distributed.launching.place(os.environ).rank == 1: {way}\ndistributed.init(timeout=3)", tmp_path)
    assert job.status != 0
    assert job.seconds < 10
    if IS_MPICH or "exit" not in way:  # that of Open MPI ends the job with the rank
        assert "rank 0 (process " in job.said
        assert "another rank did not come to mc.distributed.init within 3 s" in job.said


@needs_mpi
def test_a_rank_that_never_comes_ends_the_job_also_where_the_script_has_started_mpi(tmp_path):
    code = "from mpi4py import MPI\nif MPI.COMM_WORLD.rank == 1: time.sleep(40)\ndistributed.init(timeout=3)"
    job = run(2, code, tmp_path)
    assert job.status != 0
    assert job.seconds < 20
    if IS_MPICH:
        assert "another rank did not come to mc.distributed.init within 3 s" in job.said
