"""The arithmetic of a ring all-reduce, against numbers worked out by hand and a ring that is played through."""

import numpy as np
import pytest


@pytest.fixture
def slow():
    """100 bytes a second, and two seconds of latency."""
    from ring import Link

    return Link("slow", 100.0, 2.0, "made up")


@pytest.fixture
def quick():
    """100 bytes a second and no latency."""
    from ring import Link

    return Link("quick", 100.0, 0.0, "made up")


def step(*buckets, seconds=10.0, backward_end=8.0):
    """A Step of buckets (bytes, when they are ready)."""
    from ring import Bucket, Step

    return Step(seconds, backward_end, tuple(Bucket(*bucket) for bucket in buckets))


def test_the_cost_of_a_ring_by_hand(slow):
    from ring import ring

    # Four ranks: six rounds, each of a quarter of 400 bytes, which takes a second, and of two seconds of latency.
    cost = ring(400, 4, slow)
    assert (cost.transfer, cost.latency, cost.seconds) == (6.0, 12.0, 18.0)
    assert ring(400, 2, slow).seconds == 4 + 4
    assert ring(400, 1, slow).seconds == 0


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_a_ring_that_is_played_sums_up_and_sends_what_the_formula_says(ranks, slow):
    """Each round every rank sends one part to its right neighbour, and takes as long as the part and a latency."""
    from ring import ring

    arrays = [np.arange(ranks) + 10.0 * rank for rank in range(ranks)]  # a part is one number of 8 bytes
    wanted, seconds = sum(arrays), 0.0
    for turn in range(2 * (ranks - 1)):
        parts = [(rank - turn) % ranks for rank in range(ranks)]
        sent = [arrays[rank][part] for rank, part in enumerate(parts)]
        for rank, (part, number) in enumerate(zip(parts, sent, strict=True)):
            right = (rank + 1) % ranks
            arrays[right][part] = number + (arrays[right][part] if turn < ranks - 1 else 0)
        seconds += 8 / slow.bandwidth + slow.latency
    assert all((array == wanted).all() for array in arrays)
    assert ring(8 * ranks, ranks, slow).seconds == pytest.approx(seconds)


def test_a_step_without_overlap_waits_for_all_its_bytes(quick):
    # On two ranks 100 bytes take a second. Sums from second 8 to 11, then 2 seconds for the update.
    plain = step((100, 4.0), (200, 8.0))
    assert plain.on(2, quick, overlapped=False) == 13
    assert plain.efficiency(2, quick, overlapped=False) == 10 / 13
    assert plain.size == 300


def test_a_step_with_overlap_waits_for_what_the_backward_pass_does_not_hide(quick):
    # The first bucket is through at 5, the second, ready at 8, at 10.
    assert step((100, 4.0), (200, 8.0)).on(2, quick, overlapped=True) == 12
    # The first is through at 9 only, so that the second begins then, and ends at 10.
    assert step((500, 4.0), (100, 6.0)).on(2, quick, overlapped=True) == 12
    # All is hidden.
    assert step((100, 4.0), (100, 7.0)).on(2, quick, overlapped=True) == 10


@pytest.mark.parametrize("overlapped", [False, True])
def test_one_rank_sends_nothing(slow, overlapped):
    alone = step((100, 4.0), (200, 8.0))
    assert alone.on(1, slow, overlapped) == 10
    assert alone.efficiency(1, slow, overlapped) == 1


def test_where_the_scaling_bends(slow, quick):
    from ring import MOST_RANKS

    # Latency: a round is 2 seconds and a hundredth of no bytes. 10 / (10 + 4 (p - 1)) < 0.9 from p = 2 on, and
    # < 0.1 when 4 (p - 1) > 90: from p = 24 on.
    waits = step((1, 8.0))
    assert waits.bend(slow, overlapped=False) == 2
    assert waits.bend(slow, overlapped=False, least=0.1) == 24
    # Bandwidth: 50 bytes take (p - 1) / p seconds. 10 / (10 + (p - 1) / p) < 0.92 when (p - 1) / p > 0.8696: p = 8.
    sends = step((50, 8.0))
    assert sends.bend(quick, overlapped=False, least=0.92) == 8
    assert sends.bend(quick, overlapped=False, least=0.9) is None
    assert sends.efficiency(MOST_RANKS, quick, overlapped=False) == pytest.approx(10 / 11, rel=1e-5)


def test_the_efficiency_never_rises_with_the_ranks(slow):
    plain = step((100, 4.0), (200, 6.0), (10, 8.0))
    for overlapped in (False, True):
        efficiencies = [plain.efficiency(ranks, slow, overlapped) for ranks in range(1, 40)]
        assert efficiencies == sorted(efficiencies, reverse=True)


def test_where_latency_overtakes_the_transfer(slow):
    # 800 bytes in two buckets: 800 / (100 * 2 * 2) = 2 ranks, where 2 rounds take 4 seconds of each.
    two = step((400, 8.0), (400, 8.0))
    assert two.turning(slow) == 2
    cost = two.cost(2, slow)
    assert cost.transfer == cost.latency == 8


def test_a_sentence_names_the_term_that_bends(slow, quick):
    from ring import why

    assert why(step((1, 8.0)), slow, overlapped=False).startswith(
        "slow: below 90 % from 2 ranks on, by latency: the wa"
    )
    assert "never below 90 %" in why(step((50, 8.0)), quick, overlapped=False)
    # Two ranks: 400 bytes take 4 seconds to send and 4 of latency; a byte more, and the bytes are to blame.
    text = why(step((404, 4.0)), slow, overlapped=True)
    assert "by bandwidth: 0.000404 MB take 4.04 s to send, of which at most 4.00 s fit" in text


def test_the_links_are_as_fast_as_their_names_say():
    from ring import LINKS

    assert {link.name: (link.bandwidth, link.latency) for link in LINKS} == {
        "10 GbE": (1.25e9, 10e-6),
        "InfiniBand": (12.5e9, 2.7e-6),
        "NVLink": (450e9, 0.6e-6),
    }
    assert all(link.source for link in LINKS)
