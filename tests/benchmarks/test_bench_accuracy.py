"""What the training scripts reach, and the file that keeps it."""

import json

import pytest
from scripts import run


@pytest.fixture
def bench_accuracy(monkeypatch):
    import bench_accuracy

    quick = bench_accuracy.Run("a small network", "1 %", "train_best.py --images 128 --width 2 --epochs 1")
    monkeypatch.setitem(bench_accuracy.RUNS, "quick", quick)
    return bench_accuracy


def measured(bench_accuracy, monkeypatch, capsys, *options):
    monkeypatch.setattr("sys.argv", ["bench_accuracy.py", *map(str, options)])
    assert bench_accuracy.main() == 0
    return capsys.readouterr().out


def test_a_run_is_a_command_and_its_last_epoch_counts(bench_accuracy, monkeypatch, capsys, tmp_path):
    path = tmp_path / "a.json"
    printed = measured(bench_accuracy, monkeypatch, capsys, "quick", "--seeds", 3, "--threads", 1, "--json", path)
    assert max(map(len, printed.splitlines())) <= 80
    (kept,) = json.loads(path.read_text())["runs"]
    (seed,) = kept.pop("seeds")
    assert kept == {"name": "quick", "what": "a small network", "published": "1 %",
                    "command": "train_best.py --images 128 --width 2 --epochs 1"}  # fmt: skip
    assert (seed["seed"], seed["epochs"]) == (3, 1)
    assert 0 < seed["accuracy"] < 0.5  # after a single step
    assert f"{100 * seed['accuracy']:.2f} %" in printed
    assert "quick: examples/train_best.py --images 128 --width 2 --epochs 1" in printed


def test_the_last_epoch_and_the_median_of_the_seeds_count(bench_accuracy, monkeypatch, capsys, tmp_path):
    """Of a script that writes what it is told: the accuracies of two epochs, by seed."""
    script = tmp_path / "told.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "seed, folder = (sys.argv[sys.argv.index(name) + 1] for name in ('--seed', '--out'))\n"
        "history = {'seconds': [1.25, 2.0], 'val_accuracy': [0.9, [0.5, 0.7, 0.6][int(seed)]]}\n"
        "pathlib.Path(folder, 'history.json').write_text(json.dumps(history))\n"
    )
    monkeypatch.setattr(bench_accuracy, "EXAMPLES", tmp_path)
    monkeypatch.setitem(bench_accuracy.RUNS, "quick", bench_accuracy.Run("told", "-", "told.py"))
    path = tmp_path / "a.json"
    measured(bench_accuracy, monkeypatch, capsys, "quick", "--seeds", 0, "--json", path)
    monkeypatch.setattr("report.stolen", lambda: "12.5 %")  # which is no other machine
    printed = measured(bench_accuracy, monkeypatch, capsys, "quick", "--seeds", 2, 1, "--json", path)
    line = next(line for line in printed.splitlines() if line.startswith("quick"))
    assert line.split()[:3] == ["quick", "-", "60.00"]
    seeds = json.loads(path.read_text())["runs"][0]["seeds"]
    of_seeds = [(each["seed"], each["accuracy"], each["seconds"]) for each in seeds]
    assert of_seeds == [(0, 0.5, 3.2), (1, 0.7, 3.2), (2, 0.6, 3.2)]


def test_the_device_is_handed_on_and_the_gpu_named(bench_accuracy, monkeypatch, capsys, tmp_path, cupy):
    script = tmp_path / "told.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "device, folder = (sys.argv[sys.argv.index(name) + 1] for name in ('--device', '--out'))\n"
        "history = {'seconds': [1.0], 'val_accuracy': [{'cuda': 0.75, 'cpu': 0.5}[device]]}\n"
        "pathlib.Path(folder, 'history.json').write_text(json.dumps(history))\n"
    )
    monkeypatch.setattr(bench_accuracy, "EXAMPLES", tmp_path)
    monkeypatch.setitem(bench_accuracy.RUNS, "quick", bench_accuracy.Run("told", "-", "told.py"))
    for device, right in (("cpu", 0.5), ("cuda", 0.75)):
        path = tmp_path / f"{device}.json"
        measured(bench_accuracy, monkeypatch, capsys, "quick", "--seeds", 0, "--device", device, "--json", path)
        content = json.loads(path.read_text())
        assert content["runs"][0]["seeds"][0]["accuracy"] == right
        assert content["machine"].get("gpu") == ("Emulated GPU" if device == "cuda" else None)


def test_a_run_that_it_does_not_know():
    assert "there is no resnet50; there are lenet5, " in run("bench_accuracy.py", "resnet50", status=2)


def test_the_commands_are_what_the_scripts_understand(bench_accuracy, monkeypatch):
    """Each command is parsed by its script; --epochs 0 then ends it before it trains."""
    for each in bench_accuracy.RUNS.values():
        script, *options = each.command.split()
        said = run(f"../examples/{script}", *options, "--epochs", 0, status=1)
        assert "--epochs expected a number from 1, got 0" in said
