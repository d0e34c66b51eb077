"""Highway networks: counts, the gate from its formula, blocks that are the identity, agreement with PyTorch twins."""

import importlib

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.highway")


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


CONVOLUTIONAL = [("conv1", (24, 24, 32)), ("stage1", (24, 24, 32)), ("pool1", (12, 12, 32)), ("stage2", (12, 12, 32)),
                 ("pool2", (6, 6, 32)), ("stage3", (6, 6, 32)), ("pool3", (3, 3, 32)), ("output", (10,))]  # fmt: skip
FULLY_CONNECTED = [("flatten", (784,)), ("input", (50,)), ("hidden", (50,)), ("output", (10,))]


@pytest.mark.parametrize(
    ("name", "stages", "parameters", "work"),
    [
        # The sums of the docstrings' tables: (K * K * C + 1) * O each, highway layers twice.
        ("highway", CONVOLUTIONAL, 832 + 8 * 2 * (9 * 32 + 1) * 32 + 2_890, 31_650_624),
        ("highway:fully_connected", FULLY_CONNECTED, 785 * 50 + 49 * 2 * 51 * 50 + 510, 284_700),
    ],
)
def test_size_work_and_stages(name, stages, parameters, work):
    summary = mc.summary(models.build(name))
    shapes = {row.name: row.output_shape for row in summary.rows}
    assert [(stage, shapes[stage]) for stage, _ in stages] == stages
    assert summary.parameters == parameters
    assert summary.multiply_adds == work


def test_parameters_are_the_thousands_of_the_paper():
    """Table 1 of "Training Very Deep Networks": 39 thousand with 16 filters, 151 thousand with 32."""
    for width, thousands in ((16, 39), (32, 151)):
        model = parts._convolutional(width)
        assert sum(p.size for p in model.parameters()) / 1000 == pytest.approx(thousands, rel=0.005)


def test_ten_and_fifty_layers():
    def layers(model):
        kinds = (parts.Highway, nn.Conv2d, nn.Linear)
        inside = {id(m) for block in model.modules() if isinstance(block, parts.Highway) for m in block.children()}
        return sum(isinstance(m, kinds) and id(m) not in inside for m in model.modules())

    assert layers(models.highway()) == 10
    assert layers(models.highway("fully_connected")) == 50 + 1  # hidden ones, and the logits


