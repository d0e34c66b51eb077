"""Published parameters and multiply-adds held against the code: `python -m minicnn.study.audit [NETWORK ...]`.

For each network of `models.names()` the numbers of `published`, beside them what is counted here by building the
network and running `summary`, and the verdict: PASS where they differ by less than one in the last digit printed;
REASON where they differ more, and terms that are counted here too give the printed number, or what should stand in its
place; FAIL where nothing does. With names of networks the counts are shown term by term. The exit status is 1 if
anything fails.
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
from .claim import IN_ALL, PARAMETERS, WEIGHTS, WORK, Claim, Terms, agrees
from .model_summary import Row, summary

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
        if not any(_is_inside(row.name, (stage,)) for row in counts.rows):
            raise ValueError(f"{network} has no stage {stage!r}")
    if what == WORK:
        return sum(row.multiply_adds for row in counts.rows if _is_inside(row.name, stages))
    sizes = {
        PARAMETERS: counts.parameters,
        WEIGHTS: counts.weights,
        IN_ALL: {**counts.parameters, **counts.statistics},
    }
    if what not in sizes:
        raise ValueError(f"count expected one of {', '.join((*sizes, WORK))}, got {what!r}")
    return sum(size for name, size in sizes[what].items() if _is_inside(name, stages))


def _is_inside(name: str, stages: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the stages or in one; without stages everything is."""
    return not stages or any(name == stage or name.startswith(f"{stage}.") for stage in stages)


@dataclass(frozen=True)
class Finding:
    """A claim, our count, the verdict, and what is added up: the example's terms, or those of the reason."""

    claim: Claim
    ours: int
    verdict: str
    terms: Terms


def judge(claim: Claim) -> Finding:
    """Hold a published claim against the code."""
    example = claim.terms() if claim.terms else None
    ours = sum(example.values()) if example else count(claim.network, claim.what, *claim.stages)
    if agrees(claim.printed, ours, claim.kilo):
        return Finding(claim, ours, PASS, example or {})
    if claim.reason is None:
        return Finding(claim, ours, FAIL, example or {})
    terms = claim.reason.terms(count)
    explained = agrees(claim.reason.right or claim.printed, sum(terms.values()), claim.kilo)
    return Finding(claim, ours, REASON if explained else FAIL, terms)


def audit(network: str, claims: Iterable[Claim]) -> list[Finding]:
    """The findings for one network."""
    return [judge(claim) for claim in claims if claim.network == network]


# The report


def main(arguments: Sequence[str] | None = None, claims: Sequence[Claim] = published.CLAIMS) -> int:
    """Print the report; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minicnn.study.audit",
        description="Hold published parameters and multiply-adds against the code.",
        epilog="PASS: less than one in the last printed digit away. REASON: the printed number counts something else, "
        "or is wrong, and the terms show it. FAIL: neither; the exit status is then 1.",
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="show only these, term by term")
    chosen = parser.parse_args(arguments).networks
    try:
        for name in chosen:
            models.input_shape(name)
    except ValueError as error:
        parser.error(str(error))
    findings = []
    for network in chosen or models.names():
        found = audit(network, claims)
        print("\n".join(_section(network, found, in_detail=bool(chosen))), flush=True)
        findings += found
    tally = {verdict: sum(f.verdict == verdict for f in findings) for verdict in (PASS, REASON, FAIL)}
    print(f"\n{len(findings)} claims: " + ", ".join(f"{n} {verdict}" for verdict, n in tally.items()))
    return 1 if tally[FAIL] else 0


def _section(network: str, findings: list[Finding], in_detail: bool) -> Iterator[str]:
    yield f"\n{network}"
    if in_detail:
        yield from _stage_table(network)
    if not findings:
        yield f"  no figure published: {published.UNPUBLISHED.get(network, 'none is known here')}"
    heading = ""
    for finding in findings:
        claim = finding.claim
        if claim.stages and heading != (heading := f"  {claim.what} by stage, {claim.source}"):
            yield heading
        name, source = (f"  {' + '.join(claim.stages)}", "") if claim.stages else (claim.what, claim.source)
        yield f"  {name:<17} {source:<25} {claim.printed:>11} {finding.ours:>14,}  {finding.verdict}"
        yield from _explanation(finding, in_detail)


def _explanation(finding: Finding, in_detail: bool) -> Iterator[str]:
    """The reason with the number that it makes, and the terms that are added up."""
    reason, terms = finding.claim.reason, finding.terms
    if reason is not None and finding.verdict != PASS:
        text = f"{reason.text}: {sum(terms.values()):,}"
        yield from textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    if in_detail:
        yield from (f"{number:>26,}  {name}" for name, number in terms.items())


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
