"""Two ranks that exchange channels: against the definition, with threads as ranks, and through MPI."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ranks import MPIEXEC, needs_mpi
from threads import run_ranks

import minicnn as mc
from minicnn.distributed.exchange import exchange_channels, join_channels

WORKER = Path(__file__).with_name("exchange_worker.py")


def on_two_ranks(work, timeout=10):
    """What work(communicator) returns on either rank, or the error that it raises there."""

    def caught(communicator):
        try:
            return work(communicator)
        except Exception as error:
            return error

    return run_ranks(2, caught, timeout)


def parts(C, lead=(2, 3, 3), dtype=np.float64):
    """Each rank's x (..., C of its own), and each rank's weights of a loss, (..., both)."""
    rng = np.random.default_rng(sum(C))
    xs = [rng.normal(size=(*lead, c)).astype(dtype) for c in C]
    return xs, [rng.normal(size=(*lead, sum(C))).astype(dtype) for _ in C]


def y_and_dx(operation, x, weights):
    """y = operation(x), and dx of the loss sum(weights * y)."""
    x = mc.tensor(x, requires_grad=True)
    y = operation(x)
    y.backward(weights)
    return y.data, x.grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("C", "lead"), [((3, 3), (2, 3, 3)), ((1, 4), (2, 3, 3)), ((5, 2), (4,)), ((2, 2), ())])
def test_both_have_all_channels_and_their_gradients_add(C, lead, dtype):
    xs, weights = parts(C, lead, dtype)
    results = on_two_ranks(lambda c: y_and_dx(lambda x: exchange_channels(x, c), xs[c.rank], weights[c.rank]))
    dx = weights[0] + weights[1]
    for rank, (y, own) in enumerate(results):
        np.testing.assert_array_equal(y, np.concatenate(xs, axis=-1))
        np.testing.assert_array_equal(own, dx[..., : C[0]] if rank == 0 else dx[..., C[0] :])
        assert y.dtype == own.dtype == dtype


@pytest.mark.parametrize("reach", [1, 2, 3, 9])
@pytest.mark.parametrize("C", [(4, 4), (2, 5)])
def test_a_reach_shows_the_channels_at_the_border(C, reach):
    """Against loops: channel j of rank 0 is seen by rank 1 where it is one of the last `reach`, and so on."""
    xs, weights = parts(C)
    seen = [min(reach, c) for c in C]  # by the other rank
    weights = [weights[0][..., : C[0] + seen[1]], weights[1][..., : seen[0] + C[1]]]
    results = on_two_ranks(
        lambda c: y_and_dx(lambda x: exchange_channels(x, c, reach=reach), xs[c.rank], weights[c.rank])
    )
    np.testing.assert_array_equal(results[0][0], np.concatenate([xs[0], xs[1][..., : seen[1]]], axis=-1))
    np.testing.assert_array_equal(results[1][0], np.concatenate([xs[0][..., C[0] - seen[0] :], xs[1]], axis=-1))
    dx0, dx1 = weights[0][..., : C[0]].copy(), weights[1][..., seen[0] :].copy()
    for i in range(seen[0]):
        dx0[..., C[0] - seen[0] + i] += weights[1][..., i]
    for i in range(seen[1]):
        dx1[..., i] += weights[0][..., C[0] + i]
    np.testing.assert_array_equal(results[0][1], dx0)
    np.testing.assert_array_equal(results[1][1], dx1)


def test_where_both_go_on_alike_each_takes_its_slice():
    xs, weights = parts((3, 2), (4,))
    results = on_two_ranks(lambda c: y_and_dx(lambda x: join_channels(x, c), xs[c.rank], weights[0]))
    for rank, (y, dx) in enumerate(results):
        np.testing.assert_array_equal(y, np.concatenate(xs, axis=-1))
        np.testing.assert_array_equal(dx, weights[0][:, :3] if rank == 0 else weights[0][:, 3:])


def test_several_exchanges_meet_their_partners_on_the_way_back():
    """Two layers of a network, each rank with half of the outputs, against one rank with all of them."""
    rng = np.random.default_rng(0)
    x, w1, w2, target = (rng.normal(size=shape) for shape in ((5, 3), (3, 6), (6, 4), (5, 4)))

    def network(x, w1, w2, meet, join):
        w1, w2 = (mc.tensor(w, requires_grad=True) for w in (w1, w2))
        y = join(meet(mc.tensor(x) @ w1) @ w2)
        ((y - mc.tensor(target)) ** 2).sum().backward()
        return y.data, w1.grad, w2.grad

    def half(c):
        return network(x, np.split(w1, 2, 1)[c.rank], np.split(w2, 2, 1)[c.rank], lambda h: exchange_channels(h, c),
                       lambda y: join_channels(y, c))  # fmt: skip

    whole = network(x, w1, w2, lambda h: h, lambda y: y)
    results = on_two_ranks(half)
    for rank in range(2):
        np.testing.assert_allclose(results[rank][0], whole[0], rtol=1e-12)
    for i in (1, 2):
        np.testing.assert_allclose(np.concatenate([results[0][i], results[1][i]], axis=1), whole[i], rtol=1e-12)


def test_the_input_may_be_a_view_and_a_gradient_that_others_read_is_left_alone():
    wide = np.random.default_rng(1).normal(size=(2, 4, 6))

    def work(c):
        x, other = mc.tensor(wide, requires_grad=True), mc.tensor(np.ones((2, 4, 6)), requires_grad=True)
        doubled = other * 2  # made before the exchange, so that its backward comes after: both get the same array
        y = exchange_channels(x[..., ::2], c)
        (y + doubled).backward(np.ones((2, 4, 6)))
        return y.data, x.grad, other.grad

    for y, dx, dother in on_two_ranks(work):
        np.testing.assert_array_equal(y, np.concatenate([wide[..., ::2]] * 2, axis=-1))
        np.testing.assert_array_equal(dx[0, 0], [2, 0, 2, 0, 2, 0])
        np.testing.assert_array_equal(dother, np.full((2, 4, 6), 2))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ([np.ones((2, 3)), np.ones((4, 3))], r"float64 \(2, 3\) on rank 0 and float64 \(4, 3\) on rank 1"),
        ([np.ones((2, 3)), np.ones((2, 1, 3))], r"float64 \(2, 3\) on rank 0 and float64 \(2, 1, 3\) on rank 1"),
        ([np.ones((2, 3)), np.ones((2, 3), np.float32)], r"float64 \(2, 3\) on rank 0 and float32 \(2, 3\) on rank 1"),
    ],
)
def test_other_samples_are_named_on_both_ranks(arrays, said):
    for operation in (exchange_channels, join_channels):
        for error in on_two_ranks(lambda c, f=operation: f(mc.tensor(arrays[c.rank]), c)):
            with pytest.raises(ValueError, match=said):
                raise error


def test_one_rank_without_a_graph_is_named():
    for error in on_two_ranks(lambda c: exchange_channels(mc.tensor(np.ones((2, 3)), requires_grad=c.rank == 1), c)):
        with pytest.raises(RuntimeError, match="only rank 1 records a graph"):
            raise error


def test_a_partner_that_does_not_come_is_no_endless_wait():
    results = on_two_ranks(
        lambda c: exchange_channels(mc.tensor(np.ones((2, 3))), c) if c.rank == 0 else None, timeout=0.1
    )
    assert isinstance(results[0], TimeoutError)


def test_nonsense_is_refused_before_anything_is_sent():
    alone, x = mc.distributed.init(), mc.tensor(np.ones((2, 3), np.float32))
    for operation in (exchange_channels, join_channels):
        with pytest.raises(ValueError, match=rf"^{operation.__name__} expected two ranks, got 1: .*mpiexec -n 2"):
            operation(x, alone)
        with pytest.raises(TypeError, match="expected a Tensor, got ndarray"):
            operation(x.data, alone)
        with pytest.raises(TypeError, match="expected float32 or float64, got int64"):
            operation(mc.tensor(np.ones((2, 3), np.int64)), alone)
        with pytest.raises(ValueError, match=r"at least one element, got shape \(0, 3\)"):
            operation(mc.tensor(np.ones((0, 3))), alone)
    for reach in (0, -1, 1.5, True):
        for error in on_two_ranks(lambda c, reach=reach: exchange_channels(x, c, reach=reach)):
            with pytest.raises(ValueError, match="expected a reach of whole channels >= 1, or None for all"):
                raise error


@needs_mpi
def test_through_mpi_it_is_the_same(tmp_path):
    command = [MPIEXEC, "-n", "2", sys.executable, WORKER, tmp_path]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    xs, weights = parts((3, 5), (2, 40, 40))
    reached = [weights[0][..., :5], weights[1][..., :7]]
    expected = on_two_ranks(
        lambda c: (
            *y_and_dx(lambda x: exchange_channels(x, c), xs[c.rank], weights[c.rank]),
            *y_and_dx(lambda x: exchange_channels(x, c, reach=2), xs[c.rank], reached[c.rank]),
            *y_and_dx(lambda x: join_channels(x, c), xs[c.rank], weights[0]),
        )
    )
    for rank in range(2):
        with np.load(tmp_path / f"{rank}.npz") as came:
            for name, array in zip(came.files, expected[rank], strict=True):
                np.testing.assert_array_equal(came[name], array)
