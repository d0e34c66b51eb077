"""The threads of the cpu room beside others: forked children, callers in several Python threads, NumPy's, PyTorch's.

Each test runs in a process of its own, which has no other test's threads, and which a deadlock ends after a minute.
"""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from minicnn.kernels import cpu

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, which only Linux has")
ROUNDS = 10


def work(seed):
    """What a few kernels, large enough for several threads, make of random images: three sums."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((16, 28, 28, 16)).astype(np.float32)
    y, index = cpu.max_pool2d_forward(x, (2, 2), (2, 2), ((0, 0), (0, 0)), False)
    dx = cpu.max_pool2d_backward(y, index, x.shape, (2, 2), (2, 2), ((0, 0), (0, 0)))
    z = cpu.linear_forward(x.reshape(-1, 64), x[0].reshape(64, -1), None, "tanh")
    return [float(a.sum(dtype=np.float64)) for a in (y, dx, z)]


def definition(seed):
    """The same sums from NumPy: the largest of each 2 x 2 cells, what they pay back, and a product.

    einsum, unlike @, wakes no threads.
    """
    x = np.random.default_rng(seed).standard_normal((16, 28, 28, 16)).astype(np.float32)
    y = x.reshape(16, 14, 2, 14, 2, 16).max((2, 4))
    z = np.tanh(np.einsum("mk,kn->mn", x.reshape(-1, 64).astype(float), x[0].reshape(64, -1).astype(float)))
    return [y.sum(dtype=np.float64), y.sum(dtype=np.float64), z.sum()]


def check(seed):
    np.testing.assert_allclose(work(seed), definition(seed), rtol=1e-4, atol=1e-2)


def run(name):
    """Call a function of this file in a fresh process."""
    code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_cpu_threads as t; t.{name}()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have")
def test_children_that_are_forked_after_kernels_ran_run_kernels_too():
    run("fork_children")


def fork_children():
    check(0)
    children = []
    for seed in range(3):
        child = os.fork()
        if child == 0:
            check(seed)
            os._exit(0)
        children.append(child)
    check(3)  # at the same time
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    check(4)


@LINUX
def test_the_threads_of_numpy_sleep_while_a_network_is_trained():
    """A pool that was woken waits for more work on the cores that the kernels need."""
    run("train_beside_blas")


def train_beside_blas():
    blas = other_threads()  # NumPy's, which start when it is imported; the kernels' start at their first launch
    if not blas:
        return  # a single core
    import minicnn as mc
    from minicnn import functional as F
    from minicnn import models, optim

    images, labels = np.ones((64, 28, 28, 1), np.float32), np.zeros(64, int)
    model = models.lenet5()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    before = processor_ticks(blas)
    for _ in range(20):
        F.cross_entropy(model(mc.tensor(images)), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert processor_ticks(blas) - before <= 1
    square = np.ones((1500, 1500), np.float32)
    for _ in range(3):
        square @ square
    assert processor_ticks(blas) - before > 1, "the threads that were watched are not NumPy's"


def other_threads():
    return [f"/proc/self/task/{thread}/stat" for thread in os.listdir("/proc/self/task") if int(thread) != os.getpid()]


def processor_ticks(threads):
    """The time, in hundredths of a second, that threads have spent computing."""
    total = 0
    for place in threads:
        with open(place) as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def test_pytorch_computes_in_the_same_process():
    pytest.importorskip("torch")
    run("alternate_with_torch")


def alternate_with_torch():
    """In turns, and then at the same time from two Python threads."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    x = torch.randn(16, 16, 28, 28, generator=torch.Generator().manual_seed(0))
    w = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.nn.functional.conv2d(x.double(), w.double())
        wrong = []

        def convolve():
            # Of 144 products each: float32 is right to the fifth digit.
            if not torch.allclose(torch.nn.functional.conv2d(x, w).double(), expected, atol=1e-3):
                wrong.append("torch")

        for seed in range(ROUNDS):
            check(seed)
            convolve()

        def convolve_often():
            with torch.no_grad():
                for _ in range(ROUNDS):
                    convolve()

        beside = threading.Thread(target=convolve_often)
        beside.start()
        for seed in range(ROUNDS):
            check(seed)
        beside.join()
    assert wrong == []
