"""The README's tables of a GPU: what the benchmarks wrote with --device cuda, and `examples/train_fast.py`.

What is compared is throughput, as gpu_means.py has it: above 1 minicnn is faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import report

DIRECTIONS = ("forward", "backward_input", "backward_weight")
ENDS = {"float32": "", "TF32": " tf32"}  # of the contenders' names
NAMES = {"float32": "float32", "tf32": "TF32", "float16": "float16"}
WAYS = {
    f"{layout}{tuned}": f"{name}{', tuned' if tuned else ''}"
    for tuned in ("", " tuned")
    for layout, name in (("nchw", "NCHW"), ("nhwc", "channels_last"))
}
VERSIONS = {"Python": "python", "CuPy": "cupy", "PyTorch": "torch", "cuDNN": "cudnn"}  # by their keys in the files


def machine(results: Mapping[str, Any]) -> Iterator[str]:
    """What the files of one GPU say, by the kind of the file; where one has other versions, they are said before it."""
    parts = {"bench_train": _training, "bench_kernels": _kernels, "bench_precision": _precisions, "train_fast": fast}
    said: dict[str, Any] = {}
    for kind, part in parts.items():
        if kind in results:
            described = results[kind]["machine"]
            if not said or any(said[key] != described.get(key, said[key]) for key in said):
                yield _described(described)
                said = {key: described[key] for key in ("gpu", "gpu memory", *VERSIONS.values()) if key in described}
            yield from part(results[kind])


def _described(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {machine[key]}" for name, key in VERSIONS.items() if key in machine)
    flags = f"; of PyTorch's flags {machine['torch tf32']}" if "torch tf32" in machine else ""
    return f"{machine['gpu']}, {machine['gpu memory']}; {versions}{flags}:"


# Whole networks


def _training(content: dict[str, Any]) -> Iterator[str]:
    """The time of a step of each network, and minicnn's throughput over PyTorch's."""
    starts = ("minicnn eager", "minicnn graph", "torch eager", "torch graph")
    head = ("a training step", "images", "products", "minicnn", "as a graph", "PyTorch, fastest", "as a graph, fastest")
    rows = []
    for network in content["networks"]:
        seconds = {name: each["seconds"] for name, each in network["contenders"].items()}
        found = ([seconds[name] for name in seconds if name.startswith(start)] for start in starts)
        rows.append((*_task(network), *(report.duration(min(times)) if times else "-" for times in found)))
    yield report.markdown(head, rows)
    yield from _over_pytorch([network for network in content["networks"] if network["torch"]])
    yield from _failed(content)


def _over_pytorch(networks: list[dict[str, Any]]) -> Iterator[str]:
    """The throughput of minicnn's graph over each way of PyTorch."""
    if networks:
        yield (
            "Throughput of minicnn's graph over PyTorch's, eager and as a graph; tuned is with "
            "`torch.backends.cudnn.benchmark`:"
        )
        ways = [(how, way) for how in ("eager", "graph") for way in WAYS]
        head = ["a training step", "images", "products", *(f"{how} {WAYS[way]}" for how, way in ways)]
        keys = [f"minicnn graph/torch {how}-{way}" for how, way in ways]
        rows = [(*_task(each), *(_throughput(each["ratios"], key) for key in keys)) for each in networks]
        yield report.markdown(head, rows)


def _task(network: dict[str, Any]) -> tuple[str, ...]:
    H, W, C = network["image"]
    return network["model"], f"{network['batch size']} x {H} x {W} x {C}", NAMES[network["precision"]]


# Kernels


def _kernels(content: dict[str, Any]) -> Iterator[str]:
    """The limits of the card; the products and convolutions; what memory limits; all other kernels."""
    means = {mean["rows"]: mean for mean in content["means"]}
    limits = content["limits"]
    tf32 = max(limits["tensor_cores TFLOP/s"], limits["cublas_tf32 TFLOP/s"])
    yield (
        f"The same run measured what the card does at best: {limits['copy GB/s']:,.0f} GB/s read and written, "
        f"{limits['multiply_adds TFLOP/s']:.1f} TFLOP/s of float32 multiply-adds, {tf32:.0f} of TF32 products."
    )
    rows = [*_convolutions(content, means), *_linears(means)]
    if rows:
        head = ("layers of", "products", "throughput over", "forward", "input gradient", "weight gradient",
                "limit, forward")  # fmt: skip
        yield report.markdown(head, rows)
    yield from _memory_bound(content["memory-bound"])
    yield from _others(means)
    yield from _failed(content)


