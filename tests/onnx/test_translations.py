"""Each operation in an ONNX file, computed by onnxruntime, against ours; on odd shapes, for other batches than one."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, nn

NCHW = (0, 3, 1, 2)


class Applied(nn.Module):
    """A function, and the layers that it uses, as a Module."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def check(model, *shape, low=-1.0, tolerance=1e-5, kinds=None, returns=True):
    """The file computes what the model computes for three samples; returns it, for more questions.

    kinds: the operators that it has to consist of. returns: whether import_onnx reads it.
    """
    model = model if isinstance(model, nn.Module) else Applied(model)
    x = np.random.default_rng(0).uniform(low, 1, (3, *shape)).astype(np.float32)
    with mc.no_grad():
        expected = model.eval()(mc.tensor(x)).numpy()
    file, got, again = through_a_file(model, x, returns)
    if again is not None:
        np.testing.assert_allclose(again, expected, rtol=tolerance, atol=tolerance * abs(expected).max())
    expected = expected.transpose(NCHW) if expected.ndim == 4 else expected
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * abs(expected).max())
    if kinds is not None:
        assert [node.op_type for node in file.graph.node] == kinds
    return file


def through_a_file(model, x, returns):
    """(the file's content, what onnxruntime computes, what the network computes that is imported again or None)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        mc.export_onnx(model, path, x.shape[1:])
        file = onnx.load(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        with mc.no_grad():
            again = mc.import_onnx(path)(mc.tensor(x)).numpy() if returns else None
    onnx.checker.check_model(file, full_check=True)
    (y,) = session.run(None, {"x": np.ascontiguousarray(x.transpose(NCHW) if x.ndim == 4 else x)})
    return file, y, again


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding="same"),
        nn.Conv2d(4, 6, 3, padding=(1, 2), dilation=2, bias=False),
        nn.Conv2d(4, 6, (2, 3), groups=2, activation="relu"),
        nn.Conv2d(4, 8, 3, groups=4, activation="tanh"),
        nn.Conv2d(4, 3, 4, stride=3, padding="same", activation="sigmoid"),
    ],
)
def test_convolution(layer):
    file = check(layer, 7, 9, 4)
    assert file.graph.node[0].op_type == "Conv"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid"])
def test_fully_connected(bias, activation):
    check(nn.Linear(5, 3, bias=bias, activation=activation), 5)


@pytest.mark.parametrize("padding", [0, (1, 0), "same"])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), ((2, 3), (3, 2)), (2, None), (3, 1)])
def test_pooling(padding, ceil_mode, kernel, stride):
    shape = (8, 9, 2)
    for layer in (
        nn.MaxPool2d(kernel, stride, padding, ceil_mode),
        nn.AvgPool2d(kernel, stride, padding, ceil_mode, count_include_pad=False),
        nn.AvgPool2d(kernel, stride, padding, ceil_mode, count_include_pad=True),
        nn.SumPool2d(kernel, stride, padding, ceil_mode),
    ):
        check(layer, *shape)


def test_the_padding_of_max_pooling_never_wins():
    check(lambda x: F.max_pool2d(x - 5.0, 3, 2, padding=1), 5, 5, 2)


@pytest.mark.parametrize(
    ("bins", "kinds"),
    [
        (1, ["GlobalAveragePool"]),
        ((2, 3), ["AveragePool"]),
        ((4, 2), ["MatMul", "MatMul"]),
        (7, ["MatMul", "MatMul"]),
        ((6, 9), ["Identity"]),
    ],
)
def test_adaptive_pooling(bins, kinds):
    check(nn.AdaptiveAvgPool2d(bins), 6, 9, 2, kinds=kinds)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_local_response_norm(size):
    check(nn.LocalResponseNorm(size, alpha=0.5, beta=0.6, k=2.0), 2, 3, 7)
    check(nn.LocalResponseNorm(size, alpha=0.5, beta=0.6, k=2.0), 7)


def lived(layer):
    rng = np.random.default_rng(1)
    for array in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
        array[...] = rng.uniform(0.5, 2, array.shape)
    return layer


def test_batch_norm():
    check(lived(nn.BatchNorm2d(3, eps=0.1)), 4, 5, 3, kinds=["BatchNormalization"])
    check(lived(nn.BatchNorm2d(3, activation="relu")), 3)
    check(Applied(lambda x, bn: F.relu(bn(x, x * 0.5)), lived(nn.BatchNorm2d(3))), 4, 5, 3)


def test_batch_norm_that_took_in_a_residual():
    model = Applied(lambda x, bn: F.relu(bn(x, F.tanh(x))), lived(nn.BatchNorm2d(3)))
    graph = mc.optimize_for_inference(model, (4, 5, 3))
    assert [node.operation.name for node in graph.nodes] == ["Tanh", "BatchNormInference"]
    check(graph, 4, 5, 3, kinds=["Tanh", "BatchNormalization", "Add", "Relu"])


@pytest.mark.parametrize("shape", [(4, 5, 3), (6,)])
@pytest.mark.parametrize(
    "function",
    [F.relu, F.tanh, F.sigmoid, F.softmax, F.log_softmax, lambda x: -x, lambda x: x.exp(), lambda x: F.relu6(9 * x)],
)
def test_activations(function, shape):
    check(function, *shape)


@pytest.mark.parametrize(
    "function", [lambda x: x.log(), lambda x: x.sqrt(), lambda x: x**-1.5, lambda x: x**2, lambda x: 2 / x]
)
def test_functions_of_positive_numbers(function):
    check(function, 4, 5, 3, low=0.1)


ONES = np.random.default_rng(2)


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (5, 1), (4, 5, 3), (4, 1, 3), (1, 4, 5, 3), (1, 1, 1, 3)])
def test_constants_are_broadcast_as_here(shape):
    array = np.asarray(ONES.uniform(1, 2, shape), np.float32)
    check(lambda x: (mc.Tensor(array) - x * mc.Tensor(array)) / mc.Tensor(array) + mc.Tensor(array), 4, 5, 3)


def test_results_are_broadcast_as_here():
    check(lambda x: x * F.sigmoid(x.mean(axis=(1, 2), keepdims=True)), 4, 5, 3)
    check(lambda x: F.relu(x) * x.mean(axis=(1, 2)).reshape(len(x), 1, 1, 3), 4, 5, 3)
    check(lambda x: (x.transpose(1, 0, 2) + x.sum(axis=1)).transpose(1, 0, 2), 4, 5, returns=False)  # it moves samples
    check(lambda x: x + x.transpose(0, 2, 1, 3), 4, 4, 3)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [1, (1, 2), 3, -1, (2, 3), (1, 2, 3)])
def test_reductions(axis, keepdims):
    check(lambda x: x.sum(axis, keepdims), 4, 5, 3)
    check(lambda x: x.mean(axis, keepdims), 4, 5, 3)
    check(lambda x: x.max(axis, keepdims), 4, 5, 3)


def test_reshape_and_transpose():
    check(nn.Flatten(), 4, 5, 3, kinds=["Transpose", "Reshape"])
    check(nn.Flatten(), 1, 1, 3, kinds=["Reshape"])
    check(nn.Flatten(), 4, 5, 1, kinds=["Reshape"])
    check(lambda x: x.reshape(len(x), 5, 4, 3), 4, 5, 3)
    check(lambda x: x.transpose(0, 3, 1, 2), 4, 5, 3, kinds=["Transpose"])  # to say that it is an image of ours
    check(lambda x: x.transpose(0, 3, 1, 2).reshape(len(x), -1), 4, 5, 3, kinds=["Reshape"])
    check(lambda x: F.relu(x.transpose(0, 2, 1, 3))[:, 1:], 4, 5, 3)


def test_channel_shuffle():
    def shuffled(x):
        N, H, W, C = x.shape
        return x.reshape(N, H, W, 2, C // 2).transpose(0, 1, 2, 4, 3).reshape(N, H, W, C)

    check(lambda x: F.max_pool2d(shuffled(F.max_pool2d(x, 2)), 2), 8, 8, 6)


@pytest.mark.parametrize(
    "index",
    [
        np.s_[:, ::2, ::2],
        np.s_[:, 1:-1, -3:],
        np.s_[..., 1:3],
        np.s_[:, ..., ::-1],
        np.s_[:, 3:0:-2],
        np.s_[:, 1],
        np.s_[:, :, -1],
        np.s_[..., 2, 0],
        np.s_[:],
        np.s_[...],
    ],
)
def test_slices(index):
    check(lambda x: F.relu(x)[index], 4, 5, 3)


def test_padding():
    check(lambda x: F.pad(x, [(0, 0), (1, 2), (0, 3), (2, 0)], value=-1.5), 4, 5, 3)
    check(lambda x: F.pad(x, [(0, 0), (1, 2)]), 4)


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_concatenation(axis):
    check(lambda x: F.concatenate([x, F.relu(x), x], axis), 4, 5, 3)


def test_upsampling():
    check(nn.Upsample(3), 2, 3, 4, kinds=["Resize"])


def test_matrix_products():
    w = mc.Tensor(np.arange(6, dtype=np.float32).reshape(3, 2))
    check(lambda x: x @ w, 4, 5, 3)
    check(lambda x: x @ x.transpose(0, 2, 1), 4, 5)


def test_a_weight_that_depends_on_the_input():
    check(lambda x: F.conv2d(x[:, :4], F.tanh(mc.Tensor(np.ones((2, 2, 3, 4), np.float32)))), 5, 5, 3)
    check(lambda x: x + F.linear(x, F.softmax(mc.Tensor(np.eye(3, dtype=np.float32)))), 3)


def test_a_result_that_is_the_input():
    check(nn.Dropout(0.5), 4, 5, 3, kinds=["Identity"])
    check(nn.Dropout(0.5), 4, kinds=["Identity"])


def test_float64_becomes_float32():
    with kernels.use("reference"):
        mc.seed(0)
        model = nn.Sequential(nn.Conv2d(3, 2, 2), nn.Flatten())
        x = np.random.default_rng(0).random((2, 3, 3, 3), np.float32)
        expected = model(mc.tensor(x)).numpy()
        _, got, _ = through_a_file(model.to(dtype="float64"), x, returns=False)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_what_has_no_translation_is_an_error_that_names_it():
    def dropped(x):
        return F.dropout(x, 0.5)

    def picked(x):
        return x[:, [0, 2]]

    class Inner(nn.Module):
        def forward(self, x):
            return dropped(x)

    with pytest.raises(NotImplementedError, match="no translation for Dropout, which the model itself computes"):
        check(dropped, 4)
    with pytest.raises(NotImplementedError, match=r"no translation for Dropout, which body\.noise computes"):
        check(nn.Sequential({"body": nn.Sequential({"noise": Inner()})}), 4)
    with pytest.raises(NotImplementedError, match=r"slices and whole numbers, and the model itself has the index"):
        check(picked, 4)


def test_a_sum_over_no_axes_is_what_it_was():
    check(lambda x: x.sum(axis=()) + 1.0, 3, 4, 2, kinds=["Add"])
