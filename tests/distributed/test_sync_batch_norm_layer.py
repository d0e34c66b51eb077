"""The layer of batch normalisation over all ranks: in networks, in training and evaluation, and in files."""

import copy
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from threads import run_ranks

import minicnn as mc
from minicnn import functional as F
from minicnn import nn, optim
from minicnn._function import observe
from minicnn._part import Part, computing
from minicnn.distributed.communicator import Alone
from minicnn.models._residual import BasicBlock, cifar_network, projection
from minicnn.ops.sync_norm import SyncBatchNorm

ALONE = Alone(20.0)


class Deaf(Alone):
    """A communicator of one of two ranks, the other of which has no samples."""

    size = 2


class Silent:
    """A communicator of a rank that must not say anything."""

    size = 2

    def all_reduce(self, array):
        raise AssertionError("a message was sent")


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def test_it_is_a_batch_norm_by_its_names_and_numbers():
    plain, sync = nn.BatchNorm2d(3, eps=0.01, momentum=0.2), nn.SyncBatchNorm(3, ALONE, eps=0.01, momentum=0.2)
    assert list(sync.state_dict()) == list(plain.state_dict())
    x = mc.tensor(images(4, 5, 5, 3))
    assert_allclose(sync(x).data, plain(x).data, rtol=1e-5, atol=1e-6)
    other = nn.BatchNorm2d(3, eps=0.01)
    other.load_state_dict(sync.state_dict())
    assert int(other.num_batches_tracked) == 1
    assert_array_equal(other.eval()(x).data, sync.eval()(x).data)
    assert repr(sync) == "SyncBatchNorm(3, eps=0.01, momentum=0.2)"


def test_evaluation_sends_nothing():
    layer, x = nn.SyncBatchNorm(3, Silent()), mc.tensor(images(1, 1, 1, 3))
    assert_array_equal(layer.eval()(x).data, nn.BatchNorm2d(3).eval()(x).data)
    with pytest.raises(AssertionError, match="a message was sent"):
        layer.train()(x)


def test_one_rank_alone_sends_nothing_and_computes_as_a_batch_norm():
    class Lonely(Silent):
        size = 1

    plain, sync = nn.BatchNorm2d(3), nn.SyncBatchNorm(3, Lonely())
    x = mc.tensor(images(4, 5, 5, 3))
    assert_array_equal(sync(x).data, plain(x).data)
    for name, array in plain.state_dict().items():
        assert_array_equal(sync.state_dict()[name], array)


def test_an_error_behind_it_sends_nothing_again_for_a_drawing():
    """Another rank would take the second run's sums for those of the layers behind."""

    class Counting(Deaf):
        sums = 0

        def start_all_reduce(self, array, apart=False):
            self.sums += 1
            return super().start_all_reduce(array, apart)

    communicator = Counting(20.0)
    model = nn.Sequential(nn.SyncBatchNorm(3, communicator), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"^Linear expected an array of shape \(N, 4\), got \(4, 3\)$"):
        model(mc.tensor(images(4, 3)))
    assert communicator.sums == 2


def test_without_a_momentum_the_running_statistics_are_the_mean_over_all_steps():
    batches = [images(6, 2, 2, 3, seed=i) for i in range(3)]

    def work(communicator):
        layer = nn.SyncBatchNorm(3, communicator, momentum=None)
        for batch in batches:
            layer(mc.tensor(batch[3 * communicator.rank :][:3]))
        return layer.running_mean, layer.running_var

    for mean, var in run_ranks(2, work):
        rows = [batch.reshape(-1, 3).astype(float) for batch in batches]
        assert_allclose(mean, np.mean([row.mean(0) for row in rows], axis=0), atol=1e-6)
        assert_allclose(var, np.mean([row.var(0, ddof=1) for row in rows], axis=0), rtol=1e-5)


def test_a_relu_behind_it_is_computed_in_the_same_step():
    called, x = [], mc.tensor(images(4, 3))
    with observe(lambda function, inputs, y: called.append(type(function))):
        y = nn.Sequential(nn.SyncBatchNorm(3, Deaf(20.0)), nn.ReLU())(x)
    assert called == [SyncBatchNorm]
    assert_array_equal(y.data, F.relu(nn.SyncBatchNorm(3, Deaf(20.0))(x)).data)


def test_a_rank_that_has_no_sample_of_a_batch_leaves_the_statistics_alone():
    """As the Trainer lets it go along with the others."""

    def work(communicator):
        layer = nn.SyncBatchNorm(3, communicator)
        with computing(Part(is_idle=communicator.rank == 1)):
            layer(mc.tensor(images(4, 2, 2, 3, seed=communicator.rank)))
        return layer.state_dict()

    expected = nn.BatchNorm2d(3)
    expected(mc.tensor(images(4, 2, 2, 3, seed=0)))
    for state in run_ranks(2, work):
        for name, array in expected.state_dict().items():
            assert_allclose(state[name], array, rtol=1e-6)


