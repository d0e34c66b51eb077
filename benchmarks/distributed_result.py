"""What the jobs of `bench_distributed.py` said of one network, and what follows from it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from harness import Race
from networks import Task
from ring import LINKS, Bucket, Step, why

PAPER = (8, 64, 512)  # ranks
OURS = "minicnn"

Said = dict[str, Any]  # by a job: see `rank_work.measure`
Job = tuple[str, int]  # a contender, and on how many ranks


@dataclass(frozen=True)
class Result:
    """What the jobs of one task said, round by round, in the order in which the table has them."""

    task: Task
    said: dict[Job, list[Said]]

    @property
    def race(self) -> Race:
        """Seconds of a step, round by round."""
        return Race({label(job): [each["seconds"] for each in rounds] for job, rounds in self.said.items()})

    def seconds(self, job: Job) -> float:
        """Of a step: the median over the rounds."""
        return self.race.seconds(label(job))

    def images(self, job: Job) -> float:
        """A second, of all ranks together."""
        return job[1] * self.task.batch / self.seconds(job)

    def speed_up(self, job: Job) -> float:
        """Images a second over those of one rank."""
        return job[1] * self.race.ratio(label((job[0], 1)), label(job))

    def sums(self, job: Job) -> float:
        """The part of the step that would be gone without sums; of one rank 0, but for chance."""
        return self._part(job, lambda each: each["seconds"] - each["silent"])

    def waiting(self, job: Job) -> tuple[float, float] | None:
        """The part of the step in which a rank had nothing to compute: of the rank that waits least, and of that which
        waits most; None where nobody knows.

        The slowest rank waits for the network alone, the others for that rank too.
        """
        if self.said[job][-1]["waited"] is None:
            return None
        return self._part(job, lambda each: min(each["waited"])), self._part(job, lambda each: max(each["waited"]))

    def _part(self, job: Job, seconds: Callable[[Said], float]) -> float:
        return statistics.median(seconds(each) / each["seconds"] for each in self.said[job])

    @property
    def most(self) -> Job:
        """minicnn on the most ranks."""
        return OURS, max(ranks for _, ranks in self.said)

    @property
    def torch(self) -> Job | None:
        """The faster of PyTorch's layouts on as many."""
        layouts = [job for job in self.said if job[0].startswith("torch") and job[1] == self.most[1]]
        return min(layouts, key=self.seconds, default=None)

    @property
    def ratio(self) -> float | None:
        """minicnn's images a second over PyTorch's, on the most ranks."""
        return self.race.ratio(label(self.torch), label(self.most)) if self.torch else None

    @property
    def step(self) -> Step:
        """Of one rank, as it was observed in the round whose step was the median one."""
        rounds = sorted(self.said[OURS, 1], key=lambda each: each["step"]["seconds"])
        step = rounds[len(rounds) // 2]["step"]
        return Step(**{**step, "buckets": tuple(Bucket(**each) for each in step["buckets"])})

    def as_json(self) -> dict[str, Any]:
        """What the file keeps."""
        jobs = [
            {
                "contender": job[0],
                "ranks": job[1],
                "seconds": self.seconds(job),
                "images a second": self.images(job),
                "times one rank": self.speed_up(job),
                "part of sums": self.sums(job),
                "part of waiting": self.waiting(job),
                "rounds": rounds,
            }
            for job, rounds in self.said.items()
        ]
        return {"model": self.task.model, "batch size of a rank": self.task.batch, "image": self.task.image,
                "jobs": jobs, "torch": self.torch, "images a second over torch": self.ratio,
                "on paper": paper(self.step)}  # fmt: skip


def label(job: Job) -> str:
    """As in "minicnn, 2 ranks"."""
    return f"{job[0]}, {job[1]} rank{'s' * (job[1] > 1)}"


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
