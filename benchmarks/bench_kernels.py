"""Every kernel of the contract, reference room against cpu room, and against PyTorch where it has the operation.

The fast room has to be worth its code on every shape: a row holds where cpu takes at most 1.05 times as long as the
reference, or at most 20 microseconds longer. Rows that do not hold are marked, listed again at the end, and with
--strict they make the exit status 1. A row that does not hold at first is measured once more, with three times the
rounds, and the second measurement counts (not with --quick, whose figures show only that it runs).
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import harness
from harness import Contender, Pace, Race

RATIO, SLACK = 1.05, 20e-6
WIDTHS = (27, 9, 8, 7, 8, 5, 7, 2)
HEAD = ("shape", "reference", "cpu", "cpu/ref", "torch", "as", "cpu/tor", "")
EPILOGUE = f"""\
columns:
  reference, cpu, torch   median time of a call
  cpu/ref, cpu/tor        median over the rounds of the ratio of times; below 1
                          the cpu room is faster
  as                      the memory layout that PyTorch was given, the one in
                          which it is faster: its default (nchw) or
                          channels_last (nhwc); empty where there is no choice.
                          The conversion is not timed.
  !                       the row does not hold: cpu/ref is above {RATIO}, and
                          cpu takes more than {SLACK * 1e6:.0f} us longer

shapes:
  128x14x14x6->16 5x5     images N x H x W x C, filters, window; s2: stride 2,
                          g144: 144 groups, d2: dilation 2
  128x400->120            N x inputs -> outputs

examples:
  python benchmarks/bench_kernels.py                      all rows, some minutes
  python benchmarks/bench_kernels.py -k conv2d_forward    rows that contain that
  python benchmarks/bench_kernels.py -k pool -k 224x224   rows with one of both
  python benchmarks/bench_kernels.py --threads 1 --json one.json --plot one.png
