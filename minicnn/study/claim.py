"""A published number, the reason why it may not be our count, and when the two agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Terms = Mapping[str, int]  # what is added up, by name
Counter = Callable[..., int]  # count(network, what, *stages); see `audit.count`

PARAMETERS, WEIGHTS, IN_ALL, WORK = "parameters", "weights", "in all", "multiply-adds"


@dataclass(frozen=True)
class Reason:
    """Why a printed number is not our count.

    text: the reason. terms: what was counted instead; they must add up to the number as printed, or to `right`.
    right: what should have been printed, where nothing adds up to what was.
    """

    text: str
    terms: Callable[[Counter], Terms]
    right: str = ""


@dataclass(frozen=True)
class Claim:
    """A published number.

    network: its name in `models.names()`.
    what: "parameters" (trained), "weights" (parameters without biases, scales and shifts), "in all" (parameters and
        running statistics) or "multiply-adds"; or the name of a worked example, if it has terms.
    printed: "61,706", "0.27M", "1.814G". source: where.
    stages: the Modules that it counts; () is the whole network. kilo: what K means, 1000 or 1024.
    terms: of a worked example: what it adds up.
    """

    network: str
    what: str
    printed: str
    source: str
    stages: tuple[str, ...] = ()
    kilo: int = 1000
    terms: Callable[[], Terms] | None = None
    reason: Reason | None = None


def agrees(printed: str, number: int, kilo: int = 1000) -> bool:
    """Whether a number differs from a printed one by less than one in its last digit.

    "60,000" is 60,000 and nothing else; "3.6G" is anything between 3.5G and 3.7G: authors round and cut off.
    Raises ValueError for what is no such number.
    """
    match = re.fullmatch(r"([\d,]+)(?:\.(\d+))?([KMG]?)", printed)
    if not match:
        raise ValueError(f'expected a printed number like "61,706", "0.27M" or "1.814G", got {printed!r}')
    whole, decimals, letter = match[1].replace(",", ""), match[2] or "", match[3]
    scale: int = kilo ** " KMG".index(letter or " ")
    return abs(number * 10 ** len(decimals) - int(whole + decimals) * scale) < scale


def column(what: str, source: str, printed: Mapping[str, str]) -> list[Claim]:
    """What a source prints in one column, {network: number}."""
    return [Claim(network, what, text, source) for network, text in printed.items()]


def by_stage(network: str, what: str, source: str, printed: Mapping[str, str], kilo: int = 1000) -> list[Claim]:
    """What a source prints for the stages of a network, {stage: number}."""
    return [Claim(network, what, text, source, (stage,), kilo) for stage, text in printed.items()]
