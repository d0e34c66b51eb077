"""The benchmarks run, refuse to race what disagrees, and write what they say; how fast anything is, is not tested."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from scripts import FOLDER, TINY, run

SCRIPTS = ("bench_kernels.py", "bench_train.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_fits_the_screen(script):
    text = run(script, "--help")
    for word in ("columns:", "examples:", "--threads", "--rounds", "--json", "--plot", "--no-torch"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


def test_kernels_writes_table_and_json(tmp_path):
    text = run("bench_kernels.py", *TINY, "-k", "relu_forward 1", "-k", "sgd_update 1", "--json", tmp_path / "a.json")
    assert max(map(len, text.splitlines())) <= 80
    assert "reference" in text
    assert "rows hold" in text
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]  # nothing unfinished beside it
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["machine"]["threads"] == 1
    assert content["machine"]["precision"] == "float32"
    assert {"processor", "cores", "system", "python", "numpy", "numba", "torch"} <= content["machine"].keys()
    assert {row["kernel"] for row in content["rows"]} == {"relu_forward", "sgd_update"}
    for row in content["rows"]:
        assert row["contenders"].keys() == {"reference", "cpu"}
        assert all(c["seconds"] > 0 and len(c["rounds"]) == 1 for c in row["contenders"].values())
        assert row["ratios"]["cpu/reference"] > 0


def test_kernels_draws(tmp_path):
    pytest.importorskip("matplotlib")
    run("bench_kernels.py", *TINY, "-k", "relu_forward 1", "--plot", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.slow
def test_the_same_operations_as_torch(tmp_path):
    pytest.importorskip("torch")
    with_torch = [option for option in TINY if option != "--no-torch"]
    run("bench_kernels.py", *with_torch, "-k", " 1x1x1x1", "-k", "128x10", "--json", tmp_path / "kernels.json")
    rows = json.loads((tmp_path / "kernels.json").read_text())["rows"]
    assert {row["torch layout"] for row in rows if "torch" in row["contenders"]} >= {None, "nchw"}


def test_wrong_options_are_refused_before_anything_is_measured(tmp_path):
    assert "its folder must exist" in run("bench_kernels.py", "--json", tmp_path / "no" / "a.json", status=2)
    assert "must end in one of .png, .svg, .pdf" in run("bench_train.py", "--plot", tmp_path / "a.txt", status=2)
    assert "--threads" in run("bench_train.py", "--threads", "0", status=2)
    command = [sys.executable, str(FOLDER / "bench_kernels.py"), "-k", "no such kernel"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no kernel or shape contains no such kernel" in done.stderr


def test_every_kernel_of_the_contract_has_rows_of_one_element_and_more():
    from kernel_cases import cases

    from minicnn.kernels import reference

    shapes = {}
    for case in cases():
        shapes.setdefault(case.kernel, []).append(case.shape)
    assert shapes.keys() == set(reference.__all__)
    for kernel, given in shapes.items():
        assert len(given) == len(set(given)) >= 3, kernel
        assert given[0].startswith("1"), kernel


def test_no_shape_is_too_long_for_its_column():
    from bench_kernels import WIDTHS
    from kernel_cases import cases

    assert sum(WIDTHS) + len(WIDTHS) - 1 <= 80
    assert max(len(case.shape) for case in cases()) <= WIDTHS[0]


def test_a_row_stays_narrow_whatever_the_times(harness, report):
    from bench_kernels import HEAD, WIDTHS, Row

    for fast, slow in ((1e-9, 999.4), (9.996e-6, 99.96e-6), (0.9996e-3, 0.9996), (123.0, 1e-7)):
        race = harness.Race({"reference": [fast], "cpu": [slow], "torch": [fast]})
        cells = Row("kernel", "1x56x56x144->144 3x3 g144", race, "nhwc", False).cells
        assert all(len(cell) <= width for cell, width in zip(cells[1:4], WIDTHS[1:4], strict=True)) or slow / fast > 1e6
        assert max(map(len, report.table(HEAD, [cells], WIDTHS).splitlines())) <= 80


def test_a_row_holds_within_five_percent_or_twenty_microseconds(harness):
    from bench_kernels import Row

    def holds(reference, cpu):
        return Row("kernel", "1", harness.Race({"reference": [reference], "cpu": [cpu]}), "", False).holds

    assert holds(1.0, 1.04)
    assert not holds(1.0, 1.06)
    assert holds(1e-6, 20e-6)
    assert not holds(1e-6, 22e-6)


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


def test_a_race_measures_each_contender_once_a_round(harness):
    contenders = {
        "fast": harness.Contender(lambda: 1),
        "slow": harness.Contender(lambda: time.sleep(0.002) or 1),
    }
    race = harness.race(contenders, harness.Pace(3, 0.004, 0), harness.agree)
    assert [len(times) for times in race.bursts.values()] == [3, 3]
    assert race.ratio("slow", "fast") > 10


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
