"""Every differentiable operation under one name: `from minicnn import functional as F`.

Each is defined, with its formulas and both directions, in `ops/`; here is the list.
"""

from .ops.activation import log_softmax, relu, relu6, sigmoid, softmax, tanh
from .ops.conv import conv2d
from .ops.dropout import dropout
from .ops.linear import linear
from .ops.loss import cross_entropy, half_squared_error, mean_squared_error
from .ops.movement import concatenate, pad, upsample
from .ops.norm import batch_norm, local_response_norm
from .ops.pool import adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d, sum_pool2d
from .ops.sync_norm import sync_batch_norm

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "concatenate",
    "conv2d",
    "cross_entropy",
    "dropout",
    "global_avg_pool2d",
    "half_squared_error",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "mean_squared_error",
    "pad",
    "relu",
    "relu6",
    "sigmoid",
    "softmax",
    "sum_pool2d",
    "sync_batch_norm",
    "tanh",
    "upsample",
]
