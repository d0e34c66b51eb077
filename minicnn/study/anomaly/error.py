"""What is said of a NaN or an infinity: who made it, of what, and why."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...device import array_module

Array = Any
WIDTH = 80


def is_finite(array: Array) -> bool:
    """Whether no element is NaN or infinite."""
    return array.dtype.kind != "f" or bool(array_module(array).isfinite(array).all())


@dataclass(frozen=True)
class Range:
    """An array in few numbers. low, high: of its finite elements, NaN if there are none. not_finite: a share, 0 to 1.

    place: the index of the first element that is not finite, in row-major order; None if there is none.
    """

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    not_finite: float
    place: tuple[int, ...] | None
    has_nan: bool

    @classmethod
    def of(cls, name: str, array: Array) -> Range:
        """The Range of an array."""
        xp = array_module(array)
        finite = xp.isfinite(array)
        kept = array[finite]
        low, high = (float(kept.min()), float(kept.max())) if kept.size else (float("nan"),) * 2
        place = None
        if kept.size < array.size:
            place = tuple(int(i) for i in xp.unravel_index(finite.ravel().argmin(), array.shape))
        share = 1 - kept.size / max(array.size, 1)
        return cls(name, array.shape, low, high, share, place, bool(xp.isnan(array).any()))

    @property
    def size(self) -> float:
        """The largest finite absolute value."""
        return max(abs(self.low), abs(self.high))

    def __str__(self) -> str:
        span = f"from {self.low:.3g} to {self.high:.3g}" if self.not_finite < 1 else "no finite number"
        return f"{span}, all finite" if self.place is None else f"{span}, {100 * self.not_finite:.3g} % not finite"


class AnomalyError(RuntimeError):
    """A NaN or an infinity was made; `detect_anomaly` raises it.

    where: "forward", "backward" or "step". layer: the dotted name of the Module with its class, "features.3 (Conv2d)";
        in a step the Parameter's name; "" for an operation outside of any Module. operation: the Function's name, or
        the Optimizer's. sample: its number in the batch, None where a sample cannot be told.
    inputs: the Ranges of what went in. result: that of what came out.
    when: what else is known of the time. cause: what is likely to blame, a sentence; "" where that is not clear.
    """

    def __init__(
        self, where: str, layer: str, operation: str, sample: int | None, when: Sequence[str],
        inputs: tuple[Range, ...], result: Range, cause: str,
    ) -> None:  # fmt: skip
        self.where, self.layer, self.operation, self.sample = where, layer, operation, sample
        self.inputs, self.result, self.cause = inputs, result, cause
        what, by = "a NaN" if result.has_nan else "an infinity", layer or "an operation outside of any layer"
        who = {
            "forward": f"{by} made {what} in the forward pass, in {operation}",
            "backward": f"{by} made {what} in the backward pass of {operation}",
            "step": f"{operation}.step made {what} of {layer}",
        }[where]
        at = [f"sample {sample} of the batch"] if sample is not None else []
        at += [f"at {result.place}"] if result.place else []
        super().__init__(f"{who} ({', '.join([*at, *when])})\n{self._table()}")

    def _table(self) -> str:
        rows = [*self.inputs, self.result]
        names, shapes = max(len(row.name) for row in rows), max(len(str(row.shape)) for row in rows)
        lines = [f"  {row.name.ljust(names)}  {str(row.shape).ljust(shapes)}  {row}" for row in rows]
        return "\n".join([*lines, *textwrap.wrap(f"Likely: {self.cause}." if self.cause else "", WIDTH)])
