"""What `bench_train.py` measured of one network: its table, and what the file keeps of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import report
from harness import Race
from networks import STEPS, Task

HEAD, WIDTHS = ("", "ms/step", "images/s", "ours/torch", "peak MB"), (20, 12, 12, 12, 12)
HEAD_OF_ONE = ("", "ms/image", *HEAD[2:])
GPU_HEAD = ("", "ms/step", "images/s", "eager over", "graph over", "peak MB")
GPU_WIDTHS = (24, 10, 10, 10, 10, 9)


@dataclass(frozen=True)
class Result:
    """What was measured of one task: times, peak memory by contender, and what was compared before."""

    task: Task
    race: Race
    peaks: dict[str, int | None]
    compared: list[float]
    precision: str = "float32"

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU did it."""
        return "minicnn graph" in self.race.bursts

    @property
    def torch(self) -> str | None:
        """The fastest of PyTorch's."""
        return self.race.fastest("torch")

    @property
    def ratios(self) -> dict[str, float]:
        """Our time over PyTorch's where it takes part, on a GPU over each of them, and the fast room's over the
        reference's."""
        ours = [name for name in self.race.bursts if name.startswith("minicnn")]
        found = {f"{name}/torch": self.race.ratio(name, self.torch) for name in ours if self.torch}
        for name in self.race.bursts:
            if name.startswith("torch ") and self.on_gpu:
                found |= {f"{each}/{name}": self.race.ratio(each, name) for each in ours}
        if "minicnn reference" in ours:
            found["minicnn cpu/minicnn reference"] = self.race.ratio("minicnn cpu", "minicnn reference")
        return found

    def describe(self) -> str:
        """What is printed of it."""
        task, losses = self.task, self.compared
        H, W, C = task.image
        lines = [f"{task.model}, batch {task.batch}, images {H} x {W} x {C}, {self.precision}"]
        if not task.inference:
            said = f"from {losses[0]:.4f} to {losses[-1]:.4f}"
            lines.append(f"the losses of {STEPS} steps without dropout agree, {said}")
        of_one = HEAD_OF_ONE if task.inference and task.batch == 1 else HEAD
        table = (GPU_HEAD, self.rows(), GPU_WIDTHS) if self.on_gpu else (of_one, self.rows(), WIDTHS)
        return "\n".join([*lines, report.table(*table)])

    def rows(self) -> list[tuple[str, ...]]:
        """The table's."""
        rows: list[tuple[str, ...]] = []
        for name in self.race.bursts:
            seconds, peak = self.race.seconds(name), self.peaks[name]
            megabytes = "-" if peak is None else f"{peak / 1e6:,.0f}"
            times = f"{seconds * 1e3:,.3f}", f"{self.task.batch / seconds:,.1f}"
            rows.append((name, *times, *self._over(name), megabytes))
        return rows

    def _over(self, name: str) -> Iterator[str]:
        """Time over PyTorch's; on a GPU images a second of both of minicnn's over those of `name`, if it is PyTorch."""
        keys = (f"minicnn eager/{name}", f"minicnn graph/{name}") if self.on_gpu else (f"{name}/torch",)
        for key in keys:
            ratio = self.ratios.get(key)
            yield "-" if ratio is None else report.times(1 / ratio if self.on_gpu else ratio)

    def as_json(self) -> dict[str, Any]:
        """What the file keeps."""
        contenders = self.race.as_json()
        for name, peak in self.peaks.items():
            contenders[name]["peak bytes"] = peak
        return {
            "model": self.task.model,
            "batch size": self.task.batch,
            "image": self.task.image,
            "precision": self.precision,
            "multiply-adds": self.task.multiply_adds(),
            "losses": None if self.task.inference else self.compared,
            "contenders": contenders,
            "ratios": self.ratios,
            "torch": self.torch,
        }
