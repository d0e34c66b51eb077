"""diagnose: each fault is found in a network that has it alone, and none in those that are well."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, models, nn, optim, study
from minicnn import functional as F
from minicnn.nn import init
from minicnn.train import accuracy

pytestmark = pytest.mark.usefixtures("plain_kernels")


@pytest.fixture(autouse=True)
def seeded():
    mc.seed(0)


@functools.cache
def mnist():
    return data.mnist()[0]


def digits(count=48, stride=2):
    """Every second pixel: 14 x 14."""
    return mnist().images[:count, ::stride, ::stride], mnist().labels[:count]


def stack(activation="relu", depth=3, width=32):
    """A fully connected network for these digits, with layers 1, 2, ... and `out`."""
    hidden = {str(i): nn.Linear(196 if i == 1 else width, width, activation=activation) for i in range(1, depth + 1)}
    return nn.Sequential({"flat": nn.Flatten(), **hidden, "out": nn.Linear(width, 10)})


def scaled(model, factor, of=lambda name: True):
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and of(name):
            parameter.data *= np.float32(factor)
    return model


class Before(nn.Module):
    """A function before a network."""

    def __init__(self, function, model):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, x):
        return self.function(self.model(x))


class Steep(mc.Function):
    """Forward nothing happens, backward the gradient grows by a factor: a wrong gradient of one layer."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        return x.copy()

    def backward(self, dy):
        return (dy * dy.dtype.type(self.factor),)


class SteepLayer(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return Steep(self.factor)(x)


def steep(factor):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(196, 32, activation="relu"), SteepLayer(factor), nn.Linear(32, 32, activation="relu"),
        nn.Linear(32, 10),
    )  # fmt: skip


def dead():
    model = stack()
    model[2].bias.data[...] = -100
    return model


def with_a_stranger():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.stranger = stack(), nn.Linear(196, 10)

        def forward(self, x):
            self.stranger(x.reshape(len(x), -1))
            return self.body(x)

    return Net()


def detached():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = stack()
            self.head = nn.Linear(10, 10)

        def forward(self, x):
            return self.head(self.body(x).detach())

    return Net()


def handing_nothing_back():
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 32, activation="relu"), SteepLayer(0.0), nn.Linear(32, 10))


def normalised():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(None, 10))


# A network that is ill in one way, and the finding: its kind, its layer and what its sentence says.
SICK = {
    "dead ReLU": (dead, "dead ReLU", "2", "100 % of its units are 0 for every sample"),
    "saturated tanh": (lambda: scaled(stack("tanh"), 60), "saturated tanh", "1", "its inputs are too large"),
    "saturated sigmoid": (lambda: scaled(stack("sigmoid"), 100), "saturated sigmoid", "1", "the slope is nearly 0"),
    "activations grow": (lambda: scaled(stack(depth=6), 8), "activations grow", "5", "the weights are too large"),
    "activations shrink": (lambda: scaled(stack(depth=6), 0.1), "activations shrink", "4", "weights are too small"),
    "vanishing": (lambda: stack("sigmoid", 10), "vanishing gradients", "1", "gradient gets lost. Use ReLU for sigmoid"),
    "exploding": (lambda: steep(1e5), "exploding gradients", "1", "the gradient grows"),
    "softmax": (lambda: nn.Sequential(stack(), nn.Softmax()), "softmax twice", "1", "Leave the softmax out"),
    "unused layer": (with_a_stranger, "no gradient", "stranger.weight", "and so have 1 others"),
    "detached": (detached, "no gradient", "body.1.weight", "and so have 7 others: is its layer called"),
    "nothing back": (handing_nothing_back, "no gradient", "1.weight", "in every element, before and after some steps"),
    "reversed": (lambda: steep(-30.0), "loss does not move", "", "is a gradient wrong? `mc.gradcheck` tells"),
    "NaN": (lambda: Before(lambda x: x / 0.0, stack()), "not finite", "divide", "`mc.detect_anomaly()` says why"),
}  # fmt: skip


@pytest.mark.parametrize("case", SICK)
def test_a_network_that_is_ill_in_one_way_has_one_finding(case):
    make, kind, layer, says = SICK[case]
    (found,) = study.diagnose(make(), *digits()).findings
    assert (found.kind, found.layer) == (kind, layer)
    assert says in found.sentence


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_the_same_networks_without_their_illness_have_none(activation, depth):
    assert study.diagnose(stack(activation, depth), *digits()).findings == ()


