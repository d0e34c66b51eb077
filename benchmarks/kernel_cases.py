"""Which kernels `bench_kernels.py` times, and on which shapes; those of convolution stand in `conv_cases.py`.

`kernel_torch.py` says what PyTorch calls the same operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from conv_cases import COLUMNS, Case, Shape, columns, convolutions, joined, normal

from minicnn.kernels import reference
from minicnn.kernels.geometry import output_sizes

Array = Any


def cases() -> list[Case]:
    """Every row, kernel by kernel."""
    made = [
        *convolutions(), *columns(COLUMNS), *linears(LINEARS), *biases(BIASES), *pools(POOLS),
        *adaptive_pools(ADAPTIVE_POOLS), *batch_norms(BATCH_NORMS), *local_response_norms(LOCAL_RESPONSE_NORMS),
        *activations(ELEMENTS), *softmaxes(ROWS), *losses(ROWS), *dropouts(DROPOUTS), *philoxes(PHILOXES),
        *updates(PARAMETERS), *warps(WARPS),
    ]  # fmt: skip
    return sorted_by_kernel(made)


def sorted_by_kernel(made: Sequence[Case]) -> list[Case]:
    """The same, kernel by kernel."""
    order = list(dict.fromkeys(case.kernel for case in made))
    return sorted(made, key=lambda case: order.index(case.kernel))


# The fully connected layer: (N, in, out). LeNet-5's three, the digit network's, VGG-16's two.

LINEARS = [(1, 1, 1)]
LINEARS += [(N, *sizes) for N in (1, 128) for sizes in ((400, 120), (120, 84), (84, 10))]
LINEARS += [(128, 9216, 128), (4, 25088, 4096), (4, 4096, 1000)]
BIASES = [(1, 1), (128, 10), (128, 120), (4, 4096), (128, 28, 28, 6), (1, 224, 224, 64)]


def linears(shapes: Sequence[tuple[int, int, int]]) -> Iterator[Case]:
    """Fully connected layers (N, in, out), in three directions."""
    for N, I, O in shapes:
        name = f"{N}x{I}->{O}"
        work: dict[str, Any] = {"multiply_adds": N * I * O, "numbers": N * I + I * O + N * O}
        yield Case("linear_forward", name, lambda rng, N=N, I=I, O=O: (
            normal(rng, N, I), normal(rng, I, O), normal(rng, O), None), **work)  # fmt: skip
        yield Case("linear_backward_input", name, lambda rng, N=N, I=I, O=O: (
            normal(rng, N, O), normal(rng, I, O)), **work)  # fmt: skip
        yield Case("linear_backward_weight", name, lambda rng, N=N, I=I, O=O: (
            normal(rng, N, O), normal(rng, N, I)), **work)  # fmt: skip


def biases(shapes: Sequence[Shape]) -> Iterator[Case]:
    """The gradient of a bias, of these gradients."""
    for shape in shapes:
        yield Case("bias_backward", joined(shape), lambda rng, shape=shape: (normal(rng, *shape),))


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


def pools(shapes: Sequence[tuple[Shape, int, int, int]]) -> Iterator[Case]:
    """Pooling by maximum, average and sum: x (N, H, W, C), window, stride, padding."""
    for x_shape, K, S, P in shapes:
        where = (K, K), (S, S), ((P, P), (P, P))
        y_shape = (x_shape[0], *output_sizes(x_shape, *where), x_shape[3])
        label = f"{joined(x_shape)} {K}x{K} s{S}"

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


def adaptive_pools(shapes: Sequence[tuple[Shape, int]]) -> Iterator[Case]:
    """Adaptive average pooling: x (N, H, W, C), and the side of what comes out."""
    for shape, out in shapes:
        label = f"{joined(shape)}->{out}x{out}"
        yield Case("adaptive_avg_pool2d_forward", label, lambda rng, s=shape, o=out: (normal(rng, *s), (o, o)))
        yield Case("adaptive_avg_pool2d_backward", label, lambda rng, s=shape, o=out: (
            normal(rng, s[0], o, o, s[3]), s))  # fmt: skip


# Normalisation

# Of one or two values in a channel the gradient is 0, and what comes out the rounding error: nothing to compare. Behind
# the first five those of ResNet-18 and of ResNet-20 in a training step.
BATCH_NORMS = [(1, 2, 2, 1), (32, 7, 7, 16), (128, 32, 32, 16), (1, 56, 56, 256), (1, 224, 224, 64)]
BATCH_NORMS += [(8, 112, 112, 64), (8, 56, 56, 64), (8, 28, 28, 128), (8, 14, 14, 256), (8, 7, 7, 512)]
BATCH_NORMS += [(128, 16, 16, 32), (128, 8, 8, 64)]
LOCAL_RESPONSE_NORMS = [(1, 1, 1, 1), (1, 55, 55, 96), (1, 27, 27, 256), (1, 224, 224, 64)]
ALEXNET = (5, 5e-4, 0.75, 2.0)  # size, alpha, beta, k


def batch_norms(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Batch normalisation of x (N, H, W, C), training and inference."""
    for shape in shapes:

        def given(rng: np.random.Generator, shape: Shape = shape) -> tuple[Array, ...]:
            """x, gamma, beta, and the mean and variance of x."""
            x, C = normal(rng, *shape), shape[3]
            return x, rng.random(C, np.float32) + 0.5, normal(rng, C), x.mean((0, 1, 2)), x.var((0, 1, 2))

        def backward(rng: np.random.Generator, given: Any = given, shape: Shape = shape) -> tuple[Any, ...]:
            return normal(rng, *shape), *given(rng), 1e-5, None

        yield Case("batch_norm_forward", joined(shape), lambda rng, g=given: (*g(rng)[:3], 1e-5, None, None))
        yield Case("batch_norm_statistics", joined(shape), lambda rng, s=shape: (normal(rng, *s),))
        yield Case("batch_norm_backward", joined(shape), backward)
        yield Case("batch_norm_inference_forward", joined(shape), lambda rng, g=given: (*g(rng), 1e-5, None, None))
        yield Case("batch_norm_inference_backward", joined(shape), backward)


