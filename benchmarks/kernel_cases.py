"""Which kernels `bench_kernels.py` times, and on which shapes: from one element to VGG's largest image.

A Case names a kernel of the contract and draws its arguments; `kernel_torch.py` says what PyTorch calls the same
operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.kernels import reference
from minicnn.kernels.geometry import output_sizes

Array = Any
Pair = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One row: `kernel(*arguments(rng))`; `updates` are the positions of the lists of arrays that it writes into."""

    kernel: str
    shape: str
    arguments: Callable[..., tuple[Any, ...]]
    updates: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Kernel and shape: what --kernel looks in."""
        return f"{self.kernel} {self.shape}"


def cases() -> list[Case]:
    """Every row, kernel by kernel."""
    made = [
        *_convolutions(), *_columns(), *_linears(), *_pools(), *_adaptive_pools(), *_batch_norms(),
        *_local_response_norms(), *_activations(), *_softmaxes(), *_losses(), *_dropouts(), *_updates(),
    ]  # fmt: skip
    order = list(dict.fromkeys(case.kernel for case in made))
    return sorted(made, key=lambda case: order.index(case.kernel))


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Standard normal float32 numbers."""
    return rng.standard_normal(shape, np.float32)


def _label(shape: Shape) -> str:
    return "x".join(map(str, shape))


# Convolution


@dataclass(frozen=True)
class Convolution:
    """N images H x W x C, O filters K x K; stride, padding and dilation alike on both axes."""

    what: str
    N: int
    H: int
    C: int
    O: int
    K: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1

    @property
    def label(self) -> str:
        extras = ((" s", self.stride, 1), (" g", self.groups, 1), (" d", self.dilation, 1))
        tail = "".join(f"{letter}{value}" for letter, value, plain in extras if value != plain)
        return f"{_label((self.N, self.H, self.H, self.C))}->{self.O} {self.K}x{self.K}{tail}"

    @property
    def geometry(self) -> tuple[Pair, tuple[Pair, Pair], Pair, int, str]:
        p = (self.padding, self.padding)
        return (self.stride, self.stride), (p, p), (self.dilation, self.dilation), self.groups, "auto"

    @property
    def x_shape(self) -> Shape:
        return self.N, self.H, self.H, self.C

    @property
    def w_shape(self) -> Shape:
        return self.K, self.K, self.C // self.groups, self.O

    @property
    def y_shape(self) -> Shape:
        stride, padding, dilation, *_ = self.geometry
        return self.N, *output_sizes(self.x_shape, (self.K, self.K), stride, padding, dilation), self.O


CONVOLUTIONS = [
    Convolution("one number", 1, 1, 1, 1, 1),
    Convolution("LeNet-5, first", 1, 28, 1, 6, 5, padding=2),
    Convolution("LeNet-5, second", 1, 14, 6, 16, 5),
    Convolution("LeNet-5, first", 128, 28, 1, 6, 5, padding=2),
    Convolution("LeNet-5, second", 128, 14, 6, 16, 5),
    Convolution("digit network, first", 128, 28, 1, 32, 3),
    Convolution("digit network, second", 128, 26, 32, 64, 3),
    Convolution("CIFAR ResNet, first stage", 128, 32, 16, 16, 3, padding=1),
    Convolution("CIFAR ResNet, second stage", 128, 32, 16, 32, 3, stride=2, padding=1),
    Convolution("AlexNet, first", 1, 227, 3, 96, 11, stride=4),
    Convolution("AlexNet, second", 1, 27, 96, 256, 5, padding=2, groups=2),
    Convolution("ResNet, first", 1, 224, 3, 64, 7, stride=2, padding=3),
    Convolution("ResNet-50, narrowing", 1, 56, 256, 64, 1),
    Convolution("ResNet-50, widening", 1, 56, 64, 256, 1),
    Convolution("ResNet-50, short cut", 1, 56, 256, 512, 1, stride=2),
    Convolution("ResNet-50, narrowing", 1, 14, 1024, 256, 1),
    Convolution("ResNet, first stage", 1, 56, 64, 64, 3, padding=1),
    Convolution("ResNet, second stage", 1, 56, 128, 128, 3, stride=2, padding=1),
    Convolution("ResNet, last stage", 1, 7, 512, 512, 3, padding=1),
    Convolution("MobileNet v2, depthwise", 1, 56, 144, 144, 3, padding=1, groups=144),
    Convolution("dilated", 1, 28, 128, 128, 3, padding=2, dilation=2),
    Convolution("VGG-16", 1, 224, 3, 64, 3, padding=1),
    Convolution("VGG-16", 1, 224, 64, 64, 3, padding=1),
    Convolution("VGG-16", 1, 112, 64, 128, 3, padding=1),
    Convolution("VGG-16", 1, 112, 128, 128, 3, padding=1),
    Convolution("VGG-16", 1, 56, 128, 256, 3, padding=1),
    Convolution("VGG-16", 1, 56, 256, 256, 3, padding=1),
    Convolution("VGG-16", 1, 28, 256, 512, 3, padding=1),
    Convolution("VGG-16", 1, 28, 512, 512, 3, padding=1),
    Convolution("VGG-16", 1, 14, 512, 512, 3, padding=1),
]


