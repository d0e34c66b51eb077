"""Ranks on GPUs: against a fake of CuPy's NCCL on the CPU, and for real where there is a GPU."""

import re
from pathlib import Path

import pytest
from ranks import IS_MPICH, REFUSE, needs_mpi, run

import minicnn as mc

pytestmark = needs_mpi
START = """
import fake_nccl
cupy = fake_nccl.install(gpus={gpus})
ranks = distributed.init("cuda", timeout=20)
"""


def job(size, code, cwd, gpus=4):
    return run(size, START.format(gpus=gpus) + code, cwd, PYTHONPATH=str(Path(__file__).parent))


def holds(size, code, cwd, gpus=4):
    done = job(size, code + "\nprint('done')", cwd, gpus)
    assert (done.status, done.errors) == (0, "")
    assert done.output.count("done") == size


def test_ranks_are_connected_as_they_begin_unless_the_user_will_have_it_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("NCCL_RUNTIME_CONNECT", raising=False)
    holds(2, "assert os.environ['NCCL_RUNTIME_CONNECT'] == '0'", tmp_path)
    monkeypatch.setenv("NCCL_RUNTIME_CONNECT", "1")
    holds(2, "assert os.environ['NCCL_RUNTIME_CONNECT'] == '1'", tmp_path)


def test_sums_broadcasts_and_messages(tmp_path):
    holds(3, """
local_rank = distributed.launching.place(os.environ).local_rank
assert cupy.cuda.Device().pci_bus_id == f"0000:{local_rank:02d}:00.0"
for dtype in ("float32", "float64", "int32", "int64"):
    for shape in ((), (0,), (3, 4), (1001,)):
        array = cupy.asarray(np.full(shape, ranks.rank + 1, dtype))
        ranks.all_reduce(array)
        assert (array == 6).all()
for dtype in ("bool", "complex64", "float16"):
    array = cupy.asarray(np.full(5, ranks.rank).astype(dtype))
    ranks.broadcast(array, root=2)
    assert (array == np.full(5, 2).astype(dtype)).all()
if ranks.rank < 2:
    sent, received = cupy.asarray(np.full(10**6, ranks.rank)), cupy.asarray(np.empty(10**6, np.int64))
    ranks.exchange(sent, received, 1 - ranks.rank)
    assert (received == 1 - ranks.rank).all()
    request = ranks.start_send(sent, 1) if ranks.rank == 0 else ranks.start_receive(received, 0)
    request.wait()
    assert (received == 1 - ranks.rank).all()
assert ranks.gather(ranks.rank) == [0, 1, 2]
distributed.check_same(ranks, "a value", 7)
""", tmp_path)  # fmt: skip


def test_an_exchange_that_is_done_lets_its_arrays_go(tmp_path):
    holds(2, """
for number in range(100):
    sent, received = cupy.asarray(np.full(10, number + ranks.rank)), cupy.asarray(np.zeros(10, int))
    ranks.exchange(sent, received, 1 - ranks.rank)
    assert (received == number + 1 - ranks.rank).all()
assert len(ranks._ranks._under_way) <= 2, len(ranks._ranks._under_way)
""", tmp_path)  # fmt: skip


def test_a_sum_waits_for_the_kernels_before_it(tmp_path):
    holds(2, """
array = cupy.asarray(np.zeros(4, np.float32))
cupy.cuda.get_current_stream().put(lambda: array.__iadd__(1))  # a kernel that the GPU has not run yet
request = ranks.start_all_reduce(array)
assert (array == 0).all()
request.wait()
assert (array == 2).all()
""", tmp_path)  # fmt: skip


def test_sums_apart_may_be_started_before_or_after_others(tmp_path):
    holds(2, """
def ones(apart):
    array = cupy.asarray(np.full(4, 10.0 if apart else 1.0))
    return array, ranks.start_all_reduce(array, apart)
first, request = ones(apart=ranks.is_main)
second, other = ones(apart=not ranks.is_main)
(other if ranks.is_main else request).wait()  # the sum in the order of all ranks, then that apart
(request if ranks.is_main else other).wait()
assert {float(first[0]), float(second[0])} == {2.0, 20.0}
assert first[0] == (20 if ranks.is_main else 2)
""", tmp_path)  # fmt: skip


def test_what_nccl_must_not_be_given_is_refused(tmp_path):
    holds(2, REFUSE + """
for call in (ranks.start_all_reduce, ranks.start_broadcast, lambda array: ranks.start_send(array, 1 - ranks.rank),
             lambda array: ranks.start_exchange(array, array, 1 - ranks.rank)):
    refused(call, np.ones(3), says="NCCL expected a CuPy array, got float64 (3,): use cupy.asarray")
    refused(call, cupy.asarray(np.ones((4, 4)))[:, ::2], says="a C-contiguous array, got ")
    refused(call, np.empty(2**31, np.uint8).view(cupy.ndarray), says="at most 2147483647 bytes a call")
refused(ranks.start_all_reduce, cupy.asarray(np.zeros(3, bool)), says="all_reduce expected float32, ")
refused(ranks.start_receive, cupy.asarray(np.ones(3)), ranks.rank, says="expected another rank of 0 to 1")
""", tmp_path)  # fmt: skip


