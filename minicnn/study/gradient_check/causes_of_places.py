"""Causes that show in the places: what did not arrive, what was overwritten, what arrived elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations, product

import numpy as np

from .case import Case, Finding
from .differences import Array, central_differences


def only_a_part_arrived(case: Case) -> Finding | None:
    """What backward gave is right for a part of the result, as if the rest of it did not count."""
    if case.jacobian is None:
        return None
    for axes in _axes_to_try(case):
        lengths = [case.y.shape[a] for a in axes]
        for kept, cut in (("the first", slice(0, 1)), ("the last", slice(-1, None)), ("all but the last", slice(0, -1)),
                          ("all but the first", slice(1, None))):  # fmt: skip
            if "all" in kept and min(lengths) < 3:
                continue
            dy = np.zeros_like(case.dy)
            part = tuple(cut if a in axes else slice(None) for a in range(dy.ndim))
            dy[part] = case.dy[part]
            if case.is_got(case.gradient_from(dy)):
                return _part(case, axes, kept)
    return None


def _axes_to_try(case: Case) -> list[tuple[int, ...]]:
    """Single axes of the result, rows with columns, and those along which broadcasting copied x."""
    tried = [_broadcast(case), *((a,) for a in range(case.y.ndim)), *([(1, 2)] if case.y.ndim == 4 else [])]
    return [axes for axes in tried if axes and all(case.y.shape[a] > 1 for a in axes)]


def _broadcast(case: Case) -> tuple[int, ...]:
    """The axes of the result along which one element of x meets many, if x is shaped to be broadcast."""
    shape = (1,) * (case.y.ndim - case.x.ndim) + case.x.shape
    fits = case.x.ndim <= case.y.ndim and all(n in (1, m) for n, m in zip(shape, case.y.shape, strict=True))
    return tuple(a for a, (n, m) in enumerate(zip(shape, case.y.shape, strict=True)) if n < m) if fits else ()


def _part(case: Case, axes: tuple[int, ...], kept: str) -> Finding:
    along = " and ".join(f"axis {a} (length {case.y.shape[a]})" for a in axes)
    evidence = f"what came is exactly the gradient from {kept} of the result along {along}"
    if kept in ("all but the last", "all but the first"):
        return Finding(
            f"the {kept[12:]} windows (or rows) along {along} of the result are lost: a loop that is one too short, or "
            "a stride remainder",
            evidence,
        )
    if axes == _broadcast(case):
        return Finding(
            f"broadcasting is not summed back: {case.name} was copied along {along} of the result, and the gradients "
            "of all copies belong to it, added up",
            f"{evidence}, as if the others did not count",
        )
    return Finding(f"`=` where `+=` belongs, in a sum over {along} of the result", f"{evidence} alone")


def windows_overlap(case: Case) -> Finding | None:
    """Where several windows share a cell, only one of them has paid."""
    if case.jacobian is None:
        return None
    # One window makes one element of the result, or those of all channels at one place.
    sizes = (case.y.shape[-1], 1) if case.y.ndim > 1 else (1,)
    return next((found for size in sizes if (found := _overlap(case, size))), None)


def _overlap(case: Case, size: int) -> Finding | None:
    """The same, where a window makes `size` neighbouring elements of the result."""
    assert case.jacobian is not None
    shares = (case.jacobian * case.dy.reshape(-1)).reshape(case.x.size, -1, size).sum(axis=-1)  # (x.size, windows)
    met = np.abs(case.jacobian) > 1e-6 * np.abs(case.jacobian).max()
    met = met.reshape(case.x.size, -1, size).any(axis=-1)
    wrong, windows = case.wrong.reshape(-1), met.sum(axis=1)
    if (windows[wrong] < 2).any() or not (windows[~wrong] == 1).any():
        return None
    where = (
        f"right at all {int((windows == 1).sum())} elements that one window covers, wrong at {int(wrong.sum())} of "
        f"the {int((windows > 1).sum())} that several cover"
    )
    slack = case.tolerance.atol + case.tolerance.rtol * np.abs(shares).max()
    alone = (np.abs(shares[wrong] - case.got.reshape(-1)[wrong, None]) <= slack) & met[wrong]
    if not alone.any(axis=1).all():
        return Finding("something in how the shares of overlapping windows are put together", where)
    return Finding(
        "`=` where `+=` belongs: windows overlap, and each overwrites what the one before has left",
        f"{where}; at each of these backward gave the share of one window alone",
    )


def moved(case: Case) -> Finding | None:
    """The right numbers in the wrong places."""
    axes = range(case.x.ndim)
    for count in range(1, case.x.ndim + 1):
        for flipped in combinations(axes, count):
            if case.is_got(np.flip(case.expected, flipped)):
                return Finding(
                    f"flipped along {_named(flipped)}, as where a kernel is turned round that should not be",
                    f"what came is exactly the right gradient read backwards along {_named(flipped)}",
                )
    for order in permutations(axes) if case.x.ndim < 6 else ():  # more axes have too many orders
        turned = case.expected.transpose(order)
        if turned.shape == case.x.shape and case.is_got(turned):
            return Finding(
                "transposed: two axes have changed places",
                f"what came is exactly the right gradient with its axes in the order {order}",
            )
        if case.is_got(turned.reshape(case.x.shape)):
            return Finding(
                "a reshape where a transpose belongs (or the reverse): memory is read in another order of the axes",
                f"what came is exactly the right gradient, laid down in the order {order} of the axes",
            )
    return _shifted(case) or _shuffled(case)


def _shifted(case: Case) -> Finding | None:
    """One cell too far along an axis; what fell off the edge does not count."""
    for axis, n in enumerate(case.x.shape):
        got, expected = (np.moveaxis(a, axis, 0) for a in (case.got, case.expected))
        for to, source, neighbour in ((got[1:], expected[:-1], "before"), (got[:-1], expected[1:], "after")):
            if n > 2 and case.same(to, source) and source.any():
                return Finding(
                    f"shifted by one along axis {axis}: an index off by one, or padding on the wrong side",
                    f"along axis {axis} each element has what belongs to the one {neighbour} it",
                )
    return None


def _shuffled(case: Case) -> Finding | None:
    """The same numbers, in no order that is known here."""
    if case.present.sum() < 6 or not case.same(np.sort(case.got, axis=None), np.sort(case.expected, axis=None)):
        return None
    return Finding("an index, or the order of axes: the right numbers in wrong places", "sorted, both are the same")


RULES = (
    "where forward slides a kernel along, dx takes it turned round (by 180 degrees, in two axes)",
    "where forward multiplies by w, dx takes w.T",
)


def kernel_turned(case: Case) -> Finding | None:
    """What backward gave would be right if another input were turned round or transposed."""
    for name, other in case.others():
        for text, turned in _turns(other):
            kept = other.copy()
            other[...] = turned
            try:
                if _would_be_right(case):
                    return Finding(
                        f"backward reads {name} the wrong way round: {RULES[text == 'transposed']}",
                        f"what came is exactly the gradient of another function: fn with {name} {text}",
                    )
            finally:
                other[...] = kept
    return None


def _turns(a: Array) -> Iterator[tuple[str, Array]]:
    """An array of at least two axes, flipped along its first two, and transposed."""
    if a.ndim < 2:
        return
    for axes in ((0, 1), (0,), (1,)):
        if not np.array_equal(np.flip(a, axes), a):
            yield f"flipped along {_named(axes)}", np.flip(a, axes).copy()
    if a.shape[0] == a.shape[1] and not np.array_equal(a.swapaxes(0, 1), a):
        yield "transposed", a.swapaxes(0, 1).copy()


def _would_be_right(case: Case) -> bool:
    """Whether backward's gradient is that of the function as it is now: at a few elements, and then at all."""

    def loss() -> float:
        return float((case.problem.result() * case.dy).sum())

    for places in (case.worst[:4], list(np.ndindex(case.x.shape))):
        now = np.array(central_differences(loss, case.x, case.tolerance.eps, places))
        scale = case.tolerance.atol + case.tolerance.rtol * np.abs(case.got).max()
        if (np.abs(now - [case.got[p] for p in places]) > scale).any():
            return False
    return True