def _convolutions() -> Iterator[Case]:
    for c in CONVOLUTIONS:
        yield Case("conv2d_forward", c.label, lambda rng, c=c: (
            normal(rng, *c.x_shape), normal(rng, *c.w_shape), normal(rng, c.O), *c.geometry, None))  # fmt: skip
        yield Case("conv2d_backward_input", c.label, lambda rng, c=c: (
            normal(rng, *c.y_shape), normal(rng, *c.w_shape), c.x_shape, *c.geometry))  # fmt: skip
        yield Case("conv2d_backward_weight", c.label, lambda rng, c=c: (
            normal(rng, *c.y_shape), normal(rng, *c.x_shape), c.w_shape, *c.geometry))  # fmt: skip


COLUMNS = [CONVOLUTIONS[i] for i in (0, 4, 6, 11)] + [Convolution("VGG-16", 1, 56, 256, 256, 3, padding=1)]


def _columns() -> Iterator[Case]:
    for c in COLUMNS:
        label = c.label.replace(f"->{c.O}", "")
        places = c.y_shape[0] * c.y_shape[1] * c.y_shape[2]
        where = ((c.K, c.K), *c.geometry[:3])
        yield Case("im2col", label, lambda rng, c=c, where=where: (normal(rng, *c.x_shape), *where))
        yield Case("col2im", label, lambda rng, c=c, where=where, places=places: (
            normal(rng, places, c.K * c.K * c.C), c.x_shape, *where))  # fmt: skip


# The fully connected layer: (N, in, out). LeNet-5's three, the digit network's, VGG-16's two.

LINEARS = [(1, 1, 1)]
LINEARS += [(N, *sizes) for N in (1, 128) for sizes in ((400, 120), (120, 84), (84, 10))]
LINEARS += [(128, 9216, 128), (4, 25088, 4096), (4, 4096, 1000)]
BIASES = [(1, 1), (128, 10), (128, 120), (4, 4096), (128, 28, 28, 6), (1, 224, 224, 64)]


def _linears() -> Iterator[Case]:
    for N, I, O in LINEARS:
        label = f"{N}x{I}->{O}"
        yield Case("linear_forward", label, lambda rng, N=N, I=I, O=O: (
            normal(rng, N, I), normal(rng, I, O), normal(rng, O), None))  # fmt: skip
        yield Case("linear_backward_input", label, lambda rng, N=N, I=I, O=O: (normal(rng, N, O), normal(rng, I, O)))
        yield Case("linear_backward_weight", label, lambda rng, N=N, I=I, O=O: (normal(rng, N, O), normal(rng, N, I)))
    for shape in BIASES:
        yield Case("bias_backward", _label(shape), lambda rng, shape=shape: (normal(rng, *shape),))


# Pooling: shape of x, window, stride, padding. One number; LeNet-5; the digit network; GoogLeNet; ResNet; VGG-16.