def small_resnet():
    """Six layers with a shortcut of each kind."""
    mc.seed(0)
    return cifar_network(partial(BasicBlock, shortcut=projection), 1, 10)


def test_conversion_keeps_parameters_and_buffers_and_changes_every_layer():
    model = small_resnet()
    before, state = dict(model.named_parameters()), model.state_dict()
    norms = [name for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    model.eval()
    assert nn.SyncBatchNorm.convert_sync_batchnorm(model, ALONE) is model
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert list(model.state_dict()) == list(state)
    assert norms == [name for name, layer in model.named_modules() if isinstance(layer, nn.SyncBatchNorm)]
    assert len(norms) == 9
    assert not any(layer.training for layer in model.modules())
    assert not any(type(layer) is nn.BatchNorm2d for layer in model.modules())


def test_conversion_draws_no_random_numbers():
    def next_weight(convert):
        mc.seed(0)
        layer = nn.BatchNorm2d(3)
        if convert:
            layer = nn.SyncBatchNorm.convert_sync_batchnorm(layer, ALONE)
        assert type(layer) is (nn.SyncBatchNorm if convert else nn.BatchNorm2d)
        return nn.Linear(3, 4).weight.data

    assert_array_equal(next_weight(True), next_weight(False))


def test_conversion_of_shared_layers_and_of_layers_of_ones_own():
    class Own(nn.BatchNorm2d):
        pass

    shared, own, sync = nn.BatchNorm2d(3), Own(3), nn.SyncBatchNorm(3, ALONE)
    model = nn.Sequential(shared, nn.Sequential(shared, own), sync)
    nn.SyncBatchNorm.convert_sync_batchnorm(model, Silent())
    assert type(model[0]) is nn.SyncBatchNorm
    assert model[0] is model[1][0]
    assert model[1][1] is own
    assert model[2] is sync
    assert sync.communicator is ALONE


def test_a_copy_of_a_network_is_on_the_same_ranks():
    class Single(Silent):
        def __deepcopy__(self, memo):
            raise AssertionError("a communicator was copied")

    model = nn.Sequential(nn.SyncBatchNorm(3, Single()), nn.Linear(3, 2))
    other = copy.deepcopy(model)
    assert other[0].communicator is model[0].communicator
    other[0].running_mean += 1
    other[0].weight.data[...] = 2
    assert model[0].running_mean.tolist() == [0, 0, 0]
    assert model[0].weight.data.tolist() == [1, 1, 1]
    assert [name for name, _ in other.named_buffers()] == [name for name, _ in model.named_buffers()]


def test_wrong_arguments_are_one_sentence():
    with pytest.raises(TypeError, match=r"expected a communicator, as mc\.distributed\.init\(\) returns it, got float"):
        nn.SyncBatchNorm(3, 1e-5)
    with pytest.raises(TypeError, match="expected a communicator"):
        nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(3), None)
    with pytest.raises(TypeError, match="expected a Module, got list"):
        nn.SyncBatchNorm.convert_sync_batchnorm([nn.BatchNorm2d(3)], ALONE)
    with pytest.raises(ValueError, match="eps > 0"):
        nn.SyncBatchNorm(3, ALONE, eps=0.0)


def trained(model, communicator, batches, split):
    """The arrays of the model after a step with each batch, of which each rank has its part."""
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    start, stop = np.cumsum((0, *split))[communicator.rank :][:2]
    for x, labels in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(mc.tensor(x[start:stop])), labels[start:stop])
        (loss * ((stop - start) / len(x))).backward()
        for parameter in model.parameters():
            communicator.all_reduce(parameter.grad)
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("split", [(3, 3), (4, 1, 1)])
def test_a_residual_network_trained_on_several_ranks_is_that_of_one(split):
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((6, 8, 8, 3)), rng.integers(0, 10, 6)) for _ in range(4)]
    alone, *networks = [small_resnet().to(dtype="float64") for _ in (0, *split)]  # one seed: before the threads
    expected = trained(alone, ALONE, batches, (6,))

    def work(communicator):
        network = nn.SyncBatchNorm.convert_sync_batchnorm(networks[communicator.rank], communicator)
        return trained(network, communicator, batches, split)

    for state in run_ranks(len(split), work):
        for name, array in state.items():
            assert_allclose(array, expected[name], rtol=1e-7, atol=1e-9, err_msg=name)
