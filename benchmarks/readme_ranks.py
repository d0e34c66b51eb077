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
    """A row for each kind of step of each contender."""
    head = ("a training step", "ranks", "time", "images a second", "times one rank", "for sums", "waiting", "MB summed")
    rows = []
    for result in results:
        ranks = str(result["ranks"])
        kinds = (("alone", "1"), ("silent", f"{ranks}, without sums"), ("summed", ranks))
        for contender in result["contenders"]:
            name = f"{result['model']}, batch {result['batch size of a rank']} a rank, {contender['name']}"
            for kind, who in kinds:
                cells = [report.duration(contender["seconds"][kind]), f"{contender['images a second'][kind]:,.1f}"]
                cells += ["-" if kind == "alone" else f"{contender['times one rank'][kind]:.2f}"]
                rows.append((name, who, *cells, *(_sums(contender) if kind == "summed" else ["-"] * 3)))
    return report.markdown(head, rows)


def _sums(contender: dict[str, Any]) -> list[str]:
    """What the sums cost a contender."""
    waiting = " - ".join(map(_percent, contender["part of waiting"] or [None]))
    return [_percent(contender["part of sums"]), waiting, f"{contender['rounds'][-1]['bytes'] / 1e6:.2f}"]


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
