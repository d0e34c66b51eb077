"""Ranks: what a job measures, that jobs agree and end, and what is made of their answers."""

import json
import os
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import pytest
from ranks import needs_mpi
from scripts import run


def said(alone, silent, summed, waited, **more):
    """What a job says."""
    return {"losses": [2.0, 1.0], "alone": alone, "silent": silent, "summed": summed, "waited": waited,
            "bytes": 3_000_000, **more}  # fmt: skip


@pytest.fixture
def result():
    """Two rounds on two ranks: minicnn with 10 ms a step alone and 12.5 with sums, PyTorch with 20 and 25 or more."""
    from distributed_result import Result
    from networks import Task

    step = {"seconds": 0.010, "backward_end": 0.008, "buckets": [{"size": 10**6, "ready": 0.004}]}
    return Result(Task("lenet5", 5, 28), 2, {
        "minicnn": [said(0.010, 0.012, 0.0125, [0.0002, 0.002], step=step),
                    said(0.010, 0.011, 0.0125, [0.003, 0.0003], step=step)],
        "torch nchw": [said(0.02, 0.04, 0.05, None)] * 2,
        "torch nhwc": [said(0.02, 0.02, 0.025, None)] * 2,
    })  # fmt: skip


def test_what_follows_from_the_answers(result):
    assert result.images("minicnn") == pytest.approx(2 * 5 / 0.0125)
    assert result.images("minicnn", "alone") == pytest.approx(5 / 0.01)
    assert result.speed_up("minicnn") == pytest.approx(2 * 10 / 12.5)
    assert result.speed_up("torch nchw", "silent") == pytest.approx(1.0)
    assert result.sums("minicnn") == pytest.approx((0.5 / 12.5 + 1.5 / 12.5) / 2)
    assert result.waiting("minicnn") == pytest.approx((0.25 / 12.5, 2.5 / 12.5))
    assert result.waiting("torch nhwc") is None
    assert result.torch == "torch nhwc"
    assert result.ratio == pytest.approx(2.0)


def test_a_ratio_is_taken_within_a_round(result):
    """A machine that is three times as slow in one round of three is so for steps of every kind."""
    slow = {kind: 3 * result.said["minicnn"][0][kind] for kind in ("alone", "silent", "summed")}
    result.said["minicnn"].insert(1, {**result.said["minicnn"][0], **slow})
    assert result.speed_up("minicnn") == pytest.approx(2 * 10 / 12.5)
    assert result.seconds("minicnn") == 0.0125


def test_a_line_of_the_table(result):
    from bench_distributed import row

    assert row(result, "minicnn", "alone") == ("minicnn", "alone", "10.000", "500.0", "-", "-", "-", "-")
    assert row(result, "minicnn", "silent")[2:] == ("11.500", "869.6", "1.74", "-", "-", "-")
    assert row(result, "minicnn", "summed")[2:] == ("12.500", "800.0", "1.60", "8.0", "2.0 - 20.0", "3.00")
    assert row(result, "torch nhwc", "summed")[4:] == ("1.60", "20.0", "-", "3.00")


def test_the_median_round_is_the_one_that_paper_begins_with(result):
    rounds = [
        said(0.01, 0.01, 0.01, None, step={"seconds": s, "backward_end": s / 2, "buckets": []}) for s in (3.0, 1.0, 2.0)
    ]
    result.said["minicnn"][:] = rounds
    assert (result.step.seconds, result.step.backward_end, result.step.buckets) == (2.0, 1.0, ())


def test_paper_has_the_efficiencies_of_each_link(result):
    from distributed_result import paper

    ethernet = paper(result.step)["links"][0]
    # 8 ranks: 14 / 8 * 10**6 bytes / 1.25e9 + 14 * 10 us = 1.54 ms: hidden behind the pass, or added to 10 ms.
    assert ethernet["name"] == "10 GbE"
    assert ethernet["efficiency"]["overlapped"][8] == pytest.approx(1)
    assert ethernet["efficiency"]["after the backward pass"][8] == pytest.approx(10 / 11.54)
    assert ethernet["bends"].startswith("10 GbE: below 90 % from ")


def test_the_file_keeps_every_round(result):
    content = json.loads(json.dumps(result.as_json()))
    assert [each["name"] for each in content["contenders"]] == ["minicnn", "torch nchw", "torch nhwc"]
    ours = content["contenders"][0]
    assert ours["rounds"][0]["silent"] == 0.012
    assert ours["times one rank"] == pytest.approx({"silent": (20 / 12 + 20 / 11) / 2, "summed": 1.6})
    assert content["images a second over torch"] == pytest.approx(2.0)


