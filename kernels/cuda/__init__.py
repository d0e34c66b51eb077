"""The CUDA room: the kernels of the reference in CUDA C++, compiled by NVRTC for the GPU at hand.

Each .cu file is to be read beside its twin in the reference; the .py file of the same name picks the size of the grid.
Full docstrings stand in the reference. No atomics: every sum has one order, so two runs give the same bits.
"""

from .activation import relu_backward, relu_forward, sigmoid_backward, sigmoid_forward, tanh_backward, tanh_forward
from .conv2d import conv2d_backward_input, conv2d_backward_weight, conv2d_forward
from .im2col import col2im, im2col
from .linear import bias_backward, linear_backward_input, linear_backward_weight, linear_forward

__all__ = [
    "bias_backward",
    "col2im",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "im2col",
    "linear_backward_input",
    "linear_backward_weight",
    "linear_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "tanh_backward",
    "tanh_forward",
]
