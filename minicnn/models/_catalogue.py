"""The list of all networks: each builder enters itself with `@builder`, scripts ask by name."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from ..nn import Module

__all__ = ["build", "input_shape", "names"]

Shape = tuple[int, int, int]  # H, W, C of an image
P = ParamSpec("P")
M = TypeVar("M", bound=Module)

MNIST: Shape = (28, 28, 1)
CIFAR: Shape = (32, 32, 3)
IMAGENET: Shape = (224, 224, 3)

# Every name that `build` knows, with the function that builds the network and the images that it is made for.
_networks: dict[str, tuple[Callable[[], Module], Shape]] = {}


def builder(images: Shape | Mapping[str, Shape]) -> Callable[[Callable[P, M]], Callable[P, M]]:
    """A decorator for a function that builds a network: lists it, and writes `input_shape` on what it builds.

    images: the shape of the images that the network is made for; or, for a function with an argument `variant`, that of
        each variant, the default first. Another variant is then a ValueError before the function is called.
    """

    def enter(build_network: Callable[P, M]) -> Callable[P, M]:
        name, signature = build_network.__name__, inspect.signature(build_network)
        shapes = {"": images} if isinstance(images, tuple) else images

        @functools.wraps(build_network)
        def checked(*args: P.args, **kwargs: P.kwargs) -> M:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            variant = bound.arguments.get("variant", "")
            if variant not in shapes:
                raise ValueError(f"{name} expected a variant of {', '.join(map(repr, shapes))}, got {variant!r}")
            model = build_network(*args, **kwargs)
            model.input_shape = shapes[variant]
            return model

        build_variant: Callable[..., M] = checked
        for place, (variant, shape) in enumerate(shapes.items()):
            full = f"{name}:{variant}" if place else name  # the default goes by the plain name
            _networks[full] = (functools.partial(build_variant, variant=variant) if variant else build_variant, shape)
        return checked

    return enter


def names() -> list[str]:
    """The names that `build` knows: those of the builders, and "lenet5:1998" for `lenet5(variant="1998")`."""
    return list(_networks)


def build(name: str) -> Module:
    """The network of that name, with fresh weights: `build("lenet5")` is `lenet5()`.

    Raises ValueError for an unknown name, with those that look like it.
    """
    return _find(name)[0]()


def input_shape(name: str) -> Shape:
    """(H, W, C) of the images that the network of that name is made for; raises as `build` does."""
    return _find(name)[1]


def _find(name: str) -> tuple[Callable[[], Module], Shape]:
    if name in _networks:
        return _networks[name]
    near = difflib.get_close_matches(str(name).lower(), names(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
    raise ValueError(f"no network is called {name!r}: {hint}")
