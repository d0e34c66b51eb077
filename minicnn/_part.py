"""Which part of a batch this process computes, where several ranks share one.

What a layer does with a sample must not depend on who computes it: dropout draws by the number that the sample has in
the whole batch, and statistics over all ranks count none that only stands in for a missing one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """first: the number in the whole batch of this process's first sample. is_idle: whether the batch had none for it;
    what it then computes goes along with weight 0, so that it takes part in what the layers say to each other."""

    first: int = 0
    is_idle: bool = False


WHOLE = Part()
_part: ContextVar[Part] = ContextVar("part", default=WHOLE)


def current() -> Part:
    """The part that is computed now: the whole batch, unless `computing` says otherwise."""
    return _part.get()


@contextmanager
def computing(part: Part) -> Iterator[None]:
    """`with computing(part):` the model is given that part of a batch."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


def bounds(samples: int, rank: int, size: int) -> tuple[int, int]:
    """Where the part of a rank begins and ends: contiguous, no sample twice, sizes that differ by at most one.

    The first ranks have the larger parts, so that rank 0 has a sample of every batch.
    """
    each, more = divmod(samples, size)
    begin = rank * each + min(rank, more)
    return begin, begin + each + (rank < more)