def found_in_data(images, labels, make=stack):
    diagnosis = study.diagnose(make(), images, labels)
    (found,) = diagnosis.findings
    assert diagnosis.loss is None
    return found


def test_faults_of_the_batch():
    images, labels = digits()
    floats = images.astype(np.float32)
    found = found_in_data(floats, labels)
    assert (found.kind, found.numbers["high"]) == ("inputs", 255)
    assert "the inputs go from 0 to 255" in found.sentence
    assert "divided by 255 twice" in found_in_data(floats / 255**2, labels).sentence
    assert "all 48 samples of the batch are the same" in found_in_data(images[[3] * 48], labels).sentence
    broken = floats / 255
    broken[5, 3, 3] = np.nan
    assert "sample 5 of the batch holds a NaN" in found_in_data(broken, labels).sentence
    assert "all 48 labels of the batch are 7" in found_in_data(images, labels * 0 + 7).sentence
    found = found_in_data(images, labels + 1)
    assert (found.kind, dict(found.numbers)) == ("labels", {"low": 1, "high": 10, "outputs": 10})
    assert "the labels go from -1 to 8" in found_in_data(images, labels - 1).sentence
    found = found_in_data(images[:1], labels[:1], normalised)
    assert (found.kind, found.layer) == ("batch of one", "1")


def test_usual_normalisations_and_a_batch_of_one_without_norm_are_well():
    images, labels = digits()
    x = images.astype(np.float32) / 255
    for inputs in (x * 2 - 1, (x - x.mean()) / x.std(), images):
        assert study.diagnose(stack(), inputs, labels).findings == ()
    assert study.diagnose(stack(), images[:1], labels[:1]).findings == ()
    assert study.diagnose(normalised(), images[:2], labels[:2]).findings == ()


def test_labels_that_were_shuffled_apart_from_their_images():
    images, labels = digits(64)
    model = stack()
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.02, momentum=0.9))
    trainer.fit(data.ArrayDataset(images, labels), epochs=40, batch_size=16, progress=False)
    assert study.diagnose(model, images, labels).findings == ()
    (found,) = study.diagnose(model, images, np.roll(labels, 1)).findings
    assert found.kind == "labels"
    assert "sure of itself" in found.sentence
    assert found.numbers["accuracy"] == accuracy(trainer.predict(images), np.roll(labels, 1))


def test_the_learning_rate_of_an_optimizer_is_judged():
    images, labels = digits()
    for lr, kind, says in (
        (1e-7, "loss does not move", "the learning rate is too small"),
        (50.0, "learning rate too large", "with shorter steps it falls to"),
        (0.1, None, ""),
    ):
        model = stack()
        found = study.diagnose(model, images, labels, optimizer=optim.SGD(model.parameters(), lr)).findings
        assert [each.kind for each in found] == ([] if kind is None else [kind])
        assert all(says in each.sentence and f"learning rate {lr:g}" in each.sentence for each in found)


def test_a_loss_at_the_level_of_guessing_says_so():
    """Every image has all ten labels: guessing is the best that there is, and a last layer of zeros does it."""
    images, _ = digits(4)
    model = stack()
    model.out.weight.initialize(init.zeros)
    repeated = np.repeat(images, 10, axis=0)
    (found,) = study.diagnose(model, repeated, np.tile(np.arange(10), 4)).findings
    assert found.kind == "loss does not move"
    assert found.sentence.startswith("the loss stays at 2.303, which is what guessing gives, log 10, and ")


def test_weights_that_begin_at_zero_are_well():
    """A last layer of zeros hands no gradient to the others in the first step, and does in the second."""
    model = stack()
    model.out.weight.initialize(init.zeros)
    assert study.diagnose(model, *digits()).findings == ()


def test_rows_of_probabilities_and_frozen_layers_are_well():
    images, labels = digits()
    model = stack()
    model[1].weight.requires_grad = False
    rows = np.eye(10, dtype=np.float32)[labels]
    assert study.diagnose(model, images, rows).findings == ()


