"""Sampled gradients against central differences: they agree, and where a backward is wrong they do not."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, models, nn
from minicnn.study.backprop import record
from minicnn.study.backprop.checking import NotRepeatable, checks


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


class Residual(nn.Module):
    """What a ResNet has, small: strides, normalisation, dropout, a diamond."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4, activation="relu")
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2, activation="tanh")
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(None, 3)

    def forward(self, x):
        x = self.norm(self.first(x))
        x = self.pool(self.second(x) + x)
        return self.head(self.dropout(x).reshape(1, -1))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("work", [1e12, 1e5])
def test_the_engine_agrees_with_differences_of_the_loss(training, work):
    mc.seed(2)
    r = record(Residual().train(training), image(10, 10, 2), 1)
    found = checks(r, work=work)
    every = {(s.id, i) for s in r.steps for i, part in enumerate(s.parts) if part is not None}
    assert {(c.node, c.input) for c in found} == every
    assert {c.through for c in found} == ({"network"} if work == 1e12 else {"network", "step"})
    for c in found:
        assert c.backward == r.steps[c.node].parts[c.input][c.index]
        assert c.relative_error < 1e-4 or c.kink, c
    for node, i in every:  # the largest number is one of them
        largest = max(abs(c.backward) for c in found if (c.node, c.input) == (node, i))
        assert largest == abs(r.steps[node].parts[i]).max()


class Wrong(mc.Function):
    """y = x**2, whose gradient somebody has forgotten the 2 of."""

    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, dy):
        (x,) = self.saved
        return (x * dy,)


class WithWrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.after(Wrong()(self.before(x)))


@pytest.mark.parametrize("work", [1e12, 0.001])
def test_a_wrong_backward_shows_from_its_step_on_upwards(work):
    mc.seed(3)
    r = record(WithWrong(), image(3), 0)
    names = [s.operation.name for s in r.steps]
    assert names == ["Linear", "Wrong", "Linear", "CrossEntropy"]
    for c in checks(r, work=work):
        if c.node == 1 or (c.node == 0 and c.through == "network"):
            assert abs(c.relative_error - 0.5) < 1e-3  # half of what it should be
            assert not c.kink
        else:
            assert c.relative_error < 1e-4


def test_a_corner_of_the_loss_is_said_to_be_one():
    class Corner(nn.Module):
        def forward(self, x):
            return F.relu(x)

    r = record(Corner(), np.array([0.0, 1.0], np.float32), 1)
    by_index = {c.index: c for c in checks(r) if c.node == 0}
    assert by_index[0, 0].kink
    assert by_index[0, 0].backward == 0
    assert by_index[0, 0].difference == pytest.approx(0.5 * r.tensors[r.output[0]].gradient[0, 0], rel=1e-3)
    assert not by_index[0, 1].kink
    assert by_index[0, 1].relative_error < 1e-4


def test_what_does_not_repeat_itself_is_not_checked():
    class Noise(mc.Function):
        def forward(self, x):
            return x + np.random.default_rng().normal(size=x.shape).astype(x.dtype)

        def backward(self, dy):
            return (dy,)

    class Single(mc.Function):
        def forward(self, x):
            return x.astype(np.float32)

        def backward(self, dy):
            return (dy,)

    class Net(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function()(x)

    with pytest.raises(NotRepeatable, match="the loss is"):
        checks(record(Net(Noise), image(20), 0))
    with pytest.raises(NotRepeatable, match="Single returned float32 for float64 inputs"):
        checks(record(Net(Single), image(3), 0))


def test_algorithms_and_types_that_the_reference_lacks_are_replaced():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(image(3, 3, 1, 2, seed=1))

        def forward(self, x):
            y = F.conv2d(x, self.w, padding=1, groups=2, algorithm="depthwise")
            return y.to(dtype="float64").sum(axis=(1, 2))

    found = checks(record(Net(), image(5, 5, 2), 1))
    assert max(c.relative_error for c in found) < 1e-4


def test_every_gradient_of_lenet_agrees():
    mc.seed(4)
    with kernels.use("reference"):
        r = record(models.lenet5(), image(28, 28, 1), 7)
    found = checks(r)
    assert len(found) == 3 * 19
    assert max(c.relative_error for c in found) < 1e-4
