"""A reshape told in the file's order of axes, done in the order in which they lie here."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """First a transpose by `order`, then a reshape to `shape`; the file's tensor is that transposed by `axes`.

    as_it_lies: whether the elements have been flattened in another order than in the file.
    """

    order: Shape
    shape: Shape
    axes: Shape
    as_it_lies: bool = False


def regroup(shape: Shape, axes: Shape, wanted: Shape) -> Plan:
    """How data of `shape`, which the file sees transposed by `axes`, becomes what it sees in the shape `wanted`.

    Axes that are only cut or joined with their neighbours leave the others where they are. So channels (N, C, H, W)
    that are cut into groups (N, G, C / G, H, W) are cut here at the end, (N, H, W, G, C / G). Where whole images are
    flattened to rows, (N, C * H * W), nothing moves either, and whoever reads the rows has to know: `as_it_lies`.
    """
    groups = _groups(tuple(shape[axis] for axis in axes), wanted)
    places = [[axes[i] for i in old] for old, _ in groups]  # where the axes of each group are here
    long = [[place for place in group if shape[place] > 1] for group in places]
    if len(wanted) == 2 and [place for group in long for place in group] != sorted(p for group in long for p in group):
        return Plan(tuple(range(len(shape))), wanted, (0, 1), as_it_lies=True)
    first = [min(found or group) for found, group in zip(long, places, strict=True)]
    ordered = sorted(range(len(groups)), key=first.__getitem__)
    moved = [place for g in ordered for place in long[g]]
    order = [place for g in ordered for place in places[g]]
    if moved == sorted(moved):  # only axes of length 1 would change their places: a reshape does that
        order = list(range(len(shape)))
    new = [i for g in ordered for i in groups[g][1]]
    return Plan(tuple(order), tuple(wanted[i] for i in new), tuple(new.index(i) for i in range(len(wanted))))


def _groups(old: Shape, new: Shape) -> list[tuple[range, range]]:
    """The shortest runs of axes whose elements are the same: (6, 4, 5) and (2, 3, 20) are 6 = 2 * 3 and 4 * 5 = 20."""
    groups, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        start, before, after = (i, j), old[i], new[j]
        i, j = i + 1, j + 1
        while before != after:
            if before < after:
                before, i = before * old[i], i + 1
            else:
                after, j = after * new[j], j + 1
        groups.append((range(start[0], i), range(start[1], j)))
    # What is left on either side has length 1.
    last_old, last_new = groups.pop()
    return [*groups, (range(last_old.start, len(old)), range(last_new.start, len(new)))]
