"""A recorded model: what is recorded, and that it computes what the model computes."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import _function, kernels, models, nn
from minicnn import functional as F
from minicnn.graph import Graph, optimize_for_inference, trace

NETWORKS = ["lenet1", "lenet5", "lenet5:d2l", "lenet5:1998", "digit_cnn", "resnet20"]


@pytest.fixture
def _reference():
    """No kernels need be compiled for float64."""
    with kernels.use("reference"):
        yield


def images(N, *shape, seed=0):
    return np.random.default_rng(seed).random((N, *shape), np.float32)


def check_same(model, graph, x):
    """In evaluation mode both give the same, without a graph of gradients."""
    model.eval()
    with mc.no_grad():
        expected, got = model(mc.tensor(x)).numpy(), graph(mc.tensor(x)).numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * abs(expected).max())


class Twice(nn.Module):
    """Uses one layer twice, reads a result twice, and computes something for nobody."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(None, 3, 3, padding="same")
        self.register_buffer("shift", np.array([1.0, -2.0, 0.5], np.float32))

    def forward(self, x):
        first = self.conv(x)
        F.relu(first).sum()
        second = F.tanh(self.conv(first) + mc.Tensor(self.shift) * 2.0)
        return (first + second).reshape(len(x), -1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_computes_what_its_model_computes_for_any_number_of_images(name):
    mc.seed(1)
    model = models.build(name)
    graph = trace(model)
    for N in (1, 2, 5):
        check_same(model, graph, images(N, *model.input_shape))


def test_running_statistics_are_those_of_the_model():
    mc.seed(2)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.GlobalAvgPool2d())
    for seed in range(3):
        model(mc.tensor(5 * images(4, 6, 6, 2, seed=seed)))
    assert abs(model[1].running_mean).max() > 0.1
    check_same(model, trace(model, (6, 6, 2)), images(3, 6, 6, 2))


def test_nodes_bear_the_names_of_modules_and_values_those_of_parameters():
    graph = trace(models.lenet5())
    assert [(node.operation.name, node.output) for node in graph.nodes] == [
        ("Conv2d", "conv2d"), ("AvgPool2d", "average_pooling2d"), ("Conv2d", "conv2d_1"),
        ("AvgPool2d", "average_pooling2d_1"), ("Reshape", "flatten"), ("Linear", "dense"), ("Linear", "dense_1"),
        ("Linear", "dense_2"),
    ]  # fmt: skip
    assert graph.nodes[0].inputs == ("x", "conv2d.weight", "conv2d.bias")
    assert graph.nodes[0].settings()["activation"] == "tanh"
    assert graph.nodes[1].shape == (1, 14, 14, 6)
    assert set(graph.state_dict()) == set(models.lenet5().state_dict())
    assert "conv2d = Conv2d(x, conv2d.weight, conv2d.bias, " in repr(graph)


def test_results_of_one_module_are_numbered():
    model = nn.Sequential({"outer": nn.Sequential({"twice": Twice()})})
    graph = trace(model, (4, 4, 3))
    assert [node.output for node in graph.nodes] == [
        "outer.twice.conv", "outer.twice.conv_2", "outer.twice_3", "outer.twice_4", "outer.twice_5", "outer.twice_6",
        "outer.twice_7",
    ]  # fmt: skip
    assert [node.module for node in graph.nodes] == 2 * ["outer.twice.conv"] + 5 * ["outer.twice"]
    assert [name for name, _ in graph.named_parameters()] == ["outer.twice.conv.weight", "outer.twice.conv.bias"]
    assert [name for name, _ in graph.named_buffers()] == ["outer.twice.shift", "constant"]
    check_same(model, graph, images(3, 4, 4, 3))


def test_what_nobody_needs_is_left_out():
    names = [node.operation.name for node in trace(Twice(), (4, 4, 3)).nodes]
    assert names == ["Conv2d", "Conv2d", "Multiply", "Add", "Tanh", "Add", "Reshape"]


def test_dropout_is_the_identity():
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.9), nn.Linear(4, 2))
    assert model.training
    graph = trace(model, [6])
    assert model.training
    assert [node.output for node in graph.nodes] == ["0", "2"]
    check_same(model, graph, images(3, 6))
    x = mc.tensor(images(3, 6))
    assert graph.train()(x).numpy().tolist() == graph.eval()(x).numpy().tolist()


def test_a_reshape_keeps_the_batch_free():
    class Shuffle(nn.Module):
        def forward(self, x):
            N, H, W, C = x.shape
            x = x.reshape(N, H, W, 2, C // 2).transpose(0, 1, 2, 4, 3).reshape(N, H, W, C)
            return x.reshape(-1, H * W * C)

    check_same(Shuffle(), trace(Shuffle(), (2, 3, 4)), images(5, 2, 3, 4))


def test_the_graph_is_a_copy():
    mc.seed(3)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2))
    graph, x = trace(model, [3]), mc.tensor(images(4, 3))
    before = graph(x).numpy()
    model(x)  # moves the running statistics
    model[0].weight.data[...] = 7
    np.testing.assert_array_equal(graph(x).numpy(), before)


