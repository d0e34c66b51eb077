"""Whole networks: the same in both libraries, in one process and in several, with their memory."""

import json

import numpy as np
import pytest
from scripts import TINY, TINY_WITH_TORCH, run

MB = 10**6


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--separate"]])
def test_in_one_process_and_in_several(tmp_path, more):
    path = tmp_path / "a.json"
    text = run("bench_train.py", *TINY, "--model", "lenet5", "--batch-size", "8", "--reference", "--json", path, *more)
    assert max(map(len, text.splitlines())) <= 80
    content = json.loads(path.read_text())
    assert content["settings"]["separate"] == bool(more)
    (network,) = content["networks"]
    assert (network["model"], network["batch size"], network["image"]) == ("lenet5", 8, [28, 28, 1])
    assert network["multiply-adds"] == 8 * 416_520
    assert network["losses"] == sorted(network["losses"], reverse=True)
    assert network["contenders"].keys() == {"minicnn cpu", "minicnn reference"}
    assert all(c["seconds"] > 0 and len(c["rounds"]) == 1 for c in network["contenders"].values())
    assert network["ratios"].keys() == {"minicnn cpu/minicnn reference"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--inference"]])
def test_the_same_losses_and_logits_as_torch(tmp_path, more):
    pytest.importorskip("torch")
    plot = tmp_path / "a.png"
    run("bench_train.py", *TINY_WITH_TORCH, "--model", "digit_cnn", "--batch-size", "4", "--plot", plot, *more,
        "--json", tmp_path / "a.json")  # fmt: skip
    (network,) = json.loads((tmp_path / "a.json").read_text())["networks"]
    optimised = {"minicnn optimised"} if more else set()
    assert network["contenders"].keys() == {"minicnn cpu", "torch nchw", "torch nhwc", *optimised}
    assert network["ratios"]["minicnn cpu/torch"] > 0
    assert network["torch"] in ("torch nchw", "torch nhwc")
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("model", "size"),
    [("lenet5", 28), ("digit_cnn", 28), ("resnet20", 16), ("resnet18", 33),
     pytest.param("resnet50", 33, marks=pytest.mark.slow), pytest.param("vgg16", 32, marks=pytest.mark.slow)],
)  # fmt: skip
def test_the_twins_compute_the_same_logits(harness, model, size):
    pytest.importorskip("torch")
    from networks import MODELS, NAMES, Task, work

    assert model in MODELS
    task = Task(model, 2, size, inference=True)
    harness.agree({name: work(task, name).compared() for name in NAMES if name != "minicnn reference"})


def test_losses_are_compared_without_dropout_and_timed_with_it(monkeypatch):
    from networks import Task, work

    from minicnn import nn

    seen = []
    forward = nn.Dropout.forward
    monkeypatch.setattr(nn.Dropout, "forward", lambda layer, x: seen.append(layer.p) or forward(layer, x))
    digits = work(Task("digit_cnn", 2, 28), "minicnn cpu")
    losses = digits.compared()
    assert set(seen) == {0}
    assert losses[-1] < losses[0]
    seen.clear()
    digits.call()
    assert seen == [0.25, 0.5]


def test_images_are_digits_or_random_ones():
    from networks import Task

    from minicnn import data

    x, labels = Task("lenet5", 3, 28).batches()[1]
    train, _ = data.mnist()
    np.testing.assert_array_equal(x[0], train[3][0] / np.float32(255))
    assert labels.tolist() == [train[i][1] for i in (3, 4, 5)]
    ((x, labels),) = Task("resnet18", 32, 224).batches()
    assert (x.shape, x.dtype, labels.shape) == ((32, 224, 224, 3), np.float32, (32,))


@pytest.mark.slow
def test_peak_memory_holds_what_a_step_must_keep(harness):
    import alone
    from networks import Task

    def peak(batch):
        return alone.measure(Task("digit_cnn", batch, 28), "minicnn cpu", 1, harness.Pace(1, 0, 0, 1))["bytes"]

    if peak(1) is None:
        pytest.skip("no /proc here")
    outputs = 4 * (26 * 26 * 32 + 24 * 24 * 64)  # bytes of the two convolutions' outputs for an image
    grown = peak(128) - peak(1)
    assert 127 * outputs < grown < 10 * 127 * outputs  # both ReLUs', all gradients, and scratch come on top
