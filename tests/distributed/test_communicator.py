"""What ranks say to each other, on real ranks of MPI: sums, broadcasts, messages, values; and what is refused."""

import pytest
from ranks import REFUSE, needs_mpi, run

pytestmark = needs_mpi


def holds(size, code, cwd):
    """Run code whose assertions hold on every rank."""
    job = run(size, REFUSE + code + "\nprint('done')", cwd)
    assert (job.status, job.errors) == (0, "")
    assert job.output.count("done") == size


@pytest.mark.parametrize("size", [1, 2, pytest.param(3, marks=pytest.mark.slow), 4])
def test_sums_and_broadcasts_of_all_kinds(tmp_path, size):
    holds(size, """
import hashlib
ranks = distributed.init(timeout=20)
assert ranks.is_main == (ranks.rank == 0)

def of(rank, dtype, shape):
    return np.asarray(np.random.default_rng(rank).standard_normal(shape) * 100).astype(dtype)

for dtype in ("float32", "float64", "int32", "int64"):
    for shape in ((), (0,), (1,), (7, 3), (5, 1, 4, 2), (100_003,)):
        array = of(ranks.rank, dtype, shape)
        ranks.all_reduce(array)
        exact = "float64" if "f" in dtype else dtype
        expected = sum(of(rank, dtype, shape).astype(exact) for rank in range(ranks.size))
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-3 if dtype == "float32" else 1e-9)
        assert len(set(ranks.gather(hashlib.sha256(array.tobytes()).hexdigest()))) == 1  # the same bits everywhere

root = ranks.size - 1
for dtype in ("float16", "float32", "bool", "complex64", ">i4", "S5", "datetime64[s]"):
    array = of(ranks.rank, "float64", (3, 5)).astype(dtype) if dtype != "datetime64[s]" else np.zeros(2, dtype)
    ranks.broadcast(array, root)
    assert array.tobytes() == ranks.gather(array.tobytes())[root]
""", tmp_path)  # fmt: skip


def test_sums_under_way_together_are_done_in_any_order(tmp_path):
    holds(3, """
ranks = distributed.init(timeout=20)
arrays = [np.full(10 ** power, ranks.rank + power, np.float32) for power in range(6)]
requests = [ranks.start_all_reduce(array) for array in arrays]
for request in reversed(requests):
    request.wait()
    assert request.done()
for power, array in enumerate(arrays):
    assert (array == 3 + 3 * power).all()
ranks.start_all_reduce(np.ones(10**6))  # nobody keeps its array or its request
[np.empty(10**6).fill(7) for _ in range(9)]
ranks.barrier()
""", tmp_path)  # fmt: skip


def test_messages_and_values(tmp_path):
    holds(3, """
ranks = distributed.init(timeout=20)
after, before = (ranks.rank + 1) % 3, (ranks.rank - 1) % 3
sent, received = np.full(10**6, ranks.rank, np.float32), np.empty(10**6, np.float32)
requests = [ranks.start_receive(received, before), ranks.start_send(sent, after)]
[request.wait() for request in requests]
assert (received == before).all()
if ranks.rank < 2:
    ranks.exchange(sent, received, 1 - ranks.rank)
    assert (received == 1 - ranks.rank).all()
assert ranks.gather({"rank": ranks.rank, "text": "x" * 1000 * ranks.rank}) == [
    {"rank": rank, "text": "x" * 1000 * rank} for rank in range(3)
]
""", tmp_path)  # fmt: skip


def test_what_mpi_must_not_be_given_is_refused(tmp_path):
    holds(2, """
class OnGpu:
    __module__ = "cupy"
    dtype, shape = np.dtype("float32"), (3,)
    def get(self): ...

ranks = distributed.init(timeout=20)
for call in (ranks.start_all_reduce, ranks.start_broadcast, lambda array: ranks.start_send(array, 1 - ranks.rank)):
    refused(call, np.ones((4, 4))[:, ::2], says="C-contiguous array, got float64 (4, 2): use np.ascontiguousarray")
    refused(call, np.asfortranarray(np.ones((2, 3))), says="C-contiguous array")
    refused(call, [1.0, 2.0], says="a NumPy array, got a list: use np.asarray")
    refused(call, OnGpu(), says="a NumPy array, got cupy float32 (3,): init(device='cuda') sums arrays on GPUs")
    refused(call, np.array([None]), says="an array of numbers that can be written, got object (1,)")
    refused(call, np.broadcast_to(np.ones(1), (1,)), says="can be written")
    refused(call, np.empty(2**31, np.uint8), says="at most 2147483647 bytes a call")
for dtype in ("float16", "bool", "uint8", "complex64", ">f4"):
    refused(ranks.start_all_reduce, np.zeros(3, dtype), says="all_reduce expected float32, float64, int32 or int64")
for call in (ranks.start_send, ranks.start_receive):
    for rank in (-1, 2, ranks.rank):
        refused(call, np.ones(3), rank, says="expected another rank of 0 to 1")
refused(ranks.start_broadcast, np.ones(3), 2, says="expected a rank of 0 to 1, got 2")
ranks.barrier()
""", tmp_path)  # fmt: skip


def test_ranks_that_differ_are_named_on_every_one(tmp_path):
    holds(4, """
ranks = distributed.init(timeout=20)
check = distributed.check_same
for value in (7, "a", None, float("nan"), [1, (2, 3)], {"weight": ((3, 4), "float32")}):
    check(ranks, "a value", value)
odd = ranks.rank == 2
cure = ": start the same script with the same options and data everywhere"
refused(check, ranks, "the batch size", 64 if odd else 128,
        says="the batch size must be the same on all ranks, but rank 0 has 128 and rank 2 has 64" + cure)
refused(check, ranks, "parameter", {"a": 1, "w": ((3, 4), "float64" if odd else "float32")},
        says="parameter['w'][1] must be the same on all ranks, but rank 0 has 'float32' and rank 2 has 'float64'")
refused(check, ranks, "parameter", {"a": 1} if odd else {"a": 1, "b": 2},
        says="parameter['b'] must be the same on all ranks, but rank 0 has 2 and rank 2 has nothing")
refused(check, ranks, "parameter", {"b": 1, "a": 2} if odd else {"a": 2, "b": 1},
        says="rank 2 has the order ['b', 'a']")
refused(check, ranks, "names", ["a", "b"] if odd else ["a"], says="rank 0 has ['a'] and rank 2 has ['a', 'b']")
""", tmp_path)  # fmt: skip
