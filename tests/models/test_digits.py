"""The Keras digit network: counts, shapes, dropout, agreement with PyTorch."""

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn

STAGES = {
    "conv2d": ((26, 26, 32), 320, 194_688),
    "conv2d_1": ((24, 24, 64), 18_496, 10_616_832),
    "max_pooling2d": ((12, 12, 64), 0, 0),
    "dropout": ((12, 12, 64), 0, 0),
    "flatten": ((9_216,), 0, 0),
    "dense": ((128,), 1_179_776, 1_179_648),
    "dropout_1": ((128,), 0, 0),
    "dense_1": ((10,), 1_290, 1_280),
}


@pytest.fixture
def model():
    mc.seed(0)
    return models.digit_cnn()


def images(count):
    return mc.tensor(np.random.default_rng(0).random((count, 28, 28, 1), dtype=np.float32))


def test_every_stage_has_the_shape_and_count_that_keras_prints(model):
    rows = {}

    def note(module, inputs, output):
        count = sum(p.size for p in module.parameters())
        rows[id(module)] = (output.shape[1:], count, module.multiply_adds(inputs[0].shape, output.shape))

    with mc.no_grad(), nn.observe(note):
        model.eval()(images(2))
    assert {name: rows[id(layer)] for name, layer in model.named_children()} == STAGES
    assert sum(p.size for p in model.parameters()) == 1_199_882
    assert [name for name, _ in model.named_parameters()] == [
        f"{layer}.{kind}" for layer in ("conv2d", "conv2d_1", "dense", "dense_1") for kind in ("weight", "bias")
    ]


def test_dropout_works_in_training_only(model):
    x = images(1)
    assert (model.dropout.p, model.dropout_1.p) == (0.25, 0.5)
    outputs = [model(x).numpy() for _ in range(2)]
    assert (outputs[0] != outputs[1]).any()
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())


def test_one_step_downhill_lowers_the_loss_on_the_batch(model):
    model.eval()  # without dropout, so that the two losses are of one network
    x, labels = images(8), np.arange(8)
    first = F.cross_entropy(model(x), labels)
    first.backward()
    for parameter in model.parameters():
        parameter.data -= np.float32(0.01) * parameter.grad
    assert F.cross_entropy(model(x), labels).item() < first.item()


def test_batch_of_one_is_a_row_of_the_batch(model):
    model.eval()
    x = images(3)
    np.testing.assert_allclose(model(mc.tensor(x.numpy()[:1])).numpy()[0], model(x).numpy()[0], rtol=1e-4, atol=1e-5)


def test_against_torch(model):
    torch = pytest.importorskip("torch")
    model.dropout.p = model.dropout_1.p = 0.0  # the two libraries drop other numbers
    twin = torch.nn.Sequential()
    for name, layer in {
        "conv2d": torch.nn.Conv2d(1, 32, 3), "relu": torch.nn.ReLU(), "conv2d_1": torch.nn.Conv2d(32, 64, 3),
        "relu_1": torch.nn.ReLU(), "max_pooling2d": torch.nn.MaxPool2d(2), "flatten": torch.nn.Flatten(),
        "dense": torch.nn.Linear(9216, 128), "relu_2": torch.nn.ReLU(), "dense_1": torch.nn.Linear(128, 10),
    }.items():  # fmt: skip
        twin.add_module(name, layer)
    x = np.random.default_rng(0).random((2, 28, 28, 1))
    check_training_step(model, twin, torch, x, 10, {"dense.weight": (12, 12, 64)})
