"""The checkpoint: everything that a run needs to go on as if it had never stopped, in one safetensors file.

    model.<name>       Parameters and persistent buffers
    buffer.<name>      the other buffers (Dropout's counters)
    optimizer.<name>   the optimizer's arrays ("optimizer.velocity.0")

and in the metadata {"format": "minicnn", "layout": "HWIO", "version": "1", "state": ...}, the last being JSON: the
epoch, the history, the engine's seed, Dropout's streams, and the numbers of optimizer and schedule.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _random, nn
from .._files import PathLike, write_whole
from ..device import device_of, to_device
from ..nn import Parameter
from ..ops.checks import is_whole

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any
VERSION = "1"
SHOWN = 10  # differences that an error lists before it only counts


def save_checkpoint(path: PathLike, trainer: Trainer) -> None:
    """Write a Trainer's state to `path`; at any moment the file there is the old one or the new one, both whole.

    Raises RuntimeError for a Parameter without values, and OSError, naming the path, where the file cannot be written.
    """
    from safetensors.numpy import save as as_safetensors  # here: `import minicnn` should not wait for it

    state = trainer.optimizer.state_dict()
    arrays = {name: _values(name, holder) for name, holder in _holders(trainer.model).items()}
    arrays |= {f"optimizer.{name}": value for name, value in state.items() if _is_array(value)}
    tensors = {name: np.asarray(to_device(array, "cpu"), order="C") for name, array in arrays.items()}
    settings = {name: value for name, value in state.items() if not _is_array(value)}
    write_whole(path, as_safetensors(tensors, metadata=_metadata(trainer, settings)), "the checkpoint")


def load_checkpoint(path: PathLike, trainer: Trainer) -> None:
    """Put the state at `path` into a Trainer built as the saved one was; nothing is changed unless everything fits.

    Raises FileNotFoundError; and ValueError, saying what differs, for a file that is not a whole checkpoint of
    minicnn, and for another model, optimizer or schedule.
    """
    tensors, state = _read(path)
    optimizer = {**state["optimizer"]["settings"], **_part(tensors, "optimizer.")}
    try:
        _check_model(trainer.model, tensors, state)
        _check_kind("optimizer", trainer.optimizer, state["optimizer"])
        trainer.optimizer.check_state_dict(optimizer)
        _check_kind("schedule", trainer.schedule, state["schedule"])
        if trainer.schedule is not None:
            trainer.schedule.check_state_dict(state["schedule"]["settings"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)} does not fit, and nothing was changed: {error}") from error

    for name, holder in _holders(trainer.model).items():
        if isinstance(holder, Parameter):
            holder.assign(tensors[name])
        else:
            holder[...] = to_device(tensors[name], device_of(holder))
    for name, dropout in _dropouts(trainer.model).items():
        dropout.seed, dropout.layer = state["dropout"][name]
    trainer.optimizer.load_state_dict(optimizer)
    if trainer.schedule is not None:
        trainer.schedule.load_state_dict(state["schedule"]["settings"])
    trainer.epoch, trainer.history = state["epoch"], state["history"]
    if _random.current_seed() != state["seed"]:  # `seed` also restarts the construction numbers: only where needed
        _random.seed(state["seed"])


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
    tensors, _ = _read(path)
    return _part(tensors, "model.")


def _metadata(trainer: Trainer, settings: dict[str, Any]) -> dict[str, str]:
    """What the file says of itself; `settings` are the optimizer's."""
    schedule = trainer.schedule
    state = {
        "epoch": trainer.epoch,
        "history": trainer.history,
        "seed": _random.current_seed(),
        "model": type(trainer.model).__name__,
        "dropout": {name: [layer.seed, layer.layer] for name, layer in _dropouts(trainer.model).items()},
        "optimizer": {"class": type(trainer.optimizer).__name__, "settings": settings},
        "schedule": schedule and {"class": type(schedule).__name__, "settings": schedule.state_dict()},
    }
    return {"format": "minicnn", "layout": "HWIO", "version": VERSION, "state": json.dumps(state)}


def _read(path: PathLike) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the state in a file, after the checks that need no Trainer."""
    from safetensors import SafetensorError, safe_open

    place = os.fspath(path)
    if os.path.isdir(place):
        raise IsADirectoryError(f"{place} is a folder: name the checkpoint in it")
    try:
        with safe_open(place, framework="numpy") as file:
            state = _state_in(place, file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118  it is no dict
    except SafetensorError as error:
        raise ValueError(f"{place} is not a whole safetensors file ({error}): use another copy") from error


def _state_in(place: str, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get("format") != "minicnn" or metadata.get("layout") != "HWIO" or "state" not in metadata:
        raise ValueError(
            f'{place} is not a checkpoint of minicnn: expected the metadata format "minicnn", layout "HWIO" and a '
            f"state, got {dict(metadata, state='...') if 'state' in metadata else metadata}. Weights of another "
            "library lie in another layout (OIHW), which a square weight would not show: "
            "model.load_pretrained(path) turns them"
        )
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"{place} is a checkpoint of version {metadata.get('version')}, and this minicnn reads version {VERSION}: "
            "use the minicnn that wrote it"
        )
    try:
        state: dict[str, Any] = json.loads(metadata["state"])
        _check_state(state)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: the state in the metadata is damaged ({error!r})") from error
    return state


def _check_state(state: dict[str, Any]) -> None:
    """Raise unless the state has the form that `_metadata` gives it; the rest is for the parts to judge."""
    rows, streams = state["history"].values(), state["dropout"].values()
    parts = (state["optimizer"], state["schedule"] or state["optimizer"])
    sound = {
        "epoch": is_whole(state["epoch"]) and state["epoch"] >= 0,
        "history": all(isinstance(row, list) and len(row) == state["epoch"] for row in rows),
        "seed": _is_in(state["seed"], 2**64),
        "model": isinstance(state["model"], str),
        "dropout": all(_is_in(seed, 2**64) and _is_in(layer, 2**32) for seed, layer in streams),
        "settings": all(isinstance(part["class"], str) and isinstance(part["settings"], dict) for part in parts),
    }
    if not all(sound.values()):
        raise ValueError(f"wrong: {', '.join(name for name in sound if not sound[name])}")


def _is_in(value: Any, end: int) -> bool:
    return is_whole(value) and 0 <= value < end


def _check_model(model: nn.Module, tensors: dict[str, Array], state: dict[str, Any]) -> None:
    """Raise ValueError that names every difference between a model and the one in the file."""
    problems = []
    if state["model"] != type(model).__name__:
        problems.append(f"the file holds a {state['model']}, this model is a {type(model).__name__}")
    expected = _holders(model)
    found = {name: array for name, array in tensors.items() if not name.startswith("optimizer.")}
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


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype")
