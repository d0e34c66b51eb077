"""The LeNets: published counts and shapes of every stage, training, agreement with PyTorch, building by name."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn
from minicnn.models import lenet_1998 as parts

ALL = ["lenet5", "lenet5:d2l", "lenet5:1998", "lenet1"]


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
    ("table", "expected"),
    [
        # Units times (inputs + 1), as section II.B counts them; their sum is the paper's 340,908 connections.
        (parts.C3_TABLE, {"c1": 122_304, "s2": 5_880, "c3": 151_600, "s4": 2_000, "c5": 48_120, "f6": 10_164}),
        # The 98,442 connections of LeCun et al. 1989.
        (parts.H3_TABLE, {"h1": 59_904, "h2": 2_880, "h3": 32_768, "h4": 960, "output": 1_930}),
    ],
)
def test_connections_are_those_that_the_papers_count(table, expected):
    model = models.lenet5("1998") if table is parts.C3_TABLE else models.lenet1()
    stages = watched(model, images(1))
    counted = {}
    for name in expected:
        shape, _, work = stages[name]
        units = int(np.prod(shape))
        inputs = 4 * units if name[0] in "sh" and isinstance(getattr(model, name), parts.Subsampling) else work
        counted[name] = inputs + units
    assert counted == expected
    assert sum(expected.values()) + (840 if table is parts.C3_TABLE else 0) in (340_908, 98_442)


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
    model = models.lenet5(variant)
    activation = torch.nn.Tanh if variant == "keras" else torch.nn.Sigmoid
    convolutions = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 5, padding=2), activation(), torch.nn.AvgPool2d(2),
        torch.nn.Conv2d(6, 16, 5), activation(), torch.nn.AvgPool2d(2),
    )  # fmt: skip
    linears = torch.nn.Sequential(
        torch.nn.Linear(400, 120), activation(), torch.nn.Linear(120, 84), activation(), torch.nn.Linear(84, 10)
    )
    theirs = [*convolutions.parameters(), *linears.parameters()]
    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    for ours, their in zip(model.parameters(), theirs, strict=True):
        their.data = torch.tensor(ours.numpy().transpose(order[ours.ndim]).copy())
    x, labels = images(4), np.array([3, 1, 4, 1])
    logits = model(x)
    F.cross_entropy(logits, labels).backward()
    maps = convolutions(torch.tensor(x.numpy()).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    expected = linears(maps.reshape(4, 400))
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    np.testing.assert_allclose(logits.numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    for ours, their in zip(model.parameters(), theirs, strict=True):
        inverse = np.argsort(order[ours.ndim])
        np.testing.assert_allclose(ours.grad, their.grad.numpy().transpose(inverse), rtol=1e-3, atol=1e-6)


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
