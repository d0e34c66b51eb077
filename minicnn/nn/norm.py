"""The normalisation layers: over the batch, and over neighbouring channels."""

from typing import Any

import numpy as np

from .. import functional as F
from .._tensor import Tensor
from ..ops.checks import check_activation
from . import checks, init
from .module import Module
from .parameter import Parameter

Array = Any


class BatchNorm2d(Module):
    """Normalise each channel, then scale and shift it: (N, H, W, C) or (N, C) to the same shape; see `F.batch_norm`.

    In training the mean and variance are the batch's, and the running ones follow them; in evaluation they are the
    running ones, so that a sample's result does not depend on its neighbours in the batch.

    num_features: C. eps: added to the variance, > 0.
    momentum: how far the running statistics move, in [0, 1]: running += momentum * (batch - running). This is torch's
        meaning; in some libraries it is 1 minus this. None: they are the plain mean over all steps.

    activation: None or "relu".

    Called with a second Tensor as large as x, the layer adds it before the activation, as a residual block ends:
    y = relu(bn(x) + residual).

    weight (gamma), at first ones; bias (beta), at first zeros; buffers running_mean, running_var (unbiased) and
    num_batches_tracked, the number of training steps. All (C,) but the last, which has no axes.

    Raises TypeError and ValueError for a wrong argument. Source: Ioffe and Szegedy 2015, section 3.
    """

    running_mean: Array
    running_var: Array
    num_batches_tracked: Array

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, activation: str | None = None
    ) -> None:
        super().__init__()
        self.num_features = checks.positive(num_features, "BatchNorm2d", "num_features")
        self.eps = checks.real(eps, "BatchNorm2d", "eps")
        self.momentum = None if momentum is None else checks.real(momentum, "BatchNorm2d", "momentum")
        if self.eps <= 0:
            raise ValueError(f"BatchNorm2d expected eps > 0, got {eps!r}")
        if self.momentum is not None and not 0 <= self.momentum <= 1:
            raise ValueError(f"BatchNorm2d expected momentum in [0, 1] or None, got {momentum!r}")
        check_activation(activation, "BatchNorm2d", ("relu",))
        self.activation = activation
        self.weight = Parameter.drawn(init.ones, (self.num_features,))
        self.bias = Parameter.drawn(init.zeros, (self.num_features,))
        self.register_buffer("running_mean", np.zeros(self.num_features, np.float32))
        self.register_buffer("running_var", np.ones(self.num_features, np.float32))
        self.register_buffer("num_batches_tracked", np.array(0, np.int64))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.forward_with(self.activation, x, residual)

    def forward_with(self, activation: str | None, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`forward` with that activation; see `Sequential`."""
        momentum = 1 / (int(self.num_batches_tracked) + 1) if self.momentum is None else self.momentum
        y = self._normalised(x, momentum, activation, residual)
        if self.training:
            self.num_batches_tracked[...] += 1
        return y

    def _normalised(self, x: Tensor, momentum: float, activation: str | None, residual: Tensor | None) -> Tensor:
        settings = (self.running_mean, self.running_var, self.training, momentum, self.eps)
        return F.batch_norm(x, self.weight, self.bias, *settings, activation, residual)

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        return text + (f", activation={self.activation!r}" if self.activation else "")


class LocalResponseNorm(Module):
    """Divide each cell by a power of the energy of its neighbours along the channels; see `F.local_response_norm`.

    y = x / (k + alpha / size * sum of x**2 over `size` channels)**beta, x of shape (..., C).
    As in PyTorch alpha is divided by size; in AlexNet's paper it is not: that is (5, alpha=5e-4, beta=0.75, k=2).

    Raises TypeError and ValueError for a wrong argument. Source: Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = checks.positive(size, "LocalResponseNorm", "size")
        self.alpha = checks.real(alpha, "LocalResponseNorm", "alpha")
        self.beta = checks.real(beta, "LocalResponseNorm", "beta")
        self.k = checks.real(k, "LocalResponseNorm", "k")

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
