"""Module: what is registered, in which order, and what is refused because it would be lost."""

import copy

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn


class Scale(nn.Module):
    """y = weight * x + offset, the smallest Module with a Parameter and a buffer."""

    def __init__(self, value=1.0):
        super().__init__()
        self.weight = nn.Parameter(np.array([value], np.float32))
        self.register_buffer("offset", np.array([0.5], np.float32))
        self.register_buffer("steps", np.array(0, np.int64), persistent=False)

    def forward(self, x):
        return x * self.weight + mc.tensor(self.offset)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.second = Scale(2.0)
        self.first = Scale(1.0)
        self.gain = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        return self.first(self.second(x))


def names(pairs):
    return [name for name, _ in pairs]


def test_order_is_that_of_registration_and_own_parameters_come_first():
    net = Net()
    assert names(net.named_parameters()) == ["gain", "second.weight", "first.weight"]
    assert names(net.named_buffers()) == ["second.offset", "second.steps", "first.offset", "first.steps"]
    assert names(net.named_buffers(persistent_only=True)) == ["second.offset", "first.offset"]
    assert names(net.named_modules()) == ["", "second", "first"]
    assert names(net.named_modules(prefix="net")) == ["net", "net.second", "net.first"]
    assert names(net.named_children()) == ["second", "first"]
    assert list(net.children()) == [net.second, net.first]
    assert list(net.modules()) == [net, net.second, net.first]
    assert [id(p) for p in net.parameters()] == [id(net.gain), id(net.second.weight), id(net.first.weight)]
    assert next(net.buffers()) is net.second.offset


def test_what_is_shared_comes_once_under_its_first_name():
    net = Net()
    net.third = net.second
    net.first.weight = net.gain
    assert names(net.named_parameters()) == ["gain", "second.weight"]
    assert len(list(net.parameters())) == 2
    assert names(net.named_modules()) == ["", "second", "first"]
    assert len(list(net.children())) == 2
    assert names(net.named_children()) == ["second", "first", "third"]


def test_calling_computes_forward():
    assert Net()(mc.tensor([3.0])).data.tolist() == [(3 * 2 + 0.5) * 1 + 0.5]
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)


def test_a_parameter_can_be_replaced_by_another_or_by_none_but_not_by_an_array():
    scale = Scale()
    other = nn.Parameter(np.array([4.0], np.float32))
    scale.weight = other
    assert list(scale.parameters()) == [other]
    for wrong in (np.zeros(1, np.float32), mc.tensor([1.0], requires_grad=True), 3.0):
        with pytest.raises(TypeError, match=r"nn\.Parameter"):
            scale.weight = wrong
    assert scale.weight is other
    scale.weight = None
    assert list(scale.parameters()) == []


def test_deleting_unregisters():
    net = Net()
    del net.gain, net.first
    del net.second.offset
    assert names(net.named_parameters()) == ["second.weight"]
    assert names(net.named_buffers()) == ["second.steps"]
    net.second.offset = "no buffer any more, so anything goes"
    with pytest.raises(AttributeError):
        del net.gain


def test_assigning_an_array_replaces_a_buffer():
    scale = Scale()
    replacement = np.array([7.0], np.float32)
    scale.offset = replacement
    assert dict(scale.named_buffers())["offset"] is replacement
    with pytest.raises(TypeError, match="offset is a buffer"):
        scale.offset = 7.0


@pytest.mark.parametrize("name", ["weight", "offset", "forward", "training", "two words", "a.b", ""])
def test_a_buffer_needs_a_free_name(name):
    with pytest.raises(ValueError, match=r"name like|already"):
        Scale().register_buffer(name, np.zeros(1))


def test_a_buffer_must_be_an_array():
    with pytest.raises(TypeError, match="expected an array"):
        Scale().register_buffer("more", [1.0])


@pytest.mark.parametrize("part", [nn.ReLU, lambda: nn.Parameter(np.zeros(1, np.float32))])
def test_assigning_before_init_says_so(part):
    class Early(nn.Module):
        def __init__(self):
            self.part = part()

    with pytest.raises(RuntimeError, match=r"call super\(\).__init__\(\) before assigning Early.part"):
        Early()


def test_a_forgotten_init_is_named():
    class Forgetful(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"was super\(\).__init__\(\) called"):
        _ = Forgetful().training


