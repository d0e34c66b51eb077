"""Contenders that disagree are not raced, and a race measures what it says; how fast anything is, is not tested."""

import json
import struct
import time

import numpy as np
import pytest
from scripts import run

SCRIPTS = ("bench_kernels.py", "bench_train.py", "bench_scaling.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_fits_the_screen(script):
    text = run(script, "--help")
    for word in ("columns:", "examples:", "--threads", "--rounds", "--json", "--plot", "--no-torch"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


def test_wrong_options_are_refused_before_anything_is_measured(tmp_path):
    assert "its folder must exist" in run("bench_kernels.py", "--json", tmp_path / "no" / "a.json", status=2)
    assert "must end in one of .png, .svg, .pdf" in run("bench_train.py", "--plot", tmp_path / "a.txt", status=2)
    assert "--add goes with --device cuda and --json" in run("bench_kernels.py", "--add", status=2)
    assert "--threads" in run("bench_train.py", "--threads", "0", status=2)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones(3), np.ones(3) + 1e-3, "disagree in result 0: by 0.001"),
        (np.ones(3), np.ones(4), "shapes"),
        (np.ones(3), np.array([1, np.nan, 1]), "by nan"),
        (np.arange(3), np.array([0, 1, 3]), "1 of 3 integers"),
        ((np.ones(3), np.zeros(2)), (np.ones(3), np.ones(2)), "result 1"),
    ],
)
def test_contenders_that_disagree_are_not_raced(harness, first, second, message):
    calls = []
    contenders = {
        "a": harness.Contender(lambda: calls.append("a") or first),
        "b": harness.Contender(lambda: calls.append("b") or second),
    }
    with pytest.raises(harness.Disagreement, match=message):
        harness.race(contenders, harness.Pace(1, 0.001, 0), harness.agree)
    assert calls == ["a", "b"]  # compared, and nothing timed


def test_contenders_agree_within_the_tolerance_and_where_a_result_is_missing(harness):
    harness.agree({"a": (np.float32([1000, 1]), np.zeros(2)), "b": np.float32([1000.01, 1.01])})
    with pytest.raises(harness.Disagreement):
        harness.agree({"a": np.float32([1000, 1]), "b": np.float32([1000, 1.5])})


def test_a_ratio_is_the_median_of_the_ratios_of_each_round(harness):
    race = harness.Race({"a": [1.0, 20.0, 3.0], "b": [2.0, 10.0, 3.0]})
    assert race.seconds("a") == 3.0
    assert race.ratio("a", "b") == 1.0


def test_the_fastest_of_a_library_is_that_of_the_least_median(harness):
    race = harness.Race({"minicnn": [1.0, 1.0, 1.0], "torch a": [2.0, 9.0, 9.0], "torch b": [8.0, 3.0, 3.0]})
    assert race.fastest("torch") == "torch b"
    assert race.fastest("minicnn") == "minicnn"
    assert race.fastest("cudnn") is None


def test_a_race_measures_each_contender_once_a_round(harness):
    contenders = {
        "fast": harness.Contender(lambda: 1),
        "slow": harness.Contender(lambda: time.sleep(0.002) or 1),
    }
    race = harness.race(contenders, harness.Pace(3, 0.004, 0), harness.agree)
    assert [len(times) for times in race.bursts.values()] == [3, 3]
    assert race.ratio("slow", "fast") > 10


def test_what_a_contender_prepares_holds_for_its_own_calls_alone(harness):
    state, seen = [], {"a": set(), "b": set()}

    def contender(name):
        return harness.Contender(lambda: seen[name].add(state[-1]), lambda _: 0, prepare=lambda: state.append(name))

    harness.race({name: contender(name) for name in seen}, harness.Pace(2, 0, 0), harness.agree)
    assert seen == {"a": {"a"}, "b": {"b"}}
    assert len(state) == 2 + 2 * 2  # where they are compared, and before every burst


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 us"), (1.234e-6, "1.23 us"), (9.996e-6, "10.0 us"), (99.96e-6, "100 us"), (999.6e-6, "1.00 ms")],
)
def test_durations_have_three_digits(report, seconds, text):
    assert report.duration(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.012345, "0.0123"), (0.9876, "0.988"), (9.9955, "10.0"), (123.44, "123.4"), (99999.5, "100000")],
)
def test_ratios_fit_their_column(report, ratio, text):
    assert report.times(ratio) == text


def test_times_are_kept_with_four_digits(harness):
    kept = harness.Race({"a": [0.123456, 2.0, 3e-9]}).as_json()
    assert kept == {"a": {"seconds": 0.1235, "rounds": [0.1235, 2.0, 3e-9]}}


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(report, tmp_path):
    report.write_json(tmp_path / "a.json", {"b": [1]})
    report.write_json(tmp_path / "a.json", {"b": [2]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [2]}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_picture_of_many_ratios_is_no_taller_than_a_page_or_two(tmp_path):
    pytest.importorskip("matplotlib")
    import plots

    path = tmp_path / "a.png"
    plots.draw_ratios(path, {f"kernel {i}": {"a/b": [0.1, 2, 30]} for i in range(70)}, "title")
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    assert width < 1200
    assert height < 3000


def test_stolen_is_the_hypervisors_part_of_the_time_since_the_start(report, monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    monkeypatch.setattr(report, "STAT", stat)
    stat.write_text("cpu  100 0 50 800 0 0 0 50 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    assert report.processor_ticks() == (1000, 50)
    monkeypatch.setattr(report, "_TICKS", (600, 40))
    assert report.stolen() == "2.5 %"
    stat.write_text("nothing of the kind\n")
    assert report.stolen() == "unknown"
    stat.unlink()
    assert report.stolen() == "unknown"


def test_what_others_do_to_a_machine_makes_no_other_of_it(report, monkeypatch):
    before = report.machine(1)
    monkeypatch.setattr(report, "_LOAD", 1.5)
    monkeypatch.setattr(report, "stolen", lambda: "12.5 %")
    after = report.machine(1)
    assert after["load"] != before["load"]
    assert report.same_machine(before, after)
    assert report.same_machine({k: v for k, v in before.items() if k != "stolen"}, after)  # of files without the line
    assert not report.same_machine(before, report.machine(2))
    assert not report.same_machine(before, after | {"processor": "another"})
