"""Published parameters and multiply-adds held against the code: `python -m minicnn.study.audit [NETWORK ...]`.

For each network of `models.names()` the figures of `published`, beside them what is counted here by building it and
running `summary`, and the verdict: PASS where they differ by less than one in the last digit printed; REASON where
they differ more and the reason, itself added up from terms, gives the printed figure; FAIL where nothing does. With
names the counts are shown term by term. The exit status is 1 if a figure fails.
"""

from __future__ import annotations

import argparse
import functools
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .. import models
from . import published
from .model_summary import Row, summary
from .published import IN_ALL, PARAMETERS, WEIGHTS, WORK, Figure, Terms, agrees

PASS, REASON, FAIL = "PASS", "REASON", "FAIL"
WIDTH = 80
FEW = 5  # a network of fewer terms is shown one level deeper


@dataclass(frozen=True)
class Counts:
    """The numbers of a network, without its arrays. rows: of its summary; the others by dotted names."""

    rows: tuple[Row, ...]
    parameters: dict[str, int]
    weights: dict[str, int]
    statistics: dict[str, int]


@functools.cache
def _counts(network: str) -> Counts:
    """Build a network, count, and let it go: only one is in memory at a time."""
    model = models.build(network)
    rows = summary(model).rows
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return Counts(
        rows,
        parameters={name: p.size for name, p in trained.items()},
        weights={name: p.size for name, p in trained.items() if p.ndim > 1},
        statistics={name: a.size for name, a in model.named_buffers() if "running_" in name},
    )


def count(network: str, what: str, *stages: str) -> int:
    """How many parameters, weights, numbers in all, or multiply-adds a network has, or some of its Modules.

    Raises ValueError for another `what`, an unknown network, and a stage that the network does not have.
    """
    counts = _counts(network)
    for stage in stages:
        if not any(_inside(row.name, stage) for row in counts.rows):
            raise ValueError(f"{network} has no stage {stage!r}")
    if what == WORK:
        return sum(row.multiply_adds for row in counts.rows if not stages or any(_inside(row.name, s) for s in stages))
    sizes = {
        PARAMETERS: counts.parameters,
        WEIGHTS: counts.weights,
        IN_ALL: {**counts.parameters, **counts.statistics},
    }
    if what not in sizes:
        raise ValueError(f"count expected one of {', '.join((*sizes, WORK))}, got {what!r}")
    return sum(size for name, size in sizes[what].items() if not stages or any(_inside(name, s) for s in stages))


def _inside(name: str, stage: str) -> bool:
    return name == stage or name.startswith(f"{stage}.")


@dataclass(frozen=True)
class Finding:
    """A figure, our count, the verdict, and the terms that explain the difference."""

    figure: Figure
    ours: int
    verdict: str
    terms: Terms


def judge(figure: Figure) -> Finding:
    """Hold a published figure against the code."""
    example = figure.terms() if figure.terms else None
    ours = sum(example.values()) if example else count(figure.network, figure.what, *figure.stages)
    if agrees(figure.printed, ours, figure.kilo):
        return Finding(figure, ours, PASS, example or {})
    if figure.reason is None:
        return Finding(figure, ours, FAIL, example or {})
    terms = figure.reason.terms(count)
    explained = agrees(figure.reason.right or figure.printed, sum(terms.values()), figure.kilo)
    return Finding(figure, ours, REASON if explained else FAIL, terms)


def audit(network: str, figures: Iterable[Figure]) -> list[Finding]:
    """The findings for one network."""
    return [judge(figure) for figure in figures if figure.network == network]


# The report


def main(arguments: Sequence[str] | None = None, figures: Sequence[Figure] = published.FIGURES) -> int:
    """Print the report; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m minicnn.study.audit", description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="show these only, term by term; default: all")
    chosen = parser.parse_args(arguments).networks
    try:
        for name in chosen:
            models.input_shape(name)
    except ValueError as error:
        parser.error(str(error))
    findings = []
    for network in chosen or models.names():
        found = audit(network, figures)
        print("\n".join(_section(network, found, in_detail=bool(chosen))), flush=True)
        findings += found
    tally = {verdict: sum(f.verdict == verdict for f in findings) for verdict in (PASS, REASON, FAIL)}
    print(f"\n{len(findings)} figures: " + ", ".join(f"{n} {verdict}" for verdict, n in tally.items()))
    return 1 if tally[FAIL] else 0


def _section(network: str, findings: list[Finding], in_detail: bool) -> Iterator[str]:
    yield f"\n{network}"
    if in_detail:
        yield from _stage_table(network)
    if not findings:
        yield f"  no figure published: {published.UNPUBLISHED.get(network, 'none is known here')}"
    heading = ""
    for finding in findings:
        figure = finding.figure
        if figure.stages and heading != (heading := f"  {figure.what} by stage, {figure.source}"):
            yield heading
        name, source = (f"  {' + '.join(figure.stages)}", "") if figure.stages else (figure.what, figure.source)
        yield f"  {name:<17} {source:<25} {figure.printed:>11} {finding.ours:>14,}  {finding.verdict}"
        yield from _explanation(finding)


def _explanation(finding: Finding) -> Iterator[str]:
    """The reason, and the terms added up."""
    reason, terms = finding.figure.reason, finding.terms
    if reason is not None and finding.verdict != PASS:
        yield from _wrapped(f"{reason.text}:")
    if terms:
        total = f" = {sum(terms.values()):,}" if len(terms) > 1 else ""
        yield from _wrapped(" + ".join(f"{number:,} ({name})" for name, number in terms.items()) + total)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _stage_table(network: str) -> Iterator[str]:
    """What the counts are made of: the outermost Modules that are not too few, and their sums."""
    yield f"  {'stage':<28}{'output':<16}{'parameters':>14}{'multiply-adds':>18}"
    stages = _stages(_counts(network).rows)
    for stage in stages:
        shape = "x".join(map(str, stage.output_shape or ()))
        yield f"  {stage.name or stage.kind:<28}{shape:<16}{stage.parameters:>14,}{stage.multiply_adds:>18,}"
    parameters, multiply_adds = sum(s.parameters for s in stages), sum(s.multiply_adds for s in stages)
    yield f"  {'total':<28}{'':<16}{parameters:>14,}{multiply_adds:>18,}"


def _stages(rows: Iterable[Row]) -> list[Row]:
    """The rows down to a depth, each with the numbers of the Modules inside it, those without numbers left out."""
    rows = list(rows)
    for depth in range(1 + max(row.depth for row in rows)):
        stages: list[Row] = []
        for row in rows:
            if row.depth <= depth:
                stages.append(row)
            else:
                outer, parameters = stages[-1], stages[-1].parameters + row.parameters
                work = outer.multiply_adds + row.multiply_adds
                stages[-1] = replace(outer, parameters=parameters, multiply_adds=work)
        stages = [row for row in stages if row.parameters or row.multiply_adds]
        if len(stages) >= FEW:
            break
    return stages


if __name__ == "__main__":
    sys.exit(main())
