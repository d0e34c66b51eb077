"""The AlexNets: published counts and shapes, torchvision's names, the paper's first weights, a PyTorch twin."""

import functools
import importlib

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.alexnet")

# Figure 2 and section 3 of the paper, with 227 for 224: the layers that have weights, and the poolings behind three.
PAPER = [(55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256), (13, 13, 384), (13, 13, 384), (13, 13, 256),
         (6, 6, 256), (4096,), (4096,)]  # fmt: skip
TORCH = [(55, 55, 64), (27, 27, 64), (27, 27, 192), (13, 13, 192), (13, 13, 384), (13, 13, 256), (13, 13, 256),
         (6, 6, 256), (4096,), (4096,)]  # fmt: skip


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def stages(summary):
    """The output shapes of the layers that change them, in the order of their calls."""
    kinds = ("Conv2d", "MaxPool2d", "Linear")
    return [row.output_shape for row in summary.rows if row.kind in kinds]


@pytest.mark.parametrize(
    ("variant", "shapes", "parameters", "billions"),
    [
        ("torch", [*TORCH, (1000,)], 61_100_840, 0.714),
        ("2012", [*PAPER, (1000,)], 60_965_224, 0.724),
        ("batch_norm", [*PAPER, (2,)], 58_308_674, 1.131),
    ],
)
def test_size_work_and_stages_are_the_known_ones(variant, shapes, parameters, billions):
    model = models.alexnet(variant=variant)
    summary = mc.summary(model)
    assert stages(summary) == shapes
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=1e-3)
    running = [a.size for name, a in model.named_buffers() if "running" in name]
    assert sum(running) == (58_327_810 - 58_308_674 if variant == "batch_norm" else 0)


def test_one_tower_has_the_known_size_and_work():
    # The fully connected layers are those of the two towers, 58,631,144 parameters: they need not be drawn again.
    summary = mc.summary(parts._paper(10, groups=1, hidden=1), (227, 227, 3))
    convolutions = [row for row in summary.rows if row.kind == "Conv2d"]
    linear = [(9216, 4096), (4096, 4096), (4096, 1000)]
    assert sum(row.parameters for row in convolutions) + sum(i * o + o for i, o in linear) == 62_378_344
    work = sum(row.multiply_adds for row in convolutions) + sum(i * o for i, o in linear)
    assert work / 1e9 == pytest.approx(1.135, rel=1e-3)


@pytest.fixture
def thin(monkeypatch):
    """The builders make hidden fully connected layers of one unit: sixty million numbers less to draw."""
    for name in ("_torch", "_paper", "_batch_norm"):
        monkeypatch.setattr(parts, name, functools.partial(getattr(parts, name), hidden=1))


def test_each_variant_has_its_towers(thin):
    groups = {
        name: [layer.groups for layer in models.build(name).features if isinstance(layer, nn.Conv2d)]
        for name in ("alexnet", "alexnet:2012", "alexnet:ungrouped", "alexnet:batch_norm")
    }
    ones = [1] * 5
    assert list(groups.values()) == [ones, [1, 2, 1, 2, 2], ones, ones]


def test_names_are_those_of_torchvision():
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    model = parts._torch(5, hidden=2)
    assert list(model.state_dict()) == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


def test_first_weights_and_biases_are_those_of_section_5():
    model = parts._paper(10, groups=2, hidden=50)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        assert layer.weight.numpy().std() == pytest.approx(0.01, rel=0.1)
    # The second, fourth and fifth convolution, and the hidden fully connected layers.
    assert [set(layer.bias.numpy()) for layer in layers] == [{0}, {1}, {0}, {1}, {1}, {1}, {1}, {0}]


