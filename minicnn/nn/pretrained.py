"""Putting in the weights that another library trained: their names, their layout, and the order of flattened images.

PyTorch keeps the weight of a convolution as (O, C // groups, KH, KW), here it is (KH, KW, C // groups, O); that of a
fully connected layer as (out, in), here (in, out). And where images are flattened, PyTorch counts C, H, W, the pixels
fastest, minicnn H, W, C, the channels fastest: the rows of the first weight behind are in another order, which only
`Linear.image_shape` can tell, since no shape shows it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import state

if TYPE_CHECKING:
    from .module import Module

Array = Any


def load_pretrained(module: Module, source: str | os.PathLike[str]) -> None:
    """Write trained weights into the Parameters and persistent buffers of a network that has torchvision's names.

    source: a file, `.pth` or safetensors, with the names of torchvision or timm and the layouts of PyTorch; or the name
        of a network, such as "resnet50", whose weights torchvision publishes: those that it calls IMAGENET1K_V1 are
        downloaded once, checked and kept (`weights.locate`). Nothing in a file is run, and PyTorch is not needed.

    float16 and bfloat16 become the Parameter's dtype. The network stays in training mode or evaluation as it was.

    Raises what `weights.locate` and `weights.read_weights` raise; and ValueError that says what does not fit: missing
    and surplus names, shapes, and a Linear that cannot know how its images were flattened. Then nothing was changed.
    """
    from .. import weights  # here: it takes what reads and downloads files

    holders = dict(state.entries(module))
    arrays = weights.translated(weights.read_weights(weights.locate(source)), holders)
    try:
        _check_names(arrays, holders)
        layers = {f"{prefix}.{name}".lstrip("."): layer
                  for prefix, layer in module._every_module() for name, _ in layer._own_parameters()}  # fmt: skip
        _check_layout(arrays, holders, layers)
        _check_flattened(arrays, module)
        values = {name: _turned(name, array, holders[name], layers.get(name)) for name, array in arrays.items()}
        state.load_state_dict(module, values)
    except ValueError as error:
        raise ValueError(f"{os.fspath(source)} was not loaded, and nothing was changed: {error}") from error


def _check_names(arrays: dict[str, Array], holders: dict[str, Any]) -> None:
    """Raise ValueError that names what is missing and what is too much."""
    from .. import weights

    missing = [name for name in holders if name not in arrays]
    surplus = [name for name in arrays if name not in holders]
    if not missing and not surplus:
        return
    family = weights.looks_like(arrays)
    known = f"; by its names it is for {family}" if family and len(missing) == len(holders) else ""
    raise ValueError(
        f"it is for another network{known}"
        f"\n  {len(missing)} names of this network are missing in it{_listed(missing)}"
        f"\n  {len(surplus)} names in it are unknown to this network{_listed(surplus)}"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - state.SHOWN} more" if len(names) > state.SHOWN else ""
    return (": " if names else "") + ", ".join(name[:100] for name in names[: state.SHOWN]) + more


def _check_layout(arrays: dict[str, Array], holders: dict[str, Any], layers: dict[str, Module]) -> None:
    """Raise ValueError where arrays would fit only as they are: they lie as this engine's do."""
    for name, array in arrays.items():
        if name in layers and array.ndim > 1 and holders[name].fits(array.shape):
            turned = _turned(name, array, holders[name], layers[name])
            if not holders[name].fits(turned.shape):
                raise ValueError(
                    f"{name} of shape {array.shape} lies as in this engine already, and load_pretrained turns "
                    "PyTorch's layout: give the arrays to load_state_dict"
                )


def _check_flattened(arrays: dict[str, Array], module: Module) -> None:
    """Raise ValueError for a Linear that sees images and was not told their shape.

    The images are those of the layer before it in the order of registration. Where a Linear has an input for each of
    their channels, they were averaged to one pixel, and there is only one order.
    """
    from .conv import Conv2d
    from .linear import Linear
    from .norm import BatchNorm2d
    from .pool import GlobalAvgPool2d

    channels: int | None = None  # of the images behind the layers so far
    for name, layer in module.named_modules():
        if isinstance(layer, Conv2d):
            channels = layer.out_channels
        elif isinstance(layer, BatchNorm2d):
            channels = layer.num_features
        elif isinstance(layer, GlobalAvgPool2d) or getattr(layer, "output_size", None) == (1, 1):
            channels = None
        elif isinstance(layer, Linear):
            inputs = arrays[f"{name}.weight".lstrip(".")].shape[-1]
            if channels is not None and layer.image_shape is None and inputs != channels:
                raise ValueError(
                    f"{name}, a Linear of {inputs} inputs, sees flattened images, which PyTorch flattens in another "
                    f"order: write nn.Linear((H, W, C), {layer.out_features}) with their shape, so that its rows can "
                    "be sorted"
                )
            channels = None


def _turned(name: str, array: Array, holder: Any, layer: Module | None) -> Array:
    """An array in PyTorch's layout as the layer has it.

    Buffers (layer None) and arrays of one axis stay as they are; so do those with another number of axes than the
    Parameter `holder`, for load_state_dict to refuse.
    """
    from .conv import Conv2d
    from .linear import Linear

    if layer is None or array.ndim < 2 or len(holder.known_shape or array.shape) != array.ndim:
        return array
    if isinstance(layer, Conv2d) and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)  # (O, C // groups, KH, KW) -> (KH, KW, C // groups, O)
    if isinstance(layer, Linear) and array.ndim == 2:
        if layer.image_shape and array.shape[1] == layer.in_features:
            H, W, C = layer.image_shape
            array = array.reshape(-1, C, H, W).transpose(0, 2, 3, 1).reshape(array.shape)
        return array.T  # (out, in) -> (in, out)
    raise ValueError(f"{name} is a {type(layer).__name__}'s, whose layout in PyTorch is not known here")
