"""The CUDA room: the kernels of the reference in CUDA C++, compiled by NVRTC for the GPU at hand.

Each .cu file is to be read beside its twin in the reference; the .py file of the same name picks the size of the grid.
Full docstrings stand in the reference. No atomics: every sum has one order, so two runs give the same bits.
"""

from .activation import relu_backward, relu_forward, sigmoid_backward, sigmoid_forward, tanh_backward, tanh_forward
from .adaptive_pool2d import adaptive_avg_pool2d_backward, adaptive_avg_pool2d_forward
from .batch_norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference_backward,
    batch_norm_inference_forward,
)
from .local_response_norm import local_response_norm_backward, local_response_norm_forward
from .pool2d import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    sum_pool2d_backward,
    sum_pool2d_forward,
)

__all__ = [
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "local_response_norm_backward",
    "local_response_norm_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "sum_pool2d_backward",
    "sum_pool2d_forward",
    "tanh_backward",
    "tanh_forward",
]
