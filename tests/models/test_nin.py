"""Network in Network: counts and shapes of both forms, dropout, agreement with a PyTorch twin."""

import importlib

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.nin")


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


# The sums over the layers of the authors' model files, (inputs * K**2 + 1) * outputs each; the Caffe model of the
# ImageNet network is a file of 29 megabytes (2**20) of float32.
CIFAR = [((5, 3, 192), (1, 192, 160), (1, 160, 96)), ((5, 96, 192), (1, 192, 192), (1, 192, 192)),
         ((3, 192, 192), (1, 192, 192), (1, 192, 10))]  # fmt: skip
IMAGENET = [((11, 3, 96), (1, 96, 96), (1, 96, 96)), ((5, 96, 256), (1, 256, 256), (1, 256, 256)),
            ((3, 256, 384), (1, 384, 384), (1, 384, 384)),
            ((3, 384, 1024), (1, 1024, 1024), (1, 1024, 1000))]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "layers", "sizes", "pooled", "parameters", "millions"),
    [
        ("nin", CIFAR, (32, 16, 8), [(16, 16, 96), (8, 8, 192)], 966_986, 222.5),
        ("nin:imagenet", IMAGENET, (54, 27, 13, 6), [(27, 27, 96), (13, 13, 256), (6, 6, 384)], 7_595_176, 1100.2),
    ],
)
def test_size_work_and_stages_are_the_known_ones(name, layers, sizes, pooled, parameters, millions):
    summary = mc.summary(models.build(name))
    rows = [(row.output_shape, row.parameters, row.multiply_adds) for row in summary.rows if row.kind == "Conv2d"]
    assert rows == [
        ((size, size, outputs), (inputs * K * K + 1) * outputs, size * size * inputs * K * K * outputs)
        for size, stage in zip(sizes, layers, strict=True)
        for K, inputs, outputs in stage
    ]
    assert [row.output_shape for row in summary.rows if "Pool2d" in row.kind] == [*pooled, (layers[-1][-1][-1],)]
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e6 == pytest.approx(millions, rel=1e-3)


def test_a_logit_is_the_mean_of_its_map():
    model = models.nin().eval()
    maps = []
    with nn.observe(lambda module, inputs, output: maps.append(output) if module is model.mlpconv3 else None):
        logits = model(mc.tensor(np.random.default_rng(0).random((2, 32, 32, 3), np.float32))).numpy()
    np.testing.assert_allclose(logits, maps[0].numpy().reshape(2, 64, 10).mean(axis=1), rtol=1e-5)


def test_weights_are_normal_with_variance_two_over_fan_in():
    model = models.nin()
    for layer, fan_in in ((model.mlpconv1[0], 75), (model.mlpconv2[0], 2400), (model.mlpconv3[2], 192)):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
        assert not layer.bias.numpy().any()


def test_dropout_works_in_training_only():
    model = models.nin()
    x = mc.tensor(np.random.default_rng(0).random((1, 32, 32, 3), np.float32))
    assert (model.dropout1.p, model.dropout2.p) == (0.5, 0.5)
    assert (model(x).numpy() != model(x).numpy()).any()
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())


def test_images_that_do_not_fit_are_told_the_right_shape():
    with pytest.raises(ValueError, match=r"made for inputs \(N, 32, 32, 3\), got \(1, 32, 32, 1\)"):
        models.nin()(mc.tensor(np.zeros((1, 32, 32, 1), np.float32)))
    with pytest.raises(ValueError, match=r"made for inputs \(N, 224, 224, 3\), got \(1, 8, 8, 3\)"):
        models.nin(variant="imagenet")(mc.tensor(np.zeros((1, 8, 8, 3), np.float32)))


def test_unknown_variant_names_the_choices():
    with pytest.raises(ValueError, match=r"'cifar', 'imagenet', got '2014'"):
        models.nin(variant="2014")


def test_training_step_against_torch():
    torch = pytest.importorskip("torch")
    t = torch.nn
    model = models.nin(num_classes=3)
    model.dropout1.p = model.dropout2.p = 0.0  # the two libraries drop other numbers

    def mlpconv(stage, padding):
        layers = []
        for K, inputs, outputs in stage:
            layers += [t.Conv2d(inputs, outputs, K, padding=padding if K > 1 else 0), t.ReLU()]
        return t.Sequential(*layers)

    last = (*CIFAR[2][:2], (1, 192, 3))
    twin = t.Sequential()
    twin.mlpconv1, twin.pool1 = mlpconv(CIFAR[0], 2), t.MaxPool2d(3, 2, ceil_mode=True)
    twin.mlpconv2, twin.pool2 = mlpconv(CIFAR[1], 2), t.AvgPool2d(3, 2, ceil_mode=True)
    twin.mlpconv3, twin.avgpool, twin.flatten = mlpconv(last, 1), t.AdaptiveAvgPool2d(1), t.Flatten()
    check_training_step(model, twin, torch, np.random.default_rng(0).random((1, 32, 32, 3)), 3)
