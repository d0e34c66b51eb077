"""The file of a checkpoint: what is in it, and what is refused before anybody looks at a model.

    model.<name>            Parameters and persistent buffers
    buffer.<name>           the other buffers (Dropout's counters)
    optimizer.<name>        the optimizer's arrays ("optimizer.velocity.0")
    average.<name>          the averages of a WeightAverage
    callback.<key>.<name>   a callback's arrays; its key is its class, with a number behind the second of a class

and in the metadata {"format": "minicnn", "layout": "HWIO", "version": "2", "state": ...}, the last being JSON: the
epochs done and how far the next one is, the history, the engine's seed, Dropout's streams, and the numbers of
optimizer, schedule, average and callbacks. Version 1 had no epoch under way, no average and no callbacks.
"""

from __future__ import annotations

import json
import os
from typing import Any

from .._files import PathLike, write_whole
from ..ops.checks import is_whole
from .epoch import EpochState

Array = Any
State = dict[str, Any]
VERSION = "2"


def write(path: PathLike, tensors: dict[str, Array], state: State) -> None:
    """Put tensors, as NumPy arrays, and state at `path`; raises OSError, naming the path, where that cannot be."""
    from safetensors.numpy import save as as_safetensors  # here: `import minicnn` should not wait for it

    metadata = {"format": "minicnn", "layout": "HWIO", "version": VERSION, "state": json.dumps(state)}
    write_whole(path, as_safetensors(tensors, metadata=metadata), "the checkpoint")


def read(path: PathLike) -> tuple[dict[str, Array], State]:
    """The tensors and the state in a file, of either version, after the checks that need no Trainer."""
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


def _state_in(place: str, metadata: dict[str, str]) -> State:
    if metadata.get("format") != "minicnn" or metadata.get("layout") != "HWIO" or "state" not in metadata:
        raise ValueError(
            f'{place} is not a checkpoint of minicnn: expected the metadata format "minicnn", layout "HWIO" and a '
            f"state, got {dict(metadata, state='...') if 'state' in metadata else metadata}. Weights of another "
            "library lie in another layout (OIHW), which a square weight would not show: "
            "model.load_pretrained(path) turns them"
        )
    version = metadata.get("version")
    if version not in ("1", VERSION):
        raise ValueError(
            f"{place} is a checkpoint of version {version}, and this minicnn reads versions 1 and {VERSION}: "
            "use the minicnn that wrote it"
        )
    try:
        state: State = json.loads(metadata["state"])
        if version == "1":
            state |= {"under_way": EpochState().state_dict(), "average": None, "callbacks": {}}
        _check_state(state)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: the state in the metadata is damaged ({error!r})") from error
    return state


def _check_state(state: State) -> None:
    """Raise unless the state has the form that `save_checkpoint` gives it; the rest is for the parts to judge."""
    rows, streams = state["history"].values(), state["dropout"].values()
    parts = (state["optimizer"], state["schedule"] or state["optimizer"])
    sound = {
        "epoch": is_whole(state["epoch"]) and state["epoch"] >= 0,
        "history": all(isinstance(row, list) and len(row) == state["epoch"] for row in rows)
        and all(isinstance(value, int | float) for row in rows for value in row),
        "seed": _is_in(state["seed"], 2**64),
        "model": isinstance(state["model"], str),
        "dropout": all(_is_in(seed, 2**64) and _is_in(layer, 2**32) for seed, layer in streams),
        "settings": all(isinstance(part["class"], str) and isinstance(part["settings"], dict) for part in parts),
        "average": state["average"] is None or isinstance(state["average"]["class"], str),
        "callbacks": all(isinstance(values, dict) for values in state["callbacks"].values()),
    }
    if not all(sound.values()):
        raise ValueError(f"wrong: {', '.join(name for name in sound if not sound[name])}")
    EpochState.of(state["under_way"])


def _is_in(value: Any, end: int) -> bool:
    return is_whole(value) and 0 <= value < end
