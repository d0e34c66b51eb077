"""The LeNets: published counts and shapes of every stage, training, agreement with PyTorch, building by name."""

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn
from minicnn.models import lenet_1998 as parts

ALL = ["lenet5", "lenet5:d2l", "lenet5:1998", "lenet4", "lenet1"]


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def images(count, seed=0):
    return mc.tensor(np.random.default_rng(seed).random((count, 28, 28, 1), dtype=np.float32))


def watched(model, x):
    """{name: (output shape, parameters, multiply-adds)} of the layers, in the order of their calls."""
    names = {id(module): name for name, module in model.named_modules() if name}
    table = {}

    def note(module, inputs, output):
        if id(module) in names:
            count = sum(p.size for p in module.parameters())
            work = module.multiply_adds(inputs[0].shape, output.shape)
            table[names[id(module)]] = (output.shape[1:], count, work)

    with mc.no_grad(), nn.observe(note):
        model(x)
    return table


KERAS = {
    "conv2d": ((28, 28, 6), 156, 117_600),
    "average_pooling2d": ((14, 14, 6), 0, 0),
    "conv2d_1": ((10, 10, 16), 2_416, 240_000),
    "average_pooling2d_1": ((5, 5, 16), 0, 0),
    "flatten": ((400,), 0, 0),
    "dense": ((120,), 48_120, 48_000),
    "dense_1": ((84,), 10_164, 10_080),
    "dense_2": ((10,), 850, 840),
}
PAPER = {
    "input": ((32, 32, 1), 0, 0),
    "c1": ((28, 28, 6), 156, 117_600),
    "s2": ((14, 14, 6), 12, 1_176),
    "c3": ((10, 10, 16), 1_516, 150_000),
    "s4": ((5, 5, 16), 32, 400),
    "c5": ((1, 1, 120), 48_120, 48_000),
    "flatten": ((120,), 0, 0),
    "f6": ((84,), 10_164, 10_080),
    "output": ((10,), 0, 840),
}
LENET4 = {
    "input": ((32, 32, 1), 0, 0),
    "c1": ((28, 28, 4), 104, 78_400),
    "s2": ((14, 14, 8), 16, 1_568),
    "c3": ((10, 10, 16), 1_216, 120_000),
    "s4": ((5, 5, 16), 32, 400),
    "f5": ((1, 1, 120), 48_120, 48_000),
    "flatten": ((120,), 0, 0),
    "output": ((10,), 1_210, 1_200),
}
LENET1 = {
    "input": ((28, 28, 1), 0, 0),
    "h1": ((24, 24, 4), 104, 57_600),
    "h2": ((12, 12, 4), 8, 576),
    "h3": ((8, 8, 12), 512, 32_000),
    "h4": ((4, 4, 12), 24, 192),
    "output": ((1, 1, 10), 1_930, 1_920),
    "flatten": ((10,), 0, 0),
}


@pytest.mark.parametrize(
    ("model", "expected", "total", "work"),
    [
        (models.lenet5, KERAS, 61_706, 416_520),
        (lambda: models.lenet5("1998"), PAPER, 60_000, 328_096),
        (models.lenet4, LENET4, 50_698, 249_568),
        (models.lenet1, LENET1, 2_578, 92_288),
    ],
)
def test_every_stage_has_the_published_shape_and_count(model, expected, total, work):
    table = watched(model(), images(2))
    assert table == expected
    assert list(table) == list(expected)
    assert sum(row[1] for row in table.values()) == total
    assert sum(row[2] for row in table.values()) == work


def test_d2l_has_the_shapes_of_keras_and_separate_sigmoids():
    model = models.lenet5("d2l")
    table = watched(model, images(1))
    layers = [row for name, row in table.items() if not isinstance(getattr(model, name), nn.Sigmoid)]
    assert layers == list(KERAS.values())
    assert list(model.state_dict()) == [f"{i}.{kind}" for i in (0, 3, 7, 9, 11) for kind in ("weight", "bias")]


def test_names_are_those_of_the_paper_and_of_keras():
    assert [name for name, _ in models.lenet5("1998").named_parameters()] == [
        "c1.weight", "c1.bias", "s2.coefficient", "s2.bias", "c3.weight", "c3.bias",
        "s4.coefficient", "s4.bias", "c5.weight", "c5.bias", "f6.weight", "f6.bias",
    ]  # fmt: skip
    assert list(models.lenet5().state_dict())[:4] == [
        "conv2d.weight",
        "conv2d.bias",
        "conv2d_1.weight",
        "conv2d_1.bias",
    ]


@pytest.mark.parametrize(
    ("name", "expected", "total"),
    [
        # Units times (inputs + 1), as section II.B counts them. Its 340,908 has 840 of the output beside them.
        (
            "lenet5:1998",
            {"c1": 122_304, "s2": 5_880, "c3": 151_600, "s4": 2_000, "c5": 48_120, "f6": 10_164},
            340_908 - 840,
        ),
        # Section III.C: "about 260 000 connections".
        (
            "lenet4",
            {"c1": 81_536, "s2": 7_840, "c3": 121_600, "s4": 2_000, "f5": 48_120, "output": 1_210},
            pytest.approx(260_000, rel=0.01),
        ),
        # The 98,442 connections of LeCun et al. 1989.
        ("lenet1", {"h1": 59_904, "h2": 2_880, "h3": 32_768, "h4": 960, "output": 1_930}, 98_442),
    ],
)
def test_connections_are_those_that_the_papers_count(name, expected, total):
    model = models.build(name)
    table = watched(model, images(1))
    counted = {}
    for layer in expected:
        shape, _, work = table[layer]
        units = int(np.prod(shape))
        counted[layer] = units + (4 * units if isinstance(getattr(model, layer), parts.Subsampling) else work)
    assert counted == expected
    assert sum(expected.values()) == total