def at_the_edge(case: Case) -> Finding | None:
    """Wrong in the last rows or columns alone, or in the first, or all around."""
    if case.wrong.sum() < 2 and case.x.ndim > 1:
        return None  # one element is no edge
    for width, axes, (side, ends) in product((1, 2, 3), _axes_with_edges(case), EDGES):
        if any(case.x.shape[a] < 2 * width + 1 for a in axes):
            continue
        edge = np.zeros(case.x.shape, bool)
        for axis, end in product(axes, ends):
            np.moveaxis(edge, axis, 0)[slice(0, width) if end == 0 else slice(-width, None)] = True
        there = edge & case.present
        if not (case.wrong & ~edge).any() and there.any() and (case.wrong & there).sum() >= 0.7 * there.sum():
            return _edge(case, width, axes, side)
    return None


EDGES = (("last", (1,)), ("first", (0,)), ("outermost", (0, 1)))


def _axes_with_edges(case: Case) -> list[tuple[int, ...]]:
    """Each axis alone, rows with columns, all together."""
    single = [(a,) for a in range(case.x.ndim)]
    return single + ([(1, 2), (0, 1)] if case.x.ndim == 4 else [(0, 1)] if case.x.ndim in (2, 3) else [])


def _edge(case: Case, width: int, axes: tuple[int, ...], side: str) -> Finding:
    many = f"{side} {width} indices" if width > 1 else f"{side} index"
    evidence = f"every wrong element lies in the {many} of {_named(axes)}"
    if not case.got[case.wrong].any():
        evidence += ", and backward gave 0 there"
        return Finding("the edge is left out: a stride remainder, or a loop that ends too early", evidence)
    if not np.abs(case.expected[case.wrong]).max() > case.tolerance.atol:
        evidence += ", where no result depends on x and 0 is right"
        return Finding("the remainder that no window covers is not 0: memory that was not cleared", evidence)
    return Finding("the edge is treated wrongly: padding, or a stride remainder", evidence)


def at_some_indices(case: Case) -> Finding | None:
    """Wrong at some indices of one axis, and there everywhere."""
    for axis, n in enumerate(case.x.shape):
        wrong, present = (np.moveaxis(a, axis, 0).reshape(n, -1) for a in (case.wrong, case.present))
        bad = wrong.any(axis=1)
        if bad.all() or n < 2 or not (wrong | ~present)[bad].all() or present[bad].sum() < 2:
            continue
        indices = np.flatnonzero(bad)
        shown = ", ".join(map(str, indices[:6])) + (", ..." if len(indices) > 6 else "")
        nothing = " and are 0" if not case.got[case.wrong].any() else ""
        return Finding(
            f"only a part of axis {axis} is treated wrongly: a loop over it, a slice of it, a group or a step",
            f"along axis {axis} the indices {shown} are wrong everywhere{nothing}, all others are right",
        )
    return None


def _named(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"
