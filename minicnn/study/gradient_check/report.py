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
    lines = _headline("", wrong)
    if finding := not_deterministic(asked):
        return "\n".join([*lines, *_told(finding)])
    lines += _listed("wrong too:", [f"{name} at {w.count}" for name, w in list(wrong.items())[1:]])
    lines += _listed("right:", [name for name in asked.variables if name not in wrong])
    fault = culprit(asked, tolerance)
    if fault is not None and not fault.is_all:
        asked, wrong = fault.problem, fault.wrong
        lines.append(f"\n  The fault lies in {fault.operation}, operation {fault.number} of {fault.count}.")
        lines += ["  " + line for line in _headline("its ", wrong)]
    elif fault is not None:
        lines.append(f"  made by {fault.operation}")
    case = case_of(asked, tolerance, next(iter(wrong)))
    if case is None:
        advice = f"more than {LARGEST} elements are too many to look at each: check the layer alone, on a small input"
        return "\n".join([*lines, *_wrapped("no diagnosis: ", advice)])
    return "\n".join([*lines, *_map(case), *_only_the_bias(case, wrong), *_told(diagnose(case))])


def _only_the_bias(case: Case, wrong: dict[str, Wrong]) -> list[str]:
    """A word on a gradient that alone is wrong, of what is added to each channel of the result."""
    if len(wrong) > 1 or len(case.problem.variables) == 1 or case.jacobian is None or case.x.shape != case.y.shape[-1:]:
        return []
    each_channel = np.tile(np.eye(case.x.size), case.y.size // case.x.size)  # (C, N*OH*OW*C)
    if not np.allclose(case.jacobian, each_channel, atol=1e-6):
        return []
    return _wrapped("only the bias: ", "all else is right; its gradient is the sum of dy over all axes but the last")


def _headline(whose: str, wrong: dict[str, Wrong]) -> list[str]:
    name, first = next(iter(wrong.items()))
    numbers = f"backward gave {first.got:.7g}, central differences {first.expected:.7g}"
    return [
        f"the gradient of {whose}{name} is wrong at {first.count} of {first.checked} elements",
        *textwrap.wrap(f"worst at {first.worst}: {numbers}", WIDTH - 2, initial_indent="  ", subsequent_indent="    "),
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
