"""Batch normalisation over the samples of all ranks: what one rank would compute that had the whole batch.

Nothing but sums over the batch ties the samples to each other, and a sum over all ranks is the sum of theirs. So each
rank runs the kernels of one rank on its own part, and tells the others two numbers of a channel in each direction.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from ..device import array_module
from .checks import check_flag
from .norm import batch_norm_gradients, check_batch_norm

if TYPE_CHECKING:
    from ..distributed import Communicator

Array = Any


class SyncBatchNorm(Function):
    """Batch normalisation with the statistics of all ranks' samples; see `sync_batch_norm`.

    After the call `count`, `mean` and `var` hold them, in float64 (var biased), for the layer's running averages, and
    `own` how many values of a channel this rank has added.
    """

    def __init__(self, communicator: "Communicator", eps: float, activation: str | None, counted: bool) -> None:
        self.communicator, self.eps, self.activation, self.counted = communicator, eps, activation, counted

    def forward(self, x: Array, gamma: Array, beta: Array, *residual: Array) -> Array:
        self.own = x.size // x.shape[-1] if self.counted else 0
        none = array_module(x).zeros_like(gamma)
        moments = kernels.room(x).batch_norm_statistics(x) if self.own else (none, none)
        self.count, self.mean, self.var = merged_moments(self.communicator, self.own, *moments)
        channels = gamma, beta, self.mean.astype(gamma.dtype), self.var.astype(gamma.dtype)
        added = residual[0] if residual else None
        y = _constant_forward(x, *channels, self.eps, added, self.activation)
        self.save(x, *channels, y if residual else None)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        x, gamma, beta, mean, var, y = self.saved
        # As if mean and var were constants, which they are for values that had no part in them.
        given = x, gamma, beta, mean, var, self.eps
        dx, dgamma, dbeta, *dresidual = batch_norm_gradients(_constant_backward, dy, y, given, self.activation)
        xp = array_module(dy)
        sums = xp.stack([dgamma, dbeta]).astype(np.float64)
        self.communicator.all_reduce(sums)
        if self.own == 0:
            return dx, dgamma, dbeta, *dresidual
        terms = (-gamma / xp.sqrt(var + self.eps) * sums / self.count).astype(gamma.dtype)
        # dx + terms[0] * xn + terms[1]: the kernel that normalises, with other constants.
        dx = _constant_forward(x, terms[0], terms[1], mean, var, self.eps, dx, None)
        return dx, dgamma, dbeta, *dresidual


def sync_batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, running_mean: Array, running_var: Array, communicator: "Communicator",
    momentum: float = 0.1, eps: float = 1e-5, activation: str | None = None, residual: Tensor | None = None,
    counted: bool = True,
) -> Tensor:  # fmt: skip
    """`batch_norm` in training, over the samples of all ranks: y of each rank's part is that of the whole batch.

    x: this rank's part, (N, H, W, C) or (N, C); N may differ from rank to rank, and be 0. communicator: the ranks, each
    of which has to make this call and its backward pass. counted: False where this rank's samples only stand in for
    missing ones: they are normalised as those of the others, have no part in the statistics, and count in no sum but
    those of their own gradients, which a loss of weight 0 makes 0. The other arguments are those of `batch_norm`.

    Forward, with n values of a channel on this rank, their mean and variance (each rank has its own, written with r):
        M = sum of n_r,  mean = sum of n_r * mean_r / M,  var = sum of n_r * (var_r + (mean_r - mean)**2) / M
        y = activation(gamma * xn + beta + residual),  xn = (x - mean) / sqrt(var + eps)
    Backward:
        dgamma = sum of dy * xn,  dbeta = sum of dy,                      over this rank's part
        dx = gamma / sqrt(var + eps) * (dy - sum of dbeta_r / M - xn * sum of dgamma_r / M)

    All sums over r go over the ranks. dgamma and dbeta remain this rank's share, as all gradients of Parameters do: the
    gradients of the ranks are added up later, all at once. dx is whole: a sample moves the mean of all ranks, so the
    loss of every rank has a part in it.

    Raises what `batch_norm` does: a single value of a channel on all ranks together has no variance.
    Source: Ioffe and Szegedy 2015, section 3. The sums of parts: Chan, Golub and LeVeque, "Updating Formulae and a
    Pairwise Algorithm for Computing Sample Variances", 1979.
    """
    statistics = running_mean, running_var
    check_flag(counted, "SyncBatchNorm", "counted")
    momentum, eps = check_batch_norm(
        "SyncBatchNorm", x, gamma, beta, statistics, momentum, eps, activation, residual, least=0
    )
    operation = SyncBatchNorm(communicator, eps, activation, counted)
    y = operation(x, gamma, beta, *(() if residual is None else (residual,)))
    M = operation.count
    # Asked only where it may be so, for on a GPU the answer has to be waited for.
    if operation.own <= 1 and M <= 1:
        raise ValueError(
            f"SyncBatchNorm expected more than one value for each channel on all ranks together, got {int(M)}, shape "
            f"{x.shape} on this rank: use a larger batch or .eval()"
        )
    running_mean += momentum * (operation.mean - running_mean)
    running_var += momentum * (operation.var * (M / (M - 1)) - running_var)
    return y


def merged_moments(communicator: "Communicator", count: int, mean: Array, var: Array) -> tuple[Any, Array, Array]:
    """The number, mean and (biased) variance of the values of all ranks, from each rank's own.

    count: how many values the rank has, 0 or more; mean, var: theirs, arrays of any one shape. Results in float64, with
    the same bits on all ranks; of no values at all zeros.

        M = sum of n_r,  mean = sum of n_r * mean_r / M,  var = sum of n_r * (var_r + (mean_r - mean)**2) / M

    The mean comes first, and then the squares of the distances from it: the sum of squares around 0, which one message
    could bring, would lose a small variance beside a large mean.
    """
    xp = array_module(mean)
    sums = xp.append(count * mean.ravel().astype(np.float64), float(count))
    communicator.all_reduce(sums)
    M = sums[-1]
    merged = sums[:-1].reshape(mean.shape) / xp.maximum(M, 1)
    squares = count * (var + (mean - merged) ** 2)
    communicator.all_reduce(squares)
    return M, merged, squares / xp.maximum(M, 1)


def _constant_forward(x: Array, *arguments: Any) -> Array:
    """Normalise with statistics that are given; no kernel is called for no samples."""
    return x.copy() if x.size == 0 else kernels.room(x).batch_norm_inference_forward(x, *arguments)


def _constant_backward(dy: Array, x: Array, gamma: Array, *arguments: Any) -> tuple[Array, Array, Array]:
    """The gradients of `_constant_forward`."""
    if x.size == 0:
        none = array_module(x).zeros_like(gamma)
        return dy.copy(), none, none.copy()
    return kernels.room(dy).batch_norm_inference_backward(dy, x, gamma, *arguments)
