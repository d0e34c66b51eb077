"""Batch normalisation over all ranks in the CUDA room: the emulator in the place of the GPU, fake_cupy in CuPy's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import minicnn as mc
from minicnn import Tensor, nn
from minicnn import functional as F
from minicnn.distributed.statistics import average_statistics


class Twin:
    """One of two ranks, of which the other has the very same samples: a sum over both is twice the own part."""

    rank, size = 0, 2

    def __init__(self, cupy):
        self.cupy, self.sums = cupy, 0

    def all_reduce(self, array):
        assert isinstance(array, self.cupy.ndarray)
        assert array.flags.c_contiguous
        array *= 2
        self.sums += 1

    def gather(self, value):
        return [value, value]


def both_directions(batch_norm, x, dy, gamma, beta, residual, place, narrow, wide):
    """y, dx, dgamma, dbeta and the running statistics, with arrays made by `place`; residual: an array or None."""
    images = [a if a is None else Tensor(place(a.astype(narrow)), requires_grad=True) for a in (x, residual)]
    channels = [Tensor(place(a.astype(wide)), requires_grad=True) for a in (gamma, beta)]
    running = [place(np.full(len(gamma), number, wide)) for number in (0, 1)]
    y = batch_norm(images[0], *channels, *running, images[1])
    y.backward(place(dy.astype(narrow)))
    return [y.data, images[0].grad, *(channel.grad for channel in channels), *running]


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 2e-5), ("float64", 1e-11), ("float16", 4e-3)])
@pytest.mark.parametrize("with_residual", [False, True])
def test_two_ranks_on_gpus_are_one_on_the_cpu(cupy, dtype, digits, with_residual):
    rng = np.random.default_rng(0)
    x, dy, residual = rng.standard_normal((3, 5, 3, 4, 6)).astype(dtype).astype(np.float64)
    gamma, beta = rng.standard_normal((2, 6))
    residual = residual if with_residual else None
    communicator, wide = Twin(cupy), "float32" if dtype == "float16" else dtype

    def on_two(*arrays):
        return F.sync_batch_norm(*arrays[:5], communicator, activation="relu", residual=arrays[5])

    def on_one(*arrays):
        return F.batch_norm(*arrays[:5], training=True, activation="relu", residual=arrays[5])

    got = both_directions(on_two, x, dy, gamma, beta, residual, cupy.asarray, dtype, wide)
    x, dy, residual = (a if a is None else np.concatenate([a, a]) for a in (x, dy, residual))
    y, dx, dgamma, dbeta, *running = both_directions(
        on_one, x, dy, gamma, beta, residual, np.asarray, "float64", "float64"
    )
    assert communicator.sums == 3
    assert [a.dtype for a in got] == [dtype, dtype, *[wide] * 4]
    for a, b in zip(got, (y[:5], dx[:5], dgamma / 2, dbeta / 2, *running), strict=True):
        assert_allclose(cupy.asnumpy(a), b, rtol=digits, atol=digits)


def test_a_rank_without_samples(cupy):
    layer = nn.SyncBatchNorm(3, Twin(cupy)).to("cuda")
    x = mc.tensor(np.zeros((0, 2, 2, 3), np.float32), requires_grad=True, device="cuda")
    with pytest.raises(ValueError, match="all ranks together, got 0"):
        layer(x)


def test_running_statistics_are_put_together_there(cupy):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(2)).to("cuda")
    model[1].running_mean[...] = cupy.asarray(np.array([2, 3], np.float32))
    before = {name: cupy.asnumpy(array) for name, array in model.state_dict().items()}
    communicator = Twin(cupy)
    average_statistics(model, communicator)
    assert communicator.sums == 2
    for name, array in model.state_dict().items():
        assert_allclose(cupy.asnumpy(array), before[name], rtol=1e-6)
