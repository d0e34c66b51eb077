"""The ResNets: published counts, torchvision's names, shortcuts, agreement with a PyTorch twin."""

import importlib

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.resnet")


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def count(model):
    return sum(p.size for p in model.parameters())


# torchvision prints these parameters; the billions of multiply-adds are its GFLOPS column.
@pytest.mark.parametrize(
    ("builder", "parameters", "billions"),
    [
        (models.resnet18, 11_689_512, 1.814),
        (models.resnet34, 21_797_672, 3.664),
        (models.resnet50, 25_557_032, 4.089),
        (models.resnet101, 44_549_160, 7.801),
        (models.resnet152, 60_192_808, 11.514),
    ],
)
def test_imagenet_networks_have_the_known_size_and_work(builder, parameters, billions):
    summary = mc.summary(builder(), (224, 224, 3))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=5e-4)
    assert summary.rows[-1].output_shape == (1000,)


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
def test_cifar_networks_have_the_known_size_and_depth(builder, parameters, layers):
    model = builder()
    assert count(model) == parameters
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers


def test_stages_of_resnet50_have_the_shapes_of_table_1():
    rows = {row.name: row.output_shape for row in mc.summary(models.resnet50(), (224, 224, 3)).rows}
    stages = [rows[name] for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")]
    assert stages == [(112, 112, 64), (56, 56, 64), (56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048), (2048,)]


# Table 1 of the paper: 3.8, 7.6 and 11.3 billion multiply-adds.
@pytest.mark.parametrize(
    ("builder", "billions"), [(models.resnet50, 3.8), (models.resnet101, 7.6), (models.resnet152, 11.3)]
)
def test_the_variant_of_the_paper_has_the_papers_work(builder, billions):
    model = builder(variant="2016")
    assert mc.summary(model, (224, 224, 3)).multiply_adds / 1e9 == pytest.approx(billions, rel=0.02)
    assert (model.layer2[0].conv1.stride, model.layer2[0].conv2.stride) == ((2, 2), (1, 1))
    assert count(model) == count(builder())


def test_names_are_those_of_torchvision():
    names = list(models.resnet50(num_classes=3).state_dict())
    assert names[:6] == ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
                         "bn1.num_batches_tracked"]  # fmt: skip
    first = [name for name in names if name.startswith("layer1.0.") and name.endswith("weight")]
    assert first == [f"layer1.0.{layer}.weight" for layer in
                     ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")]  # fmt: skip
    assert names[-2:] == ["fc.weight", "fc.bias"]
    assert [name for name in models.resnet18().state_dict() if "downsample.0" in name] == [
        f"layer{i}.0.downsample.0.weight" for i in (2, 3, 4)
    ]


def test_a_shortcut_without_parameters_takes_every_second_pixel_and_adds_zeros():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3))
    y = parts.ZeroPadded(3, 5, 2)(mc.tensor(x)).numpy()
    assert y.shape == (2, 2, 3, 5)
    for n, h, w, c in np.ndindex(y.shape):
        assert y[n, h, w, c] == (x[n, 2 * h, 2 * w, c] if c < 3 else 0)


def test_a_block_without_layers_passes_x_on():
    block = parts.BasicBlock(4, 4, 1, parts.ZeroPadded)
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


@pytest.mark.parametrize("bottleneck", [False, True])
def test_imagenet_network_against_torch(bottleneck):
    torch = pytest.importorskip("torch")
    block = parts.Bottleneck if bottleneck else parts.BasicBlock
    made = (lambda i, o, s: block(i, o, (1, s))) if bottleneck else (lambda i, o, s: block(i, o, s, parts.projection))
    model = parts.imagenet_network(made, (2, 1, 1, 2), 64, 5)
    twin = torch_network(torch, bottleneck)
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 50, 62, 3)), 5)


def test_cifar_network_against_torch():
    torch = pytest.importorskip("torch")
    twin = torch_cifar(torch)
    check_training_step(models.resnet20(), twin, torch, np.random.default_rng(0).random((3, 32, 32, 3)), 10)