POOLS = [
    ((1, 1, 1, 1), 1, 1, 0),
    ((1, 28, 28, 6), 2, 2, 0),
    ((128, 28, 28, 6), 2, 2, 0),
    ((128, 24, 24, 64), 2, 2, 0),
    ((1, 28, 28, 192), 3, 1, 1),
    ((1, 112, 112, 64), 3, 2, 1),
    ((1, 224, 224, 64), 2, 2, 0),
]
ADAPTIVE_POOLS = [
    ((1, 1, 1, 1), 1),
    ((1, 7, 7, 2048), 1),
    ((32, 8, 8, 64), 1),
    ((1, 13, 13, 512), 7),
    ((1, 224, 224, 64), 7),
]


def _pools() -> Iterator[Case]:
    for x_shape, K, S, P in POOLS:
        where = (K, K), (S, S), ((P, P), (P, P))
        y_shape = (x_shape[0], *output_sizes(x_shape, *where), x_shape[3])
        label = f"{_label(x_shape)} {K}x{K} s{S}"

        def images(rng: np.random.Generator, x_shape: Shape = x_shape) -> Array:
            return normal(rng, *x_shape)

        def gradients(rng: np.random.Generator, y_shape: Shape = y_shape) -> Array:
            return normal(rng, *y_shape)

        def winners(rng: np.random.Generator, x_shape: Shape = x_shape, where: Any = where) -> Array:
            """The index that the forward direction saves."""
            return reference.max_pool2d_forward(normal(rng, *x_shape), *where, False)[1]

        yield Case("max_pool2d_forward", label, lambda rng, i=images, a=where: (i(rng), *a, False))
        yield Case("max_pool2d_backward", label, lambda rng, g=gradients, w=winners, s=x_shape, a=where: (
            g(rng), w(rng), s, *a))  # fmt: skip
        yield Case("avg_pool2d_forward", label, lambda rng, i=images, a=where: (i(rng), *a, False, False))
        yield Case("avg_pool2d_backward", label, lambda rng, g=gradients, s=x_shape, a=where: (g(rng), s, *a, False))
        yield Case("sum_pool2d_forward", label, lambda rng, i=images, a=where: (i(rng), *a, False))
        yield Case("sum_pool2d_backward", label, lambda rng, g=gradients, s=x_shape, a=where: (g(rng), s, *a))


def _adaptive_pools() -> Iterator[Case]:
    for shape, out in ADAPTIVE_POOLS:
        label = f"{_label(shape)}->{out}x{out}"
        yield Case("adaptive_avg_pool2d_forward", label, lambda rng, s=shape, o=out: (normal(rng, *s), (o, o)))
        yield Case("adaptive_avg_pool2d_backward", label, lambda rng, s=shape, o=out: (
            normal(rng, s[0], o, o, s[3]), s))  # fmt: skip


# Normalisation

BATCH_NORMS = [(1, 1, 1, 1), (32, 7, 7, 16), (128, 32, 32, 16), (1, 56, 56, 256), (1, 224, 224, 64)]
LOCAL_RESPONSE_NORMS = [(1, 1, 1, 1), (1, 55, 55, 96), (1, 27, 27, 256), (1, 224, 224, 64)]
ALEXNET = (5, 5e-4, 0.75, 2.0)  # size, alpha, beta, k


def _batch_norms() -> Iterator[Case]:
    for shape in BATCH_NORMS:

        def given(rng: np.random.Generator, shape: Shape = shape) -> tuple[Array, ...]:
            """x, gamma, beta, and the mean and variance of x."""
            x, C = normal(rng, *shape), shape[3]
            return x, rng.random(C, np.float32) + 0.5, normal(rng, C), x.mean((0, 1, 2)), x.var((0, 1, 2))

        def backward(rng: np.random.Generator, given: Any = given, shape: Shape = shape) -> tuple[Any, ...]:
            return normal(rng, *shape), *given(rng), 1e-5, None

        yield Case("batch_norm_forward", _label(shape), lambda rng, g=given: (*g(rng)[:3], 1e-5, None, None))
        yield Case("batch_norm_backward", _label(shape), backward)
        yield Case("batch_norm_inference_forward", _label(shape), lambda rng, g=given: (*g(rng), 1e-5, None, None))
        yield Case("batch_norm_inference_backward", _label(shape), backward)


