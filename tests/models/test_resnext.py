"""The ResNeXts: published counts, torchvision's names, groups, agreement with a PyTorch twin."""

import numpy as np
import pytest
import torch_blocks
from tables import summary_and_table
from twins import check_training_step

import minicnn as mc
from minicnn import models
from minicnn.models import _residual, resnext


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


# torchvision prints these parameters; the billions of multiply-adds are its GFLOPS column.
@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [
        ("resnext50_32x4d", 25_028_904, 4.23),
        ("resnext101_32x8d", 88_791_336, 16.414),
        ("resnext101_64x4d", 83_455_272, 15.46),
    ],
)
def test_size_and_work_are_the_known_ones(no_draws, name, parameters, billions):
    summary = mc.summary(models.build(name))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=5e-4)
    shapes = {row.name: row.output_shape for row in summary.rows}
    stages = [shapes[f"layer{i}"] for i in (1, 2, 3, 4)]
    assert stages == [(56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048)]


def test_the_table_says_what_resnext50_is(no_draws):
    summary_and_table(models.resnext50_32x4d(), models.resnext50_32x4d.__doc__)


def test_groups_are_those_of_table_1(no_draws):
    """32 groups of 4, 8, 16 and 32 channels; 64 of them; 32 of twice as many."""
    for name, groups, channels in (("50_32x4d", 32, 4), ("101_64x4d", 64, 4), ("101_32x8d", 32, 8)):
        model = models.build(f"resnext{name}")
        for i, stage in enumerate((model.layer1, model.layer2, model.layer3, model.layer4)):
            assert {block.conv2.groups for block in stage} == {groups}
            assert stage[-1].conv2.weight.shape == (3, 3, channels * 2**i, groups * channels * 2**i)


def test_names_are_those_of_torchvision(no_draws):
    """All but the sizes is as in a ResNet-50."""
    assert list(models.resnext50_32x4d().state_dict()) == list(models.resnet50().state_dict())


def test_weights_are_normal_with_variance_two_over_fan_in():
    """The 3 x 3 convolution sees the channels of its group alone."""
    block = _residual.imagenet_network(resnext.grouped_bottleneck(32, 4), (1, 1, 1, 1), 2048, 5).layer4[0]
    for layer, fan_in in ((block.conv1, 1024), (block.conv2, 9 * 32), (block.conv3, 1024)):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_image_without_colours_is_refused_with_the_right_shape(no_draws):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 224, 224, 3\), got \(1, 224, 224, 1\)"):
        models.resnext50_32x4d()(mc.tensor(np.zeros((1, 224, 224, 1), np.float32)))


def test_thin_network_against_torch():
    torch = pytest.importorskip("torch")

    def torch_block(inputs, outputs, stride, shortcut):
        return torch_blocks.bottleneck(torch, inputs, outputs, stride, shortcut, outputs // 4, groups=4)

    model = _residual.imagenet_network(resnext.grouped_bottleneck(4, 16), (2, 1, 1, 1), 256, 5)
    twin = torch_blocks.imagenet_network(torch, torch_block, (2, 1, 1, 1), 256, 5)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 46, 40, 3)), 5)
