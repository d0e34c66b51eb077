"""Writes what was measured into the README and pages of docs/.

What stands there between two markers comes from benchmarks/results. Each
machine has a name of its own, which ends the names of its files, such as
`amd_epyc_2_cores`:

  bench_train_NAME.json      bench_train.py --json
  bench_inference_NAME.json  bench_train.py --inference --json
  bench_kernels_NAME.json    bench_kernels.py --json
  bench_scaling_NAME.json    bench_scaling.py --json
  bench_learning_NAME.json   bench_learning.py --json, for docs/experiments.md
  bench_accuracy_NAME.json   bench_accuracy.py --json, for docs/accuracy.md
  bench_distributed_NAME.json  bench_distributed.py --json, for the guide
  bench_loader_NAME.json     bench_loader.py --json, for docs/data.md
  bench_augmentation_NAME.json  bench_augmentation.py --json, likewise

A GPU has a name and files of its own, written with --device cuda, such as
bench_kernels_nvidia_h200.json; and beside those above

  bench_precision_NAME.json  bench_precision.py --json
  train_fast_NAME.json       ../examples/train_fast.py --json, of a CPU too

What a machine has no file of is left out.
Results of --quick are refused: they show only that a script runs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import readme_data
import readme_gpu
import readme_ranks
import report

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- written by benchmarks/readme_table.py -->", "<!-- until here -->"
KINDS = ("bench_train", "bench_inference", "bench_scaling", "bench_kernels", "bench_precision", "train_fast")
DIRECTIONS = ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight")
NOTHING = "No results are kept here yet."


def main() -> int:
    """Rewrite the pages, or with --check say whether one would change. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with status 1 if a page is not so")
    options = parser.parse_args()
    changed = False
    for name, written in PAGES.items():
        page = ROOT / name
        before = page.read_text()
        after = rewritten(before, written(ROOT / "benchmarks" / "results"))
        changed |= after != before
        if not options.check:
            report.write(page, after.encode())
    return int(options.check and changed)


