"""Xception: the counts of the paper and of Keras, the names of Keras, agreement with a PyTorch twin."""

import importlib

import numpy as np
import pytest
from tables import summary_and_table
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.xception")


@pytest.fixture(scope="module")
def model():
    mc.seed(0)
    return models.xception()


@pytest.fixture(scope="module")
def summary(model):
    return mc.summary(model)


def test_size_is_the_known_one(model, summary):
    assert summary.parameters == summary.trainable == 22_855_952  # table 3 of the paper
    statistics = sum(a.size for name, a in model.named_buffers() if "running" in name)
    assert summary.parameters + statistics == 22_910_480  # Keras' documentation


def test_multiply_adds_term_by_term(summary):
    def separable(H, C, O):
        return H * H * (9 * C + C * O)

    expected = 149**2 * 27 * 32 + 147**2 * 9 * 32 * 64
    H, C = 147, 64
    for O, half in ((128, 74), (256, 37), (728, 19)):
        expected += separable(H, C, O) + separable(H, O, O) + half**2 * C * O
        H, C = half, O
    expected += 24 * separable(19, 728, 728)
    expected += separable(19, 728, 728) + separable(19, 728, 1024) + 10**2 * 728 * 1024
    expected += separable(10, 1024, 1536) + separable(10, 1536, 2048) + 2048 * 1000
    assert summary.multiply_adds == expected


def test_the_table_says_what_it_is(model):
    summary_and_table(model, models.xception.__doc__)


def test_stages_have_the_shapes_of_figure_5(summary):
    rows = {row.name: row.output_shape for row in summary.rows}
    middle = {f"block{i}": (19, 728) for i in range(4, 13)}
    sides = {"block1.conv1": (149, 32), "block1": (147, 64), "block2": (74, 128), "block3": (37, 256), **middle,
             "block13": (10, 1024), "block14": (10, 2048)}  # fmt: skip
    assert {name: rows[name] for name in sides} == {name: (H, H, C) for name, (H, C) in sides.items()}
    assert (rows["avg_pool"], rows["predictions"]) == ((2048,), (1000,))


def test_names_are_those_of_keras(model):
    layers = [name.rpartition(".")[0] for name, _ in model.named_parameters() if name.endswith("weight")]
    keras = [name.replace(".body", "").replace(".", "_") for name in layers if "shortcut" not in name]
    expected = ["block1_conv1", "block1_conv1_bn", "block1_conv2", "block1_conv2_bn"]
    for block in range(2, 15):
        for i in range(1, 4 if 5 <= block <= 12 else 3):
            name = f"block{block}_sepconv{i}"
            expected += [f"{name}_depthwise", f"{name}_pointwise", f"{name}_bn"]
    assert keras == [*expected, "predictions"]
    projected = [name.split(".")[0] for name in layers if name.endswith("shortcut.0")]
    assert projected == ["block2", "block3", "block4", "block13"]  # Keras leaves these without a name


def test_no_bias_stands_before_a_normalisation_and_both_are_keras(model):
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 2 + 2 * 34 + 4
    assert all(module.bias is None for module in convolutions)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(module.eps, module.momentum) for module in norms} == {(0.001, 0.01)}


def test_weights_are_xavier_uniform(model):
    depthwise, pointwise = model.block13.body.sepconv2.depthwise, model.block13.body.sepconv2.pointwise
    # A depthwise weight has fan_in 9 and fan_out 9 * 728 here, the other way round in Keras.
    for layer, fans in ((depthwise, 9 + 9 * 728), (pointwise, 728 + 1024), (model.predictions, 2048 + 1000)):
        w = layer.weight.numpy()
        assert w.std() == pytest.approx((2 / fans) ** 0.5, rel=0.02)
        assert abs(w).max() <= (6 / fans) ** 0.5
    assert not model.predictions.bias.numpy().any()


