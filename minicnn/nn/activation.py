"""The activations as layers; both directions stand at the functions of the same names in lower case."""

from .. import functional as F
from .._tensor import Tensor
from .module import Module


class ReLU(Module):
    """y = max(x, 0), x of any shape; see `F.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class ReLU6(Module):
    """y = min(max(x, 0), 6), x of any shape; see `F.relu6`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)


class Tanh(Module):
    """y = tanh(x), x of any shape; see `F.tanh`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """y = 1 / (1 + e**-x), x of any shape; see `F.sigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Softmax(Module):
    """y[k] = e**x[k] / sum of e**x[j], over the last axis of (..., K); see `F.softmax`. Train on the logits instead."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x)


class LogSoftmax(Module):
    """y[k] = x[k] - log(sum of e**x[j]), over the last axis of (..., K); see `F.log_softmax`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x)
