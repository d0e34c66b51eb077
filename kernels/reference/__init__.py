"""The reference room: every kernel in plain NumPy, written only to be read.

It is the lesson (the full docstrings stand here, with the formula of both directions) and the oracle (the fast rooms
must agree with it). The letters are the same everywhere: images x and y are (N, H, W, C) and (N, OH, OW, O), windows
KH x KW; dx is the gradient of the loss in x. Arguments have been checked by the caller.
"""

from .activation import (
    relu6_backward,
    relu6_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from .adaptive_pool2d import adaptive_avg_pool2d_backward, adaptive_avg_pool2d_forward
from .batch_norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference_backward,
    batch_norm_inference_forward,
    batch_norm_statistics,
)
from .conv2d import conv2d_backward_input, conv2d_backward_weight, conv2d_forward
from .dropout import dropout_backward, dropout_forward, philox4x32
from .im2col import col2im, im2col
from .linear import bias_backward, linear_backward_input, linear_backward_weight, linear_forward
from .local_response_norm import local_response_norm_backward, local_response_norm_forward
from .loss import (
    cross_entropy_backward,
    cross_entropy_forward,
    half_squared_error_backward,
    half_squared_error_forward,
    mean_squared_error_backward,
    mean_squared_error_forward,
)
from .pool2d import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    sum_pool2d_backward,
    sum_pool2d_forward,
)
from .softmax import log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward
from .update_adaptive import adadelta_update, adagrad_update, adam_update, rmsprop_update
from .update_momentum import lars_update, lion_update, sgd_update
from .warp import warp

__all__ = [
    "adadelta_update",
    "adagrad_update",
    "adam_update",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "batch_norm_statistics",
    "bias_backward",
    "col2im",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dropout_backward",
    "dropout_forward",
    "half_squared_error_backward",
    "half_squared_error_forward",
    "im2col",
    "lars_update",
    "linear_backward_input",
    "linear_backward_weight",
    "linear_forward",
    "lion_update",
    "local_response_norm_backward",
    "local_response_norm_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "mean_squared_error_backward",
    "mean_squared_error_forward",
    "philox4x32",
    "relu6_backward",
    "relu6_forward",
    "relu_backward",
    "relu_forward",
    "rmsprop_update",
    "sgd_update",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_backward",
    "softmax_forward",
    "sum_pool2d_backward",
    "sum_pool2d_forward",
    "tanh_backward",
    "tanh_forward",
    "warp",
]
