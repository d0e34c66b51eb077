"""What gradcheck says where it complains: which element, where in the tensor, in which operation, and why."""

from __future__ import annotations

import textwrap

import numpy as np

from .case import LARGEST, Case, Finding, case_of
from .causes_of_the_check import not_deterministic
from .check import Tolerance, Wrong
from .culprit import culprit
from .diagnosis import diagnose
from .differences import Problem
from .error_map import error_map

WIDTH = 76  # of the 80 of a page: whoever quotes it puts something in front


def explain(asked: Problem, wrong: dict[str, Wrong], tolerance: Tolerance) -> str:
    """The whole message; lines of at most 76 columns, but for long names.

    wrong: what `wrong_gradients` found, at least one.
    """
    name, first = next(iter(wrong.items()))
    lines = _headline(name, first)
    if finding := not_deterministic(asked):
        return "\n".join([*lines, *_told(finding)])
    lines += _listed("wrong too:", [f"{other} at {w.count}" for other, w in wrong.items() if other != name])
    lines += _listed("right:", [other for other in asked.variables if other not in wrong])
    fault = culprit(asked, tolerance)
    if fault is not None and not fault.is_all:
        asked, name = fault.problem, fault.name
        lines.append(f"\n  The fault lies in {fault.operation}, operation {fault.number} of {fault.count}.")
        lines += ["  " + line for line in _headline(f"its {name}", fault.wrong)]
    elif fault is not None:
        lines.append(f"  made by {fault.operation}")
    case = case_of(asked, tolerance, name)
    if case is None:
        advice = f"more than {LARGEST} elements are too many to look at each: check the layer alone, on a small input"
        return "\n".join([*lines, *_wrapped("no diagnosis: ", advice)])
    return "\n".join([*lines, *_map(case), *_told(diagnose(case))])


def _headline(name: str, wrong: Wrong) -> list[str]:
    numbers = f"backward gave {wrong.got:.7g}, central differences {wrong.expected:.7g}"
    return [
        f"the gradient of {name} is wrong at {wrong.count} of {wrong.checked} elements",
        *textwrap.wrap(f"worst at {wrong.worst}: {numbers}", WIDTH - 2, initial_indent="  ", subsequent_indent="    "),
    ]


def _map(case: Case) -> list[str]:
    drawn = error_map(case.error, case.wrong)
    return ["", *([drawn, ""] if drawn else []), *_table(case), ""]


def _table(case: Case) -> list[str]:
    """The worst elements, with both numbers and their ratio."""
    lines = [f"    {'element':<20}{'backward':>14}{'differences':>14}{'ratio':>12}"]
    for place in case.worst[:4]:
        got, expected = float(case.got[place]), float(case.expected[place])
        with np.errstate(all="ignore"):
            ratio = f"{np.float64(got) / expected + 0:.6g}" if abs(expected) > case.tolerance.atol else "-"
        shown = f"({', '.join(map(str, place))})"
        lines.append(f"    {shown:<20}{got:>14.6g}{expected:>14.6g}{ratio:>12}")
    return lines


def _told(finding: Finding | None) -> list[str]:
    if finding is None:
        return _wrapped("no likely cause: ", "the error fits none of the mistakes that are known here")
    return [*_wrapped("likely cause: ", finding.cause), *_wrapped("evidence:     ", finding.evidence)]


def _listed(what: str, names: list[str]) -> list[str]:
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return _wrapped(f"{what} ", shown) if names else []


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"  {start}", subsequent_indent=" " * (2 + len(start)))