def local_response_norms(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Local response normalisation of x (N, H, W, C)."""
    for shape in shapes:
        yield Case("local_response_norm_forward", joined(shape), lambda rng, s=shape: (normal(rng, *s), *ALEXNET))
        yield Case("local_response_norm_backward", joined(shape), lambda rng, s=shape: (
            normal(rng, *s), normal(rng, *s), *ALEXNET))  # fmt: skip


# Element by element, and row by row

ELEMENTS = [(1,), (1, 28, 28, 6), (128, 120), (128, 28, 28, 6), (1, 224, 224, 64)]
ROWS = [(1, 1), (1, 10), (128, 10), (128, 1000), (50176, 64)]
DROPOUTS = [(1, 1), (1, 4096), (128, 128), (128, 9216), (1, 224, 224, 64)]
PHILOXES = [1, 1024, 1 << 18]


def activations(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Of x in any shape."""
    for name in ("relu", "relu6", "tanh", "sigmoid"):
        for shape in shapes:
            yield Case(f"{name}_forward", joined(shape), lambda rng, s=shape: (normal(rng, *s),))
            # y must be an output of this activation: the derivative is written in it.
            yield Case(f"{name}_backward", joined(shape), lambda rng, s=shape, f=name: (
                normal(rng, *s), getattr(reference, f"{f}_forward")(normal(rng, *s))))  # fmt: skip


def softmaxes(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Of rows (N, K)."""
    for name in ("softmax", "log_softmax"):
        for shape in shapes:
            yield Case(f"{name}_forward", joined(shape), lambda rng, s=shape: (normal(rng, *s),))
            yield Case(f"{name}_backward", joined(shape), lambda rng, s=shape, f=name: (
                normal(rng, *s), getattr(reference, f"{f}_forward")(normal(rng, *s))))  # fmt: skip


def losses(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Of rows (N, K)."""
    share = np.array(0.5, np.float32)
    for N, K in shapes:

        def classes(rng: np.random.Generator, N: int = N, K: int = K) -> Array:
            return rng.integers(0, K, N)

        yield Case("cross_entropy_forward", f"{N}x{K}", lambda rng, N=N, K=K, t=classes: (normal(rng, N, K), t(rng)))
        yield Case("cross_entropy_backward", f"{N}x{K}", lambda rng, N=N, K=K, t=classes: (
            share, reference.softmax_forward(normal(rng, N, K)), t(rng)))  # fmt: skip
        for name in ("mean_squared_error", "half_squared_error"):
            yield Case(f"{name}_forward", f"{N}x{K}", lambda rng, N=N, K=K: (normal(rng, N, K), normal(rng, N, K)))
            yield Case(f"{name}_backward", f"{N}x{K}", lambda rng, N=N, K=K: (
                share, normal(rng, N, K), normal(rng, N, K)))  # fmt: skip


def dropouts(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Of x in any shape."""
    for shape in shapes:
        for direction in ("forward", "backward"):
            yield Case(f"dropout_{direction}", joined(shape), lambda rng, s=shape: (normal(rng, *s), 0.5, 1, 2, 3, 0))


def philoxes(counts: Sequence[int]) -> Iterator[Case]:
    """Random words for so many counters."""
    for count in counts:
        yield Case("philox4x32", f"{count}x4", lambda rng, n=count: (
            rng.integers(0, 2**32, (n, 4), np.uint32), rng.integers(0, 2**32, 2, np.uint32)))  # fmt: skip


# Augmentation: one pixel, digits, photographs; each turned by some degrees about its first pixel.

WARPS = [(1, 1, 1, 1), (1, 28, 28, 1), (128, 28, 28, 1), (8, 224, 224, 3)]


def warps(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Of images (N, H, W, C)."""
    for shape in shapes:
        yield Case("warp", joined(shape), lambda rng, s=shape: (
            normal(rng, *s), np.eye(2, 3) + 0.1 * rng.standard_normal((s[0], 2, 3)), None, "nearest", 0.0))  # fmt: skip


# The optimizers' steps, on parameters of one number, of LeNet-5, of the digit network, of ResNet and of VGG-16.

PARAMETERS = [(1,), (5, 5, 6, 16), (400, 120), (9216, 128), (3, 3, 512, 512), (4096, 4096)]


# kernel: what is kept for a weight (arrays of zeros, a single number, or nothing), and the settings.
_KEPT: dict[str, tuple[tuple[str | None, ...], tuple[Any, ...]]] = {
    "sgd_update": (("velocity",), (1e-3, 0.9, False, 5e-4)),
    "lion_update": (("average",), (1e-4, 0.9, 0.99, 0.1)),
    "lars_update": (("velocity",), (0.1, 0.9, 5e-4, 1e-3)),
    "adagrad_update": (("square_sum",), (1e-2, 1e-10, 0.0)),
    "rmsprop_update": (("square_average", None, "velocity"), (1e-2, 0.99, 1e-8, 0.9, 0.0)),
    "adadelta_update": (("square_average", "update_average"), (1.0, 0.95, 1e-6, 0.0)),
    "adam_update": (("average", "square_average", "step"), (1e-3, 0.9, 0.999, 1e-8, 0.01, True)),
}


def updates(shapes: Sequence[Shape]) -> Iterator[Case]:
    """A step of one weight of each shape."""
    for shape in shapes:
        for kernel, (kept, settings) in _KEPT.items():
            written = (0, *(i for i, name in enumerate(kept, start=2) if name))
            given = partial(_update_arguments, shape=shape, kept=kept, settings=settings)
            yield Case(kernel, joined(shape), given, written)


def _update_arguments(
    rng: np.random.Generator, shape: Shape, kept: tuple[str | None, ...], settings: tuple[Any, ...]
) -> tuple[Any, ...]:
    zeros = (name and [np.zeros(() if name == "step" else shape, np.float32)] for name in kept)
    return [normal(rng, *shape)], [normal(rng, *shape)], *zeros, *settings
