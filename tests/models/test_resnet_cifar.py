"""The ResNets for CIFAR-10: published counts, shortcuts, agreement with a PyTorch twin."""

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


# Table 6 of the paper has 0.27M, 0.46M, 0.66M, 0.85M, 1.7M and 19.4M.
@pytest.mark.parametrize(
    ("builder", "parameters", "layers"),
    [
        (models.resnet20, 269_722, 20),
        (models.resnet32, 464_154, 32),
        (models.resnet44, 658_586, 44),
        (models.resnet56, 853_018, 56),
        (models.resnet110, 1_727_962, 110),
        (models.resnet1202, 19_421_274, 1202),
    ],
)
def test_size_and_depth_are_the_known_ones(builder, parameters, layers):
    model = builder()
    assert sum(p.size for p in model.parameters()) == parameters
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers


def test_the_table_says_what_resnet20_is():
    summary = summary_and_table(models.resnet20(), models.resnet20.__doc__)
    assert summary.multiply_adds == 40_551_040


def test_a_shortcut_without_parameters_takes_every_second_pixel_and_adds_zeros():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3))
    y = _residual.ZeroPadded(3, 5, 2)(mc.tensor(x)).numpy()
    assert y.shape == (2, 2, 3, 5)
    for n, h, w, c in np.ndindex(y.shape):
        assert y[n, h, w, c] == (x[n, 2 * h, 2 * w, c] if c < 3 else 0)


def test_resnet20_against_torch():
    torch = pytest.importorskip("torch")
    twin = torch_resnet20(torch)
    check_training_step(models.resnet20(), twin, torch, np.random.default_rng(0).random((3, 32, 32, 3)), 10)


def torch_resnet20(torch):
    """ResNet-20 in PyTorch, its shortcuts written as a slice and a padding."""

    def stage(inputs, outputs):
        shortcut = torch_blocks.zero_padded(torch) if inputs != outputs else None
        rest = [torch_blocks.basic_block(torch, outputs, outputs, 1, None) for _ in range(2)]
        return torch.nn.Sequential(torch_blocks.basic_block(torch, inputs, outputs, outputs // inputs, shortcut), *rest)

    return torch_blocks.named(torch, {
        "conv1": torch.nn.Conv2d(3, 16, 3, padding=1, bias=False), "bn1": torch.nn.BatchNorm2d(16),
        "relu": torch.nn.ReLU(), "layer1": stage(16, 16), "layer2": stage(16, 32), "layer3": stage(32, 64),
        "avgpool": torch.nn.AdaptiveAvgPool2d(1), "flatten": torch.nn.Flatten(), "fc": torch.nn.Linear(64, 10),
    })  # fmt: skip