def _local_response_norms() -> Iterator[Case]:
    for shape in LOCAL_RESPONSE_NORMS:
        yield Case("local_response_norm_forward", _label(shape), lambda rng, s=shape: (normal(rng, *s), *ALEXNET))
        yield Case("local_response_norm_backward", _label(shape), lambda rng, s=shape: (
            normal(rng, *s), normal(rng, *s), *ALEXNET))  # fmt: skip


# Element by element, and row by row

ELEMENTS = [(1,), (1, 28, 28, 6), (128, 120), (128, 28, 28, 6), (1, 224, 224, 64)]
ROWS = [(1, 1), (1, 10), (128, 10), (128, 1000), (50176, 64)]
DROPOUTS = [(1, 1), (1, 4096), (128, 128), (128, 9216), (1, 224, 224, 64)]


def _activations() -> Iterator[Case]:
    for name in ("relu", "tanh", "sigmoid"):
        for shape in ELEMENTS:
            yield Case(f"{name}_forward", _label(shape), lambda rng, s=shape: (normal(rng, *s),))
            # y must be an output of this activation: the derivative is written in it.
            yield Case(f"{name}_backward", _label(shape), lambda rng, s=shape, f=name: (
                normal(rng, *s), getattr(reference, f"{f}_forward")(normal(rng, *s))))  # fmt: skip


def _softmaxes() -> Iterator[Case]:
    for name in ("softmax", "log_softmax"):
        for shape in ROWS:
            yield Case(f"{name}_forward", _label(shape), lambda rng, s=shape: (normal(rng, *s),))
            yield Case(f"{name}_backward", _label(shape), lambda rng, s=shape, f=name: (
                normal(rng, *s), getattr(reference, f"{f}_forward")(normal(rng, *s))))  # fmt: skip


def _losses() -> Iterator[Case]:
    share = np.array(0.5, np.float32)
    for N, K in ROWS:

        def classes(rng: np.random.Generator, N: int = N, K: int = K) -> Array:
            return rng.integers(0, K, N)

        yield Case("cross_entropy_forward", f"{N}x{K}", lambda rng, N=N, K=K, t=classes: (normal(rng, N, K), t(rng)))
        yield Case("cross_entropy_backward", f"{N}x{K}", lambda rng, N=N, K=K, t=classes: (
            share, reference.softmax_forward(normal(rng, N, K)), t(rng)))  # fmt: skip
        for name in ("mean_squared_error", "half_squared_error"):
            yield Case(f"{name}_forward", f"{N}x{K}", lambda rng, N=N, K=K: (normal(rng, N, K), normal(rng, N, K)))
            yield Case(f"{name}_backward", f"{N}x{K}", lambda rng, N=N, K=K: (
                share, normal(rng, N, K), normal(rng, N, K)))  # fmt: skip


def _dropouts() -> Iterator[Case]:
    for shape in DROPOUTS:
        for direction in ("forward", "backward"):
            yield Case(f"dropout_{direction}", _label(shape), lambda rng, s=shape: (normal(rng, *s), 0.5, 1, 2, 3, 0))
    for count in (1, 1024, 1 << 18):
        yield Case("philox4x32", f"{count}x4", lambda rng, n=count: (
            rng.integers(0, 2**32, (n, 4), np.uint32), rng.integers(0, 2**32, 2, np.uint32)))  # fmt: skip


# The optimizers' steps, on parameters of one number, of LeNet-5, of the digit network, of ResNet and of VGG-16.

PARAMETERS = [(1,), (5, 5, 6, 16), (400, 120), (9216, 128), (3, 3, 512, 512), (4096, 4096)]


def _updates() -> Iterator[Case]:
    for shape in PARAMETERS:
        label = _label(shape)
        yield Case("sgd_update", label, lambda rng, s=shape: (
            [normal(rng, *s)], [normal(rng, *s)], [np.zeros(s, np.float32)],
            1e-3, 0.9, False, 5e-4), (0, 2))  # fmt: skip
        yield Case("adadelta_update", label, lambda rng, s=shape: (
            [normal(rng, *s)], [normal(rng, *s)], [np.zeros(s, np.float32)], [np.zeros(s, np.float32)],
            1.0, 0.95, 1e-6, 0.0), (0, 2, 3))  # fmt: skip
