"""GoogLeNet: published counts, torchvision's names, its auxiliary heads, agreement with a PyTorch twin."""

import numpy as np
import pytest
from tables import summary_and_table
from torch_blocks import named
from twins import check_training_step

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn
from minicnn.models import inception

MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


# torchvision prints 6,624,904 and 1.498; with biases, 5 x 5 convolutions and no batch normalisation it is 6,998,552.
@pytest.mark.parametrize(
    ("name", "parameters", "billions"), [("googlenet", 6_624_904, 1.498), ("googlenet:2015", 6_998_552, 1.583)]
)
def test_size_and_work_are_the_known_ones(no_draws, name, parameters, billions):
    summary = mc.summary(models.build(name))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=5e-4)
    assert f"{parameters:,}" in models.googlenet.__doc__
    assert f"{summary.multiply_adds:,}" in models.googlenet.__doc__


def test_the_table_says_what_it_is(no_draws):
    summary_and_table(models.googlenet(), models.googlenet.__doc__)


@pytest.mark.parametrize("variant", ["torch", "2015"])
def test_stages_have_the_shapes_of_table_1(no_draws, variant):
    rows = {row.name: row.output_shape for row in mc.summary(models.googlenet(variant=variant)).rows}
    pools = [rows[name] for name in ("conv1", "maxpool1", "conv3", "maxpool2", "maxpool3", "maxpool4", "avgpool")]
    assert pools == [(112, 112, 64), (56, 56, 64), (56, 56, 192), (28, 28, 192), (14, 14, 480), (7, 7, 832), (1024,)]
    channels = [rows[f"inception{name}"] for name in MODULES]
    assert channels == [(28, 28, 256), (28, 28, 480), (14, 14, 512), (14, 14, 512), (14, 14, 512), (14, 14, 528),
                        (14, 14, 832), (7, 7, 832), (7, 7, 1024)]  # fmt: skip


def test_names_are_those_of_torchvision(no_draws):
    def conv(name):
        batch_norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return [f"{name}.conv.weight", *(f"{name}.bn.{each}" for each in batch_norm)]

    expected = [key for i in (1, 2, 3) for key in conv(f"conv{i}")]
    for name in MODULES:
        for branch in ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"):
            expected += conv(f"inception{name}.{branch}")
    heads = []
    for head in ("aux1", "aux2"):
        heads += conv(f"{head}.conv") + [f"{head}.{fc}.{each}" for fc in ("fc1", "fc2") for each in ("weight", "bias")]
    assert list(models.googlenet().state_dict()) == [*expected, "fc.weight", "fc.bias"]
    assert list(models.googlenet(aux_logits=True).state_dict()) == [*expected, *heads, "fc.weight", "fc.bias"]


def test_first_weights():
    model = models.googlenet()
    for layer in (model.conv3.conv, model.inception5b.branch2[1].conv, model.fc):
        assert layer.weight.numpy().std() == pytest.approx(0.01, rel=0.02)
        assert abs(layer.weight.numpy()).max() > 0.02 * 3**0.5  # no uniform numbers
    assert model.conv3.bn.eps == 0.001
    model = models.googlenet(variant="2015")
    for layer, fan_in in ((model.conv3, 9 * 64), (model.inception5b.branch3[1], 25 * 48), (model.fc, 1024)):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
        assert not layer.bias.numpy().any()


@pytest.mark.parametrize("variant", ["torch", "2015"])
def test_heads_speak_in_training_only(variant):
    model = models.googlenet(7, aux_logits=True, variant=variant)
    x = mc.tensor(np.random.default_rng(0).random((2, 224, 224, 3), np.float32))
    labels = np.array([3, 5])
    outputs = model(x)
    assert [y.shape for y in outputs] == [(2, 7)] * 3
    models.googlenet_loss(outputs, labels).backward()
    assert all(np.abs(p.grad).max() > 0 for name, p in model.named_parameters() if name.startswith("aux"))
    model.eval()
    assert model(x).shape == (2, 7)
    assert models.googlenet_loss(model(x), labels).item() == F.cross_entropy(model(x), labels).item()


