"""Normalisation: over the batch, and over neighbouring channels."""

from collections.abc import Callable
from typing import Any

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from ..device import is_array
from .activation import activation_backward
from .checks import (
    channel_dtype,
    check_activation,
    check_channels,
    check_dtypes,
    check_flag,
    check_float,
    check_images,
    is_whole,
    real,
)

Array = Any


class BatchNorm(Function):
    """Batch normalisation with the batch's own statistics; see `batch_norm`.

    After the call `mean` and `var` hold them (var biased), for the layer's running averages.
    """

    def __init__(self, eps: float, activation: str | None) -> None:
        self.eps, self.activation = eps, activation

    def forward(self, x: Array, gamma: Array, beta: Array, *residual: Array) -> Array:
        added = residual[0] if residual else None
        room = kernels.room(x, gamma, beta, *residual)
        y, self.mean, self.var = room.batch_norm_forward(x, gamma, beta, self.eps, added, self.activation)
        self.save(x, gamma, beta, y if residual else None)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        x, gamma, beta, y = self.saved
        kernel = kernels.room(dy).batch_norm_backward
        return batch_norm_gradients(kernel, dy, y, (x, gamma, beta, self.mean, self.var, self.eps), self.activation)


class BatchNormInference(Function):
    """Batch normalisation with fixed statistics; see `batch_norm`."""

    def __init__(self, eps: float, activation: str | None) -> None:
        self.eps, self.activation = eps, activation

    def forward(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *residual: Array) -> Array:
        added = residual[0] if residual else None
        forward = kernels.room(x, gamma, beta, mean, var, *residual).batch_norm_inference_forward
        y = forward(x, gamma, beta, mean, var, self.eps, added, self.activation)
        # Copied, since a later training step moves the running statistics in place before backward reads them.
        self.save(x, gamma, beta, mean.copy(), var.copy(), y if residual else None)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        x, gamma, beta, mean, var, y = self.saved
        kernel = kernels.room(dy).batch_norm_inference_backward
        arguments = (x, gamma, beta, mean, var, self.eps)
        dx, dgamma, dbeta, *dresidual = batch_norm_gradients(kernel, dy, y, arguments, self.activation)
        return dx, dgamma, dbeta, None, None, *dresidual


def batch_norm_gradients(
    kernel: Callable[..., tuple[Array, ...]], dy: Array, y: Array | None, arguments: tuple[Any, ...],
    activation: str | None,
) -> tuple[Array, ...]:  # fmt: skip
    """The gradients in x, gamma, beta and, where there was a residual (y is not None), in that."""
    if y is None:
        return kernel(dy, *arguments, activation)
    # Behind the activation every part of a sum has the same gradient.
    dy = activation_backward(dy, y, activation)
    return *kernel(dy, *arguments, None), dy


def batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, running_mean: Array, running_var: Array,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    activation: str | None = None, residual: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Normalise each channel to mean 0 and variance 1, then scale and shift it.

    Forward: y = activation(gamma * (x - mean) / sqrt(var + eps) + beta + residual)

    x: (N, H, W, C) or (N, C). gamma, beta: Tensors (C,). running_mean, running_var: arrays (C,), read when not
    training; when training, the statistics are the batch's and the running ones are moved towards them in place:
    running = (1 - momentum) * running + momentum * batch. The batch's variance is biased (divided by the count M),
    the running one unbiased (divided by M - 1), as in the paper's algorithm 2.
    activation: None or "relu". residual: a Tensor as x, or None. As a residual block ends, in one pass over memory.

    Backward, first: dy = 0 where y <= 0, with "relu"; dresidual = dy.
    Backward, training, with xn = (x - mean) / sqrt(var + eps):
        dgamma = sum of dy * xn,  dbeta = sum of dy,  dx = gamma / sqrt(var + eps) * (dy - dbeta / M - xn * dgamma / M)
    Backward, not training: the statistics are constants, dx = dy * gamma / sqrt(var + eps).

    Raises ValueError for shapes that do not fit, and in training for a single value per channel, which has no variance.
    Source: Ioffe and Szegedy 2015, section 3.
    """
    statistics = running_mean, running_var
    momentum, eps = check_batch_norm("BatchNorm2d", x, gamma, beta, statistics, momentum, eps, activation, residual)
    check_flag(training, "BatchNorm2d", "training")
    added = () if residual is None else (residual,)
    if not training:
        return BatchNormInference(eps, activation)(x, gamma, beta, *map(Tensor, statistics), *added)
    M = x.size // x.shape[-1]
    if M == 1:
        raise ValueError(
            f"BatchNorm2d in training expected more than one value for each channel, got shape {x.shape}: "
            "use a larger batch or .eval()"
        )
    operation = BatchNorm(eps, activation)
    y = operation(x, gamma, beta, *added)
    running_mean += momentum * (operation.mean - running_mean)
    running_var += momentum * (operation.var * (M / (M - 1)) - running_var)
    return y


def check_batch_norm(
    what: str, x: Tensor, gamma: Tensor, beta: Tensor, statistics: tuple[Array, Array], momentum: float, eps: float,
    activation: str | None, residual: Tensor | None, least: int = 1,
) -> tuple[float, float]:  # fmt: skip
    """momentum and eps, if these are arguments of `batch_norm` for a layer named `what`.

    least: how many samples x has at least, 1 or 0. Raises TypeError and ValueError as `batch_norm` does.
    """
    check_dtypes(what, x, residual=residual)
    check_channels(what, x, gamma=gamma, beta=beta)
    check_activation(activation, what, ("relu",))
    momentum, eps = real(momentum, what, "momentum"), real(eps, what, "eps")
    if eps < 0:
        raise ValueError(f"{what} expected eps >= 0, got {eps}")
    if gamma.ndim != 1:
        raise ValueError(f"{what} expected gamma of shape (C,), got {gamma.shape}")
    C = gamma.shape[0]
    if x.ndim == 4:
        check_images(x, what, channels=C, least=least)
    elif x.ndim != 2 or x.shape[-1] != C or C == 0 or len(x) < least:
        raise ValueError(f"{what} expected (N, H, W, {C}) or (N, {C}), got shape {x.shape}")
    for name, array in zip(("beta", "running_mean", "running_var"), (beta.data, *statistics), strict=True):
        if not is_array(array):
            raise TypeError(f"{what} expected {name} as an array, got {type(array).__name__}")
        if array.shape != (C,) or array.dtype != channel_dtype(x):
            raise ValueError(
                f"{what} expected {name} as {channel_dtype(x)} of shape ({C},), got {array.dtype} {array.shape}"
            )
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"{what} expected a residual of the input's shape {x.shape}, got {residual.shape}")
    return momentum, eps


class LocalResponseNorm(Function):
    """See `local_response_norm`."""

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        self.constants = (size, alpha, beta, k)

    def forward(self, x: Array) -> Array:
        self.save(x)
        return kernels.room(x).local_response_norm_forward(x, *self.constants)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (x,) = self.saved
        return (kernels.room(dy).local_response_norm_backward(dy, x, *self.constants),)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide each cell by a power of the energy of its neighbours along the channels; x of shape (..., C).

    Forward:   s[c] = k + alpha / size * sum over the window of x[c']**2,  y = x / s**beta,
               the window being the channels c - size // 2 to c + (size - 1) // 2 that exist
    Backward:  dx[c] = dy[c] / s[c]**beta - 2 * alpha * beta / size * x[c] * the sum of dy * y / s over the windows
               that hold c

    alpha is divided by size, as in PyTorch. AlexNet's paper does not divide: its alpha 1e-4, n 5, k 2 is
    alpha=5e-4, size=5, k=2 here. Source: Krizhevsky et al. 2012, section 3.3.
    """
    check_float(x, "LocalResponseNorm")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"LocalResponseNorm expected (..., C) with at least two axes, got shape {x.shape}")
    if not is_whole(size) or not 1 <= size < 2**31:
        raise ValueError(f"LocalResponseNorm expected a whole size >= 1 (and below 2**31), got {size!r}")
    constants = [real(v, "LocalResponseNorm", n) for v, n in ((alpha, "alpha"), (beta, "beta"), (k, "k"))]
    return LocalResponseNorm(int(size), *constants)(x)
