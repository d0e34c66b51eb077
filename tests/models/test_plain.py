"""The plain networks: the counts of the ResNets without their projections, and nothing that goes round the layers."""

import numpy as np
import pytest
from tables import summary_and_table
from torch_blocks import named
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


# The ResNets' parameters without three 1 x 1 projections and their batch norms; 3.6 billion stands in figure 3.
def test_the_networks_for_imagenet_have_the_known_size_and_work():
    projections = sum(i * o + 2 * o for i, o in ((64, 128), (128, 256), (256, 512)))
    summary = summary_and_table(models.plain34(), models.plain34.__doc__)
    assert summary.parameters == 21_797_672 - projections == 21_623_848
    assert summary.multiply_adds / 1e9 == pytest.approx(3.6, abs=0.05)
    summary = mc.summary(models.plain18())
    assert summary.parameters == 11_689_512 - projections == 11_515_688
    assert summary.multiply_adds / 1e9 == pytest.approx(1.8, abs=0.05)


# Table 6 of the paper: a ResNet with the shortcuts of option A has exactly as many parameters as its plain counterpart.
@pytest.mark.parametrize(
    ("builder", "parameters", "layers"),
    [
        (models.plain20, 269_722, 20),
        (models.plain32, 464_154, 32),
        (models.plain44, 658_586, 44),
        (models.plain56, 853_018, 56),
        (models.plain110, 1_727_962, 110),
    ],
)
def test_the_networks_for_cifar_have_the_known_size_and_depth(builder, parameters, layers):
    model = builder()
    assert sum(p.size for p in model.parameters()) == parameters
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers


def test_the_table_says_what_plain20_is():
    summary = summary_and_table(models.plain20(), models.plain20.__doc__)
    assert summary.multiply_adds == 40_551_040


def test_parameters_are_called_as_those_of_the_resnet():
    assert list(models.plain20().state_dict()) == list(models.resnet20().state_dict())


def test_a_layer_of_zeros_stops_the_image():
    """In a ResNet it would go round the layer."""
    x = mc.tensor(np.random.default_rng(0).random((2, 32, 32, 3), np.float32))
    for model, stopped in ((models.plain20(), True), (models.resnet20(), False)):
        model.layer2[1].bn2.weight.assign(np.zeros(32))
        logits = model.eval()(x).numpy()
        assert np.array_equal(logits[0], logits[1]) == stopped


def test_plain20_against_torch():
    torch = pytest.importorskip("torch")

    def layers(inputs, outputs, stride):
        return named(torch, {
            "conv1": torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), "bn1": torch.nn.BatchNorm2d(outputs),
            "relu1": torch.nn.ReLU(), "conv2": torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            "bn2": torch.nn.BatchNorm2d(outputs), "relu2": torch.nn.ReLU(),
        })  # fmt: skip

    def stage(inputs, outputs, stride):
        return torch.nn.Sequential(layers(inputs, outputs, stride), *(layers(outputs, outputs, 1) for _ in range(2)))

    twin = named(torch, {
        "conv1": torch.nn.Conv2d(3, 16, 3, padding=1, bias=False), "bn1": torch.nn.BatchNorm2d(16),
        "relu": torch.nn.ReLU(), "layer1": stage(16, 16, 1), "layer2": stage(16, 32, 2), "layer3": stage(32, 64, 2),
        "avgpool": torch.nn.AdaptiveAvgPool2d(1), "flatten": torch.nn.Flatten(), "fc": torch.nn.Linear(64, 10),
    })  # fmt: skip
    # Winograd rounds more than the definition, and here 18 of its convolutions follow one another with no shortcut.
    images = np.random.default_rng(0).random((3, 32, 32, 3))
    check_training_step(models.plain20(), twin, torch, images, 10, times_as_far=3.0)
