"""What a ring all-reduce costs, and how data-parallel training grows with the ranks: on paper.

Each of p ranks has an array of B bytes and wants the sum of all. They stand in a ring and cut the array into p parts.
In 2 (p - 1) rounds each rank sends a part to its right neighbour: in the first p - 1 rounds the parts are summed up, in
the others the sums are handed round. So

    seconds = 2 (p - 1) / p * B / bandwidth + 2 (p - 1) * latency

The first term hardly grows: with many ranks it is twice the time of the array itself. The second grows with each rank.

Source: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations".
What is left out makes it slower: adding the numbers, links that are shared, and ranks that wait for the slowest one.
Other algorithms have fewer rounds (trees: 2 log2 p), so where the latency is what bends, a library does better.
"""

from __future__ import annotations

from dataclasses import dataclass

import report

MOST_RANKS = 1 << 20


@dataclass(frozen=True)
class Link:
    """Between a rank and the next one. bandwidth: bytes a second in each direction. latency: seconds of a message."""

    name: str
    bandwidth: float
    latency: float
    source: str


# The latencies of NCCL are those of its short messages (protocol LL), which reach a quarter of the bandwidth and less:
# with the full bandwidth beside them these two links are shown at their best.
LINKS = (
    Link("10 GbE", 10e9 / 8, 10e-6, "IEEE 802.3ae: 10 Gb/s; Larsen et al. 2009, Architectural Breakdown of End-to-End "
         "Latency in a TCP/IP Network: 10 us from program to program"),
    Link("InfiniBand", 100e9 / 8, 2.7e-6, "EDR, 4 lanes of 25.78 Gb/s in 64b/66b: 100 Gb/s; NCCL, src/graph/tuning.cc, "
         "hwLat, a step of a ring over a network: 2.7 us"),
    Link("NVLink", 450e9, 0.6e-6, "NVIDIA H100, NVLink 4, 900 GB/s, half of it each way; NCCL, the same table, NVLink: "
         "0.6 us; as if it went beyond the GPUs of a server"),
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Seconds of one all-reduce or of several: for the bytes, and for waiting until a message is there."""

    transfer: float
    latency: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.transfer + self.latency

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.transfer + other.transfer, self.latency + other.latency)


def ring(size: int, ranks: int, link: Link) -> Cost:
    """The cost of the sum of `size` bytes of each of so many ranks; of one rank nothing."""
    rounds = 2 * (ranks - 1)
    return Cost(rounds / ranks * size / link.bandwidth, rounds * link.latency)


@dataclass(frozen=True)
class Bucket:
    """Gradients that are summed together. size: bytes. ready: when they are there, in seconds of the step."""

    size: int
    ready: float


@dataclass(frozen=True)
class Step:
    """A training step of one rank as it is without others.

    seconds: all of it. backward_end: when the backward pass is over; what follows needs the sums.
    buckets: in the order in which they are sent.
    """

    seconds: float
    backward_end: float
    buckets: tuple[Bucket, ...]

    @property
    def size(self) -> int:
        """Bytes of all gradients."""
        return sum(bucket.size for bucket in self.buckets)

    def cost(self, ranks: int, link: Link) -> Cost:
        """Of all buckets, one after another."""
        return sum((ring(bucket.size, ranks, link) for bucket in self.buckets), Cost(0.0, 0.0))

    def on(self, ranks: int, link: Link, overlapped: bool) -> float:
        """Seconds of the step on so many ranks, each with as many images as the one had.

        overlapped: a bucket is sent as soon as it is ready and the one before it is through; else all wait for the
        end of the backward pass. One rank sends nothing.
        """
        through = 0.0
        for bucket in self.buckets:
            begin = bucket.ready if overlapped else self.backward_end
            through = max(through, begin) + ring(bucket.size, ranks, link).seconds
        return max(through, self.backward_end) + self.seconds - self.backward_end

    def efficiency(self, ranks: int, link: Link, overlapped: bool) -> float:
        """Images a second on so many ranks, as a part of so many times those of one rank."""
        return self.seconds / self.on(ranks, link, overlapped)

    def bend(self, link: Link, overlapped: bool, least: float = 0.9) -> int | None:
        """The smallest number of ranks whose efficiency is below `least`; None if it is more than MOST_RANKS.

        The efficiency never rises with the ranks, so that halving finds it.
        """
        if self.efficiency(MOST_RANKS, link, overlapped) >= least:
            return None
        good, bad = 1, MOST_RANKS
        while bad - good > 1:
            middle = (good + bad) // 2
            if self.efficiency(middle, link, overlapped) < least:
                bad = middle
            else:
                good = middle
        return bad

    def turning(self, link: Link) -> float:
        """The number of ranks from which the latency of all rounds is longer than the transfer: B / (b * l) / buckets.

        From 2 (p - 1) / p * B / b = n * 2 (p - 1) * l, with n buckets of B bytes together.
        """
        return self.size / (link.bandwidth * link.latency * len(self.buckets))


def why(step: Step, link: Link, overlapped: bool, least: float = 0.9) -> str:
    """A sentence: where the scaling bends, and which of the two terms bends it."""
    ranks = step.bend(link, overlapped, least)
    percent = f"{least:.0%}".replace("%", " %")
    if ranks is None:
        return f"{link.name}: never below {percent}, with up to {MOST_RANKS:,} ranks."
    cost, room = step.cost(ranks, link), step.backward_end - step.buckets[0].ready if overlapped else 0.0
    hidden = f", of which at most {report.duration(room)} fit behind the backward pass" if overlapped else ""
    if cost.transfer >= cost.latency:
        reason = (
            f"bandwidth: {step.size / 1e6:.3g} MB take {report.duration(cost.transfer)} to send{hidden}; the waits of "
            f"{2 * (ranks - 1):,} rounds a bucket take {report.duration(cost.latency)}, and the longer from "
            f"{step.turning(link):,.0f} ranks on"
        )
    else:
        reason = (
            f"latency: the waits of {2 * (ranks - 1):,} rounds for each of {len(step.buckets)} buckets take "
            f"{report.duration(cost.latency)}{hidden}; their bytes take {report.duration(cost.transfer)}"
        )
    return f"{link.name}: below {percent} from {ranks:,} ranks on, by {reason}."
