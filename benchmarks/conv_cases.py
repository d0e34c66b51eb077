"""The convolutions that `bench_kernels.py` times: shapes of all kinds, and whole networks layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minicnn.kernels.geometry import output_sizes

Array = Any
Pair = tuple[int, int]
Shape = tuple[int, ...]
Layer = tuple[int, int, int, int, int]  # H, C, O, K, stride


@dataclass(frozen=True)
class Case:
    """One row: `kernel(*arguments(rng))`.

    updates: positions of the lists of arrays that the kernel writes into.
    multiply_adds: of a matrix product or convolution, otherwise 0. numbers: that it reads and writes, each once.
    networks: in which ones it is a layer; empty for a shape that was chosen to try one kind of thing.
    """

    kernel: str
    shape: str
    arguments: Callable[..., tuple[Any, ...]]
    updates: tuple[int, ...] = ()
    multiply_adds: int = 0
    numbers: int = 0
    networks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Kernel, shape and networks: what --kernel looks in."""
        return " ".join((self.kernel, self.shape, *self.networks))

    def own(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with copies of what the kernel writes into."""
        return tuple(each(a, np.copy) if i in self.updates else a for i, a in enumerate(arguments))

    def written(self, arguments: tuple[Any, ...]) -> tuple[Array, ...]:
        """The arrays that the kernel writes into, in the order of the arguments."""
        return tuple(a for i in self.updates for a in arguments[i])


def each(argument: Any, change: Callable[[Array], Array]) -> Any:
    """The same of an array, or of every array in a list; what is no array stays as it is."""
    if isinstance(argument, list):
        return [each(a, change) for a in argument]
    return change(argument) if isinstance(argument, np.ndarray) else argument


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Standard normal float32 numbers."""
    return rng.standard_normal(shape, np.float32)


def joined(shape: Shape) -> str:
    """128x28x28x6"""
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class Convolution:
    """N images H x W x C, O filters K x K; stride, padding and dilation alike on both axes; in these networks.

    W: None for that of square images, H.
    """

    N: int
    H: int
    C: int
    O: int
    K: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1
    networks: tuple[str, ...] = ()
    W: int | None = None

    @property
    def label(self) -> str:
        """128x14x14x6->16 5x5"""
        extras = ((" s", self.stride, 1), (" g", self.groups, 1), (" d", self.dilation, 1))
        tail = "".join(f"{letter}{value}" for letter, value, plain in extras if value != plain)
        return f"{joined(self.x_shape)}->{self.O} {self.K}x{self.K}{tail}"

    @property
    def geometry(self) -> tuple[Pair, tuple[Pair, Pair], Pair, int, str]:
        """stride, padding, dilation, groups, algorithm."""
        p = (self.padding, self.padding)
        return (self.stride, self.stride), (p, p), (self.dilation, self.dilation), self.groups, "auto"

    @property
    def x_shape(self) -> Shape:
        return self.N, self.H, self.W or self.H, self.C

    @property
    def w_shape(self) -> Shape:
        return self.K, self.K, self.C // self.groups, self.O

    @property
    def y_shape(self) -> Shape:
        stride, padding, dilation, *_ = self.geometry
        return self.N, *output_sizes(self.x_shape, (self.K, self.K), stride, padding, dilation), self.O

    def cases(self) -> Iterator[Case]:
        """The three directions, which have the same work."""
        sizes = [int(np.prod(shape)) for shape in (self.x_shape, self.w_shape, self.y_shape)]
        work: dict[str, Any] = {
            "multiply_adds": sizes[2] * sizes[1] // self.O,
            "numbers": sum(sizes),
            "networks": self.networks,
        }
        x, w, y, where = self.x_shape, self.w_shape, self.y_shape, self.geometry
        yield Case("conv2d_forward", self.label, lambda rng: (
            normal(rng, *x), normal(rng, *w), normal(rng, self.O), *where, None), **work)  # fmt: skip
        yield Case("conv2d_backward_input", self.label, lambda rng: (
            normal(rng, *y), normal(rng, *w), x, *where), **work)  # fmt: skip
        yield Case("conv2d_backward_weight", self.label, lambda rng: (
            normal(rng, *y), normal(rng, *x), w, *where), **work)  # fmt: skip


CONVOLUTIONS = [
    Convolution(1, 1, 1, 1, 1),
    Convolution(1, 28, 1, 6, 5, padding=2),  # LeNet-5, both layers, one image and many
    Convolution(1, 14, 6, 16, 5),
    Convolution(128, 28, 1, 6, 5, padding=2),
    Convolution(128, 14, 6, 16, 5),
    Convolution(128, 28, 1, 32, 3),  # the digit network
    Convolution(128, 26, 32, 64, 3),
    Convolution(128, 32, 16, 16, 3, padding=1),  # ResNet-20: a layer of a stage, and the first one of the next
    Convolution(128, 32, 16, 32, 3, stride=2, padding=1),
    Convolution(1, 227, 3, 96, 11, stride=4),  # AlexNet
    Convolution(1, 27, 96, 256, 5, padding=2, groups=2),
    Convolution(1, 224, 3, 64, 7, stride=2, padding=3),  # ResNet-50, one image
    Convolution(1, 56, 256, 64, 1),
    Convolution(1, 56, 64, 256, 1),
    Convolution(1, 56, 256, 512, 1, stride=2),
    Convolution(1, 14, 1024, 256, 1),
    Convolution(1, 56, 64, 64, 3, padding=1),
    Convolution(1, 56, 128, 128, 3, stride=2, padding=1),
    Convolution(1, 7, 512, 512, 3, padding=1),
    Convolution(1, 56, 144, 144, 3, padding=1, groups=144),  # MobileNet v2, depthwise
    Convolution(1, 28, 128, 128, 3, padding=2, dilation=2),
    Convolution(1, 224, 64, 64, 3, padding=1),  # VGG-16, one image
    Convolution(1, 28, 512, 512, 3, padding=1),
]

# The networks' convolutions, each once: images H x H x C, filters, window, stride. He et al. 2016, table 1; the first
# of a stage's blocks has the stride in its 3 x 3 convolution, as torchvision has it.
RESNET_STEM = [(224, 3, 64, 7, 2)]
RESNET_BLOCKS = [(56, 64, 64, 3, 1), (28, 128, 128, 3, 1), (14, 256, 256, 3, 1), (7, 512, 512, 3, 1)]
RESNET18 = [
    *RESNET_STEM, *RESNET_BLOCKS,
    (56, 64, 128, 3, 2), (28, 128, 256, 3, 2), (14, 256, 512, 3, 2),
    (56, 64, 128, 1, 2), (28, 128, 256, 1, 2), (14, 256, 512, 1, 2),
]  # fmt: skip
RESNET50 = [
    *RESNET_STEM, *RESNET_BLOCKS,
    (56, 64, 64, 1, 1), (56, 64, 256, 1, 1), (56, 256, 64, 1, 1),
    (56, 256, 128, 1, 1), (56, 128, 128, 3, 2), (28, 128, 512, 1, 1), (56, 256, 512, 1, 2), (28, 512, 128, 1, 1),
    (28, 512, 256, 1, 1), (28, 256, 256, 3, 2), (14, 256, 1024, 1, 1), (28, 512, 1024, 1, 2), (14, 1024, 256, 1, 1),
    (14, 1024, 512, 1, 1), (14, 512, 512, 3, 2), (7, 512, 2048, 1, 1), (14, 1024, 2048, 1, 2), (7, 2048, 512, 1, 1),
]  # fmt: skip
VGG16 = [
    (224, 3, 64, 3, 1), (224, 64, 64, 3, 1), (112, 64, 128, 3, 1), (112, 128, 128, 3, 1), (56, 128, 256, 3, 1),
    (56, 256, 256, 3, 1), (28, 256, 512, 3, 1), (28, 512, 512, 3, 1), (14, 512, 512, 3, 1),
]  # fmt: skip
NETWORKS = {
    "resnet18-b32": (32, RESNET_BLOCKS),
    "resnet18": (8, RESNET18),
    "resnet50": (8, RESNET50),
    "vgg16": (4, VGG16),
}


def layers(networks: Mapping[str, tuple[int, list[Layer]]] = NETWORKS) -> list[Convolution]:
    """Every convolution of the networks once, with the names of all that have it."""
    found: dict[Convolution, Convolution] = {}
    for network, (N, shapes) in networks.items():
        for H, C, O, K, stride in shapes:
            plain = Convolution(N, H, C, O, K, stride, padding=K // 2)
            known = found.get(plain, plain)
            found[plain] = replace(known, networks=(*known.networks, network))
    return list(found.values())


def convolutions() -> Iterator[Case]:
    """In all directions."""
    for convolution in (*CONVOLUTIONS, *layers()):
        yield from convolution.cases()


COLUMNS = [CONVOLUTIONS[i] for i in (0, 4, 6, 11)] + [Convolution(1, 56, 256, 256, 3, padding=1)]


def columns(convolutions: Sequence[Convolution]) -> Iterator[Case]:
    """The column matrix of a convolution, and back."""
    for c in convolutions:
        shape = c.label.replace(f"->{c.O}", "")
        places = c.y_shape[0] * c.y_shape[1] * c.y_shape[2]
        where = ((c.K, c.K), *c.geometry[:3])
        yield Case("im2col", shape, lambda rng, c=c, where=where: (normal(rng, *c.x_shape), *where))
        yield Case("col2im", shape, lambda rng, c=c, where=where, places=places: (
            normal(rng, places, c.K * c.K * c.C), c.x_shape, *where))  # fmt: skip
