"""What an error in a forward pass says about where it arose: the layers so far, with the shapes of their results.

While all is well, nothing is kept for it. Python's own stack knows which Modules are being called when an error comes;
what the layers before made is found by running the network once more. That is not done where layers speak with other
ranks, which would take it for the next thing that this rank has to say.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from .. import _function
from .._function import no_grad
from .._tensor import Tensor
from ..device import is_recording
from .module import Module, _observers, observe
from .sample import buffers_kept

WIDTH = 80
FIRST, LAST = 6, 14  # of the layers before the one that failed, so many are shown at either end
Call = tuple[Module, tuple[Any, ...]]
_one_at_a_time = threading.RLock()  # the observers, which a second run puts aside, are those of all threads


@dataclass(frozen=True)
class Row:
    """A line of the drawing: a Module that has ended, or an operation between Modules."""

    name: str
    kind: str
    shape: str


def current_calls() -> list[Call]:
    """The Modules that are being called now, with their inputs, inner ones first."""
    frames, frame = [], sys._getframe(1)
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return _calls(frames)


def failed_calls(error: BaseException) -> list[Call]:
    """The Modules that an error has come through, with their inputs, inner ones first."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return _calls(reversed(frames))


def _calls(frames: Iterable[FrameType]) -> list[Call]:
    calls = (frame.f_locals for frame in frames if frame.f_code is Module.__call__.__code__)
    return [(names["self"], names["inputs"]) for names in calls]


def explain(module: Module, inputs: tuple[Any, ...], error: ValueError) -> None:
    """Write behind the sentence of an error that a Module's forward has raised what it is made for, if its inputs are
    something else; and if it is the whole network, the drawing of its layers."""
    if type(error) is not ValueError or len(error.args) != 1:
        return  # another class of error may have another idea of its arguments
    sentence = str(error)
    got = getattr(inputs[0], "shape", None) if inputs else None
    if module.input_shape is not None and got is not None and got[1:] != module.input_shape:
        made_for = ", ".join(map(str, ("N", *module.input_shape)))
        sentence = f"{sentence} (this network is made for inputs ({made_for}), got {got})"
    outermost = len(current_calls()) == 1
    speaks = any(hasattr(layer, "communicator") for layer in module.modules())
    if outermost and next(module.children(), None) is not None and not is_recording() and not speaks:
        sentence = f"{sentence}\n\n{drawing(module, inputs, error)}"
    error.args = (sentence,)


def drawing(network: Module, inputs: tuple[Any, ...], error: Exception) -> str:
    """The layers of a network that have ended, and the one that failed marked, in lines of 80 columns."""
    names = {id(module): name for name, module in network.named_modules()}
    with _one_at_a_time:
        made, again = _run_again(network, inputs, names)
    rows = [Row("input", "", _shapes(inputs)), *made]
    if len(rows) > FIRST + LAST + 2:
        left_out = Row(f"... {len(rows) - FIRST - LAST - 1} more ...", "", "")
        rows = [*rows[: FIRST + 1], left_out, *rows[-LAST:]]
    # The second run knows better: a Sequential that is watched calls each layer, and no two as one.
    module, inputs = failed_calls(again or error)[0]
    # A Module with others inside it has called those that have a row here; what it got lies further up.
    got = f"got {_shapes(inputs)}" if next(module.children(), None) is None else "its forward fails here"
    rows.append(Row(names.get(id(module), ""), type(module).__name__, got))
    shapes = max(len(row.shape) for row in rows)
    kinds = min(max(len(row.kind) for row in rows), 24)
    width = min(max(len(row.name) for row in rows), max(WIDTH - 6 - kinds - shapes, 12))
    marks = [" "] * (len(rows) - 1) + [">"]
    lines = (
        f"{mark} {_cut(row.name, width)}  {_cut(row.kind, kinds)}  {row.shape}"
        for mark, row in zip(marks, rows, strict=True)
    )
    return "\n".join(line.rstrip() for line in lines)


def _run_again(network: Module, inputs: tuple[Any, ...], names: dict[int, str]) -> tuple[list[Row], Exception | None]:
    """What the network does with these inputs until it fails, and how: once more, unseen, and its buffers are kept.

    A Module with Modules inside it has a row only where its result has another shape than the row before.
    """
    rows: list[Row] = []
    inside: list[Module] = []

    def note(operation: _function.Function, _: tuple[Tensor, ...], output: Tensor) -> None:
        if inside and next(inside[-1].children(), None) is not None:  # else the Module's own row tells
            rows.append(Row(names.get(id(inside[-1]), ""), operation.name.lower(), str(output.shape)))

    def leave(module: Module, _: tuple[Any, ...], output: Any) -> None:
        inside.pop()
        shape = _shapes(output if isinstance(output, tuple) else (output,))
        if next(module.children(), None) is None or not rows or rows[-1].shape != shape:
            rows.append(Row(names.get(id(module), ""), type(module).__name__, shape))

    others = (_observers[:], _function._observers[:])
    _observers.clear()  # whoever watches has seen the pass already
    _function._observers.clear()
    watching = (_function.observe(note), observe(leave, before=inside.append))
    try:
        with buffers_kept(network), no_grad(), np.errstate(all="ignore"), watching[0], watching[1]:
            network(*inputs)
    except Exception as error:
        return rows, error
    finally:
        _observers[:], _function._observers[:] = others
    return rows, None


def _shapes(values: tuple[Any, ...]) -> str:
    return ", ".join(str(value.shape) if isinstance(value, Tensor) else type(value).__name__ for value in values)


def _cut(text: str, width: int) -> str:
    """Text in a column; of what is too long the end, which says the most."""
    return text.ljust(width) if len(text) <= width else "..." + text[len(text) - width + 3 :]
