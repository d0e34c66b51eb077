"""The picture of a ring: its rounds are right, and it is written."""

import pytest
from scripts import run


@pytest.mark.parametrize("ranks", [2, 3, 4, 7])
def test_every_round_one_more_rank_is_in_a_part_until_all_are_everywhere(ranks):
    from draw_ring import rounds

    played = rounds(ranks)
    assert len(played) == 2 * (ranks - 1) + 1
    assert played[0] == [[{rank}] * ranks for rank in range(ranks)]
    assert played[-1] == [[set(range(ranks))] * ranks] * ranks
    for turn, state in enumerate(played[:ranks]):  # the sums: the fullest cell of each part grows by one a round
        assert [max(len(row[part]) for row in state) for part in range(ranks)] == [turn + 1] * ranks


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_framed_cells_are_those_that_changed(ranks):
    from draw_ring import _received, rounds

    played = rounds(ranks)
    assert _received(0, ranks) == []
    for turn in range(1, len(played)):
        changed = {
            (rank, part)
            for rank in range(ranks)
            for part in range(ranks)
            if played[turn][rank][part] != played[turn - 1][rank][part]
        }
        assert changed == set(_received(turn, ranks))


def test_the_messages_are_those_of_the_engine():
    from draw_ring import resnet18_messages

    assert len(resnet18_messages()) == 13
    assert sum(resnet18_messages()) == 46_758_048 + 4 * 62


def test_it_writes_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    run("draw_ring.py", tmp_path / "ring.png")
    assert (tmp_path / "ring.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
