"""The checkpoint: everything that a run needs to go on as if it had never stopped; `checkpoint_file` has the format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _random, nn
from .._files import PathLike
from ..device import device_of, is_array, to_device
from ..nn import Parameter
from . import checkpoint_file
from .callbacks import Callback
from .epoch import EpochState

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any
Values = Mapping[str, Any]
SHOWN = 10  # differences that an error lists before it only counts


def save_checkpoint(path: PathLike, trainer: Trainer) -> None:
    """Write a Trainer's state to `path`; at any moment the file there is the old one or the new one, both whole.

    Raises RuntimeError for a Parameter without values, TypeError for a callback's state that JSON does not have, and
    OSError, naming the path, where the file cannot be written.
    """
    arrays = {name: _values(name, holder) for name, holder in _holders(trainer.model).items()}
    optimizer, schedule, average = trainer.optimizer.state_dict(), trainer.schedule, trainer.average
    arrays |= {f"optimizer.{name}": array for name, array in _arrays(optimizer).items()}
    arrays |= {f"average.{name}": array for name, array in (average.state_dict() if average else {}).items()}
    callbacks = {key: callback.state_dict() for key, callback in _named(trainer.callbacks).items()}
    for key, values in callbacks.items():
        arrays |= {f"callback.{key}.{name}": array for name, array in _arrays(values).items()}
    state = {
        "epoch": trainer.epoch,
        "under_way": trainer.under_way.state_dict(),
        "history": trainer.history,
        "seed": _random.current_seed(),
        "model": type(trainer.model).__name__,
        "dropout": {name: [layer.seed, layer.layer] for name, layer in _dropouts(trainer.model).items()},
        "optimizer": {"class": type(trainer.optimizer).__name__, "settings": _others(optimizer)},
        "schedule": schedule and {"class": type(schedule).__name__, "settings": schedule.state_dict()},
        "average": average and {"class": type(average).__name__},
        "callbacks": {key: _others(values) for key, values in callbacks.items()},
    }
    tensors = {name: np.asarray(to_device(array, "cpu"), order="C") for name, array in arrays.items()}
    checkpoint_file.write(path, tensors, state)


def load_checkpoint(path: PathLike, trainer: Trainer) -> None:
    """Put the state at `path` into a Trainer built as the saved one was; nothing is changed unless everything fits.

    A callback finds its state by its class and its place among those of this class; one that the file does not know
    begins anew.
    Raises FileNotFoundError; and ValueError, saying what differs, for a file that is not a whole checkpoint of
    minicnn, and for another model, optimizer, schedule, average or monitored number.
    """
    tensors, state = checkpoint_file.read(path)
    optimizer = {**state["optimizer"]["settings"], **_part(tensors, "optimizer.")}
    averages = _part(tensors, "average.")
    try:
        _check_model(trainer.model, tensors, state)
        _check_kind("optimizer", trainer.optimizer, state["optimizer"])
        trainer.optimizer.check_state_dict(optimizer)
        _check_kind("schedule", trainer.schedule, state["schedule"])
        if trainer.schedule is not None:
            trainer.schedule.check_state_dict(state["schedule"]["settings"])
        _check_kind("average", trainer.average, state["average"])
        if trainer.average is not None:
            trainer.average.check_state_dict(averages)
        _load_callbacks(trainer.callbacks, tensors, state["callbacks"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)} does not fit, and nothing was changed: {error}") from error

    _load_model(trainer.model, tensors, state["dropout"])
    trainer.optimizer.load_state_dict(optimizer)
    if trainer.schedule is not None:
        trainer.schedule.load_state_dict(state["schedule"]["settings"])
    if trainer.average is not None:
        trainer.average.load_state_dict(averages)
    trainer.epoch, trainer.history, trainer.under_way = (
        state["epoch"],
        state["history"],
        EpochState.of(state["under_way"]),
    )
    if _random.current_seed() != state["seed"]:  # `seed` also restarts the construction numbers: only where needed
        _random.seed(state["seed"])


def _load_model(model: nn.Module, tensors: dict[str, Array], streams: Mapping[str, tuple[int, int]]) -> None:
    for name, holder in _holders(model).items():
        if isinstance(holder, Parameter):
            holder.assign(tensors[name])
        else:
            holder[...] = to_device(tensors[name], device_of(holder))
    for name, dropout in _dropouts(model).items():
        dropout.seed, dropout.layer = streams[name]


def _load_callbacks(callbacks: Sequence[Callback], tensors: dict[str, Array], states: Mapping[str, Values]) -> None:
    """Give each callback its state; raises ValueError for one that does not fit, and then all have their own again."""
    known = {key: callback for key, callback in _named(callbacks).items() if key in states}
    before = {key: callback.state_dict() for key, callback in known.items()}
    try:
        for key, callback in known.items():
            callback.load_state_dict({**states[key], **_part(tensors, f"callback.{key}.")})
    except (KeyError, TypeError, ValueError) as error:
        for each, own in before.items():
            known[each].load_state_dict(own)
        raise ValueError(f"the state of the callback {key} cannot be used ({error!r})") from error


def _named(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """Callbacks by their keys in the file."""
    named: dict[str, Callback] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        same = sum(type(other).__name__ == kind for other in named.values())
        named[f"{kind}{same + 1}" if same else kind] = callback
    return named


def is_checkpoint(path: PathLike) -> bool:
    """Whether a file is minicnn's own: then `model_state` reads it; others are for `Module.load_pretrained`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            return (file.metadata() or {}).get("format") == "minicnn"
    except SafetensorError:
        return False


