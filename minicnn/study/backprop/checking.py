"""Sampled gradients of a recording against central differences, through the rest of the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ... import kernels
from ..._function import Function
from ...device import is_array, to_device
from ...graph.network import again
from ...ops.conv import Conv2d
from ...ops.movement import To
from .recording import Recording, Step, telling_cells

Array = Any

LEAST, MOST = 1e-6, 1e-3  # of a number, or of 1 if that is larger, by which it is moved; see `_Again.move`
SEEN = 1e-9  # of the loss, or of 1 if that is larger: float64 rounds it in the last seven digits of that
FLOOR = 1e-3  # of a gradient's largest number: errors of smaller ones are given relative to that
KINK = 0.1  # by how much the slopes on both sides differ, relative to the larger one
SAME = 1e-3  # by how much the loss computed again may differ
WORK = 5e9  # additions and multiplications that the differences of the loss may take in all: some seconds


@dataclass(frozen=True)
class Check:
    """One number of a gradient, found in two ways.

    node, input, index: of the part that a step's `backward` gave to its input. backward: that number.
    difference: (L(+h) - L(-h)) / 2h, L being the loss with that one number of the input moved by h, as this step alone
        reads it.
    relative_error: |backward - difference| relative to the larger one, and at least to a thousandth of the largest
        number of the gradient.
    through: "network"; or "step" where L is not the loss but its linear part at the step's result y, the sum of
        dy * y, so that the step's own backward is tested alone.
    kink: whether L has a corner there (a ReLU at 0, a tie between the cells of a window): the slopes on both sides
        differ, and backward may give any number between them.
    """

    node: int
    input: int
    index: tuple[int, ...]
    backward: float
    difference: float
    relative_error: float
    through: str
    kink: bool


class NotRepeatable(Exception):
    """The steps of a recording, run again in float64, do not give the loss that was recorded; it says why."""


def checks(recording: Recording, count: int = 3, work: float = WORK) -> list[Check]:
    """Sampled numbers of the gradient in each input of each step, against central differences.

    The gradients are the engine's, of the pass that was recorded. For the differences the step is computed again with
    one number of its input moved, and with it all that follows to the loss: in float64, by the reference room, on the
    recorded values. So each check tests the step's own backward together with those of all the steps behind it.

    count: numbers of each gradient, the largest among them. work: what all this may take; where it would take more,
    one number of each gradient is checked, and that through the step alone but for every second, third, .. gradient.

    Raises NotRepeatable where the loss is not computed as it was recorded.
    """
    again_ = _Again(recording)
    with kernels.use("reference"), np.errstate(all="ignore"):
        again_.check_repeats()
        every = [(step, i, part) for step in recording.steps for i, part in enumerate(step.parts) if part is not None]
        cost = sum(2 * again_.work(step) for step, _, _ in every)
        large = count * cost > work
        nth = math.ceil(cost / work) if large else 1
        return [
            again_.check(step, i, index, "step" if number % nth else "network")
            for number, (step, i, part) in enumerate(every)
            for index in telling_cells(part, 1 if large else count)
        ]


class _Again:
    """The steps of a recording, to be run again in float64 from any of them on."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.values = [t.value.astype(np.float64) if t.value.dtype.kind == "f" else t.value for t in recording.tensors]
        self.operations = [_doubled(step.operation) for step in recording.steps]
        self.last = recording.loss.id

    def check_repeats(self) -> None:
        """Raise NotRepeatable unless the steps give the recorded loss again."""
        recorded, new = float(self.values[self.last].reshape(())), dict[int, Array]()
        for step in self.recording.steps:
            if step.output in self.needed:
                new[step.output] = self.run(step, [new.get(t, self.values[t]) for t in step.inputs])
        got = float(np.reshape(new[self.last], ()))
        if not abs(got - recorded) <= SAME * max(1, abs(recorded)):
            raise NotRepeatable(
                f"computed again in float64 the loss is {got:.6g} instead of {recorded:.6g}: something in the network "
                "does not repeat itself, or computes with fewer digits, so its differences would mean nothing"
            )

    def check(self, step: Step, input: int, index: tuple[int, ...], through: str) -> Check:
        x, part = self.values[step.inputs[input]], step.parts[input]
        backward, least = float(part[index]), FLOOR * float(np.abs(part).max())  # type: ignore[arg-type,index]
        h = self.move(max(abs(backward), least)) * max(1.0, abs(float(x[index])))
        below, above = (self.moved(step, input, index, move, through) for move in (-h, h))
        difference = (above - below) / (2 * h)
        scale = max(abs(backward), abs(difference), least)
        error = abs(backward - difference) / scale if scale else 0.0
        kink = False
        if error > SAME:
            middle = self.moved(step, input, index, 0, through)
            slopes = (above - middle) / h, (middle - below) / h
            kink = abs(slopes[0] - slopes[1]) > KINK * max(map(abs, slopes))
        return Check(step.id, input, index, backward, difference, error, through, kink)

    def move(self, slope: float) -> float:
        """How far to move a number: as little as can be seen, for a large move meets the corners of more ReLUs."""
        seen = SEEN * max(1.0, abs(float(self.values[self.last].reshape(()))))
        return min(max(seen / slope, LEAST), MOST) if slope else MOST

    def moved(self, step: Step, input: int, index: tuple[int, ...], h: float, through: str) -> float:
        """L with one number of an input moved by h."""
        x = self.values[step.inputs[input]].copy()
        x[index] += h
        arrays = [x if i == input else self.values[t] for i, t in enumerate(step.inputs)]
        if through == "network":
            return self.loss(step, arrays)
        return float((self.run(step, arrays) * self.recording.tensors[step.output].gradient).sum())

    def loss(self, step: Step, arrays: list[Array]) -> float:
        """The loss with these arrays as the inputs of a step; what other steps read besides is as recorded."""
        new = {step.output: self.run(step, arrays)}
        for later in self.after(step):
            new[later.output] = self.run(later, [new.get(t, self.values[t]) for t in later.inputs])
        return float(np.reshape(new[self.last], ()))

    def run(self, step: Step, arrays: list[Array]) -> Array:
        operation = self.operations[step.id]
        y = arrays[0] if operation is None else np.asarray(again(operation).forward(*arrays))
        if y.dtype != np.float64:
            raise NotRepeatable(
                f"{step.operation.name} returned {y.dtype} for float64 inputs: it loses precision on the way, so "
                "differences of the loss would mean nothing"
            )
        return y

    def after(self, step: Step) -> Iterator[Step]:
        """The steps that come to something else when a step does, and on which the loss depends."""
        new = {step.output}
        for later in self.recording.steps[step.id + 1 :]:
            if later.output in self.needed and new.intersection(later.inputs):
                new.add(later.output)
                yield later

    @cached_property
    def needed(self) -> set[int]:
        """The tensors on which the loss depends."""
        needed = {self.last}
        for step in reversed(self.recording.steps):
            if step.output in needed:
                needed.update(step.inputs)
        return needed

    def work(self, step: Step) -> float:
        """About how many additions and multiplications it takes to compute a step and what follows it."""
        return sum(map(self._own_work, [step, *self.after(step)]))

    def _own_work(self, step: Step) -> float:
        sizes = [self.values[t].size for t in (*step.inputs, step.output)]
        w = self.values[step.inputs[1]] if len(step.inputs) > 1 else None
        product = sizes[-1] * w.size // w.shape[-1] if w is not None and step.arguments()[1] == "w" else 0
        return 2.0 * product + 20.0 * sum(sizes)


def _doubled(operation: Function) -> Function | None:
    """An operation as the reference room can run it in float64; None for one that only moves or converts."""
    if isinstance(operation, To):
        return None
    new = again(operation)
    arrays = {name: to_device(v, "cpu") for name, v in vars(new).items() if is_array(v)}
    if isinstance(operation, Conv2d):
        return again(new, **arrays, geometry=(*operation.geometry[:4], "auto"))
    return again(new, **arrays)