def test_everything_is_put_back():
    images, labels = digits(16)
    model = nn.Sequential(nn.Conv2d(1, 3, 5), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
                          nn.Linear((10, 10, 3), 10))  # fmt: skip
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    F.cross_entropy(model(mc.tensor(images.astype(np.float32))), labels).backward()
    optimizer.step()
    model[1].eval()
    model[5].bias.grad = None

    def state():
        named = [*model.state_dict().items(), *model.named_buffers(), *optimizer.state_dict().items()]
        arrays = {name: np.copy(value) for name, value in named}
        grads = {name: p.grad for name, p in model.named_parameters()}
        return arrays, grads, [m.training for m in model], np.random.get_state()[1].copy()  # noqa: NPY002

    before = state()
    values = [None if g is None else g.copy() for g in before[1].values()]
    assert study.diagnose(model, images, labels, optimizer=optimizer).findings == ()
    after = state()
    assert before[0].keys() == after[0].keys()
    for name, value in before[0].items():
        np.testing.assert_array_equal(after[0][name], value)
    for old, new, value in zip(before[1].values(), after[1].values(), values, strict=True):
        assert new is old
        np.testing.assert_array_equal(new, value)
    assert after[2] == before[2]
    np.testing.assert_array_equal(after[3], before[3])


def test_the_report_fits_a_page():
    images, labels = digits()
    text = str(study.diagnose(dead(), images, labels))
    assert text.splitlines()[0].endswith(": 1 finding.")
    assert text.splitlines()[1].startswith("1. dead ReLU, 2: 100 % of its units are 0")
    assert max(map(len, text.splitlines())) <= 80
    text = str(study.diagnose(stack(), images, labels))
    assert text.startswith("A batch of 48, loss ")
    assert text.endswith(" after some steps on it: nothing found.")


def test_nonsense_is_refused():
    images, labels = digits(4)
    model = stack()
    other = optim.SGD(stack().parameters(), 0.1)
    for error, says, arguments in (
        (TypeError, "expected a Module, got list", ([], images, labels)),
        (ValueError, r"expected 4 labels, .* got int64 \(3,\)", (model, images, labels[:3])),
        (ValueError, r"got float64 \(4,\)", (model, images, labels + 0.5)),
        (ValueError, r"expected images", (model, images[:0], labels)),
        (TypeError, "expected loss to be a function", (model, images, labels, "cross_entropy")),
        (TypeError, "expected optimizer to be an Optimizer", (model, images, labels, F.cross_entropy, 0.1)),
        (ValueError, "Parameters that are not this model's", (model, images, labels, F.cross_entropy, other)),
        (ValueError, "expected steps to be a whole number >= 1", (model, images, labels, F.cross_entropy, None, 0)),
        (ValueError, r"expected the model to return a Tensor \(N, K\)", (nn.Conv2d(1, 2, 3), images, labels)),
    ):
        with pytest.raises(error, match=says):
            study.diagnose(*arguments)


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def enlarged(images, side):
    """Digits as photographs of 32 x 32 pixels and more."""
    if side == 28:
        return images
    images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(side // 32, axis=1).repeat(side // 32, axis=2)
    return images.repeat(3, axis=3)


@pytest.mark.parametrize("name", ["lenet5", "lenet5:d2l", "lenet5:1998"])
def test_a_fresh_lenet_is_well(name):
    model = models.build(name)
    loss = models.map_criterion if name == "lenet5:1998" else F.cross_entropy
    assert study.diagnose(model, *digits(8, stride=1), loss=loss).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
@pytest.mark.parametrize("number", range(24))
def test_no_network_of_the_zoo_gives_a_false_alarm(number, trained, monkeypatch):
    """Fresh, and after a hundred steps; with the optimizer and the learning rate with which it learns."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    sys.modules.pop("small_networks", None)
    from small_networks import small_networks

    name, small = list(small_networks().items())[number]
    with mc.kernels.use("cpu"):
        model = small.build()
        loss = models.googlenet_loss if name == "googlenet" else F.cross_entropy
        images, labels = digits(1632 if trained else 32, stride=1)
        optimizer = optim.SGD(model.parameters(), small.lr, momentum=0.9)
        for i in range(100 if trained else 0):
            part = slice(32 + 16 * i, 48 + 16 * i)
            x = enlarged(images[part], small.side).astype(np.float32) / np.float32(255)
            optimizer.zero_grad()
            loss(model(mc.tensor(x)), labels[part]).backward()
            optimizer.step()
        diagnosis = study.diagnose(model, enlarged(images[:32], small.side), labels[:32], loss, optimizer)
        assert diagnosis.findings == ()
