"""What is folded, fused and left out, what is not, and that the result stays the same."""

import numpy as np
import pytest
from lived import build, check_close, images, lived, run

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, nn
from minicnn.graph import optimize_for_inference, trace
from minicnn.models import vgg


def operations(graph):
    return [node.operation.name for node in graph.nodes]


def check_same(model, shape, tolerance=1e-5):
    """The optimised model computes what the model computes; returned for more questions."""
    graph, x = optimize_for_inference(lived(model), shape), images(3, *shape)
    check_close(run(graph, x), run(model, x), tolerance)
    return graph


class Block(nn.Module):
    """y = act(bn2(conv2(x)) + bn1(conv1(x))), written with an operator."""

    def __init__(self, activation=F.relu):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.activation = activation

    def forward(self, x):
        return self.activation(self.bn2(self.conv2(x)) + self.bn1(self.conv1(x)))


def applied(function, *layers):
    """A Module that computes function(x, *layers)."""

    class Applied(nn.Module):
        def __init__(self):
            super().__init__()
            for i, layer in enumerate(layers):
                setattr(self, "abcdef"[i], layer)

        def forward(self, x):
            return function(x, *layers)

    return Applied()


def test_folding_by_hand():
    mc.seed(0)
    model = lived(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, eps=0.1))).to(dtype="float64")
    conv, bn = model
    with kernels.use("reference"):
        graph = optimize_for_inference(model, (3, 3, 2))
    assert operations(graph) == ["Conv2d"]
    values = graph.state_dict()
    assert list(values) == ["0.weight", "0.bias"]
    for o in range(3):
        scale = bn.weight.data[o] / (bn.running_var[o] + 0.1) ** 0.5
        np.testing.assert_allclose(values["0.weight"][..., o], conv.weight.data[..., o] * scale, rtol=1e-14)
        bias = (conv.bias.data[o] - bn.running_mean[o]) * scale + bn.bias.data[o]
        np.testing.assert_allclose(values["0.bias"][o], bias, rtol=1e-13)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_normalisation_is_folded_into_a_convolution(bias, groups):
    layers = nn.Conv2d(4, 6, 3, stride=2, padding="same", groups=groups, bias=bias), nn.BatchNorm2d(6), nn.Sigmoid()
    graph = check_same(nn.Sequential(*layers), (7, 5, 4))
    assert operations(graph) == ["Conv2d"]
    assert graph.changes == ("0 took in 1 and 2",)


def test_normalisation_is_folded_into_a_fully_connected_layer():
    graph = check_same(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm2d(4, activation="relu"), nn.Tanh()), (5,))
    assert operations(graph) == ["Linear", "Tanh"]
    assert graph.changes == ("0 took in 1",)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 2), nn.Sequential(nn.Flatten(), nn.Linear(60, 4))])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
def test_layers_take_in_their_activation(layer, activation):
    graph = check_same(nn.Sequential(layer, activation()), (4, 5, 3))
    assert operations(graph)[-1] in ("Conv2d", "Linear")
    assert graph.nodes[-1].settings()["activation"] == activation.__name__.lower()


def test_a_normalisation_on_its_own_takes_in_a_relu_only():
    assert operations(check_same(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), (2, 2, 3))) == ["BatchNormInference"]
    graph = check_same(nn.Sequential(nn.BatchNorm2d(3), nn.Tanh()), (2, 2, 3))
    assert operations(graph) == ["BatchNormInference", "Tanh"]
    assert graph.changes == ()


def test_what_somebody_else_reads_is_not_folded():
    conv, bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def twice(x, conv, bn):
        y = conv(x)
        return F.concatenate([bn(y), y])

    graph = check_same(applied(twice, conv, bn), (4, 4, 3))
    assert operations(graph) == ["Conv2d", "BatchNormInference", "Concatenate"]
    graph = check_same(applied(lambda x, conv: (F.relu(conv(x)) - conv(x)).sum(axis=1), conv), (4, 4, 3))
    assert operations(graph) == ["Conv2d", "Conv2d", "Subtract", "Sum"]  # of two calls one took in its ReLU

    def output(x, conv):
        y = conv(x)
        F.relu(y)
        return y

    graph = check_same(applied(output, conv), (4, 4, 3))
    assert graph.nodes[0].settings()["activation"] is None


def test_an_activation_in_between_forbids_folding():
    graph = check_same(nn.Sequential(nn.Conv2d(3, 3, 1, activation="tanh"), nn.BatchNorm2d(3)), (4, 4, 3))
    assert operations(graph) == ["Conv2d", "BatchNormInference"]
    graph = check_same(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.ReLU(), nn.BatchNorm2d(3)), (4, 4, 3))
    assert operations(graph) == ["Conv2d", "ReLU", "BatchNormInference"]


def test_a_normalisation_before_a_convolution_stays():
    graph = check_same(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1)), (4, 4, 3))
    assert operations(graph) == ["BatchNormInference", "Conv2d"]