def test_contenders_that_disagree_are_refused(harness):
    from bench_distributed import check

    near, far = {"losses": [2.0, 1.0001]}, {"losses": [2.0, 1.01]}
    check({"minicnn": [far, near], "torch nchw": [near]})
    with pytest.raises(harness.Disagreement, match="torch nchw and minicnn"):
        check({"minicnn": [near], "torch nchw": [far]})


def work(losses, gathered, pause=0.0):
    """The work of a rank whose steps do nothing, among ranks that say what it says and 1 more."""
    from rank_work import RankWork

    def step(x, labels):
        time.sleep(pause)
        return np.float32(next(losses))

    def gather(number):
        gathered.append(number)
        return [number, number + 1]

    trace = {"pass ended": 1.0, "sums ended": 1.25, "buckets": []}
    return RankWork(0, [(None, None)], step, step, gather, lambda: trace, 8)


def test_a_rank_measures_what_all_agreed_on(harness):
    from itertools import count

    from rank_work import STEPS, WARM_UP, measure

    losses, gathered = count(), []
    answer = measure(work(losses, gathered, 0.001), harness.Pace(1, 0.0, calls=4))
    assert answer["losses"] == [0.5, 1.5, 2.5]
    assert answer["waited"] == [0.25, 1.25]
    assert answer["bytes"] == 8
    assert 1.001 < answer["summed"] < 1.1
    assert 1.001 < answer["silent"] < 1.1
    assert 0.001 < answer["alone"] < 0.1
    assert next(losses) == STEPS + WARM_UP + 3 * 4


@pytest.mark.parametrize("rank", [0, 1])
def test_the_kinds_of_steps_take_turns(harness, monkeypatch, rank):
    """So that a machine that gets slower all the time is no cost of the sums, nor of the second rank."""
    from dataclasses import replace

    from rank_work import BURST, STEPS, WARM_UP, measure

    kinds = []

    def step(kind):
        return lambda x, labels: np.float32(kinds.append(kind) or 0)

    turns = replace(work(iter(()), []), rank=rank, summed=step("summed"), silent=step("silent"))
    monkeypatch.setattr("time.sleep", lambda seconds: kinds.append("asleep"))
    answer = measure(turns, harness.Pace(1, 0.0, calls=2 * BURST + 1))
    alone = ["silent"] if rank == 0 else []
    asleep = [] if rank == 0 else ["asleep"]
    burst = ["summed"] * BURST + ["silent"] * BURST + BURST * alone + asleep
    assert kinds[STEPS + WARM_UP :] == [*burst, *burst, "summed", "silent", *alone, *asleep]
    assert (answer["alone"] is None) == (rank > 0)


def test_the_trace_is_drawn_from_left_to_right():
    from timeline import timeline

    buckets = [{"bytes": 4000, "started": 0.2, "done": 0.6}, {"bytes": 8, "started": 0.5, "done": 1.0}]
    text = timeline({"pass ended": 0.5, "sums ended": 1.0, "buckets": buckets})
    assert text.splitlines()[1:] == [
        "the pass" + 30 * " " + "500 ms " + 18 * "#",
        "bucket 1           4,000    200 ms    600 ms " + 7 * " " + 14 * "=",
        "bucket 2               8    500 ms    1.00 s " + 17 * " " + 18 * "=",
    ]


def test_a_bar_has_at_least_one_mark():
    from timeline import WIDTHS, bar

    assert bar(1.0, 1.0, 1.0, "=").rstrip() == (WIDTHS[-1] - 1) * " " + "="
    assert bar(0.0, 1.0, 1.0, "=") == WIDTHS[-1] * "="


def test_ranks_have_batches_of_their_own():
    from networks import Task
    from rank_work import share

    task = Task("lenet5", 2, 28)
    images = [[x for x, _ in share(task, rank, 3)] for rank in range(3)]
    every = [x for x, _ in task.batches()]
    assert sum(map(len, images)) == len(every) == 32
    assert all((images[rank][i] == every[3 * i + rank]).all() for rank in range(3) for i in range(10))
    assert len(share(Task("resnet18", 8, 224), 3, 4)) == 1  # there are three: the fourth rank has one all the same


