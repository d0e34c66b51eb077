"""The running statistics of batch normalisation, where each rank has gathered its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device import array_module
from ..nn import BatchNorm2d, Module, SyncBatchNorm
from ..ops.sync_norm import merged_moments
from .communicator import Communicator

Array = Any


def own_statistics(model: Module) -> dict[str, BatchNorm2d]:
    """By name the layers whose running statistics are this rank's alone: every BatchNorm2d, also of a class derived
    from it, but no SyncBatchNorm."""
    layers = dict(model.named_modules())
    return {n: m for n, m in layers.items() if isinstance(m, BatchNorm2d) and not isinstance(m, SyncBatchNorm)}


def average_statistics(model: Module, communicator: Communicator) -> None:
    """Give every BatchNorm2d of a Module the running statistics of all ranks, in place, on every rank the same bits.

    In training each rank moves them towards the mean and variance of its own samples. Before they are used or saved,
    they are put together as if the ranks had seen equally many samples, which they have, but for a last batch:

        running_mean = the mean of the ranks' means m_r
        running_var = the mean over the ranks of  v_r + (m_r - running_mean)**2

    The variance of numbers that come in groups of equal size is the mean of the groups' variances plus the variance of
    their means. The second part is small where all ranks see the same kind of data. Where they do not, the mean of the
    variances alone would be too small. (v_r is unbiased, divided by n - 1; for groups of n values what comes out
    differs from the unbiased variance of all by less than 1 / n of itself.)

    num_batches_tracked becomes the largest of the ranks: a rank may have had no part in a small last batch. float32
    statistics on which all ranks agree stay what they are, and so does a SyncBatchNorm, which has those of all ranks at
    any time.

    model: the same on every rank, with its arrays on one device. All ranks have to make this call. Source of the sums:
    as of `merged_moments`.
    """
    layers = list(own_statistics(model).values())
    if not layers or communicator.size == 1:
        return
    # All layers in two messages, not in two for each.
    xp = array_module(layers[0].running_mean)
    mean, var = (xp.concatenate([getattr(m, name) for m in layers]) for name in ("running_mean", "running_var"))
    _, mean, var = merged_moments(communicator, 1, mean, var)
    steps = communicator.gather([int(layer.num_batches_tracked) for layer in layers])
    ends = np.cumsum([layer.num_features for layer in layers])
    for layer, end, *taken in zip(layers, ends, *steps, strict=True):
        channels = slice(int(end) - layer.num_features, int(end))
        layer.running_mean[...], layer.running_var[...] = mean[channels], var[channels]
        layer.num_batches_tracked[...] = max(taken)