def test_one_layer_called_twice_gets_weights_for_each_call():
    conv, first, second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    graph = check_same(nn.Sequential({"a": conv, "b": first, "c": conv, "d": second}), (4, 4, 3))
    assert operations(graph) == ["Conv2d", "Conv2d"]
    names = [node.inputs[1:] for node in graph.nodes]
    assert len({name for node in names for name in node}) == 4
    assert set(graph.state_dict()) == {name for node in names for name in node}


@pytest.mark.parametrize("activation", [F.relu, F.tanh])
def test_a_sum_of_two_branches_is_one_pass_over_both(activation):
    graph = check_same(Block(activation), (5, 5, 3))
    more = [] if activation is F.relu else ["Tanh"]
    assert operations(graph) == ["Conv2d", "Conv2d", "BatchNormInference", *more]
    assert graph.nodes[2].inputs[0] == "conv1"
    assert graph.nodes[2].inputs[5] == "conv2"
    taken = "bn1 took in add and relu" if activation is F.relu else "bn1 took in add"
    assert graph.changes == ("conv2 took in bn2", taken)


def test_a_sum_with_the_input_is_taken_in_too():
    def residual(x, conv, bn):
        return x + bn(conv(x))

    graph = check_same(applied(residual, nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), (4, 4, 3))
    assert operations(graph) == ["Conv2d", "BatchNormInference"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, conv, bn: bn(conv(x)) + x.sum(axis=(1, 2), keepdims=True),  # broadcasts
        lambda x, conv, bn: bn(conv(x)) + 1.0,
        lambda x, conv, bn: bn(conv(x)) * x,
        lambda x, conv, bn: (lambda y: y + y)(bn(conv(x))),
    ],
)
def test_other_operations_on_a_normalised_result_leave_the_folding(function):
    graph = check_same(applied(function, nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), (4, 4, 3))
    assert operations(graph)[0] == "Conv2d"
    assert "BatchNormInference" not in operations(graph)
    assert operations(graph)[-1] in ("Add", "Multiply")


def test_what_changes_nothing_is_left_out():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Dropout(), nn.Upsample(1), nn.Flatten(), nn.Flatten())
    graph = check_same(model, (4, 4, 2))
    assert operations(graph) == ["Reshape"]
    assert graph.changes == tuple(f"{name} changed nothing, and is left out" for name in ("0", "2", "4"))
    assert operations(check_same(nn.Sequential(nn.AdaptiveAvgPool2d(2)), (4, 4, 2))) == ["AdaptiveAvgPool2d"]


def test_the_image_as_a_whole_is_not_left_out():
    assert operations(check_same(applied(lambda x: x.transpose(0, 2, 1, 3)), (4, 4, 2))) == ["Transpose"]
    assert operations(check_same(applied(lambda x: x[:, ::-1]), (4, 4, 2))) == ["GetItem"]


def test_what_depends_on_no_input_is_computed_once():
    graph = optimize_for_inference(build("lenet5:1998"))
    assert "MatMul" not in operations(graph)
    assert "c3_3 depends on no input, and was computed once" in graph.changes
    assert graph.state_dict()["c3_3"].shape == (5, 5, 6, 16)


def test_the_model_stays_as_it_is():
    model = lived(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())).train()
    before = model.state_dict()
    graph = optimize_for_inference(model, (5, 5, 3))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert not any(parameter.requires_grad for parameter in graph.parameters())
    assert graph(mc.tensor(images(1, 5, 5, 3))).creator is None


def test_a_graph_can_be_optimised_and_stays_as_it_is():
    model = Block()
    recorded = trace(lived(model), (5, 5, 3))
    before, nodes = recorded.state_dict(), recorded.nodes
    graph = optimize_for_inference(recorded)
    assert operations(graph) == ["Conv2d", "Conv2d", "BatchNormInference"]
    assert recorded.nodes == nodes
    assert all(parameter.requires_grad for parameter in recorded.parameters())
    for parameter in graph.parameters():
        parameter.data[...] = 0
    for name, array in recorded.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    again = optimize_for_inference(graph)
    assert (operations(again), again.changes) == (operations(graph), graph.changes)


def test_printing_says_what_was_done():
    text = repr(optimize_for_inference(lived(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), (5, 5, 3)))
    assert text.startswith("Graph of 1 operations on x (5, 5, 3)\n  0 = Conv2d(x, 0.weight, 0.bias, ")
    assert text.endswith("changes:\n  0 took in 1")


def test_errors_are_those_of_trace():
    with pytest.raises(TypeError, match="expected a Module, got int"):
        optimize_for_inference(3)
    with pytest.raises(ValueError, match="expected the shape of one sample"):
        optimize_for_inference(nn.ReLU())


def test_small_vgg():
    mc.seed(1)
    network = vgg.network(((4,), (8, 8)), 5, batch_norm=True, hidden=6)
    graph = check_same(network, (28, 28, 3))
    assert operations(graph) == ["Conv2d", "MaxPool2d", "Conv2d", "Conv2d", "MaxPool2d", "Reshape", "Linear", "Linear",
                                 "Linear"]  # fmt: skip
