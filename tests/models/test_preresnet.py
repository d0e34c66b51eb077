"""The pre-activation ResNets: counts, where the shortcuts begin, agreement with a PyTorch twin."""

import numpy as np
import pytest
import torch_blocks
from tables import summary_and_table
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn
from minicnn.models import preresnet


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def by_hand(blocks, channels, bottleneck):
    """The parameters, counted from the paper: each convolution follows a batch normalisation."""
    total, inputs = 3 * 9 * channels[0], channels[0]
    for outputs in channels[1:]:
        for _ in range(blocks):
            sizes = [(inputs, outputs, 9), (outputs, outputs, 9)]
            if bottleneck:
                sizes = [(inputs, outputs // 4, 1), (outputs // 4, outputs // 4, 9), (outputs // 4, outputs, 1)]
            total += sum(2 * i + window * i * o for i, o, window in sizes)
            total += inputs * outputs if bottleneck and inputs != outputs else 0
            inputs = outputs
    return total + 2 * inputs + 10 * inputs + 10


# The papers on this and on wide ResNets print 1.7M, 1.7M and 10.2M.
@pytest.mark.parametrize(
    ("builder", "parameters", "layers", "design"),
    [
        (models.preresnet110, 1_727_962, 110, (18, (16, 16, 32, 64), False)),
        (models.preresnet164, 1_703_258, 164, (18, (16, 64, 128, 256), True)),
        (models.preresnet1001, 10_327_706, 1001, (111, (16, 64, 128, 256), True)),
    ],
)
def test_size_and_depth_are_the_known_ones(builder, parameters, layers, design):
    model = builder()
    assert sum(p.size for p in model.parameters()) == parameters == by_hand(*design)
    shortcuts = sum(isinstance(m, nn.Conv2d) for name, m in model.named_modules() if name.endswith("downsample"))
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) - shortcuts == layers
    assert f"{parameters:,}" in builder.__doc__


def test_the_table_says_what_preresnet164_is():
    summary = summary_and_table(models.preresnet164(), models.preresnet164.__doc__)
    assert summary.multiply_adds == 244_500_992


def test_a_block_without_layers_passes_x_on_even_where_it_is_negative():
    x = mc.tensor(np.random.default_rng(0).standard_normal((2, 5, 5, 8)).astype(np.float32))
    for block in (preresnet.PreActivationBlock(8, 8, 1), preresnet.PreActivationBottleneck(8, 8, 1)):
        last = block.conv3 if isinstance(block, preresnet.PreActivationBottleneck) else block.conv2
        last.weight.assign(np.zeros(last.weight.shape))
        np.testing.assert_array_equal(block(x).numpy(), x.numpy())
        block.is_first = True
        np.testing.assert_array_equal(block(x).numpy(), np.maximum(block.bn1(x).numpy(), 0))


def test_only_the_first_block_of_all_is_the_first():
    model = models.preresnet110()
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3) for block in stage]
    assert [block.is_first for block in blocks] == [True] + [False] * 53


def test_weights_are_normal_with_variance_two_over_fan_in():
    model = models.preresnet164()
    for layer, fan_in in ((model.layer3[1].conv2, 9 * 64), (model.layer3[0].downsample, 128), (model.fc, 256)):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_a_larger_image_without_colours_is_refused_with_the_right_shape():
    with pytest.raises(ValueError, match=r"made for inputs \(N, 32, 32, 3\), got \(1, 64, 64, 1\)"):
        models.preresnet110()(mc.tensor(np.zeros((1, 64, 64, 1), np.float32)))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_thin_network_against_torch(bottleneck):
    torch = pytest.importorskip("torch")
    channels = (4, 8, 16, 32) if bottleneck else (4, 4, 8, 16)
    block = preresnet.PreActivationBottleneck if bottleneck else preresnet.PreActivationBlock
    model = preresnet.preactivation_network(block, 2, channels, 5)
    twin = torch_network(torch, 2, channels, 5, bottleneck)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 12, 8, 3)), 5)


def torch_network(torch, blocks, channels, classes, bottleneck=False):
    """conv1, three stages, batch norm, ReLU, average, fc; blocks as in figure 4 (e)."""
    stages, inputs = {}, channels[0]
    for i, outputs in enumerate(channels[1:], 1):
        units = []
        for k in range(blocks):
            stride = 2 if i > 1 and k == 0 else 1
            units.append(torch_unit(torch, inputs, outputs, stride, bottleneck, first=i == 1 and k == 0))
            inputs = outputs
        stages[f"layer{i}"] = torch.nn.Sequential(*units)
    return torch_blocks.named(torch, {
        "conv1": torch.nn.Conv2d(3, channels[0], 3, padding=1, bias=False), **stages,
        "bn": torch.nn.BatchNorm2d(inputs), "relu": torch.nn.ReLU(), "avgpool": torch.nn.AdaptiveAvgPool2d(1),
        "flatten": torch.nn.Flatten(), "fc": torch.nn.Linear(inputs, classes),
    })  # fmt: skip


def torch_unit(torch, inputs, outputs, stride, bottleneck, first):
    """A unit in PyTorch; where it changes the shape, both ways begin behind the first ReLU."""
    width = outputs // 4
    sizes = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
    if bottleneck:
        sizes = [(inputs, width, 1, stride), (width, width, 3, 1), (width, outputs, 1, 1)]
    changes = (inputs, stride) != (outputs, 1)

    class Unit(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bn1 = torch.nn.BatchNorm2d(inputs)
            if changes:
                self.downsample = torch_blocks.zero_padded(torch)
                if bottleneck:
                    self.downsample = torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            for i, (c, o, K, s) in enumerate(sizes, 1):
                if i > 1:
                    setattr(self, f"bn{i}", torch.nn.BatchNorm2d(c))
                setattr(self, f"conv{i}", torch.nn.Conv2d(c, o, K, s, K // 2, bias=False))

        def forward(self, x):
            y = torch.relu(self.bn1(x))
            shortcut = self.downsample(y) if changes else y if first else x
            for i in range(1, len(sizes) + 1):
                y = y if i == 1 else torch.relu(getattr(self, f"bn{i}")(y))
                y = getattr(self, f"conv{i}")(y)
            return y + shortcut

    return Unit()
