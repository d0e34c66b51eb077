"""Sequential and ModuleList."""

from collections import OrderedDict

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn


class Add(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x + self.value


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
