"""Scaling: the points, their processes, the exponent."""

import json
import math
import sys

import pytest
from scripts import TINY, run


@pytest.mark.slow
def test_writes_every_point(tmp_path):
    pytest.importorskip("matplotlib")
    path, plot = tmp_path / "a.json", tmp_path / "a.png"
    text = run("bench_scaling.py", *TINY, "--model", "resnet20", "--batches", 1, 2, "--sizes", 8, "--json", path,
               "--plot", plot)  # fmt: skip
    assert max(map(len, text.splitlines())) <= 80
    content = json.loads(path.read_text())
    measured = [(point["batch size"], point["image"][0], point["threads"]) for point in content["points"]]
    assert measured == [(1, 32, 1), (2, 32, 1), (128, 8, 1)]
    one, two, _ = content["points"]
    assert two["multiply-adds"] == 2 * one["multiply-adds"] == 2 * 40_551_040
    assert all(point["contenders"].keys() == {"minicnn cpu"} for point in content["points"])
    assert [each["series"] for each in content["growth"]] == ["minicnn cpu, 1 thread"]
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_was_measured_is_kept_when_a_later_point_fails(harness, monkeypatch, tmp_path, capsys):
    import bench_scaling

    path, sizes = tmp_path / "a.json", []

    def measure(task, threads, pace, with_torch):
        sizes.append(task.size)
        if len(sizes) == 2:
            raise harness.Disagreement("torch nchw and minicnn cpu disagree in result 0")
        return point(harness, task.size, threads, 0.001, 0.001)

    monkeypatch.setattr(bench_scaling.cli, "start", lambda options: None)  # which starts a process of so many threads
    monkeypatch.setattr(bench_scaling, "_in_separate_processes", measure)
    given = ["--model", "resnet20", "--threads", 1, "--batches", 1, "--sizes", 16, 24, "--no-torch", "--json", path]
    monkeypatch.setattr(sys, "argv", ["bench_scaling.py", *map(str, given)])
    assert bench_scaling.main() == 1
    content = json.loads(path.read_text())
    assert sizes == [32, 16, 24]
    assert [each["image"][0] for each in content["points"]] == [32, 24]
    assert content["failed"] == {"128 x 16, 1 thread": "torch nchw and minicnn cpu disagree in result 0"}
    assert "! 128 x 16, 1 thread: torch nchw and minicnn cpu disagree" in capsys.readouterr().out


def point(harness, work, threads, ours, theirs):
    """A Point of those times."""
    from bench_scaling import Point
    from networks import Task

    race = harness.Race({"minicnn cpu": [ours], "torch nchw": [9 * theirs], "torch nhwc": [theirs]})
    return Point(Task("resnet20", 1, work), threads, work, race, dict.fromkeys(race.bursts, 5_000_000))


def test_time_that_grows_as_the_square_of_the_work_has_exponent_two(harness):
    from bench_scaling import _growth

    points = [point(harness, work, 1, work**2 * 1e-6, work * 1e-6) for work in (1, 2, 5, 20)]
    assert {each["series"]: each["exponent"] for each in _growth(points)} == {
        "minicnn cpu, 1 thread": pytest.approx(2),
        "torch, 1 thread": pytest.approx(1),
    }


def test_the_slope_is_that_of_the_nearest_line():
    from bench_scaling import slope

    assert slope([0.0, 1.0, 2.0], [1.0, 0.0, 5.0]) == pytest.approx(2)
    assert math.isclose(slope([1.0, 3.0], [4.0, 3.0]), -0.5)


def test_a_line_says_ratio_memory_and_speed_up(harness):
    from bench_scaling import _cells

    points = [point(harness, 32, 1, 0.004, 0.006), point(harness, 32, 2, 0.001, 0.004)]
    assert _cells(points) == ("1 x 32", "0.000", "1.00 ms", "4.00 ms", "0.250", "5", "5", "4.000", "1.500")


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_are_doubled_up_to_the_most(most, counts):
    from bench_scaling import _thread_counts

    assert _thread_counts(most) == counts


def test_batches_and_sizes_grow_up_to_the_networks_own():
    from argparse import Namespace

    from bench_scaling import _tasks

    tasks = _tasks(Namespace(model="resnet18", batches=None, sizes=None))
    assert [(task.batch, task.size) for task in tasks] == [
        *((n, 224) for n in (1, 2, 4, 8, 16)),
        *((8, n) for n in (64, 96, 128, 160, 192)),
    ]