def test_the_loss_counts_the_heads_by_three_tenths():
    rng, labels = np.random.default_rng(0), np.array([3, 5])
    outputs = tuple(mc.tensor(rng.standard_normal((2, 7)), requires_grad=True) for _ in range(3))
    loss = models.googlenet_loss(outputs, labels)
    loss.backward()
    expected = 0
    for y, weight in zip(outputs, (1, 0.3, 0.3), strict=True):
        p = np.exp(y.numpy()) / np.exp(y.numpy()).sum(axis=1, keepdims=True)
        expected -= weight * np.log(p[[0, 1], labels]).mean()
        p[[0, 1], labels] -= 1
        np.testing.assert_allclose(y.grad, weight * p / 2, rtol=1e-12)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_common_loss_names_the_one_for_heads():
    outputs = tuple(mc.tensor(np.zeros((2, 7))) for _ in range(3))
    with pytest.raises(TypeError, match=r"got a tuple of 3: .* auxiliary heads .* models\.googlenet_loss"):
        F.cross_entropy(outputs, np.array([3, 5]))


def test_wrong_images_and_variants_are_refused(no_draws):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 224, 224, 3\), got \(1, 224, 224, 1\)"):
        models.googlenet()(mc.tensor(np.zeros((1, 224, 224, 1), np.float32)))
    with pytest.raises(ValueError, match=r"'torch', '2015', got '2014'"):
        models.googlenet(variant="2014")


@pytest.mark.parametrize("paper", [False, True])
def test_module_against_torch(paper):
    torch = pytest.importorskip("torch")
    ours, theirs = _conv(paper), torch_convolution(torch, paper)
    module = inception.Inception(ours, 5 if paper else 3, 6, 3, (4, 5), (2, 3), 2)
    model = nn.Sequential({"module": module, "avgpool": nn.GlobalAvgPool2d(), "fc": nn.Linear(3 + 5 + 3 + 2, 5)})

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.branch1 = theirs(6, 3, 1)
            self.branch2 = torch.nn.Sequential(theirs(6, 4, 1), theirs(4, 5, 3))
            self.branch3 = torch.nn.Sequential(theirs(6, 2, 1), theirs(2, 3, 5 if paper else 3))
            self.branch4 = torch.nn.Sequential(torch.nn.MaxPool2d(3, 1, 1), theirs(6, 2, 1))

        def forward(self, x):
            return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)

    twin = named(torch, {"module": Module(), "avgpool": torch.nn.AdaptiveAvgPool2d(1),
                         "flatten": torch.nn.Flatten(), "fc": torch.nn.Linear(13, 5)})  # fmt: skip
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 9, 8, 6)), 5)


@pytest.mark.parametrize("paper", [False, True])
def test_head_against_torch(paper):
    torch = pytest.importorskip("torch")
    model = inception._head(_conv(paper), 6, 5, paper)
    model.dropout.p = 0.0
    pool = torch.nn.AvgPool2d(5, 3) if paper else torch.nn.AdaptiveAvgPool2d(4)
    twin = named(torch, {
        "avgpool": pool, "conv": torch_convolution(torch, paper)(6, 128, 1), "flatten": torch.nn.Flatten(),
        "fc1": torch.nn.Linear(2048, 1024), "relu": torch.nn.ReLU(), "fc2": torch.nn.Linear(1024, 5),
    })  # fmt: skip
    images = np.random.default_rng(0).random((3, 14, 14, 6))
    check_training_step(model, twin, torch, images, 5)


def _conv(paper):
    return inception._with_bias if paper else inception._with_batch_norm


def torch_convolution(torch, paper):
    """A convolution with ReLU: as the paper has it, with a bias; as torchvision has it, with batch normalisation."""

    class WithBias(torch.nn.Conv2d):
        def __init__(self, inputs, outputs, K, stride=1):
            super().__init__(inputs, outputs, K, stride, K // 2)

        def forward(self, x):
            return torch.relu(super().forward(x))

    class WithBatchNorm(torch.nn.Module):
        def __init__(self, inputs, outputs, K, stride=1):
            super().__init__()
            self.conv = torch.nn.Conv2d(inputs, outputs, K, stride, K // 2, bias=False)
            self.bn = torch.nn.BatchNorm2d(outputs, eps=0.001)

        def forward(self, x):
            return torch.relu(self.bn(self.conv(x)))

    return WithBias if paper else WithBatchNorm
