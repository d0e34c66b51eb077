"""The page of `race.py`: one HTML file with table, bars and roofline, which needs no other file and no network.

Here positions are computed, in `race.html.j2` they are drawn. Positions from left to right are percentages of the
picture's width, so that a telephone shows the same picture with letters of the same size; those from above are pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
from plots import LEAST_ERROR, round_duration, spread
from race_report import percent, quantity, rate, time_cells, ulp_cells, ulps, verdict

TEMPLATE = "race.html.j2"
ROW = 40  # pixels of one contender in the bars
PLOT = 300  # pixels of the roofline's height, at least
LABEL = 17  # pixels between two names in the roofline


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis from `low` to `high`; from 0 at `start` to `length` behind it, or backwards."""

    low: float
    high: float
    length: float = 100.0
    backwards: bool = False

    @classmethod
    def around(cls, values: Iterable[float], margin: float, **more: Any) -> Scale:
        """One that shows all values, and a margin, a factor, on both sides."""
        shown = list(values)
        return cls(min(shown) / margin, max(shown) * margin, **more)

    def at(self, value: float) -> float:
        """Where a value lies."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.length * (1 - share if self.backwards else share), 2)

    def ticks(self, few: int = 6) -> list[float]:
        """1, 2 and 5 of each decade that it shows; where those are many 1 and 3, the powers of ten, or some of them."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for digits, step in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
            found = [d * 10.0**e for e in range(first, last + 1) if e % step == 0 for d in digits]
            inside = [value for value in found if self.low <= value <= self.high]
            if len(inside) <= few:
                break
        return inside


