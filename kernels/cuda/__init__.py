"""The CUDA room: the kernels of the reference in CUDA C++, compiled by NVRTC for the GPU at hand.

Each .cu file is to be read beside its twin in the reference; the .py file of the same name picks the size of the grid.
Full docstrings stand in the reference. No atomics: every sum has one order, so two runs give the same bits.
"""

from .activation import relu_backward, relu_forward, sigmoid_backward, sigmoid_forward, tanh_backward, tanh_forward
from .dropout import dropout_backward, dropout_forward, philox4x32
from .loss import (
    cross_entropy_backward,
    cross_entropy_forward,
    half_squared_error_backward,
    half_squared_error_forward,
    mean_squared_error_backward,
    mean_squared_error_forward,
)
from .softmax import log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward
from .update import adadelta_update, sgd_update

__all__ = [
    "adadelta_update",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dropout_backward",
    "dropout_forward",
    "half_squared_error_backward",
    "half_squared_error_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "mean_squared_error_backward",
    "mean_squared_error_forward",
    "philox4x32",
    "relu_backward",
    "relu_forward",
    "sgd_update",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_backward",
    "softmax_forward",
    "tanh_backward",
    "tanh_forward",
]