def test_response_normalisation_is_the_papers():
    """k = 2, n = 5, alpha = 1e-4, beta = 0.75, alpha not divided by n: section 3.3, written as loops."""
    x = np.random.default_rng(0).standard_normal((1, 2, 2, 7)) * 100
    expected = np.empty_like(x)
    for h, w, c in np.ndindex(2, 2, 7):
        energy = sum(x[0, h, w, j] ** 2 for j in range(max(0, c - 2), min(6, c + 2) + 1))
        expected[0, h, w, c] = x[0, h, w, c] / (2 + 1e-4 * energy) ** 0.75
    np.testing.assert_allclose(parts.response_norm()(mc.tensor(x)).numpy(), expected, rtol=1e-6)


def test_dropout_works_in_training_only():
    model = parts._torch(3, hidden=50)
    x = mc.tensor(np.random.default_rng(0).random((2, 70, 70, 3), np.float32))
    assert (model(x).numpy() != model(x).numpy()).any()
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())


def test_images_of_another_size_are_told_the_right_one(thin):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 227, 227, 3\), got \(1, 224, 224, 3\)"):
        models.alexnet(variant="2012")(mc.tensor(np.zeros((1, 224, 224, 3), np.float32)))
    assert models.input_shape("alexnet") == (224, 224, 3)
    assert models.input_shape("alexnet:batch_norm") == models.input_shape("alexnet:ungrouped") == (227, 227, 3)


def test_unknown_variant_names_the_choices():
    with pytest.raises(ValueError, match=r"'torch', '2012', 'ungrouped', 'batch_norm', got '2014'"):
        models.alexnet(variant="2014")


@pytest.mark.parametrize(
    "variant", ["torch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("2012", "batch_norm"))]
)
def test_training_step_against_torch(variant):
    torch = pytest.importorskip("torch")
    model = {
        "torch": lambda: parts._torch(3, hidden=8),
        "2012": lambda: parts._paper(3, groups=2, hidden=8),
        "batch_norm": lambda: parts._batch_norm(3, hidden=8),
    }[variant]()
    for layer in model.classifier:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # the two libraries drop other numbers
    count, size = {"torch": (3, 67), "2012": (1, 227), "batch_norm": (3, 227)}[variant]
    images = np.random.default_rng(0).random((count, size, size, 3))
    check_training_step(model, torch_twin(torch, variant), torch, images, 3)


def torch_twin(torch, variant):
    """The network in PyTorch, with 8 outputs of the hidden fully connected layers and 3 logits."""
    t = torch.nn
    widths = (64, 192, 384, 256, 256) if variant == "torch" else (96, 256, 384, 384, 256)
    groups = (1, 2, 1, 2, 2) if variant == "2012" else (1,) * 5
    kernels = ((11, 4, 2 if variant == "torch" else 0), (5, 1, 2), *[(3, 1, 1)] * 3)
    features, channels = [], 3
    for i, (width, (K, stride, padding)) in enumerate(zip(widths, kernels, strict=True)):
        features.append(t.Conv2d(channels, width, K, stride, padding, groups=groups[i]))
        features += [t.BatchNorm2d(width)] * (variant == "batch_norm") + [t.ReLU()]
        features += [t.LocalResponseNorm(5, 5e-4, 0.75, 2.0)] * (variant == "2012" and i < 2)
        features += [t.MaxPool2d(3, 2)] * (i in (0, 1, 4))
        channels = width
    norm = [t.BatchNorm1d] * (variant == "batch_norm")
    hidden = [[t.Linear(n, 8), *[kind(8) for kind in norm], t.ReLU()] for n in (9216, 8)]
    if variant == "torch":
        classifier = [t.Identity(), *hidden[0], t.Identity(), *hidden[1], t.Linear(8, 3)]
    else:
        classifier = [*hidden[0], t.Identity(), *hidden[1], t.Identity(), t.Linear(8, 3)]
    twin = t.Sequential()
    twin.features = t.Sequential(*features)
    if variant == "torch":
        twin.avgpool = t.AdaptiveAvgPool2d(6)
    twin.flatten, twin.classifier = t.Flatten(), t.Sequential(*classifier)
    return twin
