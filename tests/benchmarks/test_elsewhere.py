"""Contenders in a process of their own, and who races there: PyTorch with its autotuner on."""

import multiprocessing
import operator

import pytest


@pytest.fixture
def there():
    """Such a process, which ends with the test."""
    from elsewhere import Elsewhere

    before = set(multiprocessing.active_children())
    yield Elsewhere(operator.setitem, "begun", True)
    for process in set(multiprocessing.active_children()) - before:
        process.kill()
        process.join()


def test_what_is_kept_stays_and_faults_come_back(there):
    there.ask(operator.setitem, "a", 3)
    assert there.ask(dict.copy) == {"begun": True, "a": 3}
    with pytest.raises(RuntimeError, match="KeyError: 'b'"):
        there.ask(operator.getitem, "b")
    assert there.ask(len) == 2


def test_a_process_that_ended_is_followed_by_another(there):
    there.ask(operator.setitem, "a", 3)
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    with pytest.raises(RuntimeError, match="has ended"):
        there.ask(len)
    assert there.ask(dict.copy) == {"begun": True}


def test_a_convolution_races_there(there, harness):
    """One of the benchmark's, found by its name, with the same arguments as here; on PyTorch's CPU."""
    pytest.importorskip("torch")
    import gpu_cases
    import gpu_rows
    import gpu_settings
    import numpy as np
    from kernel_rows import in_room

    from minicnn.kernels import cpu

    there.ask(gpu_settings._tune, "cpu")
    case = min((case for case in gpu_cases.cases() if case.kernel == "conv2d_forward"), key=lambda case: case.numbers)
    names = there.ask(gpu_rows.tune, case.name, ("float32", "tf32"), "cpu")
    assert names == [f"torch {layout} tuned{end}" for end in ("", " tf32") for layout in ("nchw", "nhwc")]
    contenders = {name: there.contender(name) for name in names}
    contenders = {"cpu": in_room(cpu, case, case.arguments(np.random.default_rng(0)))} | contenders
    race = harness.race(contenders, harness.Pace(2, 0, 0, 1), harness.agree)
    assert all(len(race.bursts[name]) == 2 and min(race.bursts[name]) > 0 for name in names)