def test_a_highway_layer_mixes_its_input_with_what_it_makes_of_it():
    layer = parts.LinearHighway(3)
    for parameter in layer.parameters():
        parameter.assign(np.random.default_rng(parameter.size).standard_normal(parameter.shape))
    w, b = layer.transform.weight.numpy(), layer.transform.bias.numpy()
    wt, bt = layer.gate.weight.numpy(), layer.gate.bias.numpy()
    x = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    y = layer(mc.tensor(x)).numpy()
    for n, o in np.ndindex(4, 3):
        H = max(0, sum(x[n, i] * w[i, o] for i in range(3)) + b[o])
        T = 1 / (1 + np.exp(-(sum(x[n, i] * wt[i, o] for i in range(3)) + bt[o])))
        assert y[n, o] == pytest.approx(H * T + x[n, o] * (1 - T), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(lambda bias: parts.ConvHighway(4, bias), (2, 5, 6, 4)), (lambda bias: parts.LinearHighway(4, bias), (5, 4))],
)
def test_with_its_gate_shut_a_layer_is_the_identity_in_both_directions(layer, shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x = mc.tensor(values, requires_grad=True)
    shut = layer(-1000)
    y = shut(x)
    np.testing.assert_array_equal(y.numpy(), values)
    (y * values).sum().backward()
    np.testing.assert_array_equal(x.grad, values)
    wide_open = layer(1000)
    np.testing.assert_allclose(wide_open(x).numpy(), wide_open.transform(x).numpy(), rtol=1e-5, atol=1e-6)


def test_first_weights_and_the_gates_biases():
    for model, bias in ((models.highway(), -1), (models.highway("fully_connected"), -2)):
        for block in model.modules():
            if isinstance(block, parts.Highway):
                assert set(block.gate.bias.numpy()) == {bias}
                assert not block.transform.bias.numpy().any()
    model = models.highway()
    limit = (3 / 288) ** 0.5  # uniform with variance 1 / fan-in
    assert 0.99 * limit < np.abs(model.stage2[0].gate.weight.numpy()).max() <= limit
    assert model.output.weight.numpy().std() == pytest.approx(0.1, rel=0.05)
    hidden = models.highway("fully_connected").hidden
    deviations = [block.transform.weight.numpy().std() for block in hidden]
    assert np.mean(deviations) == pytest.approx((2 / 50) ** 0.5, rel=0.02)


@pytest.mark.parametrize("variant", ["convolutional", "fully_connected"])
def test_one_step_downhill_lowers_the_loss_on_the_batch(variant):
    model = models.highway(variant).eval()  # without dropout, so that the two losses are of one network
    x = mc.tensor(np.random.default_rng(0).random((8, 28, 28, 1), np.float32))
    first = F.cross_entropy(model(x), np.arange(8))
    first.backward()
    for parameter in model.parameters():
        assert parameter.grad.any()
        parameter.data -= np.float32(1e-3) * parameter.grad
    assert F.cross_entropy(model(x), np.arange(8)).item() < first.item()


@pytest.mark.parametrize("variant", ["convolutional", "fully_connected"])
def test_images_of_another_size_are_told_the_right_one(variant):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 28, 28, 1\), got \(1, 40, 40, 1\)"):
        models.highway(variant)(mc.tensor(np.zeros((1, 40, 40, 1), np.float32)))


def test_unknown_variant_names_the_choices():
    with pytest.raises(ValueError, match=r"'convolutional', 'fully_connected', got '2015'"):
        models.highway("2015")


def test_training_step_of_the_convolutional_form_against_torch():
    torch = pytest.importorskip("torch")
    t = torch.nn
    model = parts._convolutional(width=5)
    for layer in model:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # the two libraries drop other numbers
    block = lambda: torch_highway(torch, t.Conv2d(5, 5, 3, padding=1), t.Conv2d(5, 5, 3, padding=1))  # noqa: E731
    twin = t.Sequential()
    twin.conv1, twin.relu = t.Conv2d(1, 5, 5), t.ReLU()
    twin.stage1, twin.pool1 = t.Sequential(block(), block()), t.MaxPool2d(3, 2, ceil_mode=True)
    twin.stage2, twin.pool2 = t.Sequential(block(), block(), block()), t.MaxPool2d(3, 2, ceil_mode=True)
    twin.stage3, twin.pool3 = t.Sequential(block(), block(), block()), t.MaxPool2d(2)
    twin.flatten, twin.output = t.Flatten(), t.Linear(45, 10)
    images = np.random.default_rng(0).random((3, 28, 28, 1))
    check_training_step(model, twin, torch, images, 10, {"output.weight": (3, 3, 5)})


def test_training_step_of_the_fully_connected_form_against_torch():
    torch = pytest.importorskip("torch")
    t = torch.nn
    blocks = [torch_highway(torch, t.Linear(7, 7), t.Linear(7, 7)) for _ in range(5)]
    twin = t.Sequential()
    twin.flatten, twin.input, twin.relu = t.Flatten(), t.Linear(784, 7), t.ReLU()
    twin.hidden, twin.output = t.Sequential(*blocks), t.Linear(7, 10)
    images = np.random.default_rng(0).random((3, 28, 28, 1))
    check_training_step(parts._fully_connected(6, 7), twin, torch, images, 10, {"input.weight": (28, 28, 1)})


def torch_highway(torch, transform, gate):
    """A highway layer in PyTorch, as the paper writes it."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.transform, self.gate = transform, gate

        def forward(self, x):
            T = torch.sigmoid(self.gate(x))
            return torch.relu(self.transform(x)) * T + x * (1 - T)

    return Block()
