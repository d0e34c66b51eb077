"""Ranks that should be alike, and how they are told that they are not."""

from __future__ import annotations

from typing import Any

from .communicator import Communicator


def check_same(communicator: Communicator, what: str, value: Any) -> None:
    """Every rank calls it with its own value: raises ValueError on every one unless all values are equal.

    what: what the value is, for the error. value: a number, a text, None, or lists, tuples and dicts of them.

    The error names the first two ranks that differ and both values; in lists and dicts only the first entry that does.
    """
    values = communicator.gather(value)
    for rank, other in enumerate(values):
        if _differs(values[0], other):
            where, first, second = _difference(values[0], other)
            raise ValueError(
                f"{what}{where} must be the same on all ranks, but rank 0 has {first} and rank {rank} has {second}: "
                "start the same script with the same options and data everywhere"
            )


def _difference(a: Any, b: Any) -> tuple[str, str, str]:
    """(place, there in a, there in b) of the first difference, the place as an index: "['weight'][2]"."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in [*a, *b] if key not in a or key not in b or _differs(a[key], b[key])]
        if not keys:
            return "", f"the order {list(a)}", f"the order {list(b)}"
        return _inside(keys[0], a, b, keys[0] in a, keys[0] in b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and any(map(_differs, a, b)):
        index = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if _differs(x, y))
        return _inside(index, a, b, True, True)
    return "", repr(a), repr(b)


def _inside(key: Any, a: Any, b: Any, in_a: bool, in_b: bool) -> tuple[str, str, str]:
    if in_a and in_b:
        where, first, second = _difference(a[key], b[key])
        return f"[{key!r}]{where}", first, second
    return f"[{key!r}]", repr(a[key]) if in_a else "nothing", repr(b[key]) if in_b else "nothing"


def _differs(a: Any, b: Any) -> bool:
    """Whether two values are written differently; so what is not a number is the same as another such."""
    return repr(a) != repr(b)
