"""The work of a kernel: how many floating-point operations its definition has, and how many bytes it must move.

Operations are counted in the formulas of the reference room's docstrings, whatever an algorithm saves of them:

- an addition, a subtraction, a multiplication, a division, a comparison, and a value of exp, log, sqrt, tanh or of a
  power, are one each; a sign is none;
- a sum of n terms has n additions, since it starts from 0 or from the bias; so a multiply-add is two operations;
- windows count in full, also where they lie in the padding;
- what the formula names and uses twice is computed once.

Arithmetic on integers is none of it: Philox has no floating-point operation, nor has im2col, which only copies.

Bytes: every array that is given is read once, and every result written once. No kernel that begins and ends in memory
moves less, but for arrays of which it does not need every number (a 1x1 convolution with stride 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Array = Any


@dataclass(frozen=True)
class Work:
    """operations: in floating point, of the definition. moved: the bytes that must be read or written."""

    operations: int
    moved: int

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.operations / self.moved


def work(kernel: str, arguments: tuple[Any, ...], results: tuple[Array, ...]) -> Work:
    """Of `kernel(*arguments)`, whose results (or, of an optimizer's step, whose written arrays) are these."""
    return Work(int(OPERATIONS[kernel](*arguments, y=results[0])), bytes_of(arguments) + bytes_of(results))


def bytes_of(value: Any) -> int:
    """Of an array, or of all arrays in it."""
    return sum(map(bytes_of, value)) if isinstance(value, tuple | list) else getattr(value, "nbytes", 0)


def _each(number: int) -> Callable[..., int]:
    """So many operations for each number of the first argument."""
    return lambda a, *_, y: number * a.size


def _channels(number: int, per_channel: int, x: int) -> Callable[..., int]:
    """So many for each number of the images, and so many for each channel; x: which argument has the channels last."""
    return lambda *given, y: number * given[x].size + per_channel * given[x].shape[-1]


def _rows(number: int, per_row: int) -> Callable[..., int]:
    """So many for each number of the rows, and so many for each row."""
    return lambda a, *_, y: number * a.size + per_row * (a.size // a.shape[-1])


def _window(number: int) -> Callable[..., int]:
    """One for each cell of each window, and so many for each window; the windows' results are the first argument."""
    return lambda dy, *given, y: dy.size * (math.prod(_pair(given)) + number)


def _pair(given: tuple[Any, ...]) -> tuple[int, int]:
    """The window's size: the first pair behind the arrays and the image's shape."""
    return next(value for value in given if isinstance(value, tuple) and len(value) == 2)


def _adaptive(image: tuple[int, ...], windows: tuple[int, ...]) -> int:
    """An addition for each cell of each window, and a division for each window; both shapes (N, H, W, C)."""
    from minicnn.kernels.geometry import adaptive_window

    cells = [
        sum(end - start for start, end in (adaptive_window(i, size, out) for i in range(out)))
        for size, out in zip(image[1:3], windows[1:3], strict=True)
    ]
    return image[0] * image[3] * (math.prod(cells) + math.prod(windows[1:3]))


def _parameters(number: int, per_parameter: int = 0) -> Callable[..., int]:
    """So many for each number of the weights, and so many for each of them."""
    return lambda ws, *_, y: sum(number * w.size + per_parameter for w in ws)


def _warp(x: Array, matrices: Array, displacement: Array | None, *_: Any, y: Array) -> int:
    # Of a place: two rows of the matrix 8, what is behind the floor 2, one minus these 2, weights 4; displaced 2 more.
    # Of each channel: four products, and their sum.
    return (16 if displacement is None else 18) * (y.size // y.shape[3]) + 8 * y.size


def _sgd(
    ws: list[Array], dws: Any, velocities: Any, lr: float, momentum: float, nesterov: bool, _: Any, *, y: Any
) -> int:
    # weight decay 2, velocity 2, step 2; Nesterov looks ahead by one more multiply-add.
    return (8 if nesterov else 6) * sum(w.size for w in ws)


def _lars(ws: list[Array], *settings: Any, y: Any) -> int:
    # weight decay 2, velocity 3, step 1; two norms 4, of a Parameter two roots, trust 4, its product with lr.
    return _parameters(6)(ws, y=y) if settings[-1] is None else _parameters(10, 7)(ws, y=y)


def _rmsprop(ws: list[Array], dws: Any, squares: Any, averages: Any, velocities: Any, *_: Any, y: Any) -> int:
    # weight decay 2, mean square 4, delta 3, step 2; with momentum the velocity 2; centred a mean 3, variance 3.
    return _parameters(11 + 2 * (velocities is not None) + 6 * (averages is not None))(ws, y=y)


OPERATIONS: dict[str, Callable[..., int]] = {
    "conv2d_forward": lambda x, w, *_, y: 2 * y.size * (w.size // w.shape[3]),
    "conv2d_backward_input": lambda dy, w, *_, y: 2 * dy.size * (w.size // w.shape[3]),
    "conv2d_backward_weight": lambda dy, x, w_shape, *_, y: 2 * dy.size * math.prod(w_shape[:3]),
    "im2col": lambda *_, y: 0,
    "col2im": _each(1),
    "linear_forward": lambda x, w, *_, y: 2 * len(x) * w.size,
    "linear_backward_input": lambda dy, w, *_, y: 2 * len(dy) * w.size,
    "linear_backward_weight": lambda dy, x, *_, y: 2 * len(x) * y.size,
    "bias_backward": _each(1),
    "max_pool2d_forward": lambda x, *given, y: _window(0)(y, *given, y=y),
    "max_pool2d_backward": _each(1),
    "sum_pool2d_forward": lambda x, *given, y: _window(0)(y, *given, y=y),
    "sum_pool2d_backward": _window(0),
    "avg_pool2d_forward": lambda x, *given, y: _window(1)(y, *given, y=y),
    "avg_pool2d_backward": _window(1),
    "adaptive_avg_pool2d_forward": lambda x, size, *, y: _adaptive(x.shape, y.shape),
    "adaptive_avg_pool2d_backward": lambda dy, x_shape, *, y: _adaptive(x_shape, dy.shape),
    # mean 1, variance 3, x_hat 2, scale and shift 2; of a channel: two divisions by m, + eps, sqrt.
    "batch_norm_forward": _channels(8, 4, x=0),
    # mean 1, variance 3; of a channel: two divisions by m.
    "batch_norm_statistics": _channels(4, 2, x=0),
    # x_hat 2, dbeta 1, dgamma 2, dx 4; of a channel: + eps, sqrt, gamma / sqrt, two divisions by m.
    "batch_norm_backward": _channels(9, 5, x=1),
    "batch_norm_inference_forward": _channels(4, 2, x=0),
    "batch_norm_inference_backward": _channels(6, 3, x=1),
    # squares 1, their sums `size`, s 2, power and product 2.
    "local_response_norm_forward": lambda x, size, *_, y: (size + 5) * x.size,
    # s as above; dy x s^(-beta - 1) 3, its sums `size`, dy s^-beta 2, product 2, difference 1.
    "local_response_norm_backward": lambda dy, x, size, *_, y: (2 * size + 11) * x.size,
    "relu_forward": _each(1),
    "relu_backward": _each(1),
    "relu6_forward": _each(2),
    "relu6_backward": _each(2),
    "tanh_forward": _each(1),
    "tanh_backward": _each(3),
    "sigmoid_forward": _each(3),
    "sigmoid_backward": _each(3),
    # maximum, difference, exp, sum, quotient; of the logarithm: difference from the row's one logarithm.
    "softmax_forward": _rows(5, 0),
    "softmax_backward": _rows(4, 0),
    "log_softmax_forward": _rows(5, 1),
    "log_softmax_backward": _rows(4, 0),
    # softmax 5; of a row a logarithm, a difference, the sum over the rows; one division by N.
    "cross_entropy_forward": lambda logits, *_, y: _rows(5, 3)(logits, y=y) + 1,
    "cross_entropy_backward": lambda dloss, p, *_, y: 2 * p.size + 1,
    "mean_squared_error_forward": lambda a, *_, y: 3 * a.size + 1,
    "mean_squared_error_backward": lambda dloss, a, *_, y: 2 * a.size + 2,
    "half_squared_error_forward": lambda a, *_, y: 3 * a.size + 2,
    "half_squared_error_backward": lambda dloss, a, *_, y: 2 * a.size + 1,
    # comparison with p, product with the mask, quotient.
    "dropout_forward": _each(3),
    "dropout_backward": _each(3),
    "philox4x32": lambda *_, y: 0,
    "sgd_update": _sgd,
    # two means 3 each, weight decay 2, step 2; the sign is none.
    "lion_update": _parameters(10),
    "lars_update": _lars,
    # weight decay 2, sum of squares 2, step 5.
    "adagrad_update": _parameters(9),
    "rmsprop_update": _rmsprop,
    # weight decay 2, mean square 4, delta 6, mean of its square 4, step 2.
    "adadelta_update": _parameters(18),
    # weight decay 2, mean 3, mean square 4, delta 5, step 2; of a Parameter the count, two powers and two differences.
    "adam_update": _parameters(16, 5),
    "warp": _warp,
}