def _convolutions(content: dict[str, Any], means: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Of each network, over each way of PyTorch."""
    for network in dict.fromkeys(name for row in content["rows"] for name in row["networks"]):
        found = [means.get(f"conv2d_{direction} {network}", {}) for direction in DIRECTIONS]
        for precision, end in ENDS.items():
            for way, label in WAYS.items():
                yield from _line(network, precision, f"PyTorch, {label}", found, f"cuda{end}", f"torch {way}{end}")


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
        yield name, precision, label, *(_throughput(mean, key) for mean in found), _share(found[0], f"{ours} of limit")


def _memory_bound(families: list[dict[str, Any]]) -> Iterator[str]:
    rows = [
        (each["family"], str(each["count"]), _share(each, "of copy"), f"{_share(each, 'lowest')}, {each['which']}")
        for each in families
    ]
    if rows:
        yield report.markdown(("kernels that memory limits", "rows", "of the copy's GB/s", "lowest"), rows)


def _others(means: dict[str, Any]) -> Iterator[str]:
    """Each kernel that is no product, over all its shapes that are long enough."""
    rows = [
        (name, str(mean["count"]), _share(mean, "cuda of limit"), _throughput(mean, "cuda/torch"),
         report.times(mean["cpu/cuda"]) if "cpu/cuda" in mean else "-")
        for name, mean in means.items()
        if not name.startswith(("conv2d", "linear")) and not name.endswith(" short")
    ]  # fmt: skip
    if rows:
        head = ("kernel", "shapes", "of the limit", "throughput over PyTorch", "over the cpu room")
        yield report.markdown(head, rows)


# Accuracy


def _precisions(content: dict[str, Any]) -> Iterator[str]:
    """What other precisions than float32 cost in accuracy and save in memory."""
    settings = content["settings"]
    head = (f"{settings['epochs']} epochs, {settings['seeds']} seeds", "precision", "accuracy", "points over float32",
            "peak MB", "of float32's")  # fmt: skip
    rows = []
    for network in content["networks"]:
        whole = network["precisions"]["float32"]["peak bytes"]
        for name, each in network["precisions"].items():
            if each["accuracies"]:
                mean, peak = 100 * statistics.mean(each["accuracies"]), each["peak bytes"]
                rows.append((network["model"], NAMES[name], f"{mean:.2f} %", f"{each['points']:+.3f}",
                             f"{peak / 1e6:,.0f}", report.times(peak / whole)))  # fmt: skip
    yield report.markdown(head, rows)


def fast(content: dict[str, Any]) -> Iterator[str]:
    """How soon a small network knows MNIST."""
    wanted, seconds = 100 * content["settings"]["wanted"], content["seconds"]
    median = 100 * statistics.median(content["accuracies"])
    yield (
        f"`examples/train_fast.py`, {NAMES[content['machine']['precision']]}: "
        f"{report.duration(content['median seconds'])} of training and testing, the median of {len(seconds)} seeds "
        f"({report.duration(min(seconds))} to {report.duration(max(seconds))}); {content['reached']} of them know "
        f"{wanted:.0f} % of MNIST's test images or more, the median {median:.2f} %."
    )


def _failed(content: dict[str, Any]) -> Iterator[str]:
    """Nothing is left out in silence."""
    if content["failed"]:
        yield "Not measured: " + "; ".join(f"`{name}`" for name in content["failed"]) + "."


def _throughput(ratios: Mapping[str, float], key: str) -> str:
    """One over the ratio of times of that name."""
    return report.times(1 / ratios[key]) if key in ratios else "-"


def _share(mean: Mapping[str, float], key: str) -> str:
    return f"{100 * mean[key]:.0f} %" if key in mean else "-"
