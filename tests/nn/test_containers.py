"""Sequential and ModuleList."""

import functools
from collections import OrderedDict

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import nn


class Add(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x + self.value


class Doubled(nn.ReLU):
    def forward(self, x):
        return super().forward(x) * 2


class Shifted(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class Announced(nn.ReLU):
    calls = 0

    def __call__(self, *inputs):
        self.calls += 1
        return super().__call__(*inputs)


class Double(nn.Module):
    def forward(self, x):
        return x * 2


def test_sequential_calls_one_after_another():
    x = mc.tensor([3.0])
    assert nn.Sequential(Add(1), Double())(x).data.tolist() == [8.0]
    assert nn.Sequential(Double(), Add(1))(x).data.tolist() == [7.0]
    assert nn.Sequential()(x) is x


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_sequential_takes_names(kind):
    net = nn.Sequential(kind([("later", Double()), ("earlier", Add(1))]))
    assert [name for name, _ in net.named_children()] == ["later", "earlier"]
    assert net.earlier.value == 1
    assert net(mc.tensor([3.0])).data.tolist() == [7.0]


def test_indexing_length_iteration_and_append():
    parts = [Add(i) for i in range(4)]
    for container in (nn.Sequential(*parts), nn.ModuleList(parts), nn.ModuleList(iter(parts))):
        assert len(container) == 4
        assert list(container) == parts
        assert container[0] is parts[0]
        assert container[-1] is parts[3]
        assert container[np.int64(2)] is parts[2]
        assert type(container[1:3]) is type(container)
        assert list(container[1:3]) == parts[1:3]
        with pytest.raises(IndexError):
            container[4]
        more = Double()
        assert container.append(more) is container
        assert container[4] is more
        assert [name for name, _ in container.named_children()] == ["0", "1", "2", "3", "4"]


def test_a_place_can_be_given_to_another_module():
    net = nn.Sequential({"body": Double(), "head": Add(1)})
    net[-1] = Add(5)
    assert net.head.value == 5
    assert net(mc.tensor([1.0])).data.tolist() == [7.0]
    with pytest.raises(TypeError, match="expected a Module"):
        net[0] = 3


def test_one_module_in_two_places_is_called_twice():
    double = Double()
    net = nn.Sequential(double, Add(1), double)
    assert len(net) == 3
    assert net(mc.tensor([1.0])).data.tolist() == [6.0]
    assert len(list(net.modules())) == 3


def test_the_parameters_of_a_module_list_are_found():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 3), nn.Linear(3, 4)])

    assert [name for name, _ in Net().named_parameters()] == [
        "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
    ]  # fmt: skip


def test_a_module_list_is_not_called():
    with pytest.raises(TypeError, match=r"nn\.Sequential"):
        nn.ModuleList([Double()])(mc.tensor([1.0]))


@pytest.mark.parametrize("wrong", [[Double()], "relu", Double, None])
def test_only_modules_are_taken(wrong):
    for make in (lambda: nn.Sequential(wrong), lambda: nn.ModuleList([wrong]), lambda: nn.Sequential().append(wrong)):
        with pytest.raises(TypeError, match="expected Modules"):
            make()


@pytest.mark.parametrize("name", ["a.b", "", 3, "forward", "training"])
def test_wrong_names_are_refused(name):
    with pytest.raises(ValueError, match="name"):
        nn.Sequential({name: Double()})


# A layer and the activation behind it in one step


@pytest.fixture
def separate_activations(monkeypatch):
    """The names of the activations that ran as operations of their own."""
    ran = []

    def listen(name, run):
        monkeypatch.setattr(F, name, lambda x: ran.append(name) or run(x))

    listen("relu", F.relu)
    listen("tanh", F.tanh)
    listen("sigmoid", F.sigmoid)
    return ran