def page(outcome: Any, machine: Mapping[str, Any]) -> str:
    """The whole file. machine: what `report.machine` says."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    charts = (time_bars(outcome), error_bars(outcome), roofline(outcome)) if outcome.finished else (None,) * 3
    return environment.get_template(TEMPLATE).render(
        case=outcome.case, work=work(outcome), verdict=verdict(outcome), rows=table(outcome), others=outcome.others,
        machine=machine, **dict(zip(("times", "errors", "roofline"), charts, strict=True)),
    )  # fmt: skip


def work(outcome: Any) -> list[tuple[str, str, str]]:
    """(what, how much, in which sense) of what must be done."""
    lines = [
        ("Operations", quantity(outcome.work.operations, "FLOP"), "of the definition, in floating point"),
        ("Bytes", quantity(outcome.work.moved, "B"), "arguments read once, results written once"),
        ("Intensity", f"{outcome.work.intensity:.3g} FLOP/B", "operations for each byte"),
    ]
    for name, roofs in outcome.limits.items():
        limits = f"{quantity(roofs.peak, 'FLOP/s')}, {quantity(roofs.bandwidth, 'B/s')}"
        least = report.duration(roofs.seconds(outcome.work.operations, outcome.work.moved))
        lines.append((f"Limit of the {name}", least, f"at {limits}, measured in the same run"))
    return lines


def table(outcome: Any) -> list[dict[str, Any]]:
    """For each contender with times its class, cells and note."""
    rows = []
    for runner in outcome.finished:
        name, *times, _ = time_cells(outcome, runner)
        rows.append({"name": name, "room": runner.room, "cells": [*times, *ulp_cells(runner)[1:]], "note": runner.note})
    return rows


def time_bars(outcome: Any) -> dict[str, Any]:
    """Bars that stand on the limit: how long each is says how far its contender is from what the machine can do."""
    race, runners = outcome.race, outcome.finished
    seconds = {runner.name: (race.seconds(runner.name), *race.quartiles(runner.name)) for runner in runners}
    scale = Scale.around([*map(outcome.limit, runners), *(s for each in seconds.values() for s in each)], 1.3)
    bars = []
    for i, runner in enumerate(runners):
        median, lower, upper = seconds[runner.name]
        said = f"{report.duration(median)}, {percent(outcome.share(runner))}"
        bars.append(_bar(i, runner, said, scale, outcome.limit(runner), median) | {
            "lower": scale.at(lower), "upper": scale.at(upper)})  # fmt: skip
    limits = {runner.device: scale.at(outcome.limit(runner)) for runner in runners}
    return {"bars": bars, "limits": limits, **_axis(scale, round_duration, len(runners))}


def error_bars(outcome: Any) -> dict[str, Any]:
    """Bars from the median to the largest error, in units of the terms."""
    judged = [(runner, runner.agreement.median[0], runner.agreement.largest[0]) for runner in outcome.finished]
    shown = [max(value, LEAST_ERROR) for _, *values in judged for value in values]
    scale = Scale.around([*shown, 0.25, 1.0], 1.3)
    bars = [
        _bar(i, runner, f"{ulps(median)} to {ulps(largest)}", scale,
             max(median, LEAST_ERROR), max(largest, LEAST_ERROR))
        for i, (runner, median, largest) in enumerate(judged)
    ]  # fmt: skip
    return {"bars": bars, "half": scale.at(0.5), **_axis(scale, lambda value: f"{value:g}", len(bars))}


def _bar(i: int, runner: Any, said: str, scale: Scale, start: float, end: float) -> dict[str, Any]:
    left, right = sorted((scale.at(start), scale.at(end)))
    return {"name": runner.name, "room": runner.room, "said": said, "y": i * ROW, "left": left,
            "width": round(right - left, 2), "end": scale.at(end)}  # fmt: skip


def _axis(scale: Scale, text: Any, rows: int) -> dict[str, Any]:
    return {"ticks": [(scale.at(value), text(value)) for value in scale.ticks()], "height": rows * ROW}


def roofline(outcome: Any) -> dict[str, Any] | None:
    """Operations a second over operations a byte; None where there is no operation to draw."""
    if not outcome.work.operations:
        return None
    intensity = outcome.work.intensity
    speeds = {runner.name: outcome.rates(runner)[0] for runner in outcome.finished}
    height = max(PLOT, LABEL * (len(speeds) + 2))
    corners = [roofs.peak / roofs.bandwidth for roofs in outcome.limits.values()]
    x = Scale.around([intensity, *corners], 4)
    tops = [roofs.peak for roofs in outcome.limits.values()]
    y = Scale.around([*speeds.values(), *tops, *(roofs.at(intensity) for roofs in outcome.limits.values())], 2,
                     length=height, backwards=True)  # fmt: skip
    roofs = [_roof(name, roofs, x, y) for name, roofs in outcome.limits.items()]
    names = spread([y.at(speed) for speed in speeds.values()], LABEL, height - LABEL / 2)
    points = [
        {"name": runner.name, "room": runner.room, "y": y.at(speeds[runner.name]), "label": label,
         "said": f"{rate(speeds[runner.name])} GFLOP/s"}
        for runner, label in zip(outcome.finished, names, strict=True)
    ]  # fmt: skip
    return {"x": x.at(intensity), "points": points, "roofs": roofs, "height": height,
            "x_ticks": [(x.at(value), f"{value:g}") for value in x.ticks()],
            "y_ticks": [(y.at(value), f"{value / 1e9:g}") for value in y.ticks()]}  # fmt: skip


def _roof(name: str, roofs: Any, x: Scale, y: Scale) -> dict[str, Any]:
    """The slope of the memory from the lower or left edge on, and the level of the cores."""
    corner = roofs.peak / roofs.bandwidth
    start = max(x.low, y.low / roofs.bandwidth)
    return {"name": name, "start": (x.at(start), y.at(roofs.at(start))), "corner": (x.at(corner), y.at(roofs.peak)),
            "end": 100, "peak": quantity(roofs.peak, "FLOP/s"), "memory": quantity(roofs.bandwidth, "B/s")}  # fmt: skip
