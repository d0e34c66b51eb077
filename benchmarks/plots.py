"""The pictures of the benchmarks, drawn with matplotlib."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import report

MARKERS = "ox^+s"  # of contenders in a roofline
INK = "#222222"
ROOM_COLOURS = {"reference": "#6b7280", "cpu": "#1f6fd6", "torch": "#c65a11", "cuda": "#2a7f2e", "cublas": "#8a4bb8"}
LEAST_ERROR = 2.0**-6  # an error of 0 has no place on a logarithmic axis: it stands here


def draw_ratios(path: Path, ratios: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Draw {label: {series: ratios}}: a line for each label with a dot for each ratio, and a bar at their mean.

    The mean is the geometric one: a shape that takes twice the time and one that takes half of it cancel out.
    """
    figure = new_figure(1.4 + 0.22 * len(ratios))
    axes = figure.add_subplot()
    series = list(dict.fromkeys(name for known in ratios.values() for name in known))
    height = 0.8 / max(1, len(series))
    for i, name in enumerate(series):
        known = [(y + i * height, each[name]) for y, each in enumerate(ratios.values()) if each.get(name)]
        axes.plot([x for _, xs in known for x in xs], [y for y, xs in known for _ in xs], ".", ms=3, color=f"C{i}")
        means = [statistics.geometric_mean(xs) for _, xs in known]
        # A bar on a logarithmic axis has no zero to stand on: it stands on 1, where both are equally fast.
        axes.barh([y for y, _ in known], [mean - 1 for mean in means], 0.9 * height, left=1, label=name, alpha=0.6)
    axes.axvline(1, color=INK, linewidth=0.8)
    _logarithmic(axes.set_xscale, axes.xaxis)
    axes.set_yticks([y + 0.4 - height / 2 for y in range(len(ratios))], list(ratios), fontsize=7)
    axes.set_ylim(len(ratios) - 0.4, -0.6)
    axes.set_xlabel("time ratio; left of 1, the one named first is faster", fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    save(figure, path)


def draw_roofline(
    path: Path, points: Mapping[str, Sequence[tuple[str, float, float]]], roofs: Mapping[str, Any], title: str
) -> None:
    """Draw speed over arithmetic intensity, below the roofs.

    points: {contender: [(kernel, operations a byte, operations a second), ...]}; each contender has a marker, and each
    kernel a colour. roofs: {label: `roofs.Roofs`}.
    """
    figure = new_figure(5.5)
    axes = figure.add_subplot()
    every = [point for each in points.values() for point in each]
    low, high = min(x for _, x, _ in every) / 2, max(x for _, x, _ in every) * 2
    for (label, limits), style in zip(roofs.items(), ("-", "--", ":"), strict=False):
        corner = limits.peak / limits.bandwidth
        roof = [x for x in (low, corner, high) if low <= x <= high]
        axes.plot(roof, [limits.at(x) / 1e9 for x in roof], style, color=INK, linewidth=1,
                  label=f"{label}: {limits.peak / 1e9:.0f} GFLOP/s, {limits.bandwidth / 1e9:.0f} GB/s")  # fmt: skip
    colours = {kernel: f"C{i}" for i, kernel in enumerate(dict.fromkeys(kernel for kernel, _, _ in every))}
    for i, (each, marker) in enumerate(zip(points.values(), MARKERS, strict=False)):
        for kernel, colour in colours.items():
            mine = [(x, y / 1e9) for name, x, y in each if name == kernel]
            axes.plot([x for x, _ in mine], [y for _, y in mine], marker, ms=4 if i else 5, mfc="none", color=colour,
                      alpha=0.6 if i else 1, label="" if i else kernel)  # fmt: skip
    _logarithmic(axes.set_xscale, axes.xaxis)
    _logarithmic(axes.set_yscale, axes.yaxis)
    names = ", ".join(f"{marker} {name}" for marker, name in zip(MARKERS, points, strict=False))
    axes.set_xlabel(f"operations for each byte that must be read or written ({names})", fontsize=8)
    axes.set_ylabel("GFLOP/s", fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    save(figure, path)


def draw_scaling(path: Path, lines: Mapping[str, Sequence[tuple[int, float, int | None]]], title: str) -> None:
    """Draw {label: [(multiply-adds, seconds, peak bytes), ...]}: time above, memory below, both over the work."""
    figure = new_figure(7)
    above, below = figure.subplots(2, 1, sharex=True)
    for label, points in lines.items():
        work, seconds, peaks = zip(*points, strict=True)
        above.plot([n / 1e9 for n in work], seconds, "o-", ms=4, label=label)
        known = [(n / 1e9, peak / 1e6) for n, peak in zip(work, peaks, strict=True) if peak is not None]
        below.plot([x for x, _ in known], [y for _, y in known], "o-", ms=4, label=label)
    for axes, unit in ((above, "seconds of a step"), (below, "peak memory, MB")):
        _logarithmic(axes.set_yscale, axes.yaxis)
        axes.set_ylabel(unit, fontsize=8)
        axes.grid(alpha=0.3)
    _logarithmic(below.set_xscale, below.xaxis)
    below.set_xlabel("10**9 multiply-adds of the forward pass", fontsize=8)
    above.set_title(title, fontsize=9)
    above.legend(fontsize=7)
    save(figure, path)


def draw_race(path: Path, outcome: Any, title: str) -> None:
    """Draw a `race_run.Outcome`: times and errors of the contenders side by side, and below them the roofline."""
    above = 1.2 + 0.24 * len(outcome.finished)
    below = 3.6 if outcome.finished and outcome.work.operations else 0
    figure = new_figure(above + below)
    parts = figure.subfigures(2, 1, height_ratios=(above, below)) if below else [figure.subfigures(1, 1)]
    figure.suptitle(f"{outcome.case.kernel} {outcome.case.shape}\n{title}", fontsize=9)
    if outcome.finished:
        times, errors = parts[0].subplots(1, 2, sharey=True, width_ratios=(3, 2))
        _draw_times(times, outcome)
        _draw_errors(errors, outcome)
    else:
        parts[0].text(0.5, 0.4, "nobody has a time", ha="center", fontsize=9)
    if below:
        _draw_points(parts[1].add_subplot(), outcome)
    save(figure, path)


def _draw_times(axes: Any, outcome: Any) -> None:
    """A bar from the limit to the median, and a line from quartile to quartile."""
    names = [runner.name for runner in outcome.finished]
    for y, runner in enumerate(outcome.finished):
        median, limit = outcome.race.seconds(runner.name), outcome.limit(runner)
        lower, upper = outcome.race.quartiles(runner.name)
        axes.barh(y, median - limit, 0.55, left=limit, color=ROOM_COLOURS[runner.room], alpha=0.55)
        axes.plot([lower, upper], [y, y], color=ROOM_COLOURS[runner.room], linewidth=2.5)
        axes.plot(median, y, "o", ms=4, color=ROOM_COLOURS[runner.room])
        axes.annotate(report.duration(median), (max(median, limit, upper), y), (6, 0), textcoords="offset points",
                      va="center", fontsize=7)  # fmt: skip
    limits = {outcome.limit(runner) for runner in outcome.finished}
    for limit in limits:
        axes.axvline(limit, color=INK, linewidth=1, linestyle="--")
    every = [*limits, *(seconds for rounds in outcome.race.bursts.values() for seconds in rounds)]
    wide = max(every) / min(every)
    axes.set_xscale("log")
    axes.set_xlim(min(every) / wide**0.08, max(every) * wide**0.2)  # room for the figures on the right
    _logarithmic(axes.set_xscale, axes.xaxis)
    axes.xaxis.set_major_formatter(lambda value, _: round_duration(value))
    axes.tick_params(axis="x", labelsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("time of a call; a bar begins at the limit", fontsize=8)


def _draw_errors(axes: Any, outcome: Any) -> None:
    """A line from the median to the largest error, and the plain ones fainter below it."""
    for y, runner in enumerate(outcome.finished):
        pairs = list(zip(runner.agreement.median, runner.agreement.largest, strict=True))
        for (median, largest), shift, strength in zip(pairs, (-0.12, 0.18), (1, 0.4), strict=True):
            shown = [max(median, LEAST_ERROR), max(largest, LEAST_ERROR)]
            axes.plot(shown, [y + shift] * 2, "-", color=ROOM_COLOURS[runner.room], alpha=strength, linewidth=1.5)
            axes.plot(shown[1], y + shift, "o", ms=4 if strength == 1 else 3, color=ROOM_COLOURS[runner.room],
                      alpha=strength)  # fmt: skip
    axes.axvline(0.5, color=INK, linewidth=1, linestyle="--")
    _logarithmic(axes.set_xscale, axes.xaxis)
    axes.xaxis.get_major_locator().set_params(numticks=6)  # of ten decades every other one
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("ULPs of terms, median to largest; faint: plain", fontsize=8)


def _draw_points(axes: Any, outcome: Any) -> None:
    """Every contender's speed below the roofs; they lie above each other, as all do the same work."""
    intensity = outcome.work.intensity
    corners = [roofs.peak / roofs.bandwidth for roofs in outcome.limits.values()]
    low, high = min(intensity, *corners) / 4, max(intensity, *corners) * 8
    for (name, roofs), style in zip(outcome.limits.items(), ("-", "--"), strict=False):
        places = [low, roofs.peak / roofs.bandwidth, high]
        said = f"limits of the {name}: {roofs.peak / 1e9:.0f} GFLOP/s, {roofs.bandwidth / 1e9:.0f} GB/s"
        axes.plot(places, [roofs.at(x) / 1e9 for x in places], style, color=INK, linewidth=1, label=said)
    speeds = [outcome.rates(runner)[0] / 1e9 for runner in outcome.finished]
    for runner, speed in zip(outcome.finished, speeds, strict=True):
        axes.plot(intensity, speed, "o", ms=5, color=ROOM_COLOURS[runner.room], mec="white", mew=0.5)
    _logarithmic(axes.set_xscale, axes.xaxis)
    _logarithmic(axes.set_yscale, axes.yaxis)
    _name_points(axes, intensity, {r.name: speed for r, speed in zip(outcome.finished, speeds, strict=True)})
    axes.tick_params(labelsize=7)
    axes.set_xlabel("operations for each byte that must be read or written", fontsize=8)
    axes.set_ylabel("GFLOP/s", fontsize=8)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)


def _name_points(axes: Any, x: float, speeds: Mapping[str, float]) -> None:
    """Names beside points that lie above each other, spread so that they can be read, each with a line to its point."""
    (left, right), (bottom, top) = (map(math.log, limits) for limits in (axes.get_xlim(), axes.get_ylim()))
    along = (math.log(x) - left) / (right - left)
    beside, side = (along + 0.03, "left") if along < 0.6 else (along - 0.03, "right")
    places = [100 * (top - math.log(speed)) / (top - bottom) for speed in speeds.values()]
    for (name, speed), place in zip(speeds.items(), spread(places, 5.5, 97), strict=True):
        axes.annotate(name, (x, speed), (beside, 1 - place / 100), textcoords="axes fraction", ha=side, va="center",
                      fontsize=7, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5}, zorder=4,
                      arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkA": 1,
                                              "relpos": (float(side == "right"), 0.5)})  # fmt: skip


def round_duration(seconds: float) -> str:
    """As `report.duration`, for a round number: 5 ms."""
    number, unit = report.duration(seconds).split()
    return f"{float(number):g} {unit}"


def spread(places: Sequence[float], apart: float, last: float) -> list[float]:
    """Places from above, moved so that neighbours keep their order and lie `apart`, and none lies behind `last`."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [0.0] * len(places)
    above = -math.inf
    for i in order:
        moved[i] = above = max(places[i], above + apart)
    below = last + apart
    for i in reversed(order):
        moved[i] = below = min(moved[i], below - apart)
    return [round(place, 2) for place in moved]


def new_figure(height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(8, height), layout="constrained")


def _logarithmic(set_scale: Any, axis: Any) -> None:
    """A logarithmic axis with 1, 2 and 5 of each decade written out; with 1 alone where there are many decades."""
    from matplotlib.ticker import LogLocator, NullFormatter

    set_scale("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if math.log10(high / low) < 4 else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:], dpi=120)
    report.write(path, picture.getvalue())
