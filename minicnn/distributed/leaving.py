"""How a rank's end, before the others have done with it, is noticed."""

from __future__ import annotations

from collections import Counter
from typing import Any

# How many calls a rank took part in: ("all", 0) and ("apart", 0) for those of all ranks, ("sent", r) and
# ("received", r) for messages.
Call = tuple[str, int]
Calls = Counter[Call]


class Farewells:
    """What ranks say to all others as they end: how many calls they took part in.

    So whoever waits for call number n, and hears of a rank that ended after fewer, need not wait any longer: that one
    never comes. Without it the others would wait until their timeout.

    ranks: a communicator of mpi4py for these messages alone.
    """

    def __init__(self, ranks: Any) -> None:
        self._ranks, self._size, self._rank = ranks, ranks.Get_size(), ranks.Get_rank()
        self._heard: dict[int, Calls] = {}
        self._sent: list[Any] = []

    def say(self, calls: Calls) -> None:
        """Tell all others that this rank ends."""
        self._sent = [self._ranks.isend(calls, to) for to in range(self._size) if to != self._rank]

    def all_said(self) -> bool:
        """Whether every other rank has ended too, and knows of this one's end."""
        self._listen()
        return all([sent.Test() for sent in self._sent]) and len(self._heard) == self._size - 1

    def missing(self) -> list[int]:
        """The ranks that have not ended yet."""
        return [rank for rank in range(self._size) if rank != self._rank and rank not in self._heard]

    def absent(self, needed: dict[int, Call], number: int) -> str | None:
        """A sentence naming a rank that ended without the number-th of the calls which it is needed for; else None."""
        self._listen()
        for rank, call in needed.items():
            if rank in self._heard and self._heard[rank][call] < number:
                return f"rank {rank} has ended its script without taking part in it"
        return None

    def _listen(self) -> None:
        while self._ranks.iprobe():
            for rank in self.missing():
                if self._ranks.iprobe(source=rank):
                    self._heard[rank] = self._ranks.recv(source=rank)
