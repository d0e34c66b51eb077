"""The DenseNets: published counts, torchvision's names, agreement with a PyTorch twin."""

import importlib

import numpy as np
import pytest
from tables import summary_and_table
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.densenet")
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def densenet121():
    mc.seed(0)
    return models.densenet121()


# DenseNet-121: torchvision's figures. The others: table 2 of the paper has 1.0M and 0.8M; the exact counts are its
# formulas', term by term, below.
@pytest.mark.parametrize(
    ("name", "parameters", "layers"),
    [("densenet121", 7_978_856, 121), ("densenet40_12", 1_019_722, 40), ("densenet_bc_100_12", 769_162, 100)],
)
def test_size_and_depth_are_the_known_ones(name, parameters, layers):
    model = models.build(name)
    assert sum(p.size for p in model.parameters()) == parameters
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers


@pytest.mark.parametrize(
    ("channels", "layers", "bottleneck", "expected"), [(16, 12, False, 1_019_722), (24, 16, True, 769_162)]
)
def test_parameters_of_the_cifar_networks_term_by_term(channels, layers, bottleneck, expected):
    C, total = channels, 27 * channels
    for block in range(3):
        for _ in range(layers):
            total += 2 * C + (C * 48 + 2 * 48 + 9 * 48 * 12 if bottleneck else 9 * C * 12)
            C += 12
        if block < 2:
            outputs = C // 2 if bottleneck else C
            total += 2 * C + C * outputs
            C = outputs
    assert total + 2 * C + C * 10 + 10 == expected


def test_work_and_stages_of_densenet121(densenet121):
    summary = mc.summary(densenet121)
    assert summary.multiply_adds / 1e9 == pytest.approx(2.834, rel=5e-4)  # torchvision's
    rows = {row.name.removeprefix("features."): row.output_shape for row in summary.rows}
    # Table 1 of the paper for the sides; k = 32, blocks of 6, 12, 24 and 16 layers for the channels.
    stages = {"conv0": (112, 64), "pool0": (56, 64), "denseblock1": (56, 64 + 6 * 32), "transition1": (28, 128),
              "denseblock2": (28, 128 + 12 * 32), "transition2": (14, 256), "denseblock3": (14, 256 + 24 * 32),
              "transition3": (7, 512), "denseblock4": (7, 512 + 16 * 32), "norm5": (7, 1024)}  # fmt: skip
    assert {name: rows[name] for name in stages} == {name: (H, H, C) for name, (H, C) in stages.items()}
    assert (rows["avgpool"], rows["classifier"]) == ((1024,), (1000,))


@pytest.mark.parametrize("name", ["densenet121", "densenet40_12"])
def test_the_tables_say_what_the_networks_are(no_draws, name):
    model = models.build(name)
    flat = nn.Sequential(
        {**dict(model.features.named_children()), "avgpool": model.avgpool, "classifier": model.classifier}
    )
    summary_and_table(flat, getattr(models, name).__doc__, model.input_shape)


@pytest.mark.parametrize(
    ("builder", "channels"),
    [(models.densenet40_12, (16, 160, 160, 304, 304, 448)), (models.densenet_bc_100_12, (24, 216, 108, 300, 150, 342))],
)
def test_stages_of_the_cifar_networks(builder, channels):
    rows = {row.name.removeprefix("features."): row.output_shape for row in mc.summary(builder()).rows}
    names = ("conv0", "denseblock1", "transition1", "denseblock2", "transition2", "denseblock3")
    expected = [(H, H, C) for H, C in zip((32, 32, 16, 16, 8, 8), channels, strict=True)]
    assert [rows[name] for name in names] == expected
    assert (rows["avgpool"], rows["classifier"]) == (channels[-1:], (10,))


def test_names_are_those_of_torchvision(densenet121):
    expected = ["features.conv0.weight", *(f"features.norm0.{part}" for part in NORM)]
    for block, layers in enumerate((6, 12, 24, 16), 1):
        for i in range(1, layers + 1):
            for n in (1, 2):
                layer = f"features.denseblock{block}.denselayer{i}"
                expected += [*(f"{layer}.norm{n}.{part}" for part in NORM), f"{layer}.conv{n}.weight"]
        if block < 4:
            transition = f"features.transition{block}"
            expected += [*(f"{transition}.norm.{part}" for part in NORM), f"{transition}.conv.weight"]
    expected += [f"features.norm5.{part}" for part in NORM]
    assert list(densenet121.state_dict()) == [*expected, "classifier.weight", "classifier.bias"]


