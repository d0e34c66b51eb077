"""The guide's tables of several ranks: what `bench_distributed.py` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import report


def machine(content: dict[str, Any]) -> Iterator[str]:
    """What the file of one machine says: who took part, what was measured, and what follows on paper."""
    described = content["machine"]
    threads = "1 thread" if described["threads"] == 1 else f"{described['threads']} threads"
    names = ("python", "Python"), ("numba", "Numba"), ("torch", "PyTorch")
    versions = ", ".join(f"{name} {described[key]}" for key, name in names if described.get(key))
    yield f"{described['processor']}, {threads} a rank, {described['precision']}; {versions}, {described['mpi']}:"
    yield _measured(content["results"])
    for result in content["results"]:
        yield from _paper(result)


def _measured(results: list[dict[str, Any]]) -> str:
    """A row for each contender on each number of ranks."""
    head = ("a training step", "ranks", "time", "images a second", "times one rank", "for sums", "waiting", "MB summed")
    rows = []
    for result in results:
        for job in result["jobs"]:
            cells = [report.duration(job["seconds"]), f"{job['images a second']:,.1f}"]
            if job["ranks"] == 1:
                cells += ["-"] * 4
            else:
                summed = job["rounds"][-1]["bytes"] / 1e6
                cells += [f"{job['times one rank']:.2f}", _percent(job["part of sums"])]
                cells += [" - ".join(map(_percent, job["part of waiting"] or [None])), f"{summed:.2f}"]
            name = f"{result['model']}, batch {result['batch size of a rank']} a rank, {job['contender']}"
            rows.append((name, str(job["ranks"]), *cells))
    return report.markdown(head, rows)


def _paper(result: dict[str, Any]) -> Iterator[str]:
    """The efficiency on more ranks, of which each link bends at another number."""
    links = result["on paper"]["links"]
    numbers = list(links[0]["efficiency"]["overlapped"])
    rows = []
    for link in links:
        during, after = link["efficiency"]["overlapped"], link["efficiency"]["after the backward pass"]
        rows.append((link["name"], *(f"{_percent(during[n])}, {_percent(after[n])}" for n in numbers)))
    yield report.markdown((f"{result['model']}, on paper", *(f"{number} ranks" for number in numbers)), rows)
    yield "\n".join(f"- {link['bends']}" for link in links)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.1f} %"