def test_tracing_moves_no_random_numbers():
    def draws(between):
        mc.seed(4)
        model = nn.Linear(3, 2)
        between(model)
        return nn.Linear(3, 2).weight.numpy().tolist()

    assert draws(lambda model: trace(model, [3])) == draws(lambda model: None)


@pytest.mark.usefixtures("_reference")
def test_a_graph_is_a_module():
    mc.seed(5)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2))
    graph = trace(model, [3])
    x = images(2, 3).astype(np.float64)
    expected = model.to(dtype="float64").eval()(mc.tensor(x)).numpy()
    np.testing.assert_allclose(graph.to(dtype="float64")(mc.tensor(x)).numpy(), expected, rtol=1e-12)

    other = trace(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2)), [3])
    other.load_state_dict(graph.state_dict())
    np.testing.assert_allclose(other(mc.tensor(images(2, 3))).numpy(), expected, rtol=1e-5)

    y = graph(mc.tensor(x))
    y.sum().backward()
    y = model(mc.tensor(x))
    y.sum().backward()
    for ours, theirs in zip(graph.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-12)


def test_a_graph_is_its_own_trace():
    graph = trace(nn.Linear(3, 2), [3])
    assert trace(graph) is graph


def test_input_shape_is_the_models_own_unless_given():
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"shape of one sample, like trace\(model, "):
        trace(model)
    model.input_shape = (3,)
    assert trace(model).input_shape == (3,)


def test_memory_of_what_has_been_read_is_given_back():
    graph = trace(nn.Sequential(*[nn.ReLU() for _ in range(3)], nn.GlobalAvgPool2d()), (2, 2, 1))
    assert graph._last_reads == [["x"], ["0"], ["1"], ["2"], ["3"]]
    named = nn.Sequential({"twice": Twice()})
    assert trace(named, (4, 4, 3))._last_reads == [
        ["x"], [], [], ["twice.conv_2", "twice_3"], ["twice_4"], ["twice.conv", "twice_5"], ["twice_6"],
    ]  # fmt: skip


def test_what_cannot_be_traced():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Outside(nn.Module):
        def forward(self, x):
            return mc.tensor(x.numpy() * 2)

    with pytest.raises(TypeError, match="trace expected a Module, got int"):
        trace(3, (3,))
    with pytest.raises(TypeError, match="returns one Tensor, got tuple"):
        trace(Pair(), (3,))
    with pytest.raises(ValueError, match="does not depend on its input"):
        trace(Outside(), (3,))
    with pytest.raises(ValueError, match="trace: the model refused one sample of shape"):
        trace(nn.Linear(3, 2), (4,))
    assert _function._observers == nn.module._observers == []


def test_a_graph_checks_its_input():
    graph = trace(models.lenet5())
    with pytest.raises(ValueError, match=r"the size that it was traced with, \(28, 28, 1\), got shape \(1, 32"):
        graph(mc.tensor(images(1, 32, 32, 1)))
    with pytest.raises(ValueError, match=r"got shape \(0, 28"):
        graph(mc.tensor(images(0, 28, 28, 1)))
    with pytest.raises(TypeError, match="expected an input of float32, got float64"):
        graph(mc.tensor(images(1, 28, 28, 1).astype(np.float64)))
    with pytest.raises(TypeError, match="Graph expected a Tensor, got ndarray"):
        graph(images(1, 28, 28, 1))


def test_a_name_that_a_graph_needs_itself_is_refused():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.nodes = nn.Parameter(np.ones(3, np.float32))

        def forward(self, x):
            return x * self.nodes

    with pytest.raises(ValueError, match="a Graph has an attribute 'nodes' already"):
        trace(Named(), (3,))


@pytest.mark.parametrize("value", [nn.Parameter(np.full(3, 2.0, np.float32)), np.full(3, 2.0, np.float32)])
def test_a_value_called_as_the_input_is_refused(value):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            if isinstance(value, nn.Parameter):
                self.x = value
            else:
                self.register_buffer("x", value)

        def forward(self, images):
            return images * (self.x if isinstance(self.x, nn.Parameter) else mc.Tensor(self.x))

    with pytest.raises(ValueError, match="a Graph calls its input 'x' already: give that of the model another name"):
        trace(Named(), (3,))


def test_what_is_computed_once_bears_no_name_of_a_method():
    """`to`, here of a Parameter alone, is an operation and a method of every Module."""

    class Converting(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(np.ones(3, np.float32))
            self.scale = nn.Parameter(np.full(3, 2.0))

        def forward(self, x):
            return x * self.scale.to(dtype="float32") + self.shift

    x = mc.tensor(images(2, 3))
    np.testing.assert_array_equal(optimize_for_inference(Converting(), (3,))(x).numpy(), 2 * x.numpy() + 1)


def test_functions_tell_their_observers():
    heard, x = [], mc.tensor([1.0, -2.0])
    with _function.observe(lambda *call: heard.append(call)):
        y = x + x
    x * x
    [(operation, inputs, output)] = heard
    assert (operation.name, output) == ("Add", y)
    assert [each is x for each in inputs] == [True, True]


def test_an_empty_graph_returns_its_input():
    assert isinstance(trace(nn.Sequential(), (3,)), Graph)
    check_same(nn.Sequential(), trace(nn.Dropout(0.5), (3,)), images(2, 3))
