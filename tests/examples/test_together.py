"""What scripts do on several ranks, with threads as ranks."""

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
