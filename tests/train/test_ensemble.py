"""Several networks, and several views, that answer as one: against means of probabilities in loops."""

import math

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn, optim
from minicnn.train import Ensemble
from minicnn.train.ensemble import log_mean_softmax

rng = np.random.default_rng(0)


def softmax(row):
    return [math.exp(v) / sum(math.exp(w) for w in row) for v in row]


def log_of_mean(outputs):
    """outputs: (M, N, K)."""
    M, N, K = outputs.shape
    return [[math.log(sum(softmax(outputs[m, n])[k] for m in range(M)) / M) for k in range(K)] for n in range(N)]


@pytest.fixture
def networks(small):
    return [small.network() for _ in range(3)]


def test_the_output_is_the_log_of_the_mean_probability(networks):
    x = mc.tensor(rng.random((4, 8, 8, 1)).astype(np.float32))
    ensemble = Ensemble(networks).eval()
    got = ensemble(x).numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, log_of_mean(np.stack([net(x).numpy() for net in networks])), rtol=1e-5)
    np.testing.assert_allclose(np.exp(got).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("M", [1, 2, 7])
def test_the_mean_of_probabilities_and_its_gradient(M):
    outputs = 3 * rng.standard_normal((M, 4, 5))
    y = log_mean_softmax([mc.tensor(each) for each in outputs])
    np.testing.assert_allclose(y.data, log_of_mean(outputs), rtol=1e-12, atol=1e-15)
    assert mc.gradcheck(lambda *each: log_mean_softmax(each), list(outputs))


def test_a_class_that_all_find_impossible_costs_its_nats_and_not_infinity():
    outputs = [mc.tensor([[1000.0, 0.0]]), mc.tensor([[990.0, 0.0]])]
    np.testing.assert_allclose(log_mean_softmax(outputs).data, [[0, -990 - math.log(2)]], rtol=1e-6)


def test_the_members_are_found_saved_and_loaded(networks, small):
    ensemble = Ensemble(networks)
    assert list(ensemble.members) == networks
    assert len(list(ensemble.parameters())) == sum(len(list(net.parameters())) for net in networks)
    x = mc.tensor(rng.random((2, 8, 8, 1)).astype(np.float32))
    expected = ensemble.eval()(x).numpy()
    other = Ensemble([small.network() for _ in range(3)]).eval()
    other(x)  # fills the lazy layers
    other.load_state_dict(ensemble.state_dict())
    np.testing.assert_array_equal(other(x).numpy(), expected)


def test_a_trainer_measures_saves_and_loads_an_ensemble(networks, small, dataset, tmp_path):
    trainer = mc.Trainer(Ensemble(networks), optim.SGD(nn.ModuleList(networks).parameters(), 0.1))
    measured = trainer.evaluate(dataset)
    logs = trainer.predict(dataset.images)
    assert measured["loss"] == pytest.approx(-np.mean([logs[n, y] for n, y in enumerate(dataset.labels)]), rel=1e-5)
    trainer.save(tmp_path / "a.safetensors")
    others = Ensemble([small.network() for _ in range(3)])
    again = mc.Trainer(others, optim.SGD(others.parameters(), 0.1))
    again.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.predict(dataset.images), logs)


def test_of_a_member_with_several_heads_the_first_counts(networks):
    class Heads(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x), None

    x = mc.tensor(rng.random((2, 8, 8, 1)).astype(np.float32))
    expected = Ensemble(networks).eval()(x).numpy()
    np.testing.assert_array_equal(Ensemble([Heads(net) for net in networks]).eval()(x).numpy(), expected)


def test_the_shape_of_the_images_is_the_members_own(small):
    networks = [small.network(), small.network()]
    for net in networks:
        net.input_shape = (8, 8, 1)
    assert Ensemble(networks).input_shape == (8, 8, 1)
    networks[0].input_shape = None
    assert Ensemble(networks).input_shape is None


def test_what_makes_no_ensemble(small):
    with pytest.raises(ValueError, match="at least one model, got none"):
        Ensemble([])
    with pytest.raises(TypeError, match="a list of Modules, got Sequential"):
        Ensemble(small.network())
    with pytest.raises(TypeError, match="expected Modules, got int"):
        Ensemble([3])
    three_and_four = Ensemble([nn.Linear(2, 3), nn.Linear(2, 4)])
    with pytest.raises(ValueError, match=r"Tensors of the same shape \(N, K\), got \[\(1, 3\), \(1, 4\)\]"):
        three_and_four(mc.tensor([[1.0, 2.0]]))


# Views


def mirrored(images):
    return np.stack([images, images[:, :, ::-1]])


@pytest.mark.parametrize("batch_size", [None, 7])
def test_predict_takes_the_mean_over_the_views(small, dataset, batch_size):
    trainer = small.trainer()
    views = [trainer.predict(dataset.images), trainer.predict(dataset.images[:, :, ::-1])]
    got = trainer.predict(dataset.images, batch_size, views=mirrored)
    assert got.shape == (50, 5)
    np.testing.assert_allclose(got, log_of_mean(np.stack(views)), rtol=1e-5)


def test_the_views_get_the_images_as_they_are(small, dataset):
    seen = []

    def views(images):
        seen.append((images.dtype, images.shape))
        return images[np.newaxis]

    small.trainer().predict(dataset.images, 30, views=views)
    assert seen == [(np.uint8, (30, 8, 8, 1)), (np.uint8, (20, 8, 8, 1))]


@pytest.mark.parametrize(
    ("views", "text"),
    [
        ("ten_crop", "predict expected views to be a function of images"),
        (lambda images: images, r"make \(V, 50, h, w, C\) of images \(50, 8, 8, 1\), got an array of shape \(50, 8"),
        (lambda images: images[np.newaxis, :3], r"got an array of shape \(1, 3, 8, 8, 1\)"),
        (lambda images: images[np.newaxis, :, :0], r"got an array of shape \(1, 50, 0, 8, 1\)"),
        (lambda images: [images], "got list"),
    ],
)
def test_views_that_are_none(small, dataset, views, text):
    with pytest.raises((TypeError, ValueError), match=text):
        small.trainer().predict(dataset.images, views=views)
