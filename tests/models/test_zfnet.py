"""ZFNet: the shapes of figure 3, counts, first weights, agreement with a PyTorch twin."""

import importlib

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.zfnet")


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def test_shapes_are_those_of_figure_3_and_counts_the_known_ones():
    summary = mc.summary(models.zfnet())
    kinds = ("Conv2d", "MaxPool2d", "Linear")
    rows = [(row.kind, row.output_shape) for row in summary.rows if row.kind in kinds]
    assert rows == [
        ("Conv2d", (110, 110, 96)), ("MaxPool2d", (55, 55, 96)),
        ("Conv2d", (26, 26, 256)), ("MaxPool2d", (13, 13, 256)),
        ("Conv2d", (13, 13, 384)), ("Conv2d", (13, 13, 384)), ("Conv2d", (13, 13, 256)), ("MaxPool2d", (6, 6, 256)),
        ("Linear", (4096,)), ("Linear", (4096,)), ("Linear", (1000,)),
    ]  # fmt: skip
    # "Computational Analysis and Deep Learning for Medical Care" (2021), table 1.4, counts the same.
    assert summary.parameters == 62_357_608
    # Outputs times the products of each, by hand from the figure.
    convolutions = 110**2 * 96 * 147 + 26**2 * 256 * 2400 + 13**2 * (384 * 2304 + 384 * 3456 + 256 * 3456)
    assert summary.multiply_adds == convolutions + 9216 * 4096 + 4096 * 4096 + 4096 * 1000


def test_each_normalisation_stands_behind_a_pooling_and_has_alexnets_numbers():
    features = list(parts.network(3, hidden=1).features)
    norms = [layer for layer in features if isinstance(layer, nn.LocalResponseNorm)]
    assert all(isinstance(features[features.index(layer) - 1], nn.MaxPool2d) for layer in norms)
    # 10**-4 for the sum of the squares, as the paper of AlexNet has it: the layer divides alpha by n.
    assert [(layer.size, layer.alpha / layer.size, layer.beta, layer.k) for layer in norms] == [(5, 1e-4, 0.75, 2)] * 2


def test_weights_are_of_size_one_hundredth_and_biases_zero():
    for layer in parts.network(10, hidden=50).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.weight.numpy().std() == pytest.approx(0.01, rel=0.1)
            assert not layer.bias.numpy().any()


def test_images_of_another_size_are_told_the_right_one(monkeypatch):
    thin = parts.network(3, hidden=1)
    monkeypatch.setattr(parts, "network", lambda num_classes: thin)  # sixty million numbers less to draw
    with pytest.raises(ValueError, match=r"made for inputs \(N, 224, 224, 3\), got \(1, 256, 256, 3\)"):
        models.zfnet()(mc.tensor(np.zeros((1, 256, 256, 3), np.float32)))


@pytest.mark.slow
def test_training_step_against_torch():
    torch = pytest.importorskip("torch")
    t, pool = torch.nn, lambda: torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    norm = lambda: torch.nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)  # noqa: E731
    model = parts.network(3, hidden=8)
    for layer in model.classifier:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # the two libraries drop other numbers
    twin = t.Sequential()
    twin.features = t.Sequential(
        t.Conv2d(3, 96, 7, 2, 1), t.ReLU(), pool(), norm(),
        t.Conv2d(96, 256, 5, 2), t.ReLU(), pool(), norm(),
        t.Conv2d(256, 384, 3, 1, 1), t.ReLU(), t.Conv2d(384, 384, 3, 1, 1), t.ReLU(),
        t.Conv2d(384, 256, 3, 1, 1), t.ReLU(), pool(),
    )  # fmt: skip
    twin.flatten = t.Flatten()
    twin.classifier = t.Sequential(
        t.Linear(9216, 8), t.ReLU(), t.Identity(), t.Linear(8, 8), t.ReLU(), t.Identity(), t.Linear(8, 3)
    )
    images = np.random.default_rng(0).random((1, 224, 224, 3))
    check_training_step(model, twin, torch, images, 3)