def test_xavier_weights_and_zero_biases_of_keras():
    model = models.lenet5()
    for name, fans in {"conv2d": 25 + 150, "conv2d_1": 150 + 400, "dense": 520, "dense_1": 204, "dense_2": 94}.items():
        layer, limit = getattr(model, name), (6 / fans) ** 0.5
        assert 0.9 * limit < np.abs(layer.weight.numpy()).max() <= limit
        assert not layer.bias.numpy().any()


@pytest.mark.parametrize("name", ALL)
def test_one_step_downhill_lowers_the_loss_on_the_batch(name):
    model = models.build(name)
    loss = models.map_criterion if name == "lenet5:1998" else F.cross_entropy
    x, labels = images(16), np.arange(16) % 10
    first = loss(model(x), labels)
    first.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
        parameter.data -= np.float32(1e-3) * parameter.grad
    assert loss(model(x), labels).item() < first.item()


@pytest.mark.parametrize("name", ALL)
def test_batch_of_one_is_a_row_of_the_batch(name):
    model = models.build(name)
    x = images(3)
    whole, one = model(x).numpy(), model(mc.tensor(x.numpy()[1:2])).numpy()
    assert one.shape == (1, 10)
    assert one.dtype == np.float32
    np.testing.assert_allclose(one[0], whole[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_the_weights(name):
    states = []
    for seed in (1, 1, 2):
        mc.seed(seed)
        states.append(models.build(name).state_dict())
    assert all((states[0][key] == states[1][key]).all() for key in states[0])
    assert any((states[0][key] != states[2][key]).any() for key in states[0])


def test_float64_stays_float64():
    for name in ALL:
        model = models.build(name).to(dtype="float64")
        assert model(mc.tensor(images(1).numpy().astype(np.float64))).dtype == np.float64


@pytest.mark.parametrize("variant", ["keras", "d2l"])
def test_against_torch(variant):
    torch = pytest.importorskip("torch")
    activation, first = (torch.nn.Tanh, "dense") if variant == "keras" else (torch.nn.Sigmoid, "7")
    layers = [
        torch.nn.Conv2d(1, 6, 5, padding=2), activation(), torch.nn.AvgPool2d(2),
        torch.nn.Conv2d(6, 16, 5), activation(), torch.nn.AvgPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(400, 120), activation(), torch.nn.Linear(120, 84), activation(), torch.nn.Linear(84, 10),
    ]  # fmt: skip
    model, twin = models.lenet5(variant), torch.nn.Sequential()
    named = iter(name for name, layer in model.named_children() if list(layer.parameters()))
    for i, layer in enumerate(layers):
        twin.add_module(next(named) if list(layer.parameters()) else f"without parameters {i}", layer)
    x = np.random.default_rng(0).random((4, 28, 28, 1))
    check_training_step(model, twin, torch, x, 10, {f"{first}.weight": (5, 5, 16)})


def test_unknown_variant_names_the_choices():
    with pytest.raises(ValueError, match=r"lenet5 expected a variant of 'keras', 'd2l', '1998', got 'torch'"):
        models.lenet5("torch")
    with pytest.raises(ValueError, match="did you mean lenet5:1998"):
        models.build("lenet5:1989")
    with pytest.raises(ValueError, match="did you mean lenet1"):
        models.build("lenet1:keras")


def test_build_names_and_input_shapes():
    assert {"lenet1", "lenet5", "lenet5:d2l", "lenet5:1998", "digit_cnn"} <= set(models.names())
    assert [name for name, _ in models.build("lenet5:1998").named_children()] == list(PAPER)
    assert [type(layer) for layer in models.build("lenet5:d2l")] == [type(layer) for layer in models.lenet5("d2l")]
    assert models.input_shape("lenet5") == models.lenet5().input_shape == (28, 28, 1)
    for name in ("lennet5", "LeNet5"):
        with pytest.raises(ValueError, match="did you mean lenet5"):
            models.build(name)
    with pytest.raises(ValueError, match="there are"):
        models.input_shape("xyz")


def test_images_of_a_wrong_size_are_told_the_right_one():
    with pytest.raises(ValueError, match=r"made for inputs \(N, 28, 28, 1\), got \(2, 32, 32, 1\)"):
        models.lenet5()(mc.tensor(np.zeros((2, 32, 32, 1), np.float32)))
    with pytest.raises(ValueError, match=r"made for inputs \(N, 28, 28, 1\), got \(2, 28, 28, 3\)"):
        models.digit_cnn()(mc.tensor(np.zeros((2, 28, 28, 3), np.float32)))
