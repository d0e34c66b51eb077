"""The VGGs: published counts, torchvision's names, agreement with a PyTorch twin."""

import functools
import importlib

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.vgg")


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


@pytest.mark.parametrize(
    ("builder", "parameters", "billions"),
    [(models.vgg16, 138_357_544, 15.47), (models.vgg19, 143_667_240, 19.63)],
)
def test_size_and_work_are_the_known_ones(builder, parameters, billions):
    summary = mc.summary(builder(), (224, 224, 3))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=5e-4)
    assert summary.rows[-1].output_shape == (1000,)


# Table 2 of the paper counts 133, 133, 138 and 144 million; torchvision prints what batch normalisation adds.
@pytest.mark.parametrize(
    ("stages", "parameters", "with_batch_norm"),
    [
        (parts.A, 132_863_336, 132_868_840),
        (parts.B, 133_047_848, 133_053_736),
        (parts.D, 138_357_544, 138_365_992),
        (parts.E, 143_667_240, 143_678_248),
    ],
)
def test_every_configuration_has_the_known_number_of_parameters(stages, parameters, with_batch_norm):
    # The three fully connected layers are the same in all: they need not be drawn each time.
    linear = 25_088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    counts = [
        sum(p.size for p in parts.network(stages, 1, batch_norm, hidden=1).features.parameters())
        for batch_norm in (False, True)
    ]
    assert [n + linear for n in counts] == [parameters, with_batch_norm]


def test_each_builder_has_its_configuration(monkeypatch):
    monkeypatch.setattr(parts, "network", functools.partial(parts.network, hidden=1))  # a hundred million numbers less
    for number, stages in ((11, parts.A), (13, parts.B), (16, parts.D), (19, parts.E)):
        assert sum(map(len, stages)) + 3 == number
        for suffix in ("", "_bn"):
            model = models.build(f"vgg{number}{suffix}")
            filters = [layer.out_channels for layer in model.features if isinstance(layer, nn.Conv2d)]
            assert filters == [n for stage in stages for n in stage]
            assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.features) == bool(suffix)


def test_names_are_those_of_torchvision():
    layers = [name.rpartition(".")[0] for name in models.vgg11().state_dict() if name.endswith("weight")]
    assert layers == [f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)] + [f"classifier.{i}" for i in (0, 3, 6)]
    names = list(parts.network(parts.A, 1, batch_norm=True, hidden=1).state_dict())
    assert names[2:4] == ["features.1.weight", "features.1.bias"]
    assert "features.4.weight" in names


def test_dropout_works_in_training_only():
    model = parts.network(((4,),), 3, hidden=50)
    x = mc.tensor(np.random.default_rng(0).random((2, 14, 14, 3), np.float32))
    assert [layer.p for layer in model.classifier if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert (model(x).numpy() != model(x).numpy()).any()
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())


@pytest.mark.parametrize("batch_norm", [False, True])
def test_thin_network_against_torch(batch_norm):
    torch = pytest.importorskip("torch")
    model = parts.network(((4,), (6, 5)), 3, batch_norm, hidden=8)
    for layer in model.classifier:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # the two libraries drop other numbers
    features, channels = [], 3
    for stage in ((4,), (6, 5)):
        for filters in stage:
            features += [torch.nn.Conv2d(channels, filters, 3, padding=1)]
            features += [torch.nn.BatchNorm2d(filters)] * batch_norm + [torch.nn.ReLU()]
            channels = filters
        features.append(torch.nn.MaxPool2d(2))
    classifier = [torch.nn.Linear(245, 8), torch.nn.ReLU(), torch.nn.Identity(), torch.nn.Linear(8, 8),
                  torch.nn.ReLU(), torch.nn.Identity(), torch.nn.Linear(8, 3)]  # fmt: skip
    twin = torch.nn.Sequential()
    twin.features, twin.avgpool = torch.nn.Sequential(*features), torch.nn.AdaptiveAvgPool2d(7)
    twin.flatten, twin.classifier = torch.nn.Flatten(), torch.nn.Sequential(*classifier)
    images = np.random.default_rng(0).random((3, 22, 29, 3))
    check_training_step(model, twin, torch, images, 3, {"classifier.0.weight": (7, 7, 5)})
