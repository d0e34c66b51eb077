"""The ResNets for ImageNet: published counts, torchvision's names, agreement with a PyTorch twin."""

import functools

import numpy as np
import pytest
import torch_blocks
from tables import summary_and_table
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn
from minicnn.models import _residual


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


@pytest.fixture
def built(no_draws):
    """built(name): the network of that name with weights of 0, built once for all tests that only look at it."""
    return _built


@functools.cache
def _built(name):
    return models.build(name)


# torchvision prints these parameters; the billions of multiply-adds are its GFLOPS column.
@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("resnet101", 44_549_160, 7.801),
        ("resnet152", 60_192_808, 11.514),
    ],
)
def test_size_and_work_are_the_known_ones(built, name, parameters, billions):
    summary = mc.summary(built(name))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=5e-4)
    assert summary.rows[-1].output_shape == (1000,)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_tables_say_what_the_networks_are(built, name):
    summary_and_table(built(name), getattr(models, name).__doc__)


def test_stages_of_resnet50_have_the_shapes_of_table_1(built):
    rows = {row.name: row.output_shape for row in mc.summary(built("resnet50")).rows}
    stages = [rows[name] for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")]
    assert stages == [(112, 112, 64), (56, 56, 64), (56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048), (2048,)]


# Table 1 of the paper: 3.8, 7.6 and 11.3 billion multiply-adds.
@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [("resnet50", 25_557_032, 3.8), ("resnet101", 44_549_160, 7.6), ("resnet152", 60_192_808, 11.3)],
)
def test_the_variant_of_the_paper_has_the_papers_work(no_draws, name, parameters, billions):
    model = models.build(f"{name}:2016")
    summary = mc.summary(model)
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=0.02)
    assert (model.layer2[0].conv1.stride, model.layer2[0].conv2.stride) == ((2, 2), (1, 1))
    assert summary.parameters == parameters


def test_names_are_those_of_torchvision(built):
    names = list(built("resnet50").state_dict())
    assert names[:6] == ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
                         "bn1.num_batches_tracked"]  # fmt: skip
    first = [name for name in names if name.startswith("layer1.0.") and name.endswith("weight")]
    assert first == [f"layer1.0.{layer}.weight" for layer in
                     ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")]  # fmt: skip
    assert names[-2:] == ["fc.weight", "fc.bias"]
    assert [name for name in built("resnet18").state_dict() if "downsample.0" in name] == [
        f"layer{i}.0.downsample.0.weight" for i in (2, 3, 4)
    ]


def test_a_block_without_layers_passes_x_on():
    block = _residual.BasicBlock(4, 4, 1, _residual.ZeroPadded)
    block.bn2.weight.assign(np.zeros(4))
    x = np.random.default_rng(0).random((2, 5, 5, 4), np.float32)
    np.testing.assert_array_equal(block(mc.tensor(x)).numpy(), x)


def test_weights_are_normal_with_variance_two_over_fan_in():
    model = models.resnet18()
    for layer, fan_in in ((model.conv1, 147), (model.layer4[1].conv2, 9 * 512), (model.fc, 512)):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert not model.fc.bias.numpy().any()


def test_unknown_variant_names_the_choices():
    with pytest.raises(ValueError, match=r"'torch', '2016', got 'v1'"):
        models.resnet50(variant="v1")
    with pytest.raises(ValueError, match="did you mean resnet152:2016"):
        models.build("resnet18:2016")


def test_an_image_without_colours_is_refused_with_the_right_shape(built):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 224, 224, 3\), got \(1, 224, 224, 1\)"):
        built("resnet18")(mc.tensor(np.zeros((1, 224, 224, 1), np.float32)))


def test_basic_blocks_against_torch():
    torch = pytest.importorskip("torch")
    block = functools.partial(_residual.BasicBlock, shortcut=_residual.projection)
    model = _residual.imagenet_network(block, (2, 1, 1, 2), 64, 5)
    twin = torch_blocks.imagenet_network(torch, functools.partial(torch_blocks.basic_block, torch), (2, 1, 1, 2), 64, 5)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 50, 62, 3)), 5)


def test_bottlenecks_against_torch():
    torch = pytest.importorskip("torch")

    def block(inputs, outputs, stride):
        return _residual.Bottleneck(inputs, outputs, (1, stride), outputs // 4)

    def torch_block(inputs, outputs, stride, shortcut):
        return torch_blocks.bottleneck(torch, inputs, outputs, stride, shortcut, outputs // 4)

    model = _residual.imagenet_network(block, (2, 1, 1, 2), 64, 5)
    twin = torch_blocks.imagenet_network(torch, torch_block, (2, 1, 1, 2), 64, 5)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 50, 62, 3)), 5)


@pytest.mark.parametrize(
    ("build", "relus"),
    [
        (lambda: _residual.BasicBlock(8, 8, 1, _residual.ZeroPadded), 2),
        (lambda: _residual.Bottleneck(8, 8, (1, 1), 2), 3),
    ],
)
def test_a_block_computes_the_same_while_an_observer_hears_of_each_layer(build, relus):
    """Normalisation, shortcut and ReLU are one step, or where somebody looks at them three."""
    block, heard = build().eval(), []
    x = mc.tensor(np.random.default_rng(0).standard_normal((2, 5, 5, 8)).astype(np.float32))
    with nn.observe(lambda module, inputs, output: heard.append(module)):
        watched = block(x)
    np.testing.assert_allclose(block(x).numpy(), watched.numpy(), rtol=1e-5, atol=1e-6)
    assert sum(isinstance(module, nn.ReLU) for module in heard) == relus