def rewritten(text: str, content: str) -> str:
    """The text with `content` between the markers; raises ValueError unless each stands there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the page must have the lines {BEGIN} and {END} once each, in this order")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    return f"{head}{BEGIN}\n\n{content}\n\n{END}{tail}"


def tables(folder: Path) -> str:
    """What the results say, machine by machine."""
    machines: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        for path in sorted(folder.glob(f"{kind}_*.json")):
            content = _measured(path)
            machines.setdefault(path.stem.removeprefix(f"{kind}_"), {})[kind] = content
    parts = [part for name in sorted(machines) for part in _machine(machines[name])]
    return "\n\n".join(parts) or NOTHING


def ranks(folder: Path) -> str:
    """Training on several ranks, measured and on paper, machine by machine."""
    paths = sorted(folder.glob("bench_distributed_*.json"))
    return "\n\n".join(part for path in paths for part in readme_ranks.machine(_measured(path))) or NOTHING


def samples(folder: Path) -> str:
    """How long a network waits for batches, and what transforms take, machine by machine."""
    parts = []
    for path in sorted(folder.glob("bench_loader_*.json")):
        content = json.loads(path.read_text())
        parts += [f"{_described(content['machine'])}:", *readme_data.loading(content)]
        raced = path.with_name(path.name.replace("bench_loader", "bench_augmentation"))
        if raced.exists():
            parts.append(readme_data.augmentation(_measured(raced)))
    return "\n\n".join(parts) or NOTHING


def learning(folder: Path) -> str:
    """What the small networks learnt, machine by machine. No seconds: they are not measured with care."""
    parts = []
    for path in sorted(folder.glob("bench_learning_*.json")):
        content = json.loads(path.read_text())
        images, tests = (f"{content['settings'][each]:,}" for each in ("images", "test images"))
        head = ("network", "image", "parameters", "epochs until 64 known", f"epochs over {images}", f"of {tests} right")
        rows = [_learnt(network) for network in content["networks"]]
        parts += [f"{_described(content['machine'])}:", report.markdown(head, rows)]
    return "\n\n".join(parts) or NOTHING


def accuracies(folder: Path) -> str:
    """What the training scripts reached, machine by machine."""
    parts = []
    for path in sorted(folder.glob("bench_accuracy_*.json")):
        content = json.loads(path.read_text())
        runs = content["runs"]
        head = ("run", "published", "median", "of the seeds", "epochs", "time")
        parts += [f"{_described(content['machine'])}:", report.markdown(head, [_reached(run) for run in runs])]
        parts.append("\n".join(["| run | command |", "| --- | --- |", *map(_command, runs)]))
    return "\n\n".join(parts) or NOTHING


def _measured(path: Path) -> dict[str, Any]:
    """What the file of a race says; raises ValueError for one of --quick."""
    content: dict[str, Any] = json.loads(path.read_text())
    if content["settings"].get("quick"):
        raise ValueError(f"{path.name} was measured with --quick: measure it again without")
    return content


def _reached(run: dict[str, Any]) -> tuple[str, ...]:
    right = [100 * seed["accuracy"] for seed in run["seeds"]]
    seconds = statistics.median(seed["seconds"] for seed in run["seeds"])
    return (run["what"], run["published"], f"{statistics.median(right):.2f} %",
            ", ".join(f"{each:.2f}" for each in right), str(run["seeds"][0]["epochs"]),
            report.duration(seconds))  # fmt: skip


def _command(run: dict[str, Any]) -> str:
    return f"| {run['what']} | `python examples/{run['command']}` |"


def _learnt(network: dict[str, Any]) -> tuple[str, ...]:
    side, by_heart = network["side"], network["by_heart"]
    return (network["network"], f"{side} x {side}", f"{network['parameters']:,}",
            "never" if by_heart is None else str(by_heart), str(network["epochs"]),
            f"{100 * network['accuracy']:.1f} %")  # fmt: skip


def _described(machine: dict[str, Any]) -> str:
    gpu = f"{machine['gpu']}, and " if "gpu" in machine else ""
    return (
        f"{gpu}{machine['processor']}, {machine['threads']} threads, {machine['precision']}; "
        f"Python {machine['python']}, NumPy {machine['numpy']}, Numba {machine['numba']}"
    )


def _machine(results: dict[str, Any]) -> Iterator[str]:
    described = next(iter(results.values()))["machine"]
    if "gpu" in described:
        yield from readme_gpu.machine(results)
        return
    yield f"{_described(described)}, PyTorch {described['torch']}:"
    if "bench_train" in results:
        yield _networks("a training step", results["bench_train"]["networks"])
    if "bench_inference" in results:
        yield _networks("a forward pass", results["bench_inference"]["networks"])
    if "bench_scaling" in results:
        yield _scaling(results["bench_scaling"])
    if "bench_kernels" in results:
        yield from _kernels(results["bench_kernels"])
    if "train_fast" in results:
        yield from readme_gpu.fast(results["train_fast"])


def _networks(what: str, networks: list[dict[str, Any]]) -> str:
    """Time and peak memory of each network."""
    head = (what, "images", "minicnn", "PyTorch", "time ratio", "minicnn, MB", "PyTorch, MB")
    rows: list[tuple[str, ...]] = []
    for network in networks:
        H, W, C = network["image"]
        theirs = network["contenders"].get(network["torch"], {})
        images = f"{network['batch size']} x {H} x {W} x {C}"
        for name, label in (("minicnn cpu", ""), ("minicnn optimised", ", optimised")):
            if name in network["contenders"]:
                ours, ratio = network["contenders"][name], network["ratios"].get(f"{name}/torch")
                times = (_time(ours), _time(theirs), _ratio(ratio))
                rows.append((network["model"] + label, images, *times, _memory(ours), _memory(theirs)))
    return report.markdown(head, rows)


def _scaling(content: dict[str, Any]) -> str:
    """Time on each number of threads, and peak memory on the most, of steps of growing work."""
    steps: dict[tuple[Any, ...], dict[int, Any]] = {}
    for point in content["points"]:
        step = steps.setdefault((point["batch size"], *point["image"]), {})
        step[point["threads"]] = point["contenders"], point["torch"]
    threads = sorted({point["threads"] for point in content["points"]})
    rows = []
    for (N, H, W, C), measured in steps.items():
        cells = []
        for contenders, torch in (measured[n] for n in threads):
            ours = contenders["minicnn cpu"]
            cells += [_time(ours), _ratio(ours["seconds"] / contenders[torch]["seconds"] if torch else None)]
        rows.append((f"{N} x {H} x {W} x {C}", *cells, _memory(ours), _memory(contenders.get(torch, {}))))
    times = [head for n in threads for head in (f"{n} thread{'s'[: n > 1]}", "time ratio")]
    return report.markdown(
        (f"{content['settings']['model']}, a training step", *times, "minicnn, MB", "PyTorch, MB"), rows
    )


def _kernels(content: dict[str, Any]) -> Iterator[str]:
    """The means of the networks' convolutions in each direction, and how often the fast room is worth its code."""
    means = {mean["rows"]: mean for mean in content["means"]}
    names = dict.fromkeys(network for row in content["rows"] for network in row["networks"])
    if names:
        head = ("convolutions of", "forward", "input gradient", "weight gradient", "of the peak, forward")
        rows = []
        for name in names:
            found = [means.get(f"{direction} {name}", {}) for direction in DIRECTIONS]
            share = found[0].get("of peak")
            ratios = (_ratio(mean.get("cpu/torch")) for mean in found)
            rows.append((name, *ratios, "-" if share is None else f"{100 * share:.0f} %"))
        yield report.markdown(head, rows)
    yield from _others(means)
    short = [mean for name, mean in means.items() if name.endswith(" short")]
    if short:
        count = sum(mean["count"] for mean in short)
        ratio = math.exp(sum(mean["count"] * math.log(mean["cpu/torch"]) for mean in short) / count)
        yield (
            f"Not among these means: {count} rows that PyTorch does in less than 10 microseconds, mostly those of the "
            f"call from Python; there the ratio is {_ratio(ratio)}."
        )
    raced = [row for row in content["rows"] if "cpu/reference" in row["ratios"]]
    if raced:
        holds = sum(row["holds"] for row in raced)
        yield f"Of {len(raced)} rows of kernels and shapes {holds} hold: compiled is not slower than plain NumPy."