@pytest.mark.parametrize(
    "container",
    [lambda m: [m], lambda m: (1, m), lambda m: {"a": m}, lambda m: [[m]], lambda m: {"a": [m]}, lambda m: {m}],
)
def test_a_plain_container_of_modules_names_the_cure(container):
    net = Net()
    with pytest.raises(TypeError, match=r"Net.layers is a \w+ with a ReLU in it.*nn.ModuleList"):
        net.layers = container(nn.ReLU())
    with pytest.raises(TypeError, match=r"Parameter in it.*attributes of their own"):
        net.layers = container(nn.Parameter(np.zeros(1, np.float32)))
    assert "layers" not in vars(net)


def test_a_list_filled_later_is_found_when_it_matters():
    net = Net()
    net.layers = []
    net.sizes = [1, 2, 3]
    net.layers.append(nn.ReLU())
    for use in (net.parameters, net.named_modules, net.train):
        with pytest.raises(TypeError, match=r"nn\.ModuleList"):
            list(use())
    with pytest.raises(TypeError, match=r"nn\.ModuleList"):
        net.state_dict()


def test_a_module_cannot_contain_itself():
    net = Net()
    for inner in (net, net.first):
        with pytest.raises(ValueError, match="would contain the Module that it is part of"):
            inner.parent = net


def test_train_and_eval_reach_everything_and_return_the_module():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert [m.training for m in net.modules()] == [False] * 3
    assert net.train() is net
    assert [m.training for m in net.modules()] == [True] * 3
    net.train(False)
    assert not net.first.training
    with pytest.raises(TypeError, match="True or False"):
        net.train("no")


def test_zero_grad_forgets():
    net = Net()
    net(mc.tensor([3.0])).sum().backward()
    assert net.first.weight.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("dtype", ["float64", np.float64])
def test_to_converts_floats_in_place(dtype):
    net = Net()
    before = list(net.parameters())
    assert net.to(dtype=dtype) is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert [p.dtype for p in before] == [np.float64] * 3
    assert net.first.offset.dtype == np.float64
    assert dict(net.named_buffers())["first.offset"] is net.first.offset
    assert net.first.steps.dtype == np.int64
    assert net(mc.tensor(np.array([3.0]))).dtype == np.float64


def test_to_on_the_same_place_changes_nothing():
    net = Net()
    arrays = [p.data for p in net.parameters()] + list(net.buffers())
    net.to("cpu", "float32")
    assert all(a is b for a, b in zip(arrays, [p.data for p in net.parameters()] + list(net.buffers()), strict=True))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((), TypeError), (("gpu",), ValueError), ((None, "float16"), TypeError), ((None, "int64"), TypeError)],
)
def test_to_refuses(arguments, error):
    net = Net()
    with pytest.raises(error, match="expected"):
        net.to(*arguments)
    assert net.gain.dtype == np.float32


def test_a_typo_is_an_attribute_error_that_suggests():
    net = Net()
    with pytest.raises(AttributeError, match=r"Net has no attribute 'frist': did you mean first"):
        _ = net.frist
    with pytest.raises(AttributeError, match=r"did you mean parameters"):
        net.paramters()
    with pytest.raises(AttributeError, match=r"'xyzzy'$"):
        _ = net.xyzzy
    assert not hasattr(net, "third")


def test_observers_hear_of_each_call_inner_ones_first():
    net = Net()
    heard = []
    x = mc.tensor([1.0])
    with nn.observe(lambda module, inputs, output: heard.append((module, inputs, output))):
        y = net(x)
    net(x)
    assert [module for module, _, _ in heard] == [net.second, net.first, net]
    assert heard[0][1][0] is x
    assert heard[1][1][0] is heard[0][2]
    assert heard[2][2] is y


def test_observers_leave_after_an_error():
    heard = []
    with pytest.raises(NotImplementedError), nn.observe(lambda *call: heard.append(call)):
        nn.Module()()
    nn.Flatten()(mc.tensor([[1.0]]))
    assert heard == []


def test_repr_is_indented_as_torch_prints():
    net = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Dropout(0.25)), nn.Flatten())
    assert repr(net) == (
        "Sequential(\n  (0): Sequential(\n    (0): ReLU()\n    (1): Dropout(p=0.25)\n  )\n  (1): Flatten()\n)"
    )


def test_a_deep_copy_is_independent():
    net = Net()
    other = copy.deepcopy(net)
    other.first.weight.data += 1
    other.eval()
    assert net.first.weight.data.tolist() == [1.0]
    assert net.training
    assert names(other.named_parameters()) == names(net.named_parameters())


def test_multiply_adds_are_0_by_default():
    assert nn.Module().multiply_adds((4, 4, 3), (2, 2, 3)) == 0


def test_every_public_name_is_there():
    assert all(hasattr(nn, name) for name in nn.__all__)
    assert len(set(nn.__all__)) == len(nn.__all__)
