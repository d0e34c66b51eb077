"""Causes that show in the numbers: a factor, a term that is missing, a mask of the wrong thing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from .case import Case, Finding, label
from .differences import Array


def nothing_arrived(case: Case) -> Finding | None:
    """Zeros everywhere."""
    if case.got.any():
        return None
    if not case.arrived:
        return Finding(
            "no gradient arrived: a backward returned None for it, or its way to the result is cut (detach(), no_grad, "
            "or a Tensor made anew from .data or .numpy())",
            f"backward left no gradient at all, although the result depends on {case.name}",
        )
    return Finding(
        "backward gives zeros: an array that was made and never written, or a mask that lets nothing through",
        f"all {case.got.size} elements are exactly 0",
    )


def constant_factor(case: Case) -> Finding | None:
    """Every element is k times what it should be."""
    k, exact = _factor(case.got, case.expected, case)
    if not exact:
        return None
    size, names = abs(k), _lengths(case)
    evidence = f"every element is {k:.6g} times what it should be"
    if abs(size - 1) < 1e-4:
        return Finding("the sign is turned", evidence)
    number = next((n for n in names if abs(size - n) < 1e-4 * n or abs(1 / size - n) < 1e-4), None)
    if number is None and case.present.sum() < 2:
        return None  # any single number is some multiple of any other
    also = "the sign is turned, and " if k < 0 else ""
    if number is None:
        return Finding(f"{also}a scale that one direction applies and the other does not", evidence)
    evidence += f"; {number} is {names[number]}"
    square = names[number] == SQUARE
    if size > 1:
        what = ": that of a half" if square else ": a sum where a mean belongs"
        return Finding(f"{also}a factor 1/{number} is forgotten{what}", evidence)
    what = ": that of a square" if square else ", or there is a mean where a sum belongs"
    return Finding(f"{also}a factor {number} is forgotten{what}", evidence)


SQUARE = "what a square brings down, or a half takes away"


def _lengths(case: Case) -> dict[int, str]:
    """The numbers that a forgotten 1/N may have been, with what they count."""
    named: list[tuple[int, str]] = []
    for array, of in ((case.x, case.name), (case.y, "the result")):
        named += [(n, f"the length of axis {a} of {of}") for a, n in enumerate(array.shape)]
        if array.ndim == 4:
            named += [(array.shape[1] * array.shape[2], f"H * W of {of}")]
            named += [(math.prod(array.shape[:3]), f"N * H * W of {of}")]
        named += [(array.size, f"the number of elements of {of}")]
    if case.y.size % case.x.size == 0:
        named += [(case.y.size // case.x.size, f"how many elements of the result come to one of {case.name}")]
    named += [(2, SQUARE)]
    counted: dict[int, str] = {}
    for n, text in named:
        if n > 1 and counted.get(n, "").count(" and ") < 1:
            counted[n] = f"{counted[n]} and {text}" if n in counted else text
    return counted


def forgotten_factor(case: Case) -> Finding | None:
    """An elementwise factor, such as the derivative of an activation, is missing or there twice."""
    if case.wrong.sum() < 4:
        return None  # a mask fits any few elements
    for text, values in _saved(case):
        k, exact = _factor(case.got * values, case.expected, case)
        if exact:
            also = "" if abs(k - 1) < 1e-4 else f" (and a constant {1 / k:.4g})"
            return Finding(
                f"the factor {text} is forgotten{also}",
                f"backward times {text} is the right gradient, at every element",
            )
        k, exact = _factor(case.got, case.expected * values, case)
        if exact:
            also = "" if abs(k - 1) < 1e-4 else f" (and a constant {k:.4g})"
            return Finding(
                f"the factor {text} is there once too often{also}",
                f"the right gradient times {text} is what came, at every element",
            )
    return None


def proportional_error(case: Case) -> Finding | None:
    """The error is a multiple of an array that the operation may have saved."""
    if (np.abs(case.error) > 1e-6 * np.abs(case.error).max()).sum() < 4:
        return None
    for text, values in _saved(case):
        k, exact = _factor(case.error, values, case)
        if exact:
            return Finding(
                f"a term is {'too many' if k > 0 else 'missing'}: {abs(k):.6g} * {text}",
                f"the error is {k:.6g} times {text}, at every element",
            )
    return None


def _saved(case: Case) -> Iterator[tuple[str, Array]]:
    """Arrays that the operation may have kept for backward, and simple functions of them, that fit x."""
    arrays = [(case.label, case.x), *((label(name), a) for name, a in case.others())]
    if case.y.shape == case.x.shape:
        arrays.insert(1, ("y", case.y))
    for name, a in arrays:
        try:
            values = np.broadcast_to(a, case.x.shape)
        except ValueError:
            continue
        if np.ptp(values) == 0:
            continue
        for text, f in (
            ("{}", values),
            ("({} > 0)", (values > 0).astype(np.float64)),
            ("{}**2", values**2),
            ("(1 - {})", 1 - values),
            ("(1 - {}**2)", 1 - values**2),
            ("{0} * (1 - {0})", values * (1 - values)),
        ):
            if np.ptp(f) > 0:
                yield text.format(name), f


def missing_term(case: Case) -> Finding | None:
    """The error is, in each channel or row, a combination of few saved arrays: what sums over it was left out."""
    scale = np.abs(case.error).max()
    same_shape = [("y", case.y), ("e**y", np.exp(np.minimum(case.y, 50)))] if case.y.shape == case.x.shape else []
    arrays = [("x", case.x), *same_shape]
    bases: list[list[tuple[str, Array]]] = [[("1", np.ones(case.x.shape))], *([a] for a in arrays)]
    bases += [[bases[0][0], a] for a in arrays]
    for basis, (group, axis) in product(bases, _groups(case)):
        columns = np.stack([_by_group(a, axis) for _, a in basis], axis=-1)  # (groups, elements, basis)
        error = _by_group(case.error, axis)
        everywhere = (np.abs(error).max(axis=1) > 1e-4 * scale).all()
        if error.shape[1] < len(basis) + 2 or not everywhere:
            continue
        weights = np.linalg.pinv(columns) @ error[..., None]
        if np.abs((columns @ weights)[..., 0] - error).max() <= 1e-4 * scale:
            return _term(case, [name for name, _ in basis], group)
    return None


def _term(case: Case, names: list[str], group: str) -> Finding:
    saved = names[-1].replace("x", case.label)
    form = {1: f"a * {saved}" if saved != "1" else "a constant a", 2: f"a + b * {saved}"}[len(names)]
    meanings = {
        ("channel", ("1",)): "the term through its mean",
        ("channel", ("x",)): "the term through its variance or norm",
        ("channel", ("1", "x")): "the terms through its mean and variance, which depend on x too",
        ("channel", ("y",)): "the term through its variance or norm",
        ("row", ("y",)): "softmax's y * (sum of dy * y)",
        ("row", ("e**y",)): "log_softmax's e**y * (sum of dy)",
        ("row", ("1",)): "the term through its mean",
        ("row", ("1", "x")): "the terms through its mean and variance, which depend on x too",
    }
    meaning = meanings.get((group, tuple(names)), "what divides or subtracts it depends on x too")
    return Finding(
        f"what sums over the {group} is missing: {meaning}",
        f"in each {group} the error is {form}, with numbers that do not change within it",
    )


def _groups(case: Case) -> list[tuple[str, int]]:
    """What a term may sum over, and the axis that tells one of them from the next: -1 the last, 0 all but the last."""
    return [("channel", -1), ("row", 0)][max(0, 2 - case.x.ndim) :]


def _by_group(a: Array, axis: int) -> Array:
    """(..., C) -> (C, elements) for channels; (..., K) -> (rows, K) for rows."""
    rows = a.reshape(-1, a.shape[-1])
    return rows.T if axis == -1 else rows


def masked_by_the_gradient(case: Case) -> Finding | None:
    """ReLU's mask taken from the sign of dy."""
    if case.y.shape != case.x.shape:
        return None
    negative, positive = case.dy < 0, case.dy > 0
    lost, kept = negative & (case.expected != 0), positive & (case.got != 0)
    if (
        lost.sum() < 2
        or kept.sum() < 2
        or case.got[negative].any()
        or not case.same(case.got[positive], case.dy[positive])
    ):
        return None
    return Finding(
        "the mask asks for the sign of the gradient dy, where it should ask for that of x (or y)",
        f"backward gave 0 wherever dy < 0 ({int(negative.sum())} elements, {int(lost.sum())} of them should get "
        "something), and all of dy wherever dy > 0",
    )