def model_state(path: PathLike) -> dict[str, Array]:
    """The model's part of a checkpoint, for `Module.load_state_dict`. Raises as `load_checkpoint`."""
    tensors, _ = checkpoint_file.read(path)
    return _part(tensors, "model.")


def _check_model(model: nn.Module, tensors: dict[str, Array], state: dict[str, Any]) -> None:
    """Raise ValueError that names every difference between a model and the one in the file."""
    problems = []
    if state["model"] != type(model).__name__:
        problems.append(f"the file holds a {state['model']}, this model is a {type(model).__name__}")
    expected = _holders(model)
    found = {name: array for name, array in tensors.items() if name.startswith(("model.", "buffer."))}
    problems += [f"missing in the file: {name}" for name in expected if name not in found]
    problems += [f"unknown to this model: {name}" for name in found if name not in expected]
    for name in [name for name in expected if name in found]:
        problems += _difference(name, expected[name], found[name])
    if state["dropout"].keys() != _dropouts(model).keys():
        problems.append(f"the file has Dropout layers {list(state['dropout'])}, this model {list(_dropouts(model))}")
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ValueError("\n  ".join(["another architecture", *problems[:SHOWN], *more]))


def _difference(name: str, holder: Parameter | Array, values: Array) -> list[str]:
    unfilled = isinstance(holder, Parameter) and not holder.is_filled
    expected = holder.known_shape if isinstance(holder, Parameter) else holder.shape
    if not (holder.fits(values.shape) if isinstance(holder, Parameter) else expected == values.shape):
        return [f"{name}: expected shape {expected}, the file has {values.shape}"]
    # Values of another width would be rounded, and the run would not go on with the same bits.
    if not unfilled and holder.dtype != values.dtype:
        return [f"{name}: expected {holder.dtype}, the file has {values.dtype}"]
    return []


def _check_kind(what: str, own: object, saved: dict[str, Any] | None) -> None:
    ours, theirs = type(own).__name__ if own else "none", saved["class"] if saved else "none"
    if ours != theirs:
        raise ValueError(f"the run in the file had the {what} {theirs}, this Trainer has {ours}")


def _holders(model: nn.Module) -> dict[str, Parameter | Array]:
    """Every Parameter and buffer, each once, by its name in the file."""
    saved = {**dict(model.named_parameters()), **dict(model.named_buffers(persistent_only=True))}
    others = {name: array for name, array in model.named_buffers() if name not in saved}
    model_part = {f"model.{name}": holder for name, holder in saved.items()}
    return {**model_part, **{f"buffer.{name}": array for name, array in others.items()}}


def _dropouts(model: nn.Module) -> dict[str, nn.Dropout]:
    """The layers whose masks come from a stream of their own."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Dropout)}


def _values(name: str, holder: Parameter | Array) -> Array:
    if isinstance(holder, Parameter) and not holder.is_filled:
        raise RuntimeError(f"save: {name} has no values yet: run a forward pass first, so that its layer has sizes")
    return holder.data if isinstance(holder, Parameter) else holder


def _part(tensors: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _arrays(values: Values) -> dict[str, Array]:
    return {name: value for name, value in values.items() if is_array(value)}


def _others(values: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not is_array(value)}
