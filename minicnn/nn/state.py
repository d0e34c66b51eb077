"""The state of a Module as a dictionary of arrays, and back: all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import device as _device
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

Array = Any
SHOWN = 10  # problems that an error lists before it only counts


def state_dict(module: Module) -> dict[str, Array]:
    """Copies of all values by name: of each Module its Parameters, its persistent buffers, then the Modules inside it.

    Names and order are torch's ("conv1.weight", "0.bias", "bn.running_mean"), the layouts are this engine's. A shared
    Parameter stands under each of its names. The arrays are where the Module is, and later training leaves them alone.
    Raises RuntimeError, naming it, for a Parameter without values.
    """
    for name, holder in entries(module):
        if isinstance(holder, Parameter) and not holder.is_filled:
            raise RuntimeError(
                f"state_dict: {name} has no values yet: "
                "run one forward pass first so that the layer can infer its sizes"
            )
    return {name: (holder.data if isinstance(holder, Parameter) else holder).copy() for name, holder in entries(module)}


def load_state_dict(module: Module, values: dict[str, Array]) -> None:
    """Write values into the Parameters and persistent buffers of the same names, in place.

    Filled Parameters stay the same objects with the same arrays; unfilled ones are filled. Floats of another width are
    converted to the Parameter's. Layouts are this engine's: arrays in torch's layout need `load_pretrained`.

    Raises ValueError that names every missing and unexpected name and every array of a wrong shape or kind; then
    nothing has been changed.
    """
    if not isinstance(values, dict):
        raise TypeError(f"load_state_dict expected a dict of names and arrays, got {type(values).__name__}")
    holders = dict(entries(module))
    problems = [f"missing: {name}" for name in holders if name not in values]
    problems += [f"unexpected: {name}" for name in values if name not in holders]
    shapes: dict[int, tuple[int, ...]] = {}  # of the Parameters: two names of one must bring the same
    for name, holder in holders.items():
        if name in values:
            problems += _problems(name, holder, values[name], shapes)
    if problems:
        shown = "\n  ".join(problems[:SHOWN])
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ValueError(
            f"load_state_dict changed nothing, because the values do not fit this Module:\n  {shown}{more}"
        )
    for name, holder in holders.items():
        if isinstance(holder, Parameter):
            holder.assign(values[name])
        else:
            holder[...] = _device.to_device(values[name], _device.device_of(holder))


def entries(module: Module) -> Iterator[tuple[str, Parameter | Array]]:
    """Every name of the state with the Parameter or buffer that holds its values."""
    for prefix, inner in module._every_module():
        start = f"{prefix}." if prefix else ""
        for name, holder in (*inner._own_parameters(), *inner._saved_buffers()):
            yield start + name, holder


def _problems(name: str, holder: Parameter | Array, value: Any, shapes: dict[int, tuple[int, ...]]) -> list[str]:
    """What is wrong with one value; an empty list if nothing."""
    if not (isinstance(value, np.ndarray) or _device.is_cuda(value)):
        return [f"{name}: expected an array, got {type(value).__name__}"]
    kinds = "f" if isinstance(holder, Parameter) or holder.dtype.kind == "f" else "iu"
    if value.dtype.kind not in kinds:
        return [f"{name}: expected {'floats' if kinds == 'f' else 'integers'}, got {value.dtype}"]
    if isinstance(holder, Parameter):
        expected, fits = holder.known_shape, holder.fits(value.shape)
        if fits and shapes.setdefault(id(holder), value.shape) != value.shape:
            expected, fits = shapes[id(holder)], False
    else:
        expected, fits = holder.shape, holder.shape == value.shape
    return [] if fits else [f"{name}: expected shape {expected}, got {value.shape}{_hint(expected, value.shape)}"]


def _hint(expected: Any, shape: tuple[int, ...]) -> str:
    """Where a shape is another library's layout of the one expected: what to do."""
    if len(shape) in (2, 4) and expected in ((*shape[2:], *shape[1::-1]), shape[::-1]):
        return " (it looks like torch's layout: use load_pretrained)"
    return ""