def torch_network(torch, bottleneck):
    """The small network for ImageNet in PyTorch."""
    conv = lambda i, o, K, s=1: torch.nn.Conv2d(i, o, K, s, K // 2, bias=False)  # noqa: E731
    make = torch_bottleneck if bottleneck else torch_basic

    def stage(inputs, outputs, blocks, stride):
        shortcut = None
        if (inputs, stride) != (outputs, 1):
            shortcut = torch.nn.Sequential(conv(inputs, outputs, 1, stride), torch.nn.BatchNorm2d(outputs))
        rest = [make(torch, outputs, outputs, 1, None) for _ in range(blocks - 1)]
        return torch.nn.Sequential(make(torch, inputs, outputs, stride, shortcut), *rest)

    layers = {"conv1": conv(3, 64, 7, 2), "bn1": torch.nn.BatchNorm2d(64), "relu": torch.nn.ReLU(),
              "maxpool": torch.nn.MaxPool2d(3, 2, 1), "layer1": stage(64, 8, 2, 1), "layer2": stage(8, 16, 1, 2),
              "layer3": stage(16, 32, 1, 2), "layer4": stage(32, 64, 2, 2), "avgpool": torch.nn.AdaptiveAvgPool2d(1),
              "flatten": torch.nn.Flatten(), "fc": torch.nn.Linear(64, 5)}  # fmt: skip
    return named(torch, layers)


def torch_cifar(torch):
    """ResNet-20 in PyTorch, its shortcuts written as a slice and a padding."""

    class Shortcut(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))

    def stage(inputs, outputs):
        shortcut = Shortcut() if inputs != outputs else None
        rest = [torch_basic(torch, outputs, outputs, 1, None) for _ in range(2)]
        return torch.nn.Sequential(torch_basic(torch, inputs, outputs, outputs // inputs, shortcut), *rest)

    layers = {"conv1": torch.nn.Conv2d(3, 16, 3, padding=1, bias=False), "bn1": torch.nn.BatchNorm2d(16),
              "relu": torch.nn.ReLU(), "layer1": stage(16, 16), "layer2": stage(16, 32), "layer3": stage(32, 64),
              "avgpool": torch.nn.AdaptiveAvgPool2d(1), "flatten": torch.nn.Flatten(),
              "fc": torch.nn.Linear(64, 10)}  # fmt: skip
    return named(torch, layers)


def torch_basic(torch, inputs, outputs, stride, shortcut):
    """A BasicBlock in PyTorch."""
    return torch_block(torch, [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)], shortcut)


def torch_bottleneck(torch, inputs, outputs, stride, shortcut):
    """A Bottleneck in PyTorch, with its stride in the 3 x 3 convolution."""
    width = outputs // 4
    return torch_block(torch, [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)], shortcut)


def torch_block(torch, convolutions, shortcut):
    """relu(the convolutions, with batch norm behind each and ReLU between, + shortcut)."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for i, (inputs, outputs, K, stride) in enumerate(convolutions, 1):
                setattr(self, f"conv{i}", torch.nn.Conv2d(inputs, outputs, K, stride, K // 2, bias=False))
                setattr(self, f"bn{i}", torch.nn.BatchNorm2d(outputs))
            self.downsample = shortcut

        def forward(self, x):
            y = x
            for i in range(1, len(convolutions) + 1):
                y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
                if i < len(convolutions):
                    y = torch.relu(y)
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    return Block()


def named(torch, layers):
    """A Sequential with these names."""
    result = torch.nn.Sequential()
    for name, layer in layers.items():
        result.add_module(name, layer)
    return result


@pytest.mark.parametrize(
    ("build", "relus"), [(lambda: parts.BasicBlock(8, 8, 1, None), 2), (lambda: parts.Bottleneck(8, 8, (1, 1)), 3)]
)
def test_a_block_computes_the_same_while_an_observer_hears_of_each_layer(build, relus):
    """Normalisation, shortcut and ReLU are one step, or where somebody looks at them three."""
    block, heard = build().eval(), []
    x = mc.tensor(np.random.default_rng(0).standard_normal((2, 5, 5, 8)).astype(np.float32))
    with nn.observe(lambda module, inputs, output: heard.append(module)):
        watched = block(x)
    np.testing.assert_allclose(block(x).numpy(), watched.numpy(), rtol=1e-5, atol=1e-6)
    assert sum(isinstance(module, nn.ReLU) for module in heard) == relus
