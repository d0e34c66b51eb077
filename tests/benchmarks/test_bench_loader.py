"""Threads and processes make the same batches, and what the script says of them adds up."""

import json

import numpy as np
import pytest
from scripts import run


def test_what_it_says_and_writes(tmp_path):
    path = tmp_path / "a.json"
    text = run("bench_loader.py", "plain", "--steps", 4, "--rounds", 2, "--threads", 1, "--json", path)
    assert max(map(len, text.splitlines())) <= 80
    (plain,) = json.loads(path.read_text())["cases"]
    assert (plain["case"], plain["steps"]) == ("plain", 4)
    for place, epochs in plain["rounds"].items():
        assert len(epochs) == 2
        assert all(0 <= epoch["first"] <= epoch["waiting"] < epoch["seconds"] for epoch in epochs)
        step = np.median([epoch["seconds"] for epoch in epochs]) / 4
        line = next(line for line in text.splitlines() if line.startswith(place))
        assert f"{step * 1e3:.2f}" in line.removeprefix(place).split()
    assert plain["medians"]["ready"]["over ready"] == 1


def test_a_case_that_it_does_not_know():
    assert "there is no films; there are plain, augmented," in run("bench_loader.py", "films", status=2)


@pytest.mark.parametrize("name", ["plain", "augmented", "photos", "python"])
def test_every_place_makes_the_same_epoch(name, tmp_path):
    import bench_loader

    if name == "photos":
        pytest.importorskip("PIL")
    (case,) = bench_loader.cases([name], 16, tmp_path)
    assert case.steps == (16 if name in ("plain", "augmented") else 2)
    expected = [(x.copy(), labels) for x, labels in bench_loader.batches_of(case, "in line")]
    assert len(expected) == case.steps
    for place in ("1 thread", "2 threads", "1 process", "2 processes"):
        for (x, labels), (other_x, other_labels) in zip(bench_loader.batches_of(case, place), expected, strict=True):
            np.testing.assert_array_equal(x, other_x)
            np.testing.assert_array_equal(labels, other_labels)


def test_waiting_is_what_goes_by_before_batches():
    import time

    import bench_loader

    def batches():
        for _ in range(3):
            time.sleep(0.02)
            yield None, None

    epoch = bench_loader.train(batches(), lambda x, labels: time.sleep(0.03))
    assert 0.02 <= epoch.first < epoch.waiting
    assert epoch.waiting >= 0.06
    assert epoch.seconds - epoch.waiting >= 0.09