def test_times_of_observed_steps_are_medians():
    from minicnn_rank import median_step
    from ring import Bucket, Step

    steps = [Step(10.0 * i, 5.0 * i, (Bucket(4, 1.0 * i), Bucket(8, 2.0 * i))) for i in (3, 1, 2)]
    assert median_step(steps) == Step(20.0, 10.0, (Bucket(4, 2.0), Bucket(8, 4.0)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_job_that_takes_too_long_is_ended_with_all_its_processes(tmp_path):
    from launch_ranks import _finished

    child = f"import os, time; open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(RuntimeError, match=r"python.* did not end within 2 s"):
        _finished([sys.executable, "-c", parent], dict(os.environ), 2.0)
    assert _has_ended((tmp_path / "child").read_text())


def _has_ended(pid):
    """Within a second; a process that nobody has asked for its status yet is a zombie."""
    status = Path("/proc", pid, "stat")
    for _ in range(100):
        if not status.exists() or ") Z " in status.read_text():
            return True
        time.sleep(0.01)
    return False


def test_a_job_that_fails_says_what_it_said():
    from launch_ranks import _finished

    with pytest.raises(RuntimeError, match="status 3:\nno such luck"):
        _finished([sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"], {}, 30.0)


def test_how_jobs_are_started(monkeypatch):
    import launch_ranks

    monkeypatch.setattr(launch_ranks, "_mpiexec", lambda: "/some/mpiexec")
    assert launch_ranks.command("minicnn", 2) == ["/some/mpiexec", "-n", "2", sys.executable]
    assert launch_ranks.command("torch nhwc", 2)[1:3] == ["-m", "torch.distributed.run"]


def test_what_is_missing_is_named(monkeypatch):
    import launch_ranks

    monkeypatch.setattr(launch_ranks, "find_spec", lambda name: None)
    monkeypatch.setattr(launch_ranks, "_mpiexec", lambda: None)
    assert launch_ranks.why_no_mpi() == 'mpi4py and mpiexec not found: pip install "minicnn[mpi]"'


def test_help_fits_the_screen_of_ranks_too():
    text = run("bench_distributed.py", "--help")
    assert all(word in text for word in ("columns:", "examples:", "--ranks", "--rounds", "--json", "--no-torch"))
    assert "alike (default: 1)" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_fewer_than_two_ranks_are_refused():
    from bench_distributed import _several

    assert _several("2") == 2
    with pytest.raises(ArgumentTypeError, match="at least 2 ranks, got 1"):
        _several("1")


@needs_mpi
@pytest.mark.slow
def test_two_ranks_of_minicnn(tmp_path):
    path = tmp_path / "a.json"
    text = run("bench_distributed.py", "--quick", "--rounds", 1, "--no-torch", "--model", "lenet5", "--batch-size", 4,
               "--trace", "--json", path)  # fmt: skip
    assert max(map(len, text.splitlines())) <= 80
    (result,) = json.loads(path.read_text())["results"]
    (ours,) = result["contenders"]
    (said,) = ours["rounds"]
    assert result["ranks"] == len(said["waited"]) == 2
    assert min(said["waited"]) > 0
    assert all(sent["started"] <= sent["done"] for sent in said["trace"]["buckets"])
    assert "bucket 1" in text
    assert said["bytes"] == 4 * 61_706
    assert 0 < said["alone"] < 1
    assert sum(bucket["size"] for bucket in said["step"]["buckets"]) >= said["bytes"]  # and which gradients there are
    assert 0 < result["on paper"]["links"][0]["efficiency"]["overlapped"]["512"] < 1


@needs_mpi
@pytest.mark.slow
def test_two_ranks_of_each_library_agree(harness):
    pytest.importorskip("torch")
    import launch_ranks
    from minicnn_rank import MinicnnRank
    from networks import TOLERANCE, Task

    task, pace = Task("resnet20", 2, 32), harness.Pace(1, 0.0, calls=1)
    losses = {name: launch_ranks.run(task, name, 2, 1, pace)["losses"] for name in ("minicnn", "torch nhwc")}
    harness.agree(losses, TOLERANCE)
    every = MinicnnRank(task).batches  # one rank has them all, and two of them every other one
    apart = []
    for batch in every[:2]:
        rank = MinicnnRank(task)
        apart.append([float(rank.silent(*batch).item()) for _ in losses["minicnn"]])
    means = np.mean(apart, axis=0)
    assert means[0] == pytest.approx(losses["minicnn"][0], rel=TOLERANCE)
    assert not np.allclose(means[1:], losses["minicnn"][1:], rtol=TOLERANCE)  # else nothing would have been summed
