"""The wide ResNets: published counts, torchvision's names, dropout, agreement with a PyTorch twin."""

import numpy as np
import pytest
import torch_blocks
from tables import summary_and_table
from twins import check_training_step

import minicnn as mc
from minicnn import models
from minicnn.models import _residual, preresnet, wide_resnet


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


# Table 4 of the paper: 8.9M, 11.0M and 36.5M.
@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [
        ("wide_resnet40_4", 8_949_210, 8.9),
        ("wide_resnet16_8", 10_961_370, 11.0),
        ("wide_resnet28_10", 36_479_194, 36.5),
    ],
)
def test_networks_for_cifar_have_the_known_size(no_draws, name, parameters, millions):
    summary = mc.summary(models.build(name))
    assert summary.parameters == parameters
    assert round(parameters / 1e6, 1) == millions
    shapes = {row.name: row.output_shape for row in summary.rows}
    k = int(name.rpartition("_")[2])
    assert [shapes[f"layer{i}"] for i in (1, 2, 3)] == [(32, 32, 16 * k), (16, 16, 32 * k), (8, 8, 64 * k)]


# torchvision prints these parameters; the billions of multiply-adds are its GFLOPS column.
@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [("wide_resnet50_2", 68_883_240, 11.398), ("wide_resnet101_2", 126_886_696, 22.753)],
)
def test_networks_for_imagenet_have_the_known_size_and_work(no_draws, name, parameters, billions):
    summary = mc.summary(models.build(name))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=5e-4)


@pytest.mark.parametrize("name", ["wide_resnet28_10", "wide_resnet50_2"])
def test_the_tables_say_what_the_networks_are(no_draws, name):
    summary_and_table(models.build(name), getattr(models, name).__doc__)


def test_names_are_those_of_torchvision(no_draws):
    """All but the widths is as in a ResNet-50."""
    wide, thin = models.wide_resnet50_2().state_dict(), models.resnet50().state_dict()
    assert list(wide) == list(thin)
    assert wide["layer1.0.conv2.weight"].shape == (3, 3, 128, 128)
    assert wide["layer4.2.conv3.weight"].shape == (1, 1, 1024, 2048)


def test_weights_are_normal_with_variance_two_over_fan_in():
    model = models.wide_resnet16_8()
    for layer, fan_in in ((model.layer1[1].conv1, 9 * 128), (model.layer3[0].downsample, 256), (model.fc, 512)):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_dropout_stands_before_the_second_convolution_and_works_in_training_only():
    block, x = wide_resnet.WideBlock(4, 4, 1, dropout=0.3), np.random.default_rng(0).random((2, 6, 6, 4), np.float32)
    assert models.wide_resnet16_8(dropout=0.3).layer2[1].dropout.p == 0.3
    seen = []
    with mc.nn.observe(lambda module, inputs, output: seen.append(module)):
        block(mc.tensor(x))
    assert seen.index(block.dropout) == seen.index(block.conv2) - 1
    assert (block(mc.tensor(x)).numpy() != block(mc.tensor(x)).numpy()).any()
    block.eval()
    np.testing.assert_array_equal(block(mc.tensor(x)).numpy(), block(mc.tensor(x)).numpy())


def test_image_without_colours_is_refused_with_the_right_shape(no_draws):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 32, 32, 3\), got \(1, 32, 32, 1\)"):
        models.wide_resnet16_8()(mc.tensor(np.zeros((1, 32, 32, 1), np.float32)))


def test_thin_network_for_cifar_against_torch():
    torch = pytest.importorskip("torch")
    model = preresnet.preactivation_network(lambda i, o, s: wide_resnet.WideBlock(i, o, s, 0.0), 2, (4, 8, 16, 32), 5)
    twin = torch_network(torch, 2, (4, 8, 16, 32), 5)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 12, 8, 3)), 5)


def test_thin_network_for_imagenet_against_torch():
    torch = pytest.importorskip("torch")

    def torch_block(inputs, outputs, stride, shortcut):
        return torch_blocks.bottleneck(torch, inputs, outputs, stride, shortcut, outputs // 2)

    model = _residual.imagenet_network(wide_resnet._wide_bottleneck, (1, 1, 1, 1), 64, 5)
    twin = torch_blocks.imagenet_network(torch, torch_block, (1, 1, 1, 1), 64, 5)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 50, 62, 3)), 5)


def torch_network(torch, blocks, channels, classes):
    """WRN in PyTorch: where a block changes the shape, its 1 x 1 shortcut begins behind the first ReLU."""

    class Block(torch.nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.bn1 = torch.nn.BatchNorm2d(inputs)
            self.changes = inputs != outputs
            if self.changes:
                self.downsample = torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.conv1 = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn2 = torch.nn.BatchNorm2d(outputs)
            self.conv2 = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)

        def forward(self, x):
            y = torch.relu(self.bn1(x))
            shortcut = self.downsample(y) if self.changes else x
            return shortcut + self.conv2(torch.relu(self.bn2(self.conv1(y))))

    def stage(i, stride):
        rest = [Block(channels[i], channels[i], 1) for _ in range(blocks - 1)]
        return torch.nn.Sequential(Block(channels[i - 1], channels[i], stride), *rest)

    return torch_blocks.named(torch, {
        "conv1": torch.nn.Conv2d(3, channels[0], 3, padding=1, bias=False),
        "layer1": stage(1, 1), "layer2": stage(2, 2), "layer3": stage(3, 2),
        "bn": torch.nn.BatchNorm2d(channels[3]), "relu": torch.nn.ReLU(), "avgpool": torch.nn.AdaptiveAvgPool2d(1),
        "flatten": torch.nn.Flatten(), "fc": torch.nn.Linear(channels[3], classes),
    })  # fmt: skip