@pytest.mark.parametrize("shape", [(1, 3, 299, 299), (1, 4, 4, 3)])
def test_a_wrong_image_is_told_the_right_size(model, shape):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 299, 299, 3\)"):
        model.eval()(mc.tensor(np.zeros(shape, np.float32)))


def test_thin_network_against_torch():
    torch = pytest.importorskip("torch")
    model = parts.network((3, 4), (5, 6, 7), (8, 9, 10), 4)
    twin = torch_network(torch, (3, 4), (5, 6, 7), (8, 9, 10), 4)
    # 43 x 38 pixels: the poolings see 19 x 16, 10 x 8, 5 x 4 and 3 x 2, with the border on both sides and on one.
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 43, 38, 3)), 4)


def torch_network(torch, first, entry, last, classes):
    """The thin network in PyTorch, which pads a pooling on both sides alike: "same" is written out."""

    def norm(C):
        return torch.nn.BatchNorm2d(C, eps=0.001, momentum=0.01)

    def separable(C, O):
        depthwise = torch.nn.Conv2d(C, C, 3, padding=1, groups=C, bias=False)
        return named(torch, {"depthwise": depthwise, "pointwise": torch.nn.Conv2d(C, O, 1, bias=False)})

    class Pool(torch.nn.Module):
        def forward(self, x):
            border = []
            for length in (x.shape[3], x.shape[2]):
                total = max((-(-length // 2) - 1) * 2 + 3 - length, 0)
                border += [total // 2, total - total // 2]
            return torch.nn.functional.max_pool2d(torch.nn.functional.pad(x, border, value=-torch.inf), 3, 2)

    class Block(torch.nn.Module):
        def __init__(self, C, outputs, halve=True, relu_first=True):
            super().__init__()
            layers, self.shortcut = {}, None
            if halve:
                projection = torch.nn.Conv2d(C, outputs[-1], 1, 2, bias=False)
                self.shortcut = torch.nn.Sequential(projection, norm(outputs[-1]))
            for i, O in enumerate(outputs, 1):
                layers[f"sepconv{i}_act"] = torch.nn.ReLU() if i > 1 or relu_first else torch.nn.Identity()
                layers[f"sepconv{i}"], layers[f"sepconv{i}_bn"], C = separable(C, O), norm(O), O
            layers["pool"] = Pool() if halve else torch.nn.Identity()
            self.body = named(torch, layers)

        def forward(self, x):
            return self.body(x) + (x if self.shortcut is None else self.shortcut(x))

    (p, q), (a, b, c), (f, g, h) = first, entry, last
    conv1, conv2 = torch.nn.Conv2d(3, p, 3, 2, bias=False), torch.nn.Conv2d(p, q, 3, bias=False)
    block1 = {"conv1": conv1, "conv1_bn": norm(p), "conv1_act": torch.nn.ReLU(),
              "conv2": conv2, "conv2_bn": norm(q), "conv2_act": torch.nn.ReLU()}  # fmt: skip
    block14 = {"sepconv1": separable(f, g), "sepconv1_bn": norm(g), "sepconv1_act": torch.nn.ReLU(),
               "sepconv2": separable(g, h), "sepconv2_bn": norm(h), "sepconv2_act": torch.nn.ReLU()}  # fmt: skip
    middle = {f"block{i}": Block(c, (c, c, c), halve=False) for i in range(5, 13)}
    return named(torch, {
        "block1": named(torch, block1), "block2": Block(q, (a, a), relu_first=False), "block3": Block(a, (b, b)),
        "block4": Block(b, (c, c)), **middle, "block13": Block(c, (c, f)), "block14": named(torch, block14),
        "avg_pool": torch.nn.AdaptiveAvgPool2d(1), "flatten": torch.nn.Flatten(),
        "predictions": torch.nn.Linear(h, classes),
    })  # fmt: skip


def named(torch, layers):
    """A Sequential with these names."""
    result = torch.nn.Sequential()
    for name, layer in layers.items():
        result.add_module(name, layer)
    return result
