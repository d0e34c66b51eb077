"""Steps: their names, their results and gradients, and that the model is left as it was."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn
from minicnn.study.steps import differentiate, run_steps

pytestmark = pytest.mark.usefixtures("plain_kernels")


class Twice(nn.Module):
    """One ReLU in two places, a block with several operations, and operations of its own."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.block = Squash()
        self.weight = nn.Parameter(np.ones((1, 1, 2, 3)))

    def forward(self, x):
        x = self.relu(self.block(self.relu(x)))
        return F.conv2d(x, self.weight).sum(axis=(1, 2)) * 2.0


class Squash(nn.Module):
    def forward(self, x):
        return F.tanh(x * 2.0) * 3.0


def test_names_are_those_of_modules_with_the_operation_where_there_are_several():
    run = run_steps(Twice(), np.zeros((4, 4, 2)), "test")
    names = [step.name for step in run.steps]
    assert names == ["relu", "block.multiply", "block.tanh", "block.multiply_2", "relu_2", "conv2d", "sum", "multiply"]
    assert run.find("block", "test") is run.steps[3]
    assert run.find("block.tanh", "test") is run.steps[2]
    with pytest.raises(ValueError, match=r"^test knows no layer 'blok' of this model: there are block"):
        run.find("blok", "test")


def test_a_name_stands_for_the_last_step_of_nested_modules():
    run = run_steps(models.lenet5("d2l"), np.zeros((28, 28, 1), np.float32), "test")
    assert [step.name for step in run.steps] == [str(i) for i in range(12)]
    model = nn.Sequential({"features": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), "head": nn.Flatten()})
    run = run_steps(model, np.zeros((4, 4, 1), np.float32), "test")
    assert [step.name for step in run.steps] == ["features.0", "features.1", "head"]
    assert run.find("features", "test").name == "features.1"


def test_gradients_of_every_step_are_those_of_the_formulas():
    """y = relu(x @ a) @ b, of which the sum over squares is taken."""
    rng = np.random.default_rng(0)
    x, a, b = rng.normal(size=(1, 1, 2, 3)), rng.normal(size=(6, 5)), rng.normal(size=(5, 4))
    layers = {
        "flat": nn.Flatten(),
        "a": nn.Linear(6, 5, bias=False),
        "relu": nn.ReLU(),
        "b": nn.Linear(5, 4, bias=False),
    }
    model = nn.Sequential(layers).to(dtype="float64")
    model.a.weight.assign(a)
    model.b.weight.assign(b)
    run = run_steps(model, x, "test")
    gradients = differentiate(run, (run.result * run.result).sum())
    h = x.reshape(1, 6) @ a
    y = h.clip(0) @ b
    dh = (2 * y @ b.T) * (h > 0)
    np.testing.assert_allclose(run.find("relu", "test").output.numpy(), h.clip(0))
    np.testing.assert_allclose(gradients["b"], 2 * y)
    np.testing.assert_allclose(gradients["relu"], 2 * y @ b.T)
    np.testing.assert_allclose(gradients["a"], dh)
    np.testing.assert_allclose(gradients["flat"], dh @ a.T)
    np.testing.assert_allclose(gradients["x"], (dh @ a.T).reshape(x.shape))


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(training):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(None, 2))
    x = np.random.default_rng(0).random((4, 5, 5, 1), np.float32)
    F.cross_entropy(model(mc.tensor(x)), np.array([0, 1, 0, 1])).backward()
    model[1].eval()
    model[0].bias.requires_grad = False
    state = {name: array.copy() for name, array in (*model.state_dict().items(), *model.named_buffers())}
    grads = [None if p.grad is None else p.grad.copy() for p in model.parameters()]
    run = run_steps(model, x, "test", training=training)
    assert run.steps[1].operation.name == ("BatchNorm" if training else "BatchNormInference")
    differentiate(run, run.result.sum())
    assert [m.training for m in model] == [True, False, True, True, True]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True, True, True]
    for p, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(p.grad, grad)
    for name, array in (*model.state_dict().items(), *model.named_buffers()):
        np.testing.assert_array_equal(array, state[name])


def test_a_softmax_at_the_end_is_no_part_of_the_scores():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Softmax())
    run = run_steps(model, np.ones((2, 2, 1), np.float32), "test")
    assert run.scores is run.steps[1].output
    run = run_steps(model[:2], np.ones((2, 2, 1), np.float32), "test")
    assert run.scores is run.result


def test_images_are_taken_as_in_training():
    run = run_steps(nn.Flatten(), np.full((3, 3, 1), 51, np.uint8), "test")
    np.testing.assert_array_equal(run.images.numpy(), np.full((1, 3, 3, 1), np.float32(0.2)))


def test_what_is_no_model_and_no_image_is_refused():
    with pytest.raises(TypeError, match="test expected a Module, got list"):
        run_steps([], np.zeros((2, 2, 1)), "test")
    with pytest.raises(ValueError, match=r"test expected images .* got int64 \(2, 2\)"):
        run_steps(nn.Flatten(), np.zeros((2, 2), int), "test")
    with pytest.raises(ValueError, match=r"test: the model refused images of shape \(1, 2, 2, 1\)"):
        run_steps(nn.Conv2d(1, 1, 3), np.zeros((2, 2, 1)), "test")
