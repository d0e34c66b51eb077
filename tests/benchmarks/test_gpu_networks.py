"""Training steps on a GPU: minicnn's on a CuPy of ours and the emulator, PyTorch's on the CPU."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scripts import TINY

import minicnn as mc


@pytest.fixture
def few(cupy, monkeypatch):
    """Seven digits for a network, and a GPU that is none."""
    import gpu_networks
    from networks import Task

    images, labels = gpu_networks.samples(Task("lenet5", 7, 28))
    monkeypatch.setattr(gpu_networks, "samples", lambda task: (images[:7], labels[:7]))
    return gpu_networks


@pytest.fixture
def bench(few, cupy, cli, monkeypatch, tmp_path, capsys):
    """bench(script, *options, status=0) with --device cuda, without PyTorch: what it printed, and its JSON file."""
    images, labels = few.samples(None)
    monkeypatch.setattr(few, "samples", lambda task: (images[:2], labels[:2]))
    monkeypatch.setattr(cli, "set_threads", lambda threads, with_torch: None)
    for name in cli.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")

    def call(script, *options, status=0):
        path = tmp_path / "a.json"
        given = [script.__file__, "--device", "cuda", *TINY, "--json", path, *options]
        monkeypatch.setattr(sys, "argv", list(map(str, given)))
        assert script.main() == status
        return capsys.readouterr().out, json.loads(path.read_text())

    return call


def test_all_contenders_compute_the_same(few, harness):
    torch = pytest.importorskip("torch")
    from networks import Task

    torch.set_num_threads(1)
    task = Task("lenet5", 3, 28)
    works = {name: few.work(task, name) for name in ("minicnn eager", "minicnn graph")}
    works |= {name: few.work(task, name, "cpu") for name in ("torch eager-nchw", "torch eager-nhwc")}
    harness.agree({name: work.compared() for name, work in works.items()}, few.TOLERANCES["float32"])
    assert {work.steps for work in works.values()} == {3}
    losses = {name: np.array(work.call()) for name, work in works.items()}
    assert len(losses["minicnn graph"]) == 3
    assert (losses["minicnn graph"] == losses["minicnn eager"]).all()
    harness.agree(losses, few.TOLERANCES["float32"])


def test_bench_train_writes_time_and_memory_of_both_ways_in_both_precisions(bench):
    import bench_train

    text, content = bench(bench_train, "--model", "lenet5", "--batch-size", 2)
    assert max(map(len, text.splitlines())) <= 80
    assert content["machine"]["gpu"] == "Emulated GPU"
    assert content["machine"]["precision"] == "float32 and tf32"
    assert [network["precision"] for network in content["networks"]] == ["float32", "tf32"]
    for network in content["networks"]:
        assert network["contenders"].keys() == {"minicnn eager", "minicnn graph"}
        assert all(each["seconds"] > 0 for each in network["contenders"].values())
        assert min(each["peak bytes"] for each in network["contenders"].values()) > 3 * 4 * 61_706


def test_bench_train_says_its_throughput_over_each_way_of_pytorch(bench, few, torch_here, monkeypatch):
    import bench_train
    import readme_gpu

    monkeypatch.setattr(few, "NAMES", tuple(name for name in few.NAMES if not name.startswith("torch graph")))
    text, content = bench(bench_train, "--model", "lenet5", "--batch-size", 2, "--precision", "float32")
    (network,) = content["networks"]
    ways = [f"torch eager-{layout}{tuned}" for tuned in ("", " tuned") for layout in ("nchw", "nhwc")]
    assert list(network["contenders"]) == ["minicnn eager", "minicnn graph", *ways]
    assert torch_here.backends.cudnn.benchmark  # of the last ones
    assert max(map(len, text.splitlines())) <= 80
    for way in ways:
        *_, over, over_of_graph, _ = next(line for line in text.splitlines() if line.startswith(f"{way}  ")).split()
        assert float(over) == pytest.approx(1 / network["ratios"][f"minicnn eager/{way}"], rel=1e-2)
        assert float(over_of_graph) == pytest.approx(1 / network["ratios"][f"minicnn graph/{way}"], rel=1e-2)
    assert network["torch"] in ways
    *_, table = readme_gpu.machine({"bench_train": content})
    assert table.splitlines()[-1].startswith("| lenet5 | 2 x 28 x 28 x 1 | float32 | ")


def test_who_disagrees_is_named_and_the_others_are_measured(bench, few, monkeypatch):
    import bench_train

    monkeypatch.setitem(few.TOLERANCES, "float32", -1)
    text, content = bench(bench_train, "--model", "lenet5", "--batch-size", 2, status=1)
    assert [network["precision"] for network in content["networks"]] == ["tf32"]
    assert content["failed"].keys() == {"lenet5, batch 2, float32"}
    assert text.count("! lenet5, batch 2, float32: minicnn graph and minicnn eager disagree") == 2


def test_a_run_that_was_cut_off_goes_on(bench, few, monkeypatch, tmp_path):
    """The GPU is full after the first precision, and gone in the second network."""
    import bench_train

    true, asked = few.measure, []

    def measure(task, names, precision, *rest):
        asked.append((task.batch, precision))
        if task.batch == 2:
            raise KeyboardInterrupt
        if precision == "tf32":
            raise MemoryError("the GPU's memory is full")
        return true(task, names, precision, *rest)

    monkeypatch.setattr(few, "measure", measure)
    options = "--model", "lenet5", "--batch-size"
    text, content = bench(bench_train, *options, 1, status=1)
    assert "! lenet5, batch 1, tf32: the GPU's memory is full" in text
    with pytest.raises(KeyboardInterrupt):
        bench(bench_train, *options, 2, "--add")
    assert json.loads((tmp_path / "a.json").read_text()) == content
    monkeypatch.setattr(few, "measure", lambda *given: asked.append((given[0].batch, given[2])) or true(*given))
    asked.clear()
    _, grown = bench(bench_train, *options, 1, "--add")
    assert asked == [(1, "tf32")]
    assert grown["networks"][0] == content["networks"][0]
    assert len(grown["networks"]) == 2
    assert not grown["failed"]
    with pytest.raises(SystemExit, match="of another machine or of other settings"):
        bench(bench_train, *options, 1, "--add", "--rounds", 2)


def test_resnet50_is_trained_with_64_images_on_a_gpu():
    import bench_train

    options = SimpleNamespace(device="cuda", model=None, batch_size=None, inference=False)
    batches = {task.model: task.batch for task in bench_train._tasks(options)}
    assert list(batches)[:2] == ["lenet5", "resnet50"]  # the others may come too late
    assert (batches["lenet5"], batches["resnet50"], batches["resnet18"]) == (128, 64, 8)
    options.device = "cpu"
    assert "resnet50" not in {task.model for task in bench_train._tasks(options)}


def test_bench_scaling_has_a_line_for_each_step_and_no_threads(bench, monkeypatch, tmp_path):
    import bench_scaling

    pytest.importorskip("matplotlib")
    monkeypatch.setattr(bench_scaling, "ANY_SIZE", ("resnet20", "lenet5"))
    monkeypatch.setitem(bench_scaling.MODELS, "lenet5", (2, 0.05))
    plot = tmp_path / "a.png"
    text, content = bench(bench_scaling, "--model", "lenet5", "--batches", 1, 2, "--sizes", 28, "--plot", plot)
    assert "lenet5, a training step, on a GPU" in text
    assert max(map(len, text.splitlines())) <= 80
    points = content["points"]
    assert [(point["batch size"], point["threads"]) for point in points] == [(1, 0), (2, 0)]
    assert all(point["contenders"].keys() == {"minicnn eager", "minicnn graph"} for point in points)
    one, two = (point["contenders"]["minicnn graph"]["peak bytes"] for point in points)
    assert one < two
    assert [each["series"] for each in content["growth"]] == ["minicnn graph, on a GPU"]
    assert content["machine"]["precision"] == "float32"
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_peak_memory_is_what_is_in_use_at_the_same_time(few):
    import gpu_memory

    cupy = sys.modules["cupy"]
    before = cupy.zeros(5000, np.uint8)

    def work():
        nonlocal before
        a, b = cupy.zeros(1024, np.uint8), cupy.zeros(2048, np.uint8)
        del a, before
        return b, cupy.zeros(1000, np.uint8)

    assert gpu_memory.peak("minicnn", work) == 3072
    assert gpu_memory.peak("minicnn", lambda: [cupy.zeros(1, np.uint8) for _ in range(10)]) == 5120
    assert gpu_memory.peak("minicnn", lambda: None) == 0


def test_peak_memory_of_torch_is_above_what_it_held_before(monkeypatch):
    torch = pytest.importorskip("torch")
    import gpu_memory

    said = []
    cuda = SimpleNamespace(reset_peak_memory_stats=lambda: said.append("reset"), memory_allocated=lambda: 100,
                           max_memory_allocated=lambda: 350)  # fmt: skip
    monkeypatch.setattr(torch, "cuda", cuda)
    assert gpu_memory.peak("torch", lambda: said.append("call")) == 250
    assert said == ["reset", "call"]


@pytest.mark.parametrize(("there", "device"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_a_gpu_where_there_is_one(cli, monkeypatch, there, device):
    import argparse

    monkeypatch.setattr(mc, "cuda_available", lambda: there)
    parser = argparse.ArgumentParser()
    cli.add_device(parser)
    assert parser.parse_args(["--device", "auto"]).device == device
    assert parser.parse_args([]).device == "cpu"