def values(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def assert_runs_like_its_modules(net, x):
    """Result and gradients of a Sequential are, to the bit, those of its Modules called one after the other."""
    results = []
    for run in (net, lambda x: functools.reduce(lambda x, module: module(x), net, x)):
        net.zero_grad()
        given = mc.tensor(x, requires_grad=True)
        y = run(given)
        y.backward(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
        results.append([y.data, given.grad, *(p.grad for p in net.parameters())])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [(lambda: nn.Conv2d(3, 20, 3, padding=1), (2, 9, 7, 3)), (lambda: nn.Linear(30, 70, bias=False), (9, 30))],
)
def test_a_layer_and_its_activation_run_as_one(layer, shape, activation, separate_activations):
    net = nn.Sequential({"layer": layer(), "act": activation(), "again": activation()})
    assert_runs_like_its_modules(net, values(*shape))
    separate_activations.clear()
    net(mc.tensor(values(*shape)))
    assert separate_activations == [activation.__name__.lower()]  # the second one has no layer before it
    assert [name for name, _ in net.named_children()] == ["layer", "act", "again"]
    assert list(net.state_dict()) == [f"layer.{name}" for name in net.layer.state_dict()]


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_runs_as_one_with_relu_alone(training, separate_activations):
    net = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6), nn.Tanh()).train(training)
    x = values(4, 3, 2, 6)
    assert_runs_like_its_modules(net, x)
    separate_activations.clear()
    net(mc.tensor(x))
    assert separate_activations == ["tanh"]
    assert int(net[0].num_batches_tracked) == 3 * training


def test_a_layer_with_an_activation_of_its_own_keeps_it(separate_activations):
    net = nn.Sequential(nn.Linear(4, 5, activation="tanh"), nn.ReLU(), nn.Linear(5, 3), nn.Softmax(), nn.Tanh())
    assert_runs_like_its_modules(net, values(6, 4))
    separate_activations.clear()
    net(mc.tensor(values(6, 4)))
    assert separate_activations == ["relu", "tanh"]


def test_who_writes_another_forward_is_called(separate_activations, monkeypatch):
    x = values(6, 4)
    for net in (nn.Sequential(Shifted(4, 3), nn.ReLU()), nn.Sequential(nn.Linear(4, 3), Doubled())):
        assert_runs_like_its_modules(net, x)
        assert separate_activations
        separate_activations.clear()
    announced = Announced()
    nn.Sequential(nn.Linear(4, 3), announced)(mc.tensor(x))
    assert announced.calls == 1
    relu = nn.ReLU()
    relu.forward = lambda x: x * 0
    assert not nn.Sequential(nn.Linear(4, 3), relu)(mc.tensor(x)).data.any()
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x * 0)
    assert not nn.Sequential(nn.Linear(4, 3), nn.ReLU())(mc.tensor(x)).data.any()


def test_an_observer_sees_the_layer_and_its_activation():
    net, seen = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), []
    with nn.observe(lambda module, inputs, output: seen.append((module, output))):
        y = net(mc.tensor(values(6, 4)))
    assert [module for module, _ in seen] == [*net, net]
    assert (seen[0][1].data < 0).any()
    np.testing.assert_array_equal(y.data, net(mc.tensor(values(6, 4))).data)


def test_a_lazy_layer_with_an_activation_behind_it_is_filled():
    net = nn.Sequential(nn.Linear(None, 3), nn.ReLU())
    assert net(mc.tensor(values(6, 4))).shape == (6, 3)
    assert net[0].in_features == 4


def test_a_slice_can_be_appended_to():
    part = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())[1:]
    added = nn.ReLU()
    assert part.append(added) is part
    assert list(part)[-1] is added
    assert [name for name, _ in part.named_children()] == ["1", "2", "3"]


def test_flatten_of_no_images_keeps_the_size_of_one():
    assert nn.Flatten()(mc.tensor(np.zeros((0, 2, 2, 3), np.float32))).shape == (0, 12)
