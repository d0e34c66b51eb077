"""The README's tables of a GPU: what `bench_train.py` and `bench_kernels.py` wrote with --device cuda."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import report

DIRECTIONS = ("forward", "backward_input", "backward_weight")
ENDS = {"float32": "", "TF32": " tf32"}  # of the contenders' names


def machine(results: Mapping[str, Any]) -> Iterator[str]:
    """What the files of one GPU say, by the kind of the file."""
    described = next(iter(results.values()))["machine"]
    versions = ", ".join(
        f"{name} {described[key]}"
        for name, key in (("Python", "python"), ("CuPy", "cupy"), ("PyTorch", "torch"), ("cuDNN", "cudnn"))
        if key in described
    )
    tuned = f", its autotuner {described['cudnn autotune']}" if "cudnn autotune" in described else ""
    yield f"{described['gpu']}, {described['gpu memory']}, {described['precision']}; {versions}{tuned}:"
    if "bench_train" in results:
        yield _networks(results["bench_train"]["networks"])
    if "bench_kernels" in results:
        yield from _kernels(results["bench_kernels"])


def _networks(networks: list[dict[str, Any]]) -> str:
    """The time of a step of each network; PyTorch's in the faster layout, and the ratio to the fastest of PyTorch's."""
    head = ("a training step", "images", "minicnn", "as a graph", "PyTorch", "as a graph", "time ratio")
    rows: list[tuple[str, ...]] = []
    for network in networks:
        H, W, C = network["image"]
        times = [
            min(
                (each["seconds"] for name, each in network["contenders"].items() if name.startswith(start)),
                default=None,
            )
            for start in ("minicnn eager", "minicnn graph", "torch eager", "torch graph")
        ]
        cells = ("-" if seconds is None else report.duration(seconds) for seconds in times)
        images = f"{network['batch size']} x {H} x {W} x {C}"
        rows.append((network["model"], images, *cells, _ratio(network["ratios"], "minicnn graph/torch")))
    return report.markdown(head, rows)


def _kernels(content: dict[str, Any]) -> Iterator[str]:
    """The limits of the card; the products and convolutions; all other kernels."""
    means = {mean["rows"]: mean for mean in content["means"]}
    limits = content["limits"]
    tf32 = max(limits["tensor_cores TFLOP/s"], limits["cublas_tf32 TFLOP/s"])
    yield (
        f"The same run measured what the card does at best: {limits['copy GB/s']:,.0f} GB/s read and written, "
        f"{limits['multiply_adds TFLOP/s']:.1f} TFLOP/s of float32 multiply-adds, {tf32:.0f} of TF32 products."
    )
    rows = [*_convolutions(content, means), *_linears(means)]
    if rows:
        head = ("shapes of", "precision", "time over", "forward", "input gradient", "weight gradient", "limit, forward")
        yield report.markdown(head, rows)
    yield from _others(means)


def _convolutions(content: dict[str, Any], means: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Of each network, over both of what PyTorch can do."""
    for network in dict.fromkeys(name for row in content["rows"] for name in row["networks"]):
        found = [means.get(f"conv2d_{direction} {network}", {}) for direction in DIRECTIONS]
        for precision, end in ENDS.items():
            for label, other in (("PyTorch, NCHW", "torch nchw"), ("PyTorch, faster layout", "torch")):
                yield from _line(network, precision, label, found, f"cuda{end}", f"{other}{end}")


def _linears(means: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    found = [means.get(f"linear_{direction}", {}) for direction in DIRECTIONS]
    for precision, end in ENDS.items():
        for label, other in (("cuBLAS", "cublas"), ("PyTorch", "torch")):
            yield from _line("linear", precision, label, found, f"cuda{end}", f"{other}{end}")


def _line(
    name: str, precision: str, label: str, found: list[dict[str, Any]], ours: str, other: str
) -> Iterator[tuple[str, ...]]:
    """One, if the two have been raced."""
    key = f"{ours}/{other}"
    if any(key in mean for mean in found):
        ratios = (_ratio(mean, key) for mean in found)
        yield name, precision, label, *ratios, _share(found[0], ours)


def _others(means: dict[str, Any]) -> Iterator[str]:
    """Each kernel that is no product, over all its shapes that are long enough."""
    rows = [
        (name, str(mean["count"]), _share(mean, "cuda"), _ratio(mean, "cuda/torch"), _ratio(mean, "cpu/cuda"))
        for name, mean in means.items()
        if not name.startswith(("conv2d", "linear")) and not name.endswith(" short")
    ]
    if rows:
        yield report.markdown(
            ("kernel", "shapes", "of the limit", "time over PyTorch", "cpu room's time over it"), rows
        )


def _ratio(ratios: Mapping[str, float], key: str) -> str:
    return report.times(ratios[key]) if key in ratios else "-"


def _share(mean: Mapping[str, float], ours: str) -> str:
    key = f"{ours} of limit"
    return f"{100 * mean[key]:.0f} %" if key in mean else "-"