"""


@dataclass(frozen=True)
class Row:
    """What was measured of one case; `layout` is PyTorch's."""

    kernel: str
    shape: str
    race: Race
    layout: str
    again: bool

    @property
    def ratio(self) -> float:
        """Time of cpu over time of reference."""
        return self.race.ratio("cpu", "reference")

    @property
    def slower(self) -> float:
        """How many seconds cpu takes longer than reference."""
        return self.race.seconds("cpu") - self.race.seconds("reference")

    @property
    def holds(self) -> bool:
        """Whether the fast room is fast enough here."""
        return self.ratio <= RATIO or self.slower <= SLACK

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as the table shows it."""
        race = self.race
        ours = [harness.duration(race.seconds(name)) for name in ("reference", "cpu")]
        theirs = ["-", "", "-"]
        if "torch" in race.bursts:
            theirs = [harness.duration(race.seconds("torch")), self.layout, harness.times(race.ratio("cpu", "torch"))]
        return self.shape, *ours, harness.times(self.ratio), *theirs, "" if self.holds else "!"

    def as_json(self) -> dict[str, Any]:
        """The row as the JSON file keeps it."""
        ratios = {"cpu/reference": self.ratio}
        if "torch" in self.race.bursts:
            ratios["cpu/torch"] = self.race.ratio("cpu", "torch")
        return {
            "kernel": self.kernel,
            "shape": self.shape,
            "contenders": self.race.as_json(),
            "ratios": ratios,
            "torch layout": self.layout or None,
            "measured again": self.again,
            "holds": self.holds,
        }


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    harness.start(options)
    from kernel_cases import cases

    chosen = [case for case in cases() if not options.kernel or any(part in case.name for part in options.kernel)]
    if not chosen:
        sys.exit(f"no kernel or shape contains {' or '.join(options.kernel)}: see --list")
    if options.list:
        print("\n".join(case.name for case in chosen))
        return 0
    rows = _measured(chosen, options)
    described = harness.machine(options.threads)
    print(f"\n{harness.describe(described)}\n\n{_verdict(rows)}")
    if options.json:
        settings = {"rounds": options.rounds, "ratio": RATIO, "slack": SLACK, "quick": options.quick}
        content = {"machine": described, "settings": settings, "rows": [row.as_json() for row in rows]}
        harness.write_json(options.json, content)
    if options.plot:
        bars = {f"{row.kernel} {row.shape}": row.as_json()["ratios"] for row in rows}
        title = f"{described['processor']}, {described['threads']} threads, {described['precision']}"
        harness.write_plot(options.plot, bars, title)
    return 1 if options.strict and not all(row.holds for row in rows) else 0


def _options() -> argparse.Namespace:
    result = harness.parser(__doc__ or "", rounds=5)
    result.epilog = EPILOGUE
    result.add_argument("-k", "--kernel", action="append", metavar="TEXT",
                        help="only rows whose kernel or shape contains TEXT; may be given again for more")  # fmt: skip
    result.add_argument("--list", action="store_true", help="print the names of the rows and measure nothing")
    result.add_argument("--strict", action="store_true", help="exit with status 1 where a row does not hold")
    return result.parse_args()


def _measured(chosen: list[Any], options: argparse.Namespace) -> list[Row]:
    """Measure the cases one by one, printing each row as it comes."""
    pace = Pace(options.rounds, burst=0.002, patience=0) if options.quick else Pace(options.rounds)
    rows: list[Row] = []
    for case in chosen:
        if not rows or rows[-1].kernel != case.kernel:
            print(f"\n{case.kernel}\n{harness.table_line(HEAD, WIDTHS)}")
        rows.append(measure(case, pace, harness.has_torch(options), 1 if options.quick else 2))
        print(harness.table_line(rows[-1].cells, WIDTHS), flush=True)
    return rows


def measure(case: Any, pace: Pace, with_torch: bool, attempts: int = 2) -> Row:
    """Race the rooms, and PyTorch in its faster layout; a row that does not hold is measured again."""
    layout, again = "", False
    for attempt in (pace, Pace(3 * pace.rounds, pace.burst, pace.patience))[:attempts]:
        contenders = {name: contender for name, contender in _rooms(case)}
        if with_torch:
            from kernel_torch import counterparts

            layouts = counterparts(case, _arguments(case))
            if layouts:
                layout = harness.quickest(layouts, pace) if len(layouts) > 1 else next(iter(layouts))
                contenders["torch"] = layouts[layout]
        row = Row(case.kernel, case.shape, _race(case, contenders, attempt), layout, again)
        again = True
        if row.holds:
            break
    return row


def _race(case: Any, contenders: dict[str, Contender], pace: Pace) -> Race:
    try:
        return harness.race(contenders, pace, harness.agree)
    except harness.Disagreement as error:
        raise harness.Disagreement(f"{case.name}: {error}") from error


def _rooms(case: Any) -> Iterator[tuple[str, Contender]]:
    """The kernel in both rooms, on the same arrays; those that it writes into are each room's own."""
    from minicnn.kernels import cpu, reference

    arguments = _arguments(case)
    for room in (reference, cpu):
        own = tuple([b.copy() for b in a] if i in case.updates else a for i, a in enumerate(arguments))
        name = room.__name__.rsplit(".", 1)[1]
        yield name, _kernel(getattr(room, case.kernel), own, tuple(a for i in case.updates for a in own[i]))


def _kernel(kernel: Callable[..., Any], arguments: tuple[Any, ...], written: tuple[Any, ...]) -> Contender:
    """A kernel that returns its results, or leaves them in the arrays `written`."""
    return Contender(lambda: kernel(*arguments), lambda result: written or result)


def _arguments(case: Any) -> tuple[Any, ...]:
    """The arguments of a case: the same numbers every time."""
    import numpy as np

    return tuple(case.arguments(np.random.default_rng(0)))


def _verdict(rows: list[Row]) -> str:
    """The rows that do not hold, and how many do."""
    failed = [row for row in rows if not row.holds]
    lines = [
        f"! {row.kernel} {row.shape}: {harness.times(row.ratio)}, {harness.duration(row.slower)} slower"
        for row in failed
    ]
    lines.append(
        f"{len(rows) - len(failed)} of {len(rows)} rows hold (cpu/ref at most {RATIO}, or within "
        f"{SLACK * 1e6:.0f} us); {len(failed)} do not; {sum(row.again for row in rows)} were measured again."
    )
    return "\n".join(textwrap.fill(line, harness.WIDTH, subsequent_indent="    ") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
