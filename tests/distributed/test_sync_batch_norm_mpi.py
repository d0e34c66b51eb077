"""Batch normalisation over all ranks where they are processes that mpiexec has started."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_sync_batch_norm import TOLERANCE, Given, on_one
from test_sync_batch_norm_layer import small_resnet, trained

from minicnn import nn
from minicnn.distributed.communicator import Alone

WORKER = Path(__file__).with_name("sync_batch_norm_worker.py")
MPIEXEC = Path(sys.executable).with_name("mpiexec")


def split(ranks):
    """How many of 8 samples each rank has."""
    return {2: (3, 5), 3: (4, 1, 3), 4: (2, 3, 1, 2)}[ranks]


def case():
    return Given(8, (5, 4, 6), "float32", with_residual=True)


def model():
    return small_resnet().to(dtype="float64")


def batches():
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((8, 8, 8, 3)), rng.integers(0, 10, 8)) for _ in range(4)]


def statistics(rank):
    """A layer with running statistics that only this rank has."""
    layer = nn.BatchNorm2d(3)
    layer.running_mean[...], layer.running_var[...] = 2.0**rank, 1 + rank
    return layer


@pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or not MPIEXEC.exists(),
    reason='mpi4py or mpiexec is missing: pip install "minicnn[mpi]"',
)
@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_of_mpi_are_one_rank(ranks, tmp_path):
    command = [MPIEXEC, "-n", ranks, sys.executable, WORKER, tmp_path]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    came = {what: [np.load(tmp_path / f"{what}{rank}.npz") for rank in range(ranks)]
            for what in ("call", "network", "statistics")}  # fmt: skip

    expected, calls = on_one(case(), activation="relu"), [list(call.values()) for call in came["call"]]
    for i in range(3):  # y, dx, dresidual: of each sample
        assert_allclose(np.concatenate([call[i] for call in calls]), expected[i], **TOLERANCE["float32"])
    for i in (3, 4):  # dgamma, dbeta: each rank has a share
        assert_allclose(sum(call[i] for call in calls), expected[i], **TOLERANCE["float32"])
    for call in calls:  # the running statistics
        assert_array_equal(call[5:], calls[0][5:])
        assert_allclose(call[5:], expected[5:], **TOLERANCE["float32"])

    one = trained(model(), Alone(20.0), batches(), (8,))
    for state in came["network"]:
        for name, array in one.items():
            assert_allclose(state[name], array, rtol=1e-7, atol=1e-9, err_msg=name)
            assert_array_equal(state[name], came["network"][0][name], err_msg=name)

    means, mean = 2.0 ** np.arange(ranks), (2.0**ranks - 1) / ranks
    for state in came["statistics"]:
        assert_allclose(state["running_mean"], mean, rtol=1e-6)
        assert_allclose(state["running_var"], ((means - mean) ** 2 + np.arange(ranks) + 1).mean(), rtol=1e-6)
