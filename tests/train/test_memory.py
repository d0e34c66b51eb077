"""A long run takes no more memory than a short one."""

import itertools
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, models, nn, optim, train
from minicnn import functional as F
from minicnn.kernels import memory


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@pytest.mark.slow
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


def growth_of_a_long_fit(folder: str) -> int:
    """Bytes that 500 epochs take, with everything that a run may have: 3500 steps, as many checkpoints."""
    import conftest

    made = conftest._trainer(schedule=False)
    dataset = conftest.bright_rows()
    trainer = mc.Trainer(
        made.model,
        made.optimizer,
        schedule=optim.CosineAnnealingLR(made.optimizer, 4000),
        schedule_interval="step",
        average=optim.WeightAverage(made.model),
        clip_norm=1.0,
        callbacks=[
            train.EarlyStopping(patience=10**6),
            train.CSVLog(f"{folder}/log.csv"),
            train.BestCheckpoint(f"{folder}/best"),
        ],
    )
    loader = data.DataLoader(dataset, 8, shuffle=True, workers=2)
    settings = {"validation": dataset, "checkpoint": f"{folder}/run", "checkpoint_every": 1, "progress": False}
    trainer.fit(loader, 50, **settings)
    before = resident_bytes()
    trainer.fit(loader, 500, **settings)
    return resident_bytes() - before


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm, which only Linux has")
def test_memory_is_flat_over_a_long_fit(tmp_path):
    growth = in_a_fresh_process("growth_of_a_long_fit", str(tmp_path))
    # The history and the lines of the log are 50 kB; a leak of the weights a checkpoint, 1 kB, would be 3.5 MB.
    assert growth < 2 << 20, f"500 epochs took {growth / 2**20:.1f} MiB"


def page_faults(smallest: str) -> float:
    """How many pages of memory the system has to provide in a training step, after the first few.

    smallest: bytes of an array that the engine gives memory of its own.
    """
    memory.SMALLEST = int(smallest)
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
    return float(np.median([step() for _ in range(5)]))


def in_a_fresh_process(function: str, argument: str, **environment: str) -> float:
    """What a function of this file returns where no earlier test has shaped the process's memory.

    Freed pieces wait for whoever fits into them, and glibc changes from what size on it gives memory back at once.
    """
    said = [sys.executable, __file__, function, argument]
    done = subprocess.run(said, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the page faults of Linux")
def test_a_training_step_lies_in_the_memory_of_the_step_before():
    """An activation here, (16, 64, 64, 16) float32, is 1024 pages; a step makes some ten of that size."""
    assert in_a_fresh_process("page_faults", str(memory.SMALLEST)) < 10
    # Every array from the system, which takes all of them back at once. Left to itself glibc raises the limit from
    # which on it does so with the sizes that it meets: then it depends on their order how much is found again.
    assert in_a_fresh_process("page_faults", str(1 << 40), MALLOC_MMAP_THRESHOLD_=str(1 << 17)) > 1000


def addresses(array):
    """(first byte, byte behind the last one)."""
    return array.ctypes.data, array.ctypes.data + array.nbytes


def test_arrays_of_many_sizes_lie_in_the_same_memory_one_after_another():
    sizes = range(1 << 20, 3 << 20, 1 << 16)
    places = [addresses(memory.empty((size,), np.uint8)) for size in sizes]
    taken = sum(last - first for first, last in joined(places))
    # Others may hold a part of the first gap; that costs at most as much again.
    assert taken <= 2 * sizes[-1], f"arrays of at most {sizes[-1]} bytes were made in {taken}"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_gaps_side_by_side_become_one(order):
    region = memory.Region(3 << 16)
    blocks = {i: region.take(i << 16, 1 << 16) for i in range(3)}
    assert region.gaps == []
    for i in order:
        del blocks[i]
        memory.empty((memory.SMALLEST,), np.uint8)  # a request is what joins gaps
    assert region.gaps == [(0, 3 << 16)]


def test_no_two_arrays_share_memory():
    generator = np.random.default_rng(0)
    held = []
    for i in range(2000):
        array = memory.empty((int(generator.integers(1 << 16, 1 << 19)),), np.uint8)
        array[:] = i % 251
        held.append((i % 251, array))
        if len(held) > 30:
            number, array = held.pop(int(generator.integers(len(held))))
            assert (array == number).all()
    places = [addresses(array) for _, array in held]
    assert sum(last - first for first, last in joined(places)) == sum(array.nbytes for _, array in held)


def test_a_view_keeps_its_memory():
    part = memory.empty((1 << 18,), np.uint8)[100:200]
    part[:] = 7
    memory.empty((1 << 18,), np.uint8)[:] = 0
    assert (part == 7).all()


def joined(places):
    """The same bytes as stretches that neither overlap nor touch."""
    stretches: list[tuple[int, int]] = []
    for first, last in sorted(places):
        if stretches and first <= stretches[-1][1]:
            first, last = stretches[-1][0], max(last, stretches[-1][1])
            stretches.pop()
        stretches.append((first, last))
    return stretches


if __name__ == "__main__":
    print(globals()[sys.argv[1]](sys.argv[2]))


def test_who_cannot_have_the_pool_at_once_gets_other_memory():
    """Its lock may be held by a thread that a forked child does not have: waiting would never end."""
    shape = (memory.SMALLEST,)
    with memory._lock:
        array = memory.empty(shape, np.float32)
    assert type(array.base) is not memory.Block
    assert array.shape == shape
    assert type(memory.empty(shape, np.float32).base) is memory.Block
