"""`bench_kernels.py --device cuda`: the rows of `gpu_rows.py` measured, printed, and written to a file.

The table's GB/s are those of the cuda room. "limit" is the share that it reaches of what the same run found the card to
do at best (`gpu_roofs.py`): by that the operations need a time, and the bytes, of which the longer counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import cli
import gpu_means
import gpu_roofs
import gpu_settings
import harness
import plots
import report
import roofs
from conv_cases import Case
from gpu_rows import TOLERANCES, Field, GpuRow, measure
from harness import Pace
from kernel_rows import groups, ratios

WIDTHS = (26, 8, 8, 6, 5, 5, 8, 6)
HEAD = ("shape", "cpu", "cuda", "cpu/cu", "GB/s", "limit", "torch", "cu/tor")
DETAILS = ("  contender", "time", "TFLOP/s", "", "GB/s", "limit", "error", "ulps")


def run(options: argparse.Namespace, chosen: list[Case]) -> int:
    """Measure, print, write. Returns the exit status."""
    gpu_settings.require()
    field = _field(options)
    described = report.machine(options.threads, " and ".join(field.precisions)) | report.gpu()
    described |= gpu_settings.describe_torch(field.torch)
    settings = {"rounds": options.rounds, "quick": options.quick, "device": "cuda", "precision": options.precision,
                "tolerances": TOLERANCES}  # fmt: skip
    content: dict[str, Any] = {"machine": described, "settings": settings, "rows": [], "failed": {}}
    chosen = _left(chosen, content, cli.earlier(options, content))
    limits = _limits(options, field, content)
    described["numba threads"] = report.machine(options.threads)["numba threads"]  # which are known by now
    print(f"{report.describe(described)}\n\n{_describe_limits(limits)}")
    rows = _measured(chosen, options, limits, field, content)
    _write(options, content)
    for table in gpu_means.tables(content["means"], content["memory-bound"]):
        print(f"\n{table}")
    title = f"{described['gpu']}, and {described['threads']} threads of {described['processor']}"
    _draw(options, rows, {name: limits[name] for name in ("cpu", *field.precisions)}, title)
    failed = [content["failed"][case.name] for case in chosen if case.name in content["failed"]]
    for line in failed:
        _warn(line)
    return 1 if failed else 0


def _left(chosen: list[Case], content: dict[str, Any], earlier: Mapping[str, Any] | None) -> list[Case]:
    """The cases that an earlier run's file lacks; what it has is content from now on."""
    if earlier is None:
        return chosen
    known = {" ".join((row["kernel"], row["shape"], *row["networks"])) for row in earlier["rows"]}
    left = [case for case in chosen if case.name not in known]
    print(f"{len(known)} rows are in the file; {len(left)} are left to measure\n")
    content |= {"rows": earlier["rows"], "failed": earlier["failed"]}
    return left


def _limits(options: argparse.Namespace, field: Field, content: dict[str, Any]) -> dict[str, roofs.Roofs]:
    """Those of the card and the processor, measured now."""
    card, cpu = gpu_roofs.measure(field.torch is not None), roofs.measure(options.threads, options.quick)
    cpu_limits = {"cpu peak GFLOP/s": cpu.peak / 1e9, "cpu memory GB/s": cpu.bandwidth / 1e9}
    content["limits"] = card.as_json() | cpu_limits
    return {"cpu": cpu, **card.roofs()}


def _write(options: argparse.Namespace, content: dict[str, Any]) -> None:
    """After each row: the GPU may be gone before the last one."""
    content["means"] = gpu_means.means(content["rows"])
    content["memory-bound"] = gpu_means.memory_bound(content["rows"])
    if options.json:
        report.write_json(options.json, content)


def _draw(options: argparse.Namespace, rows: Sequence[GpuRow], limits: Mapping[str, Any], title: str) -> None:
    """The pictures that are asked for, of what was measured in this run."""
    if options.plot and rows:
        plots.draw_ratios(options.plot, {name: ratios(group) for name, group in groups(rows).items()}, title)
    if options.roofline and any(row.case.multiply_adds for row in rows):
        plots.draw_roofline(options.roofline, _points(rows), limits, title)


def _warn(line: str) -> None:
    print(report.filled(f"! {line}"), flush=True)


def _field(options: argparse.Namespace) -> Field:
    """Who takes part; PyTorch's autotuner is off here and, for convolutions, on in another process."""
    torch = gpu_settings.torch_device(options)
    if torch:
        gpu_settings.set_autotuner(False)
    return Field(gpu_settings.precisions(options), torch, gpu_settings.tuned(torch))


def _describe_limits(limits: Mapping[str, Any]) -> str:
    lines = (f"{name:<14} {r.peak / 1e12:.3g} TFLOP/s, {r.bandwidth / 1e9:.0f} GB/s" for name, r in limits.items())
    return "\n".join(("limits, measured now", *lines))


def _measured(
    chosen: list[Case], options: argparse.Namespace, limits: Mapping[str, Any], field: Field, content: dict[str, Any]
) -> list[GpuRow]:
    """Measure the cases one by one, printing and writing each row as it comes, or why there is none."""
    pace = Pace(options.rounds, burst=0.002, patience=0, calls=1) if options.quick else Pace(options.rounds)
    rows: list[GpuRow] = []
    for before, case in zip([None, *chosen], chosen, strict=False):
        if before is None or before.kernel != case.kernel:
            print(f"\n{case.kernel}\n{report.table_line(HEAD, WIDTHS)}")
            if case.multiply_adds:
                print(report.table_line(DETAILS, WIDTHS))
        content["failed"].pop(case.name, None)
        try:
            rows.append(measure(case, pace, limits, field))
        except Exception as error:  # whatever it is: it is shown, and the other rows are measured
            content["failed"][case.name] = f"{case.name}: {harness.said(error)}"
            _warn(content["failed"][case.name])
        else:
            content["rows"].append(rows[-1].as_json())
            print(report.table(rows[-1].cells(), list(rows[-1].details()), WIDTHS), flush=True)
        _write(options, content)
        gpu_settings.give_back(field.torch)
    return rows


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
