"""Training steps on a GPU: minicnn's on a CuPy of ours and the emulator, PyTorch's on the CPU."""

import fake_cupy
import numpy as np
import pytest
from scripts import TINY, run

import minicnn as mc


@pytest.fixture
def few(monkeypatch):
    """Seven digits for a network, and a GPU that is none."""
    import gpu_networks

    fake_cupy.installed(monkeypatch)
    true = gpu_networks.samples
    monkeypatch.setattr(gpu_networks, "samples", lambda task: tuple(a[:7] for a in true(task)))
    return gpu_networks


def test_all_contenders_compute_the_same(few, harness):
    torch = pytest.importorskip("torch")
    from networks import Task

    torch.set_num_threads(1)
    task = Task("lenet5", 3, 28)
    works = {name: few.work(task, name, "cuda") for name in ("minicnn eager", "minicnn graph")}
    works |= {name: few.work(task, name, "cpu") for name in ("torch eager-nchw", "torch eager-nhwc")}
    harness.agree({name: work.compared() for name, work in works.items()}, few.TOLERANCES["float32"])
    assert {work.steps for work in works.values()} == {3}
    losses = {name: np.array(work.call()) for name, work in works.items()}
    assert len(losses["minicnn graph"]) == 3
    assert (losses["minicnn graph"] == losses["minicnn eager"]).all()
    harness.agree(losses, few.TOLERANCES["float32"])


@pytest.mark.skipif(mc.cuda_available(), reason="here is a GPU")
def test_without_a_gpu_bench_train_says_so():
    text = run("bench_train.py", "--device", "cuda", *TINY, status=1)
    assert text.startswith('--device cuda: device "cuda" cannot be used')
    assert text.count("\n") == 1
