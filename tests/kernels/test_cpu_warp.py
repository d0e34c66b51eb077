"""Warping in the cpu room against the reference."""

import threading
import time

import numpy as np
from hypothesis import given, settings
from warps import assert_warps_agree, problems

from minicnn.kernels import cpu

SETTINGS = settings(deadline=None, derandomize=True, max_examples=200)


@SETTINGS
@given(problem=problems())
def test_warping_is_the_reference(problem):
    assert_warps_agree(cpu, problem)


def test_other_python_threads_run_meanwhile():
    x, matrices = np.zeros((400, 64, 64, 3), np.uint8), np.repeat(np.eye(2, 3)[np.newaxis], 400, axis=0)
    cpu.warp(x[:1], matrices[:1], None, "nearest", 0.0)  # compiled, or loaded
    steps, done = [], threading.Event()

    def count():
        while not done.is_set():
            steps.append(time.perf_counter())

    counter = threading.Thread(target=count)
    counter.start()
    began = time.perf_counter()
    cpu.warp(x, matrices, None, "nearest", 0.0)
    ended = time.perf_counter()
    done.set()
    counter.join()
    # Were the lock kept, the counter would stand still from the beginning to the end of the call.
    middle = [step for step in steps if began + 0.25 * (ended - began) < step < ended - 0.25 * (ended - began)]
    assert middle
