"""How many test images the training scripts get right: each run with three seeds, and the median of the three.

A run is a command of examples/, which is printed with the results, so that anybody can repeat it. What counts is the
accuracy after the last epoch, not the best of all epochs: to choose that one would be to choose with the test images.
The time is that of the training, all epochs with their tests.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cli
import report

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
HEAD = ("run", "published", "median", "of the seeds", "time")
WIDTHS = (19, 12, 8, 23, 8)


@dataclass(frozen=True)
class Run:
    """published: the accuracy that its authors give. command: a script of examples/, and its options."""

    what: str
    published: str
    command: str


RUNS = {
    "lenet5": Run("LeNet-5, MNIST", "99.05 %", "train_lenet.py"),
    "lenet5-augmented": Run("LeNet-5, MNIST, distorted", "99.2 %", "train_lenet.py --augment --epochs 40"),
    "digit_cnn": Run(
        "Keras digit network, MNIST, 12 epochs",
        "99.25 %",
        "train_lenet.py --model digit_cnn --optimizer adadelta --weight-decay 0 --batch-size 128 --epochs 12",
    ),
    "digit_cnn-augmented": Run(
        "the same, distorted",
        "-",
        "train_lenet.py --model digit_cnn --optimizer adadelta --weight-decay 0 --batch-size 128 --epochs 12 --augment",
    ),
    "sigmoid": Run(
        "LeNet with sigmoids, Fashion-MNIST",
        "77.9 %",
        "train_lenet.py --model lenet5:d2l --dataset fashion-mnist --lr 0.2 --epochs 10",
    ),
    "best-mnist": Run("residual network, MNIST", "-", "train_best.py"),
    "best-fashion": Run("residual network, Fashion-MNIST", "94.9 %", "train_best.py --dataset fashion-mnist"),
}


def main() -> int:
    """Read the options, train, print, write."""
    options = _options()
    if options.device == "cuda":
        import gpu_settings

        gpu_settings.require()
    kept = _kept(options.json, _machine(options))
    print(report.table_line(HEAD, WIDTHS), flush=True)
    for name in options.runs:
        for seed in options.seeds:
            kept.setdefault(name, {})[seed] = trained(RUNS[name], seed, options)
            described = _machine(options)
            if options.json:  # after each, so that what was measured is kept
                report.write_json(options.json, {"machine": described, "runs": _in_order(kept)})
        print(report.table_line(cells(name, list(kept[name].values())), WIDTHS), flush=True)
    print("\n" + "\n".join(report.filled(f"{name}: examples/{RUNS[name].command}") for name in options.runs))
    print("\n" + report.describe(described))
    return 0


def trained(run: Run, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run the command with a seed: the accuracy after its last epoch, the seconds of all epochs."""
    script, *arguments = shlex.split(run.command)
    with tempfile.TemporaryDirectory() as folder:
        arguments += ["--seed", str(seed), "--threads", str(options.threads), "--device", options.device,
                      "--out", folder]  # fmt: skip
        done = subprocess.run([sys.executable, str(EXAMPLES / script), *arguments], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{script} {shlex.join(arguments)} failed: {done.stderr.strip()}")
        history = json.loads((Path(folder) / "history.json").read_text())
    return {"seed": seed, "epochs": len(history["seconds"]), "accuracy": history["val_accuracy"][-1],
            "seconds": round(sum(history["seconds"]), 1)}  # fmt: skip


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    return report.machine(options.threads) | (report.gpu() if options.device == "cuda" else {})


def cells(name: str, seeds: list[dict[str, Any]]) -> tuple[str, ...]:
    """A line of the table."""
    right = [100 * each["accuracy"] for each in seeds]
    seconds = statistics.median(each["seconds"] for each in seeds)
    return (name, RUNS[name].published, f"{statistics.median(right):.2f} %", ", ".join(f"{each:.2f}" for each in right),
            report.duration(seconds))  # fmt: skip


def _kept(path: Path | None, machine: dict[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """What the file has of runs that are still the same, by name and seed. Exits where another machine was."""
    if path is None or not path.exists():
        return {}
    content = json.loads(path.read_text())
    if not report.same_machine(content["machine"], machine):
        sys.exit(f"{path} was measured on another machine; give another file, or remove it")
    same = [each for each in content["runs"] if asdict(RUNS[each["name"]]).items() <= each.items()]
    return {each["name"]: {seed["seed"]: seed for seed in each["seeds"]} for each in same}


def _in_order(kept: dict[str, dict[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"name": name, **asdict(run), "seeds": [kept[name][seed] for seed in sorted(kept[name])]}
        for name, run in RUNS.items()
        if name in kept
    ]


def _options() -> argparse.Namespace:
    result = cli.plain_parser(__doc__ or "")
    add = result.add_argument
    add("runs", nargs="*", metavar="RUN", help=f"some of {', '.join(RUNS)} (default: all)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    cli.add_device(result)
    add("--json", type=cli.output_path, metavar="PATH", help="add the results to a JSON file")
    options = result.parse_args()
    if unknown := set(options.runs) - set(RUNS):
        result.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}")
    options.runs = options.runs or list(RUNS)
    return options


if __name__ == "__main__":
    sys.exit(main())
