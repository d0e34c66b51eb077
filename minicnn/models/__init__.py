"""Networks, ready to train: `from minicnn import models`.

Each builder, such as `models.lenet5()`, returns a Module that takes images (N, H, W, C) in [0, 1] and ends in logits.
Scripts that get a name from the command line use `names`, `input_shape` and `build`.
"""

import difflib
import inspect
from collections.abc import Callable

from ..nn import Module
from .digits import digit_cnn
from .lenet import lenet1, lenet5
from .lenet_1998 import map_criterion
from .mobilenet import mobilenet_v1, mobilenet_v2
from .resnet import (
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet101,
    resnet110,
    resnet152,
    resnet1202,
)
from .vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

__all__ = [
    "build",
    "digit_cnn",
    "input_shape",
    "lenet1",
    "lenet5",
    "map_criterion",
    "mobilenet_v1",
    "mobilenet_v2",
    "names",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "resnet1202",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]

Shape = tuple[int, int, int]

_CIFAR = (resnet20, resnet32, resnet44, resnet56, resnet110, resnet1202)
_IMAGENET = (
    *(mobilenet_v1, mobilenet_v2),
    *(resnet18, resnet34, resnet50, resnet101, resnet152),
    *(vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn),
)

# Every builder, with the shape (H, W, C) of the images that its network is made for.
_BUILDERS: dict[Callable[..., Module], Shape] = {
    lenet1: (28, 28, 1),
    lenet5: (28, 28, 1),
    digit_cnn: (28, 28, 1),
    **dict.fromkeys(_CIFAR, (32, 32, 3)),
    **dict.fromkeys(_IMAGENET, (224, 224, 3)),
}


def names() -> list[str]:
    """The names that `build` knows: those of the builders."""
    return [builder.__name__ for builder in _BUILDERS]


def build(name: str, variant: str | None = None) -> Module:
    """The model of that name, with fresh weights; `build("lenet5", "1998")` is `lenet5(variant="1998")`.

    variant: None is the builder's default.
    Raises ValueError for an unknown name, with those that look like it, and for an unknown variant, with the choices.
    """
    builder = _find(name)
    if variant is None:
        return builder()
    if "variant" not in inspect.signature(builder).parameters:
        raise ValueError(f"{name} has no variants, got {variant!r}")
    return builder(variant=variant)


def input_shape(name: str) -> Shape:
    """(H, W, C) of the images that the model of that name is made for; raises as `build` does."""
    return _BUILDERS[_find(name)]


def _find(name: str) -> Callable[..., Module]:
    for builder in _BUILDERS:
        if builder.__name__ == name:
            return builder
    near = difflib.get_close_matches(str(name).lower(), names(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
    raise ValueError(f"no model is called {name!r}: {hint}")
