"""What `race.py` says of a race: the work and its limit, times, errors, and who has none and why."""

from __future__ import annotations

import report
from race_run import Outcome, Runner

WIDTHS = (23, 8, 8, 8, 8, 7, 6, 5)
HEAD = ("contender", "median", "lower q.", "upper q.", "GFLOP/s", "GB/s", "limit", "")
ULP_WIDTHS = (23, 10, 10, 15, 10)
ABOVE_WIDTHS, ABOVE = (23, 21, 26), ("", "------ ULPs of terms", "--------- plain ULPs")
ULP_HEAD = ("contender", "median", "largest", "median", "largest")
BAR = 5  # characters


def describe(outcome: Outcome) -> str:
    """The work, the times, the errors, and who has none: all that is printed but the machine."""
    tables = [time_table(outcome), ulp_table(outcome)] if outcome.finished else []
    parts = [work_lines(outcome), *tables, notes(outcome), report.filled(verdict(outcome))]
    return "\n\n".join(part for part in parts if part)


def work_lines(outcome: Outcome) -> str:
    """What must be done, and the least time that it takes."""
    work = outcome.work
    lines = [
        f"operations  {quantity(work.operations, 'FLOP')} of the definition",
        f"bytes       {quantity(work.moved, 'B')}, arguments read and results written once",
        f"intensity   {work.intensity:.3g} FLOP for each byte",
    ]
    for name, roofs in outcome.limits.items():
        seconds = roofs.seconds(work.operations, work.moved)
        by = "computing" if work.operations / roofs.peak >= work.moved / roofs.bandwidth else "memory"
        lines.append(f"{f'limit, {name}':<11} {report.duration(seconds)}, by {by}: "
                     f"{roofs.peak / 1e9:.0f} GFLOP/s and {roofs.bandwidth / 1e9:.1f} GB/s at best")  # fmt: skip
    return "\n".join(lines)


def time_table(outcome: Outcome) -> str:
    """The fastest first."""
    return report.table(HEAD, [time_cells(outcome, runner) for runner in outcome.finished], WIDTHS)


def time_cells(outcome: Outcome, runner: Runner) -> tuple[str, ...]:
    """A line of the table."""
    operations, moved = outcome.rates(runner)
    times = (outcome.race.seconds(runner.name), *outcome.race.quartiles(runner.name))
    share = outcome.share(runner)
    return (runner.name, *map(report.duration, times), rate(operations), rate(moved),
            percent(share), bar(share))  # fmt: skip


def ulp_table(outcome: Outcome) -> str:
    """The errors of all who were compared."""
    table = report.table(ULP_HEAD, [ulp_cells(runner) for runner in outcome.finished], ULP_WIDTHS)
    return f"{report.table_line(ABOVE, ABOVE_WIDTHS)}\n{table}"


def ulp_cells(runner: Runner) -> tuple[str, ...]:
    """Of terms: median and largest; plain: median and largest."""
    median, largest = runner.agreement.median, runner.agreement.largest
    return (runner.name, *(ulps(value) for pair in zip(median, largest, strict=True) for value in pair))


def notes(outcome: Outcome) -> str:
    """Who was slow, and who has no times and why."""
    lines = [f"{runner.name}: {runner.note}" for runner in outcome.finished if runner.note]
    lines += [f"{runner.name} has no times: {runner.trouble}" for runner in outcome.others]
    return "\n".join(report.filled(line) for line in lines)


def verdict(outcome: Outcome) -> str:
    """Who was first, in a sentence."""
    if not outcome.finished:
        return "Nobody has a time."
    names = [runner.name for runner in outcome.finished]
    first, last = outcome.race.seconds(names[0]), outcome.race.seconds(names[-1])
    share = percent(outcome.share(outcome.finished[0]))
    said = f"{names[0]} is the fastest: {report.duration(first)}, {share} of the limit"
    return f"{said}, {report.times(last / first)} times as fast as {names[-1]}." if len(names) > 1 else f"{said}."


def percent(share: float) -> str:
    """With one digit behind the point below 10 %."""
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def quantity(number: float, unit: str) -> str:
    """Three digits with a prefix: "1.85 GFLOP"."""
    for prefix, size in ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3):
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}"


def rate(per_second: float) -> str:
    """In 10**9 a second, at most six characters; "-" for none."""
    if not per_second:
        return "-"
    number = per_second / 1e9
    return f"{number:.0f}" if number >= 999.5 else f"{number:.3g}" if number >= 1e-3 else f"{number:.0e}"


def ulps(value: float) -> str:
    """Two digits behind the point, as long as they mean something."""
    return f"{value:.2f}" if value < 99.995 else f"{value:.0f}" if value < 1e5 else f"{value:.1e}"


def bar(share: float) -> str:
    """As much of BAR characters as it is of the limit, to an eighth of one."""
    eighths = round(min(share, 1) * BAR * 8)
    drawn = "\u2588" * (eighths // 8) + ("", *"\u258f\u258e\u258d\u258c\u258b\u258a\u2589")[eighths % 8]
    return f"{drawn:<{BAR}}"
