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


# Table 1: 224, halved by each pooling, with these filters.
STAGES = [(112, 112, 64), (56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 512)]


# The three fully connected layers are the same in all: they need not be drawn each time.
LINEAR = [(25_088, 4096), (4096, 4096), (4096, 1000)]


def test_size_work_and_stages_of_vgg16_are_the_known_ones():
    summary = mc.summary(models.vgg16())
    assert summary.parameters == 138_357_544
    assert summary.multiply_adds / 1e9 == pytest.approx(15.47, rel=5e-4)
    shapes = [row.output_shape for row in summary.rows if row.kind in ("MaxPool2d", "AdaptiveAvgPool2d", "Linear")]
    assert shapes == [*STAGES, (7, 7, 512), (4096,), (4096,), (1000,)]


# Table 2 of the paper counts 133, 133, 138 and 144 million; torchvision prints what batch normalisation adds, and the
# billions of multiply-adds.
@pytest.mark.parametrize(
    ("stages", "parameters", "with_batch_norm", "billions"),
    [
        (parts.A, 132_863_336, 132_868_840, 7.609),
        (parts.B, 133_047_848, 133_053_736, 11.308),
        (parts.D, 138_357_544, 138_365_992, 15.47),
        (parts.E, 143_667_240, 143_678_248, 19.632),
    ],
)
def test_every_configuration_has_the_known_size_work_and_stages(stages, parameters, with_batch_norm, billions):
    plain, normalised = (parts.network(stages, 1, batch_norm, hidden=1).features for batch_norm in (False, True))
    linear = sum(inputs * outputs + outputs for inputs, outputs in LINEAR)
    counts = [sum(p.size for p in features.parameters()) + linear for features in (plain, normalised)]
    assert counts == [parameters, with_batch_norm]
    summary = mc.summary(plain, (224, 224, 3))
    assert [row.output_shape for row in summary.rows if row.kind == "MaxPool2d"] == STAGES
    work = summary.multiply_adds + sum(inputs * outputs for inputs, outputs in LINEAR)
    assert work / 1e9 == pytest.approx(billions, rel=5e-4)


@pytest.fixture
def thin(monkeypatch):
    """The builders make hidden fully connected layers of one unit: a hundred million numbers less to draw."""
    monkeypatch.setattr(parts, "network", functools.partial(parts.network, hidden=1))


def test_each_builder_has_its_configuration(thin):
    for number, stages in ((11, parts.A), (13, parts.B), (16, parts.D), (19, parts.E)):
        assert sum(map(len, stages)) + 3 == number
        for suffix in ("", "_bn"):
            model = models.build(f"vgg{number}{suffix}")
            filters = [layer.out_channels for layer in model.features if isinstance(layer, nn.Conv2d)]
            assert filters == [n for stage in stages for n in stage]
            assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.features) == bool(suffix)


def test_names_are_those_of_torchvision(thin):
    def layers_with_weights(model):
        return [name.rpartition(".")[0] for name in model.state_dict() if name.endswith("weight")]

    classifier = [f"classifier.{i}" for i in (0, 3, 6)]
    convolutions = [f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)]
    assert layers_with_weights(models.vgg11()) == convolutions + classifier
    # With batch normalisation a convolution and its normalisation, a ReLU between the pairs, a pooling behind a stage.
    pairs = [f"features.{i + k}" for i in (0, 4, 8, 11, 15, 18, 22, 25) for k in (0, 1)]
    assert layers_with_weights(models.vgg11_bn()) == pairs + classifier
    assert list(models.vgg11_bn().state_dict())[2:7] == [
        f"features.1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]


def test_weights_are_uniform_with_variance_two_over_fan_in():
    model = parts.network(parts.A, 10, hidden=50)
    for layer, fan_in in ((model.features[3], 9 * 64), (model.features[18], 9 * 512), (model.classifier[0], 25_088)):
        weight, limit = layer.weight.numpy(), (6 / fan_in) ** 0.5
        assert 0.99 * limit < np.abs(weight).max() <= limit * (1 + 1e-6)
        assert weight.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.01)
        assert not layer.bias.numpy().any()


def test_images_that_are_too_small_are_told_the_right_size(thin):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 224, 224, 3\), got \(1, 16, 16, 3\)"):
        models.vgg11()(mc.tensor(np.zeros((1, 16, 16, 3), np.float32)))


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
