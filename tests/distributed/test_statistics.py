"""Running statistics of batch normalisation put together from those of all ranks."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from threads import run_ranks

import minicnn as mc
from minicnn import nn
from minicnn.distributed.communicator import Alone
from minicnn.distributed.statistics import average_statistics


def network():
    return nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2)))


def with_statistics(rank):
    """A network whose buffers are numbers of that rank alone."""
    model, rng = network(), np.random.default_rng(rank)
    for layer in (model[0], model[1][1]):
        layer.running_mean[...] = rng.standard_normal(layer.num_features) + 10
        layer.running_var[...] = rng.random(layer.num_features) + 0.1
        layer.num_batches_tracked[...] = 7 - rank
    return model


def averaged(models):
    """The buffers of every rank's model afterwards."""

    def work(communicator):
        average_statistics(models[communicator.rank], communicator)
        return {name: array for name, array in models[communicator.rank].state_dict().items()}

    return run_ranks(len(models), work)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_formula(ranks):
    models = [with_statistics(rank) for rank in range(ranks)]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    for i, after in enumerate(averaged(models)):
        for layer in ("0", "1.1"):
            means = [state[f"{layer}.running_mean"].astype(float) for state in before]
            variances = [state[f"{layer}.running_var"].astype(float) for state in before]
            mean = sum(means) / ranks
            var = sum(v + (m - mean) ** 2 for m, v in zip(means, variances, strict=True)) / ranks
            assert_allclose(after[f"{layer}.running_mean"], mean, rtol=1e-6)
            assert_allclose(after[f"{layer}.running_var"], var, rtol=1e-6)
            assert after[f"{layer}.num_batches_tracked"] == 7
        assert_array_equal(after["1.0.weight"], before[i]["1.0.weight"])  # weights are none of its business


def test_all_ranks_have_the_same_bits_and_a_second_time_changes_nothing():
    models = [with_statistics(rank) for rank in range(3)]
    first = copy.deepcopy(averaged(models))
    for state in (*first, *averaged(models)):
        for name in ("0.running_mean", "0.running_var", "1.1.running_mean", "1.1.running_var"):
            assert_array_equal(state[name], first[0][name])
            assert state[name].dtype == np.float32


def test_of_one_step_they_are_the_statistics_of_all_samples():
    """Each rank has its own kind of data; momentum 1: the running statistics are those of the last batch."""
    parts = [np.random.default_rng(rank).standard_normal((500, 3)) * (1 + rank) + 5 * rank for rank in range(4)]
    models = [nn.BatchNorm2d(3, momentum=1.0).to(dtype="float64") for _ in parts]
    for model, part in zip(models, parts, strict=True):
        model(mc.tensor(part))
    whole = np.concatenate(parts)
    for state in averaged(models):
        assert_allclose(state["running_mean"], whole.mean(0), rtol=1e-12)
        assert_allclose(state["running_var"], whole.var(0, ddof=1), rtol=1 / 500)
        assert (state["running_var"] > 3 * np.mean([part.var(0, ddof=1) for part in parts], axis=0)).all()


def test_synchronised_layers_networks_without_any_and_one_rank_say_nothing():
    class Silent:
        size = 2

        def all_reduce(self, array):
            raise AssertionError("a message was sent")

    average_statistics(nn.Sequential(nn.Linear(3, 2), nn.SyncBatchNorm(2, Silent())), Silent())
    model = with_statistics(0)
    before = copy.deepcopy(model.state_dict())
    average_statistics(model, Alone(20.0))
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])
