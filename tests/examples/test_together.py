"""What scripts do on several ranks, with threads as ranks."""

import threading

import launch
import pytest
from ranks import needs_mpi, run
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


REPORT = """
import argparse
sys.path.insert(0, {folder!r})
import together

parser = argparse.ArgumentParser()
together.add_option(parser)
settings = parser.parse_args(["--distributed", "--timeout", "{timeout}"])
settings.device, settings.threads = "cpu", 1
with together.begun(settings):
    model = mc.nn.Linear(2, 2)
    trainer = mc.Trainer(model, mc.optim.SGD(model.parameters(), 0.1), communicator=together.ranks(settings))
    together.end_others(trainer)
    time.sleep(3)
    print("the report")
"""


@needs_mpi
@pytest.mark.parametrize(("timeout", "is_whole"), [(1.5, False), (60, True)])
def test_the_others_wait_for_the_report_of_rank_0_as_long_as_they_are_told(tmp_path, timeout, is_whole):
    job = run(2, REPORT.format(folder=str(launch.FOLDER), timeout=timeout), tmp_path)
    assert (job.status == 0) == ("the report" in job.output) == is_whole
    assert (
        "rank 1: what the other ranks still do after this one's end was not done within 1.5 s" in job.said
    ) != is_whole
