"""What `bench_kernels.py --device cuda` says of many rows together.

Rows are as its file keeps them, so that those of an earlier run count too. Its ratios are of times; what is printed is
throughput: that of the cuda room over the other's, above 1 where the cuda room is faster.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import report
from gpu_rows import ENDS, LAYOUTS

Row = Mapping[str, Any]
UNCACHED = 10**8  # bytes that a GPU's caches do not hold: from there on a share of the copy's bandwidth is honest
FAMILIES = {  # of kernels, by what their names begin with
    "batch norm": "batch_norm",
    "pooling": "(adaptive_)?(max|avg|sum)_pool2d",
    "activation": "(relu|relu6|tanh|sigmoid)_",
    "update": "[a-z]+_update",
}
HEAD, WIDTHS = ("throughput over: geometric means", "rows", "nchw", "torch", "cublas", "limit"), (41, 5, 7, 7, 7, 6)
WAYS_HEAD = ("throughput over PyTorch's", "nchw", "nhwc", "nchw tun.", "nhwc tun.")
WAYS_WIDTHS = (40, 9, 9, 9, 9)
BOUND_HEAD, BOUND_WIDTHS = ("share of the copy's GB/s", "rows", "mean", "lowest", "which is"), (24, 4, 6, 6, 36)


def groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """As kernel_rows.groups: by kernel and network, with a group of its own for short calls."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        for label in row["networks"] or ("short" if row["short"] else "",):
            found.setdefault(f"{row['kernel']} {label}".rstrip(), []).append(row)
    return found


def means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each group its geometric means: of the ratios of times, and of the shares of the limit."""
    return [
        {"rows": name, "count": len(group), **_mean_ratios(group), **_mean_shares(group)}
        for name, group in groups(rows).items()
    ]


def _mean_ratios(rows: Sequence[Row]) -> dict[str, float]:
    keys = dict.fromkeys(key for row in rows for key in row["ratios"])
    return {key: statistics.geometric_mean(row["ratios"][key] for row in rows if key in row["ratios"]) for key in keys}


def _mean_shares(rows: Sequence[Row]) -> dict[str, float]:
    found = {}
    for ours in (f"cuda{end}" for end in ENDS.values()):
        shares = [row["contenders"][ours]["of limit"] for row in rows if ours in row["contenders"]]
        if shares:
            found[f"{ours} of limit"] = statistics.geometric_mean(shares)
    return found


def memory_bound(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each family of kernels, on arrays that no cache holds, the share of the bandwidth of the copy."""
    found = []
    for family, names in FAMILIES.items():
        large = [row for row in rows if re.match(names, row["kernel"]) and row["bytes"] >= UNCACHED]
        shares = {f"{row['kernel']} {row['shape']}": row["contenders"]["cuda"]["of limit"] for row in large}
        if shares:
            mean, lowest = statistics.geometric_mean(shares.values()), min(shares, key=lambda name: shares[name])
            found.append({"family": family, "count": len(large), "of copy": mean, "lowest": shares[lowest],
                          "which": lowest})  # fmt: skip
    return found


# What is printed


def tables(means: Sequence[Row], bound: Sequence[Row]) -> Iterator[str]:
    """All groups; the networks' layers over each way of PyTorch's; the kernels that memory limits."""
    yield report.table(HEAD, [line for mean in means for line in cells(mean)], WIDTHS)
    lines = [line for mean in means for line in ways(mean)]
    if lines:
        yield report.table(WAYS_HEAD, lines, WAYS_WIDTHS)
    if bound:
        lines = [(each["family"], str(each["count"]), percent(each["of copy"]), percent(each["lowest"]), each["which"])
                 for each in bound]  # fmt: skip
        yield report.table(BOUND_HEAD, lines, BOUND_WIDTHS)


def cells(mean: Row) -> list[tuple[str, ...]]:
    """A line for each precision."""
    return [
        (f"{mean['rows']}{end}", str(mean["count"]), *(throughput(mean, f"cuda{end}/{other}{end}") for other in (
            "torch nchw", "torch", "cublas")), percent(mean[f"cuda{end} of limit"]))
        for end in ENDS.values()
        if f"cuda{end} of limit" in mean
    ]  # fmt: skip


def ways(mean: Row) -> list[tuple[str, ...]]:
    """Of convolutions a line for each precision: over PyTorch in both layouts, its autotuner off and on."""
    lines = []
    for end in ENDS.values() if mean["rows"].startswith("conv2d") else ():
        keys = [f"cuda{end}/{layout}{end}" for layout in LAYOUTS]
        if any(key in mean for key in keys):
            lines.append((f"{mean['rows']}{end}", *(throughput(mean, key) for key in keys)))
    return lines


def throughput(ratios: Mapping[str, float], key: str) -> str:
    """One over the ratio of times of that name, or a dash."""
    return report.times(1 / ratios[key]) if key in ratios else "-"


def percent(share: float) -> str:
    """61 %"""
    return f"{100 * share:.0f} %"
