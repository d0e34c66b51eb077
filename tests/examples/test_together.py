"""What scripts do on several ranks, with threads as ranks."""

import threading

import launch
import pytest
from threads import run_ranks


@pytest.fixture
def together(monkeypatch):
    """examples/together.py, whose settings are the rank itself."""
    module = launch.module("together", monkeypatch)
    monkeypatch.setattr(module, "ranks", lambda settings: settings)
    return module


def test_rank_0_comes_first(together):
    seen = []

    def work(communicator):
        with together.main_first(communicator):
            seen.append(communicator.rank)

    run_ranks(3, work)
    assert seen[0] == 0
    assert sorted(seen) == [0, 1, 2]


def test_where_rank_0_finds_nothing_the_others_look_too_and_all_go_on_together(together):
    """As `find_photographs` does, which takes other images then."""

    def work(communicator):
        with pytest.raises(FileNotFoundError), together.main_first(communicator):
            raise FileNotFoundError
        return communicator.gather("went on")

    assert run_ranks(2, work) == [["went on"] * 2] * 2


@pytest.mark.parametrize(
    ("machines", "bound", "threads"),
    [
        ("aaaa", [range(8)] * 4, [2, 2, 2, 2]),  # bound to nothing: they share the machine
        ("aaaa", [(0, 1), (2, 3), (4, 5), (6, 7)], [2, 2, 2, 2]),  # each to cores of its own
        ("aaab", [range(4), range(4), range(4, 8), range(4)], [2, 2, 4, 4]),
        ("aaa", [range(2)] * 3, [1, 1, 1]),  # more ranks than cores
    ],
)
def test_ranks_share_the_cores_that_they_are_bound_to(together, monkeypatch, machines, bound, threads):
    rank = threading.local()
    monkeypatch.setattr(together.platform, "node", lambda: machines[rank.number])
    monkeypatch.setattr(together.os, "sched_getaffinity", lambda pid: set(bound[rank.number]))

    def work(communicator):
        rank.number = communicator.rank
        return together.cores(communicator)

    assert run_ranks(len(machines), work) == threads