def test_weights_are_normal_with_variance_two_over_fan_in(densenet121):
    layer = densenet121.features.denseblock4.denselayer16
    for module, fan_in in ((layer.conv1, 992), (layer.conv2, 9 * 128), (densenet121.classifier, 1024)):
        assert module.weight.numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert not densenet121.classifier.bias.numpy().any()


def test_a_block_keeps_what_it_was_given_and_appends():
    block = parts.DenseBlock(nn.Conv2d(3, 2, 1), nn.Conv2d(5, 4, 1))
    x = mc.tensor(np.random.default_rng(0).random((2, 4, 5, 3), np.float32))
    y = block(x).numpy()
    np.testing.assert_array_equal(y[..., :3], x.numpy())
    np.testing.assert_array_equal(y[..., 3:5], block[0](x).numpy())
    np.testing.assert_array_equal(y[..., 5:], block[1](mc.tensor(y[..., :5].copy())).numpy())


@pytest.mark.parametrize(
    ("name", "shape", "right"),
    [
        ("densenet121", (1, 3, 224, 224), r"\(N, 224, 224, 3\)"),
        ("densenet121", (1, 2, 2, 3), r"\(N, 224, 224, 3\)"),
        ("densenet40_12", (1, 3, 3, 3), r"\(N, 32, 32, 3\)"),
        ("densenet_bc_100_12", (1, 28, 28, 1), r"\(N, 32, 32, 3\)"),
    ],
)
def test_a_wrong_image_is_told_the_right_size(name, shape, right, densenet121):
    model = densenet121 if name == "densenet121" else models.build(name)
    with pytest.raises(ValueError, match=f"made for inputs {right}"):
        model.eval()(mc.tensor(np.zeros(shape, np.float32)))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_small_network_against_torch(bottleneck):
    torch = pytest.importorskip("torch")
    stem = {"conv0": nn.Conv2d(3, 6, 3, padding=1, bias=False)}
    model = parts.network(stem, 6, (2, 1, 2), 3, 4, bottleneck)
    twin = torch_network(torch, 6, (2, 1, 2), 3, 4, bottleneck)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 13, 10, 3)), 4)


def torch_network(torch, C, blocks, growth, classes, bottleneck):
    """The small network in PyTorch: each layer is handed the list of all outputs before it."""

    def layer(inputs):
        widths = (inputs, 4 * growth, growth) if bottleneck else (inputs, growth)
        kernels = (1, 3) if bottleneck else (3,)
        parts = {}
        for i, K in enumerate(kernels, 1):
            parts[f"norm{i}"], parts[f"relu{i}"] = torch.nn.BatchNorm2d(widths[i - 1]), torch.nn.ReLU()
            parts[f"conv{i}"] = torch.nn.Conv2d(widths[i - 1], widths[i], K, padding=K // 2, bias=False)
        return named(torch.nn.Sequential(), parts)

    class Block(torch.nn.Sequential):
        def forward(self, x):
            outputs = [x]
            for each in self:
                outputs.append(each(torch.cat(outputs, 1)))
            return torch.cat(outputs, 1)

    features = {"conv0": torch.nn.Conv2d(3, C, 3, padding=1, bias=False)}
    for place, layers in enumerate(blocks, 1):
        inside = {f"denselayer{i + 1}": layer(C + i * growth) for i in range(layers)}
        features[f"denseblock{place}"] = named(Block(), inside)
        C += layers * growth
        if place < len(blocks):
            O = C // 2 if bottleneck else C
            between = {"norm": torch.nn.BatchNorm2d(C), "relu": torch.nn.ReLU(),
                       "conv": torch.nn.Conv2d(C, O, 1, bias=False), "pool": torch.nn.AvgPool2d(2)}  # fmt: skip
            features[f"transition{place}"], C = named(torch.nn.Sequential(), between), O
    features["norm4"], features["relu4"] = torch.nn.BatchNorm2d(C), torch.nn.ReLU()
    whole = {"features": named(torch.nn.Sequential(), features), "avgpool": torch.nn.AdaptiveAvgPool2d(1),
             "flatten": torch.nn.Flatten(), "classifier": torch.nn.Linear(C, classes)}  # fmt: skip
    return named(torch.nn.Sequential(), whole)


def named(container, modules):
    """The container with these modules in it."""
    for name, module in modules.items():
        container.add_module(name, module)
    return container
