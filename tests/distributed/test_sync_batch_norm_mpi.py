"""Batch normalisation over all ranks where they are processes that mpiexec has started.

With a Trainer, and with more ranks than samples: test_distributed_training.py.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from ranks import needs_mpi, run
from test_sync_batch_norm import TOLERANCE, Given, on_one
from test_sync_batch_norm_layer import small_resnet, trained

from minicnn import nn
from minicnn.distributed.communicator import Alone

pytestmark = needs_mpi

# What each rank does with its part of the arrays below; its results go into the folder.
OPERATIONS = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_sync_batch_norm_layer import trained
from test_sync_batch_norm_mpi import batches, case, model, split, statistics
from minicnn import functional as F, nn
from minicnn.distributed.statistics import average_statistics

mc.set_threads(1)
communicator = distributed.init(timeout=60.0)

def batch_norm(x, gamma, beta, mean, var, residual):
    return F.sync_batch_norm(x, gamma, beta, mean, var, communicator, activation="relu", residual=residual)

parts, rank = split(communicator.size), communicator.rank
start, stop = np.cumsum((0, *parts))[rank:][:2]
network = nn.SyncBatchNorm.convert_sync_batchnorm(model(), communicator)
layer = statistics(rank)
average_statistics(layer, communicator)
np.savez(f"call{{rank}}.npz", *case().run(batch_norm, start, stop))
np.savez(f"network{{rank}}.npz", **trained(network, communicator, batches(), parts))
np.savez(f"statistics{{rank}}.npz", **layer.state_dict())
"""


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


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_of_mpi_are_one_rank(size, tmp_path):
    # First in this process, so that kernels are compiled once, and not on all ranks at a time.
    expected, one = on_one(case(), activation="relu"), trained(model(), Alone(20.0), batches(), (8,))
    job = run(size, OPERATIONS, tmp_path)
    assert job.status == 0, job.errors
    came = {what: [np.load(tmp_path / f"{what}{rank}.npz") for rank in range(size)]
            for what in ("call", "network", "statistics")}  # fmt: skip

    calls = [list(call.values()) for call in came["call"]]
    for i in range(3):  # y, dx, dresidual: of each sample
        assert_allclose(np.concatenate([call[i] for call in calls]), expected[i], **TOLERANCE["float32"])
    for i in (3, 4):  # dgamma, dbeta: each rank has a share
        assert_allclose(sum(call[i] for call in calls), expected[i], **TOLERANCE["float32"])
    for call in calls:  # the running statistics
        assert_array_equal(call[5:], calls[0][5:])
        assert_allclose(call[5:], expected[5:], **TOLERANCE["float32"])

    for state in came["network"]:
        for name, array in one.items():
            assert_allclose(state[name], array, rtol=1e-7, atol=1e-9, err_msg=name)
            assert_array_equal(state[name], came["network"][0][name], err_msg=name)

    means, mean = 2.0 ** np.arange(size), (2.0**size - 1) / size
    for state in came["statistics"]:
        assert_allclose(state["running_mean"], mean, rtol=1e-6)
        assert_allclose(state["running_var"], ((means - mean) ** 2 + np.arange(size) + 1).mean(), rtol=1e-6)
