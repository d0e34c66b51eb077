"""A long run takes no more memory than a short one."""

import os
import resource
import sys

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn, optim
from minicnn.kernels import memory


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm, which only Linux has")
def test_memory_is_flat_over_2000_training_steps():
    mc.seed(0)
    model = models.lenet5()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    generator = np.random.default_rng(0)
    images = generator.random((64, 28, 28, 1), np.float32)
    labels = generator.integers(0, 10, 64)

    def steps(count: int) -> None:
        for i in range(count):
            # The size changes from step to step, as that of a last batch does.
            n = 16 + i % 17
            loss = F.cross_entropy(model(mc.tensor(images[:n])), labels[:n])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    steps(200)
    before = resident_bytes()
    steps(2000)
    growth = resident_bytes() - before
    # A leak of one batch of the smallest activation a step, (16, 84) float32, would be 10 MiB.
    assert growth < 4 << 20, f"2000 steps took {growth / 2**20:.1f} MiB (process {os.getpid()})"


def page_faults(steps: int) -> float:
    """How many pages of memory the system has to provide in a training step, after the first few."""
    mc.seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding="same"),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, activation="tanh"),
        nn.AvgPool2d(2),
        nn.GlobalAvgPool2d(),
        nn.Linear(32, 10),
    )
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = np.ones((16, 64, 64, 3), np.float32), np.zeros(16, int)

    def step() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        loss = F.cross_entropy(model(mc.tensor(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    for _ in range(4):
        step()
    return float(np.median([step() for _ in range(steps)]))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the page faults of Linux")
def test_a_training_step_lies_in_the_memory_of_the_step_before(monkeypatch):
    """An activation here, (16, 64, 64, 16) float32, is 1024 pages; a step makes some ten of that size."""
    assert page_faults(steps=5) < 10
    monkeypatch.setattr(memory, "SMALLEST", 1 << 40)  # every array from the system
    assert page_faults(steps=5) > 1000