def _others(means: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The kernels that PyTorch has too and that are no convolutions, each over all its shapes but the short calls."""
    names: dict[str, dict[str, str]] = {}
    for name, mean in means.items():
        if "cpu/torch" in mean and not name.startswith("conv2d") and not name.endswith(" short"):
            kernel, found, direction = name.partition("_backward")
            kernel, direction = (kernel, f"backward{direction}") if found else (name.removesuffix("_forward"), "")
            names.setdefault(kernel, {})[direction] = _ratio(mean["cpu/torch"])
    if names:
        head = ("shapes of", "forward, or all", "backward", "backward, weight")
        columns = ("",), ("backward", "backward_input"), ("backward_weight",)
        rows = [
            (kernel, *(next((found[key] for key in keys if key in found), "-") for keys in columns))
            for kernel, found in names.items()
        ]
        yield report.markdown(head, rows)


def _time(contender: dict[str, Any]) -> str:
    return report.duration(contender["seconds"]) if contender else "-"


def _memory(contender: dict[str, Any]) -> str:
    peak = contender.get("peak bytes")
    return "-" if peak is None else f"{peak / 1e6:,.0f}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else report.times(ratio)


PAGES = {
    "README.md": tables,
    "docs/accuracy.md": accuracies,
    "docs/data.md": samples,
    "docs/experiments.md": learning,
    "docs/guide/16_many_machines.md": ranks,
}

if __name__ == "__main__":
    sys.exit(main())