def factor_by_index(case: Case) -> Finding | None:
    """Along one axis each index has a factor of its own."""
    for axis, n in enumerate(case.x.shape):
        if n < 2 or (np.moveaxis(case.present, axis, 0).reshape(n, -1).sum(axis=1) < 3).any():
            continue
        pairs = zip(np.moveaxis(case.got, axis, 0), np.moveaxis(case.expected, axis, 0), strict=True)
        factors = [_factor(got, expected, case) for got, expected in pairs]
        if all(exact for _, exact in factors):
            shown = ", ".join(f"{k:.4g}" for k, _ in factors[:4]) + (", ..." if n > 4 else "")
            return Finding(
                f"a scale along axis {axis}, one number for each of its {n} indices, is forgotten or too many",
                f"along axis {axis} the gradient is {shown} times what it should be, everything else equal",
            )
    return None


def single_precision(case: Case) -> Finding | None:
    """Backward computes in float32."""
    size = np.linalg.norm(case.error) / max(np.linalg.norm(case.expected), 1e-300)
    if size > 1e-3 or not np.array_equal(case.got, case.got.astype(np.float32)) or case.present.sum() < 4:
        return None
    return Finding(
        "precision: backward computes in float32 although fn was given float64",
        f"every element that backward gave is a float32 number, and together they are off by {size:.1g} of their size",
    )


def _factor(got: Array, expected: Array, case: Case) -> tuple[float, bool]:
    """The best k with got = k * expected, and whether that is exact."""
    square = float((expected * expected).sum())
    if square == 0:
        return 0.0, False
    k = float((got * expected).sum()) / square
    return k, abs(k) > 1e-9 and case.same(got, k * expected)
