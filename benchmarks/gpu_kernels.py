"""`bench_kernels.py --device cuda`: the rows of `gpu_rows.py` measured, printed, and written to a file.

The table's GB/s are those of the cuda room. "limit" is the share that it reaches of what the same run found the card to
do at best (`gpu_roofs.py`): by that the operations need a time, and the bytes, of which the longer counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import gpu_roofs
import gpu_settings
import harness
import plots
import report
import roofs
from conv_cases import Case
from gpu_rows import ENDS, TOLERANCES, Field, GpuRow, measure
from harness import Pace
from kernel_rows import groups, mean_ratios, ratios

WIDTHS = (26, 8, 8, 6, 5, 5, 8, 6)
HEAD = ("shape", "cpu", "cuda", "cpu/cu", "GB/s", "limit", "torch", "cu/tor")
DETAILS = ("  contender", "time", "TFLOP/s", "", "GB/s", "limit", "error", "ulps")
MEAN_WIDTHS = (41, 5, 7, 7, 7, 6)
MEANS = ("geometric means", "rows", "cu/nchw", "cu/tor", "cu/cubl", "limit")


def run(options: argparse.Namespace, chosen: list[Case]) -> int:
    """Measure, print, write. Returns the exit status."""
    gpu_settings.require()
    earlier = _earlier(options)
    field = _field(options)
    measured = gpu_roofs.measure(field.torch is not None)
    limits = {"cpu": roofs.measure(options.threads), **measured.roofs()}
    described = report.machine(options.threads, " and ".join(field.precisions)) | report.gpu()
    described |= gpu_settings.describe_torch(field.torch)
    print(f"{report.describe(described)}\n\n{_describe_limits(limits)}")
    rows, refused = _measured(chosen, options, limits, field)
    means = _means(rows)
    print(f"\n{report.table(MEANS, [cells for mean in means for cells in _mean_cells(mean)], MEAN_WIDTHS)}")
    if options.json:
        settings = {"rounds": options.rounds, "quick": options.quick, "device": "cuda", "tolerances": TOLERANCES}
        cpu = {"cpu peak GFLOP/s": limits["cpu"].peak / 1e9, "cpu memory GB/s": limits["cpu"].bandwidth / 1e9}
        content = {"machine": described, "settings": settings, "limits": measured.as_json() | cpu, "means": means,
                   "rows": [row.as_json() for row in rows], "disagreements": refused}  # fmt: skip
        report.write_json(options.json, _added(earlier, content) if earlier else content)
    title = f"{described['gpu']}, and {described['threads']} threads of {described['processor']}"
    _draw(options, rows, {name: limits[name] for name in ("cpu", *field.precisions)}, title)
    for line in refused:
        _warn(line)
    return 1 if refused else 0


def _draw(options: argparse.Namespace, rows: Sequence[GpuRow], limits: Mapping[str, Any], title: str) -> None:
    """The pictures that are asked for."""
    if options.plot:
        plots.draw_ratios(options.plot, {name: ratios(group) for name, group in groups(rows).items()}, title)
    if options.roofline:
        plots.draw_roofline(options.roofline, _points(rows), limits, title)


def _warn(line: str) -> None:
    print(report.filled(f"! {line}"), flush=True)


def _field(options: argparse.Namespace) -> Field:
    """Who takes part; PyTorch's autotuner is set as the options say."""
    torch = gpu_settings.torch_device(options)
    if torch:
        gpu_settings.set_autotuner(options.autotune)
    return Field(tuple(ENDS) if options.precision == "both" else (options.precision,), torch)


def _earlier(options: argparse.Namespace) -> dict[str, Any] | None:
    """What the file has that --add adds to; ends the script if another GPU or other settings wrote it."""
    if not options.add or not options.json or not options.json.exists():
        return None
    earlier: dict[str, Any] = json.loads(options.json.read_text())
    found = earlier["machine"].get("gpu"), earlier["settings"]["quick"]
    if found != (report.gpu()["gpu"], options.quick):
        sys.exit(f"--add: {options.json} is of another GPU, or of another --quick: give another --json")
    return earlier


def _added(earlier: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """The content, and what an earlier run measured beside it; of what both have this run's counts."""
    kept = {}
    for part, keys in (("means", ("rows",)), ("rows", ("kernel", "shape", "networks"))):
        again = [[each[key] for key in keys] for each in json.loads(json.dumps(content[part]))]
        kept[part] = [each for each in earlier[part] if [each[key] for key in keys] not in again] + content[part]
    return content | kept | {"disagreements": earlier["disagreements"] + content["disagreements"]}


def _describe_limits(limits: Mapping[str, Any]) -> str:
    lines = (f"{name:<14} {r.peak / 1e12:.3g} TFLOP/s, {r.bandwidth / 1e9:.0f} GB/s" for name, r in limits.items())
    return "\n".join(("limits, measured now", *lines))


def _measured(
    chosen: list[Case], options: argparse.Namespace, limits: Mapping[str, Any], field: Field
) -> tuple[list[GpuRow], list[str]]:
    """Measure the cases one by one, printing each row as it comes; and who disagreed, which is not measured."""
    pace = Pace(options.rounds, burst=0.002, patience=0, calls=1) if options.quick else Pace(options.rounds)
    rows: list[GpuRow] = []
    refused: list[str] = []
    for before, case in zip([None, *chosen], chosen, strict=False):
        if before is None or before.kernel != case.kernel:
            print(f"\n{case.kernel}\n{report.table_line(HEAD, WIDTHS)}")
            if case.multiply_adds:
                print(report.table_line(DETAILS, WIDTHS))
        try:
            row = measure(case, pace, limits, field)
        except harness.Disagreement as error:
            refused.append(str(error))
            _warn(str(error))
        else:
            rows.append(row)
            print(report.table(row.cells(), list(row.details()), WIDTHS), flush=True)
        gpu_settings.give_back(field.torch)
    return rows, refused


def _means(rows: Sequence[GpuRow]) -> list[dict[str, Any]]:
    """For each group its geometric means: of the ratios, and of the shares of the limit."""
    means = []
    for name, group in groups(rows).items():
        mean: dict[str, Any] = {"rows": name, "count": len(group), **mean_ratios(group)}
        for ours in (f"cuda{end}" for end in ENDS.values()):
            shares = [row.share(ours) for row in group if ours in row.race.bursts]
            if shares:
                mean[f"{ours} of limit"] = statistics.geometric_mean(shares)
        means.append(mean)
    return means


def _mean_cells(mean: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line for each precision."""
    lines = []
    for end in ENDS.values():
        if f"cuda{end} of limit" in mean:
            keys = (f"cuda{end}/{other}{end}" for other in ("torch nchw", "torch", "cublas"))
            shown = (report.times(mean[key]) if key in mean else "-" for key in keys)
            lines.append(
                (f"{mean['rows']}{end}", str(mean["count"]), *shown, f"{100 * mean[f'cuda{end} of limit']:.0f} %")
            )
    return lines


def _points(rows: Sequence[GpuRow]) -> dict[str, list[tuple[str, float, float]]]:
    """Of products and convolutions (kernel, operations a byte, operations a second): see plots.draw_roofline."""
    points: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        named = {"torch": row.torch(""), "torch tf32": row.torch(" tf32")}
        for label in ("cuda", "cuda tf32", "torch", "torch tf32", "cpu"):
            name = named.get(label, label)
            if row.case.multiply_adds and name in row.race.bursts:
                intensity = 2 * row.case.multiply_adds / row.moved
                points.setdefault(label, []).append((row.case.kernel, intensity, row.speed(name)))
    return points
