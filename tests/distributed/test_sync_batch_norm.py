"""Batch normalisation over all ranks' samples against one rank that has the whole batch; ranks are threads."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from threads import run_ranks

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels
from minicnn.distributed.communicator import Alone

# What is left between two orders of the same sums.
TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 2e-5}, "float64": {"rtol": 1e-11, "atol": 1e-11}}
# How many samples each rank has.
SPLITS = [(4,), (3, 3), (5, 1), (2, 3, 1), (0, 4), (3, 0, 0, 2)]


@pytest.fixture(params=kernels.ROOMS)
def room(request, monkeypatch):
    """All threads compute in this room: `kernels.use` would hold for one of them."""
    monkeypatch.setenv("MINICNN_KERNELS", request.param)


class Given:
    """The arrays of one call, for `samples` samples in all."""

    def __init__(self, samples, shape, dtype, with_residual=False, seed=0):
        rng = np.random.default_rng(seed)
        C = shape[-1]
        self.x, self.dy, self.residual = rng.standard_normal((3, samples, *shape)).astype(dtype)
        self.x += np.arange(samples).reshape(-1, *[1] * len(shape)).astype(dtype)  # each rank has a mean of its own
        self.gamma, self.beta = rng.standard_normal((2, C)).astype(dtype)
        self.mean, self.var = np.zeros(C, dtype), np.ones(C, dtype)
        self.with_residual = with_residual

    def run(self, batch_norm, first=0, stop=None):
        """Both directions for some samples: y, dx, dresidual, dgamma, dbeta, running mean and variance."""
        x, gamma, beta = (mc.tensor(a, requires_grad=True) for a in (self.x[first:stop], self.gamma, self.beta))
        residual = mc.tensor(self.residual[first:stop], requires_grad=True) if self.with_residual else None
        running = self.mean.copy(), self.var.copy()
        y = batch_norm(x, gamma, beta, *running, residual)
        y.backward(self.dy[first:stop])
        dresidual = residual.grad if self.with_residual else np.zeros_like(x.data)
        return y.data, x.grad, dresidual, gamma.grad, beta.grad, *running


def on_ranks(given, split, **settings):
    """What each rank has in the end."""
    starts = np.cumsum((0, *split))

    def work(communicator):
        def batch_norm(x, gamma, beta, mean, var, residual):
            return F.sync_batch_norm(x, gamma, beta, mean, var, communicator, residual=residual, **settings)

        return given.run(batch_norm, *starts[communicator.rank : communicator.rank + 2])

    return run_ranks(len(split), work)


def on_one(given, **settings):
    return given.run(lambda *arrays: F.batch_norm(*arrays[:-1], training=True, residual=arrays[-1], **settings))


def assert_ranks_are_one(given, split, dtype, **settings):
    expected, ranks = on_one(given, **settings), on_ranks(given, split, **settings)
    y, dx, dresidual = (np.concatenate([rank[i] for rank in ranks]) for i in range(3))
    dgamma, dbeta = (sum(rank[i] for rank in ranks) for i in (3, 4))
    for rank in ranks:
        assert all(a.dtype == dtype for a in rank)
        assert_array_equal(rank[5:], ranks[0][5:])  # to the bit, on all ranks
    for got, right in zip((y, dx, dresidual, dgamma, dbeta, *ranks[0][5:]), expected, strict=True):
        assert_allclose(got, right, **TOLERANCE[dtype])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("shape", [(3, 4, 5), (7,)], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_parts_of_a_batch_give_what_the_whole_batch_gives(room, split, shape, dtype):
    assert_ranks_are_one(Given(sum(split), shape, dtype), split, dtype)


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_activation_residual_momentum_and_eps(room, activation, with_residual):
    given = Given(6, (2, 3, 4), "float64", with_residual)
    assert_ranks_are_one(given, (2, 3, 0, 1), "float64", activation=activation, momentum=0.3, eps=0.1)


def test_many_numbers(room):
    """Enough for several threads of a kernel and several parts of a sum."""
    given = Given(16, (24, 24, 16), "float32", with_residual=True)
    given.dy *= 0.01  # so that sums of thousands of them are of the size for which the tolerance is meant
    assert_ranks_are_one(given, (9, 7), "float32", activation="relu")


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-3), ("float64", 1e-9)])
def test_a_small_variance_around_a_large_mean_survives(dtype, rtol):
    """Sums of squares around 0 would have nothing left of it in float32, and seven digits in float64."""
    x = (1e4 + 0.1 * np.random.default_rng(0).standard_normal((60, 2))).astype(dtype)

    def work(communicator):
        part, gamma = mc.tensor(x[20 * communicator.rank :][:20]), mc.tensor(np.ones(2, dtype))
        mean, var = np.zeros(2, dtype), np.zeros(2, dtype)
        F.sync_batch_norm(part, gamma, gamma, mean, var, communicator, momentum=1.0)
        return mean, var

    for mean, var in run_ranks(3, work):
        assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=1e-6)
        assert_allclose(var, x.astype(np.float64).var(axis=0, ddof=1), rtol=rtol)


def test_the_gradient_by_central_differences():
    """From the definition, without another batch normalisation: the loss of all ranks, as one sample of one moves."""
    given, split, step = Given(4, (2, 1, 3), "float64"), (1, 3), 1e-6
    dx = np.concatenate([rank[1] for rank in on_ranks(given, split, activation="relu")])

    def loss():
        return (np.concatenate([rank[0] for rank in on_ranks(given, split, activation="relu")]) * given.dy).sum()

    for i in np.ndindex(given.x.shape):
        before = given.x[i]
        given.x[i] = before + step
        higher = loss()
        given.x[i] = before - step
        lower = loss()
        given.x[i] = before
        assert_allclose(dx[i], (higher - lower) / (2 * step), rtol=1e-6, atol=1e-8)


def test_stand_ins_do_not_count(room):
    """Rank 1 has none of the samples: it goes along with two others, whose loss has weight 0."""
    given, other = (Given(n, (2, 1, 3), "float64", with_residual=True, seed=n) for n in (4, 2))
    other.gamma, other.beta, other.dy = given.gamma, given.beta, 0 * other.dy

    def work(communicator):
        def batch_norm(x, gamma, beta, mean, var, residual):
            return F.sync_batch_norm(x, gamma, beta, mean, var, communicator, residual=residual,
                                     counted=communicator.rank == 0, momentum=1.0)  # fmt: skip

        return (given, other)[communicator.rank].run(batch_norm)

    samples, (y, *gradients, mean, var) = run_ranks(2, work)
    for got, right in zip(samples, on_one(given, momentum=1.0), strict=True):
        assert_allclose(got, right, **TOLERANCE["float64"])
    assert not any(gradient.any() for gradient in gradients)
    assert_array_equal([mean, var], samples[5:])
    xn = (other.x - mean) / np.sqrt(var * 7 / 8 + 1e-5)  # four samples of two pixels
    assert_allclose(y, given.gamma * xn + given.beta + other.residual, rtol=1e-11)


@pytest.mark.parametrize(("split", "got"), [((1, 0), 1), ((0, 0, 0), 0)])
def test_a_single_value_of_a_channel_is_refused_on_every_rank(split, got):
    refused = []

    def work(communicator):
        x, channel = mc.tensor(np.ones((split[communicator.rank], 1, 1, 2))), mc.tensor(np.ones(2))
        with pytest.raises(ValueError, match=f"all ranks together, got {got}, shape .*larger batch") as error:
            F.sync_batch_norm(x, channel, channel, np.zeros(2), np.ones(2), communicator)
        refused.append(str(error.value))

    run_ranks(len(split), work)
    assert len(refused) == len(split)


def test_one_value_on_a_rank_is_enough_where_others_have_more():
    assert_ranks_are_one(Given(2, (1, 1, 3), "float64"), (1, 1), "float64")


def test_arguments_are_checked():
    channel, running = mc.tensor(np.ones(3, np.float32)), (np.zeros(3, np.float32), np.ones(3, np.float32))
    communicator = Alone(20.0)

    def call(*shape, **settings):
        F.sync_batch_norm(mc.tensor(np.ones(shape, np.float32)), channel, channel, *running, communicator, **settings)

    for shape in [(2, 3, 4, 4), (2, 4), (0, 0, 2, 3), (2, 2, 0, 3)]:
        with pytest.raises(ValueError, match=r"^SyncBatchNorm expected"):
            call(*shape)
    with pytest.raises(ValueError, match=r"^SyncBatchNorm expected eps >= 0"):
        call(2, 3, eps=-1.0)
    with pytest.raises(TypeError, match=r"^SyncBatchNorm expected momentum to be"):
        call(2, 3, momentum="0.1")
    with pytest.raises(TypeError, match=r"^SyncBatchNorm expected counted to be True or False"):
        call(2, 3, counted=1)
