"""What the jobs of `bench_distributed.py` said of one network, and what follows from it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from harness import Race
from networks import Task
from rank_work import KINDS
from ring import LINKS, Bucket, Step, why

PAPER = (8, 64, 512)  # ranks
OURS = "minicnn"

Said = dict[str, Any]  # by the ranks of a job: see `rank_work.measure`


@dataclass(frozen=True)
class Result:
    """What the contenders' ranks said of one task, round by round, in the order in which the table has them.

    How long a step takes is compared within a job, where steps of one rank and of all take turns.
    """

    task: Task
    ranks: int
    said: dict[str, list[Said]]

    @property
    def race(self) -> Race:
        """Seconds of each contender's steps of each kind, round by round."""
        return Race(
            {label(name, kind): [each[kind] for each in self.said[name]] for name in self.said for kind in KINDS}
        )

    def seconds(self, name: str, kind: str = "summed") -> float:
        """Of a step of this kind: the median over the rounds."""
        return self.race.seconds(label(name, kind))

    def images(self, name: str, kind: str = "summed") -> float:
        """A second, of all ranks that are at work."""
        return (1 if kind == "alone" else self.ranks) * self.task.batch / self.seconds(name, kind)

    def speed_up(self, name: str, kind: str = "summed") -> float:
        """Images a second over those of one rank: the median over the rounds."""
        return self.ranks * self.race.ratio(label(name, "alone"), label(name, kind))

    def sums(self, name: str) -> float:
        """The part of the step that would be gone without sums."""
        return self._part(name, lambda each: each["summed"] - each["silent"])

    def waiting(self, name: str) -> tuple[float, float] | None:
        """The part of the step in which a rank had nothing to compute: of the rank that waits least, and of that which
        waits most; None where nobody knows.

        The slowest rank waits for the network alone, the others for that rank too.
        """
        if self.said[name][-1]["waited"] is None:
            return None
        return self._part(name, lambda each: min(each["waited"])), self._part(name, lambda each: max(each["waited"]))

    def _part(self, name: str, seconds: Callable[[Said], float]) -> float:
        return statistics.median(seconds(each) / each["summed"] for each in self.said[name])

    @property
    def torch(self) -> str | None:
        """The faster of PyTorch's layouts on all ranks."""
        return min((name for name in self.said if name.startswith("torch")), key=self.seconds, default=None)

    @property
    def ratio(self) -> float | None:
        """minicnn's images a second over PyTorch's, on all ranks."""
        return self.race.ratio(label(self.torch, "summed"), label(OURS, "summed")) if self.torch else None

    @property
    def step(self) -> Step:
        """Of one rank, as it was observed in the round whose step was the median one."""
        rounds = sorted(self.said[OURS], key=lambda each: each["step"]["seconds"])
        step = rounds[len(rounds) // 2]["step"]
        return Step(**{**step, "buckets": tuple(Bucket(**each) for each in step["buckets"])})

    def as_json(self) -> dict[str, Any]:
        """What the file keeps."""
        contenders = [
            {
                "name": name,
                "seconds": {kind: self.seconds(name, kind) for kind in KINDS},
                "images a second": {kind: self.images(name, kind) for kind in KINDS},
                "times one rank": {kind: self.speed_up(name, kind) for kind in KINDS if kind != "alone"},
                "part of sums": self.sums(name),
                "part of waiting": self.waiting(name),
                "rounds": rounds,
            }
            for name, rounds in self.said.items()
        ]
        return {"model": self.task.model, "batch size of a rank": self.task.batch, "image": self.task.image,
                "ranks": self.ranks, "contenders": contenders, "torch": self.torch,
                "images a second over torch": self.ratio, "on paper": paper(self.step)}  # fmt: skip


def label(name: str, kind: str) -> str:
    """As in "minicnn, alone"."""
    return f"{name}, {kind}"


def paper(step: Step) -> dict[str, Any]:
    """What becomes of a step on more ranks: for each link its efficiencies, and where and why they bend."""
    links = [
        {
            **asdict(link),
            "efficiency": {
                kind: {ranks: step.efficiency(ranks, link, overlapped) for ranks in PAPER}
                for kind, overlapped in (("overlapped", True), ("after the backward pass", False))
            },
            "bends": why(step, link, overlapped=True),
        }
        for link in LINKS
    ]
    return {"step": asdict(step), "links": links}
