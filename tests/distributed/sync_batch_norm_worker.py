"""A rank that test_sync_batch_norm_mpi.py starts: its results go into the folder named on the command line."""

import sys

import numpy as np
from test_sync_batch_norm_layer import trained
from test_sync_batch_norm_mpi import batches, case, model, split, statistics

import minicnn as mc
from minicnn import functional as F
from minicnn import nn
from minicnn.distributed.statistics import average_statistics

mc.set_threads(1)
communicator = mc.distributed.init(timeout=60.0)


def batch_norm(x, gamma, beta, mean, var, residual):
    return F.sync_batch_norm(x, gamma, beta, mean, var, communicator, activation="relu", residual=residual)


parts = split(communicator.size)
start, stop = np.cumsum((0, *parts))[communicator.rank :][:2]
network = nn.SyncBatchNorm.convert_sync_batchnorm(model(), communicator)
layer = statistics(communicator.rank)
average_statistics(layer, communicator)
folder, rank = sys.argv[1], communicator.rank
np.savez(f"{folder}/call{rank}.npz", *case().run(batch_norm, start, stop))
np.savez(f"{folder}/network{rank}.npz", **trained(network, communicator, batches(), parts))
np.savez(f"{folder}/statistics{rank}.npz", **layer.state_dict())
