"""One sample through a model: what everybody does who wants to see how a model computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._function import no_grad
from .._tensor import Tensor
from ..device import to_device
from ..ops.checks import is_whole
from .module import Module


def sample(model: Module, input_shape: Sequence[int] | None, what: str) -> Tensor:
    """One sample of zeros for a model, of its dtype and on its device.

    input_shape: of the sample, without the axis N; None for the model's own. what: the caller, whom errors name.
    Raises TypeError for what is no Module, ValueError for a wrong shape.
    """
    if not isinstance(model, Module):
        raise TypeError(f"{what} expected a Module, got {type(model).__name__}")
    shape = checked_shape(model.input_shape if input_shape is None else input_shape, what)
    device, dtype = next((p.place for p in model.parameters()), ("cpu", np.float32))
    return Tensor(to_device(np.zeros((1, *shape), dtype), device))


def run_sample(model: Module, x: Tensor, what: str) -> Any:
    """The model's result for one sample, in evaluation mode and without a graph.

    Layers that did not know their sizes learn them. `training` is afterwards as it was in each Module.
    Raises ValueError for a sample that the model refuses. what: the caller, whom the error names.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        # What zeros come to is of no interest: 1 / x may well be infinite.
        with no_grad(), np.errstate(all="ignore"):
            return model(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{what}: the model refused one sample of shape {x.shape[1:]}: {error}") from error
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def buffers_kept(model: Module) -> Iterator[None]:
    """A model's buffers are afterwards the same arrays with the same numbers."""
    kept = [(module, name, getattr(module, name)) for module in model.modules() for name in module._buffers]
    values = [array.copy() for _, _, array in kept]
    try:
        yield
    finally:
        for (module, name, array), value in zip(kept, values, strict=True):
            array[...] = value
            setattr(module, name, array)


def checked_shape(input_shape: Any, what: str) -> tuple[int, ...]:
    """The shape of one sample as a tuple. what: the caller, whom errors name."""
    if input_shape is None:
        raise ValueError(f"{what} expected the shape of one sample, like {what}(model, (28, 28, 1))")
    if (
        not isinstance(input_shape, tuple | list)
        or not input_shape
        or not all(is_whole(n) and n > 0 for n in input_shape)
    ):
        raise ValueError(f"{what} expected input_shape as whole numbers > 0 like (28, 28, 1), got {input_shape!r}")
    if len(input_shape) > 3:
        raise ValueError(
            f"{what} expected the shape of one sample like (28, 28, 1), got {tuple(input_shape)}: leave out the axis N"
        )
    return tuple(int(n) for n in input_shape)