def test_two_ranks_on_one_gpu_are_named(tmp_path):
    said = job(3, "", tmp_path, gpus=2).said
    partner = "2" if IS_MPICH else "[12]"  # Open MPI may place them in another order
    assert re.search(rf"RuntimeError: ranks 0 and {partner} share the GPU 0000:00:00\.0 of ", said)
    assert "start at most as many ranks on a machine as it has GPUs" in said


def test_a_group_that_never_stands_ends_the_job_within_the_timeout(tmp_path):
    """NCCL waits for all ranks inside its own call."""
    hang = "fake_nccl.Communicator.__init__ = lambda *given: time.sleep(90)\nranks"
    code = START.format(gpus=4).replace("ranks", hang, 1).replace("timeout=20", "timeout=2")
    done = run(2, code, tmp_path, PYTHONPATH=str(Path(__file__).parent))
    assert done.status != 0
    assert done.seconds < 15
    assert "Alarm clock" in done.errors or "signal 14" in done.errors or "ended without a word" in done.said


def test_a_rank_on_which_nccl_does_not_start_is_named_at_once(tmp_path):
    """The others wait inside NCCL, and the script would say its fault in a sentence of its own."""
    code = """
import fake_nccl
fake_nccl.install(gpus=4)
def start(self, size, identity, rank):
    if rank == 1:
        raise RuntimeError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")
    time.sleep(40)
fake_nccl.Communicator.__init__ = start
try:
    distributed.init("cuda", timeout=30)
except RuntimeError as error:
    sys.exit(str(error))
"""
    done = run(2, code, tmp_path, PYTHONPATH=str(Path(__file__).parent))
    assert done.status != 0
    assert done.seconds < 20
    assert done.said == "rank 1: RuntimeError: NCCL_ERROR_SYSTEM_ERROR: unhandled system error"
    assert "Traceback" in done.errors


def on_rank_0(code, tmp_path):
    """What a job says in which only rank 0 sees a GPU."""
    begin = "rank = distributed.launching.place(os.environ).rank\nimport fake_nccl\nrank or fake_nccl.install(gpus=2)\n"
    done = run(2, begin + code, tmp_path, PYTHONPATH=str(Path(__file__).parent), CUDA_VISIBLE_DEVICES="")
    assert done.status != 0
    assert done.seconds < 20
    return done.said


def test_ranks_that_choose_different_devices_are_named(tmp_path):
    said = on_rank_0("distributed.init('cuda' if rank == 0 else 'cpu', timeout=30)", tmp_path)
    assert (
        "ValueError: init: the device must be the same on all ranks, but rank 0 has 'cuda' and rank 1 has 'cpu'" in said
    )


def test_a_rank_that_cannot_use_its_gpu_is_named_at_once(tmp_path):
    said = on_rank_0("distributed.init('cuda', timeout=30)", tmp_path)
    assert 'rank 1: RuntimeError: device "cuda" cannot be used' in said


def test_where_no_rank_can_use_a_gpu_they_may_ask_for_cpus(tmp_path):
    code = """
try:
    distributed.init("cuda", timeout=20)
except RuntimeError:
    print(distributed.init("cpu", timeout=20).gather(7))
"""
    done = run(2, code, tmp_path, CUDA_VISIBLE_DEVICES="")
    said = done.output.replace("\n", "")  # the ranks write as they like, between each other's ends of lines too
    assert (done.status, said, done.errors) == (0, "[7, 7]" * 2, "")


def test_a_step_that_is_recorded_does_not_wait_for_ranks(tmp_path):
    holds(1, """
from minicnn.distributed import nccl
array = cupy.asarray(np.ones(3))
nccl.is_recording = lambda: True
try:
    ranks.all_reduce(array)
except RuntimeError as error:
    assert "a step that waits for other ranks cannot be recorded" in str(error)
else:
    raise AssertionError("it waits")
""", tmp_path)  # fmt: skip


def test_a_cupy_without_nccl_is_named(tmp_path):
    code = START.format(gpus=4).replace("gpus=4", "gpus=4, nccl=False")
    said = run(2, code, tmp_path, PYTHONPATH=str(Path(__file__).parent)).said
    assert "RuntimeError: CuPy finds no NCCL: pip install nvidia-nccl-cu13" in said


def test_an_exception_on_a_gpu_rank_ends_the_job(tmp_path):
    done = job(2, "if ranks.rank: raise ValueError('no such image')\nranks.barrier()", tmp_path)
    assert done.status != 0
    assert done.said == "rank 1: ValueError: no such image"


def test_a_gpu_rank_that_ends_before_the_others_is_named(tmp_path):
    code = "array = cupy.asarray(np.ones(3))\nif not ranks.rank: ranks.all_reduce(array)"
    said = job(2, code, tmp_path).said
    assert "over 2 ranks cannot be done: rank 1 has ended its script without taking part in it" in said


@pytest.mark.skipif(not mc.cuda_available(), reason="no GPU")
def test_one_rank_on_a_real_gpu(tmp_path):
    code = """
ranks = distributed.init("cuda", timeout=60)
import cupy
array = cupy.arange(10**6, dtype=cupy.float32)
request = ranks.start_all_reduce(array)
request.wait()
assert (array == cupy.arange(10**6, dtype=cupy.float32)).all()
ranks.broadcast(array)
assert ranks.gather(3) == [3]
print("done")
"""
    done = run(1, code, tmp_path)
    if "CuPy finds no NCCL" in done.said:
        pytest.skip("no GPU with NCCL")
    assert (done.status, done.output) == (0, "done\n"), done.errors
