"""Causes that lie in the function or in the check, while backward may well be right."""

from __future__ import annotations

import numpy as np

from .case import Case, Finding
from .differences import Array, Problem, central_differences


def not_deterministic(problem: Problem) -> Finding | None:
    """Two calls on the same inputs differ."""
    first, second = problem.result(), problem.result()
    if np.array_equal(first, second, equal_nan=True):
        return None
    return Finding(
        "fn is not deterministic, so there is nothing to compare: a layer that draws at random (is Dropout in "
        "training? then .eval(), or F.dropout with a fixed step), or one that remembers its last call",
        f"two calls on the same inputs differ by up to {np.abs(first - second).max():.3g}",
    )


def not_a_number(case: Case) -> Finding | None:
    """NaN or infinity on one of the two sides."""
    bad, lost = ~np.isfinite(case.got), ~np.isfinite(case.expected)
    if lost.any():
        return Finding(
            "fn itself gives NaN or infinity there, so that there is no gradient",
            f"the central differences are not finite at {lost.sum()} of {lost.size} elements",
        )
    if bad.any():
        return Finding(
            "a NaN or an infinity is made in backward: a division by 0, a logarithm of 0, an overflow",
            f"backward gave NaN or infinity at {bad.sum()} of {bad.size} elements, while fn is finite around them",
        )
    return None


def within_rounding(case: Case) -> Finding | None:
    """No element is wrong, if the elements of the result are looked at one by one."""
    if case.wrong.any():
        return None
    return Finding(
        "the sum over the result: rounding in it is as large as rtol and atol allow; backward may be right",
        "differences of each element of the result by itself, summed up afterwards, agree with backward everywhere",
    )


def kink(case: Case) -> Finding | None:
    """The function has no derivative there: its slopes on both sides differ."""
    (_, left, right), (_, *nearer) = (_slopes(case, step) for step in (case.tolerance.eps, case.tolerance.eps / 10))
    jump, nearer_jump = np.abs(right - left), np.abs(nearer[1] - nearer[0])
    least = 1e-3 * np.maximum(np.abs(left), np.abs(right)) + 1e-5 * np.abs(case.expected).max()
    # Where a function merely bends, the slopes on both sides come together with a shorter step.
    if not ((jump > least) & (nearer_jump > 0.5 * jump)).all():
        return None
    place = case.worst[0]
    evidence = f"at {place} the slope is {left[0]:.4g} to the left and {right[0]:.4g} to the right"
    equals = case.x == case.x[place]
    if equals.sum() > 1 and case.x[place] != 0:
        return _tie(case, equals, evidence)
    got = np.array([case.got[p] for p in case.worst])
    low, high = np.minimum(left, right), np.maximum(left, right)
    slack = 1e-5 * np.abs(case.expected).max()
    between = bool(((low - slack <= got) & (got <= high + slack)).all())
    return Finding(
        "a kink: fn has no derivative there (ReLU at 0, two equal numbers under max)"
        + ("; backward may be right" if between else "")
        + ". Move the inputs away from it",
        evidence + (f", and backward's {got[0]:.4g} lies between" if between else ""),
    )


def _tie(case: Case, equals: Array, evidence: str) -> Finding:
    """Equal numbers: moved together they leave the tie as it is, and along that way there is a derivative."""
    moved = case.x[equals]

    def along(step: float) -> float:
        case.x[equals] = moved + step
        loss = float((case.problem.result() * case.dy).sum())
        case.x[equals] = moved
        return loss

    eps = case.tolerance.eps
    expected, got = (along(eps) - along(-eps)) / (2 * eps), float(case.got[equals].sum())
    ties = f"{evidence}; {int(equals.sum())} elements have the value {moved[0]:.4g}"
    if abs(got - expected) <= 1e-4 * max(abs(got), abs(expected)) + 1e-6:
        return Finding(
            "a tie: equal numbers under max, where fn has no derivative; backward may be right. Make the inputs differ",
            f"{ties}, and moved all together their gradient is right, {expected:.4g}",
        )
    return Finding(
        "a tie that is paid more or less than once: backward compares x == y, where one winner should get it all",
        f"{ties}, to which backward gave {got:.4g} in all; moved all together they deserve {expected:.4g}",
    )


def rounding(case: Case) -> Finding | None:
    """The differences, not backward, are wrong: another step brings them nearer to backward."""
    eps = case.tolerance.eps
    got = np.array([case.got[p] for p in case.worst])
    errors = {step: np.abs(_slopes(case, step)[0] - got).max() for step in (eps / 100, eps, 1000 * eps)}
    if errors[1000 * eps] < 0.02 * errors[eps]:
        single = np.array_equal(case.y, case.y.astype(np.float32)) and not np.array_equal(case.y, np.round(case.y))
        return Finding(
            "precision: fn computes with fewer digits than float64, so that a step of eps drowns in rounding; "
            "backward may be right" + (". Somewhere it goes through float32" if single else ""),
            f"with steps {1000 * eps:.0e} instead of {eps:.0e} the largest error falls from {errors[eps]:.2g} to "
            f"{errors[1000 * eps]:.2g}" + ("; every element of the result is a float32 number" if single else ""),
        )
    if errors[eps / 100] < 0.02 * errors[eps]:
        return Finding(
            "the step eps is too long for a function that bends so sharply there; backward may be right",
            f"with steps {eps / 100:.0e} instead of {eps:.0e} the largest error falls from {errors[eps]:.2g} to "
            f"{errors[eps / 100]:.2g}",
        )
    return None


def _slopes(case: Case, step: float) -> tuple[Array, Array, Array]:
    """At the worst elements the central difference, and the slopes to the left and to the right."""

    def loss() -> float:
        return float((case.problem.result() * case.dy).sum())

    middle, x = loss(), case.x
    central = np.array(central_differences(loss, x, step, case.worst))
    right = []
    for place in case.worst:
        kept = x[place]
        x[place] = kept + step
        right.append((loss() - middle) / step)
        x[place] = kept
    return central, 2 * central - np.array(right), np.array(right)
