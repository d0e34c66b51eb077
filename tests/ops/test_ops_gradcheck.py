"""Every operation against central differences, in each of its inputs, in each room that runs without a GPU."""

from pathlib import Path

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn.distributed.communicator import Alone

# Differences of a function of size 1 with the step 1e-6 are right to about 1e-9; the check allows 1e-5 of the value
# and 1e-7. Values that decide (relu, max) lie at least 0.01 apart or from 0, ten thousand steps.


@pytest.fixture(autouse=True)
def _room(every_room):
    pass


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def positive(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2, shape)


def apart(*shape, seed=0):
    """Different numbers of both signs, no two nearer than 0.02, none nearer to 0 than 0.01."""
    n = int(np.prod(shape))
    return (np.random.default_rng([seed, *shape]).permutation(n).reshape(shape) - n // 2 + 0.5) * 0.02


# Tensor's own operations

TENSOR = {
    "a + b": (lambda a, b: a + b, [normal(2, 3), normal(2, 3, seed=1)]),
    "a + row": (lambda a, b: a + b, [normal(2, 3), normal(3)]),
    "a + number": (lambda a: 2 + a + 1.5, [normal(2, 3)]),
    "a - column": (lambda a, b: a - b, [normal(2, 3), normal(2, 1)]),
    "number - a": (lambda a: 2 - a, [normal(2, 3)]),
    "array - a": (lambda a: normal(2, 3, seed=5) - a, [normal(2, 3)]),
    "a * b": (lambda a, b: a * b, [normal(2, 1, 3), normal(4, 1)]),
    "a * a": (lambda a: a * a, [normal(2, 3)]),
    "array * a": (lambda a: normal(2, 3, seed=5) * a, [normal(2, 3)]),
    "a / b": (lambda a, b: a / b, [normal(2, 3), positive(3)]),
    "number / a": (lambda a: 2 / a, [positive(2, 3)]),
    "a / number": (lambda a: a / 3, [normal(2, 3)]),
    "-a": (lambda a: -a, [normal(2, 3)]),
    "a**3": (lambda a: a**3, [normal(2, 3)]),
    "a**0.5": (lambda a: a**0.5, [positive(2, 3)]),
    "a**-2": (lambda a: a**-2, [positive(2, 3)]),
    "a**0": (lambda a: a**0 + a, [normal(2, 3)]),
    "a**1": (lambda a: a**1, [normal(2, 3)]),
    "a @ b": (lambda a, b: a @ b, [normal(2, 3), normal(3, 4)]),
    "a @ b, batches": (lambda a, b: a @ b, [normal(5, 1, 2, 3), normal(4, 3, 2)]),
    "array @ a": (lambda a: normal(2, 3, seed=5) @ a, [normal(3, 4)]),
    "a @ array": (lambda a: a @ normal(4, 2, seed=5), [normal(3, 4)]),
    "exp": (lambda a: a.exp(), [normal(2, 3)]),
    "log": (lambda a: a.log(), [positive(2, 3)]),
    "sqrt": (lambda a: a.sqrt(), [positive(2, 3)]),
    "sum": (lambda a: a.sum(), [normal(2, 3)]),
    "sum over axes": (lambda a: a.sum((0, -1)), [normal(2, 3, 4)]),
    "sum, keepdims": (lambda a: a.sum(1, keepdims=True), [normal(2, 3, 4)]),
    "mean": (lambda a: a.mean(), [normal(2, 3)]),
    "mean over axes": (lambda a: a.mean((0, 2)), [normal(2, 3, 4)]),
    "mean, keepdims": (lambda a: a.mean(-2, keepdims=True), [normal(2, 3, 4)]),
    "max": (lambda a: a.max(), [apart(2, 3)]),
    "max over axes": (lambda a: a.max((0, 2)), [apart(2, 3, 4)]),
    "max, keepdims": (lambda a: a.max(-2, keepdims=True), [apart(2, 3, 4)]),
    "reshape": (lambda a: a.reshape(3, -1), [normal(2, 3, 4)]),
    "transpose": (lambda a: a.transpose(2, 0, -2), [normal(2, 3, 4)]),
    "transpose, reversed": (lambda a: a.transpose(), [normal(2, 3, 4)]),
    "basic index": (lambda a: a[1, ::-2, None], [normal(2, 3, 4)]),
    "advanced index": (lambda a: a[[0, 0, 1], :, [1, 1, 3]], [normal(2, 3, 4)]),
    "boolean index": (lambda a: a[np.arange(6).reshape(2, 3) % 2 == 0], [normal(2, 3, 4)]),
    "Tensor index": (lambda a, i: a[i], [normal(2, 3), np.array([1, 1, 0])]),
    "iteration": (lambda a: sum(row * i for i, row in enumerate(a)), [normal(3, 2)]),
    "to": (lambda a: a.to("cpu"), [normal(2, 3)]),
    "pad": (lambda a: F.pad(a, ((1, 0), (0, 2)), 3.0), [normal(2, 3)]),
    "concatenate": (lambda a, b: F.concatenate([a, b, a]), [normal(2, 3), normal(2, 1)]),
    "concatenate, first axis": (lambda a, b: F.concatenate([a, b], axis=0), [normal(2, 3), normal(1, 3)]),
    "upsample": (lambda a: F.upsample(a, 3), [normal(2, 2, 3, 2)]),
    "without axes": (lambda a, b: a * b + a.exp() - b / a, [positive(), positive(seed=1)]),
    "a diamond": (lambda a: (a * a).exp() * a + (a * a).sum(), [normal(2, 3)]),
}


@pytest.mark.parametrize("name", TENSOR)
def test_operations_of_a_tensor(name):
    fn, inputs = TENSOR[name]
    assert mc.gradcheck(fn, inputs)


def test_every_method_and_operator_of_a_tensor_is_checked():
    operators = {"add", "sub", "mul", "truediv", "pow", "neg", "matmul", "getitem", "iter"}
    methods = {"exp", "log", "sqrt", "sum", "mean", "max", "reshape", "transpose", "to"}
    named = {name for name in vars(mc.Tensor) if not name.startswith("_")}
    attributes = {"data", "grad", "requires_grad", "creator", "changed", "shape", "ndim", "size", "dtype", "device"}
    assert named - attributes - {"numpy", "item", "detach", "backward"} == methods
    assert all(any(name.startswith(method) for name in TENSOR) for method in methods)
    assert operators <= {name.strip("_") for name in vars(mc.Tensor)}


# Activations

ACTIVATIONS = {
    "relu": F.relu,
    "relu6": lambda x: F.relu6(4 * x),
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
}


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 2, 3), (1, 1)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, shape):
    assert mc.gradcheck(ACTIVATIONS[name], [apart(*shape) * 5])


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_activations_of_one_number(name):
    assert mc.gradcheck(ACTIVATIONS[name], [np.array(0.7)])


# Convolution: (N, H, W, C), (KH, KW, C // groups, O), settings

CONVOLUTIONS = {
    "1x1": ((2, 3, 4, 3), (1, 1, 3, 2), {}),
    "3x3": ((2, 5, 4, 2), (3, 3, 2, 3), {}),
    "stride that does not divide": ((1, 6, 7, 2), (3, 2, 2, 2), {"stride": (2, 3)}),
    "stride longer than the kernel": ((1, 7, 7, 1), (2, 2, 1, 2), {"stride": 3}),
    "stride longer than the image": ((2, 3, 3, 2), (2, 2, 2, 2), {"stride": 9}),
    "padding": ((1, 3, 4, 2), (3, 3, 2, 2), {"padding": 1}),
    "padding, a pair": ((1, 3, 4, 2), (3, 3, 2, 2), {"padding": (2, 0)}),
    "same": ((1, 4, 5, 2), (3, 3, 2, 2), {"padding": "same"}),
    "same, asymmetric": ((1, 4, 5, 2), (2, 4, 2, 2), {"padding": "same"}),
    "same, stride": ((1, 6, 5, 1), (3, 2, 1, 2), {"padding": "same", "stride": (2, 3)}),
    "same, dilation": ((1, 4, 5, 1), (2, 3, 1, 2), {"padding": "same", "dilation": (3, 2)}),
    "valid": ((1, 4, 5, 1), (2, 3, 1, 2), {"padding": "valid"}),
    "dilation": ((1, 6, 5, 2), (2, 3, 2, 2), {"dilation": 2}),
    "dilation, a pair, stride": ((1, 7, 6, 1), (2, 2, 1, 2), {"dilation": (3, 1), "stride": 2, "padding": 1}),
    "groups": ((2, 3, 3, 4), (2, 2, 2, 6), {"groups": 2}),
    "depthwise": ((1, 4, 4, 3), (3, 3, 1, 3), {"groups": 3, "padding": 1}),
    "depthwise, two filters each": ((1, 4, 4, 3), (3, 3, 1, 6), {"groups": 3, "padding": "same", "stride": 2}),
    "kernel as large as the image": ((2, 3, 4, 2), (3, 4, 2, 2), {}),
    "long filters": ((1, 3, 2, 24), (3, 3, 24, 24), {"padding": 1}),
    "long filters, groups and stride": ((1, 5, 4, 8), (5, 3, 4, 8), {"groups": 2, "padding": (2, 1), "stride": 2}),
}


@pytest.mark.parametrize("algorithm", ["auto", "im2col", "implicit_gemm"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d_in_input_weight_and_bias(name, algorithm):
    x_shape, w_shape, settings = CONVOLUTIONS[name]
    x, w, b = normal(*x_shape), normal(*w_shape), normal(w_shape[3])

    def conv2d(x, w, b):
        return F.conv2d(x, w, b, algorithm=algorithm, **settings)

    def conv2d_with_first_filter(x, first, b):
        return conv2d(x, F.concatenate([first, mc.tensor(w[..., 1:])]), b)

    if w.size > 500:  # one number after another would take seconds: one filter of many decides as well
        assert mc.gradcheck(conv2d_with_first_filter, [x, w[..., :1], b])
    else:
        assert mc.gradcheck(conv2d, [x, w, b])


@pytest.mark.parametrize("algorithm", ["winograd", "winograd_f2"])
def test_winograds_convolution_in_input_weight_and_bias(algorithm):
    x, w, b = normal(2, 6, 5, 2), normal(3, 3, 2, 3), normal(3)
    assert mc.gradcheck(lambda x, w, b: F.conv2d(x, w, b, padding=(1, 2), algorithm=algorithm), [x, w, b])


def test_conv2d_without_bias():
    assert mc.gradcheck(lambda x, w: F.conv2d(x, w), [normal(1, 3, 3, 2), normal(2, 2, 2, 2)])


# Layers that apply their activation themselves


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_linear_and_conv2d_with_an_activation(name):
    x, w, b = normal(3, 4), normal(4, 2), normal(2)
    assert abs(x @ w + b).min() > 0.01  # no sum lies near the kink of relu
    assert mc.gradcheck(lambda x, w, b: F.linear(x, w, b, activation=name), [x, w, b])
    x, w, b = normal(1, 4, 3, 2), normal(2, 2, 2, 3), normal(3)
    assert abs(F.conv2d(*map(mc.tensor, (x, w, b))).data).min() > 0.01
    assert mc.gradcheck(lambda x, w, b: F.conv2d(x, w, b, activation=name), [x, w, b])


# Linear


@pytest.mark.parametrize(("N", "inputs", "outputs"), [(1, 1, 1), (3, 4, 2), (5, 2, 7)])
def test_linear_in_input_weight_and_bias(N, inputs, outputs):
    assert mc.gradcheck(F.linear, [normal(N, inputs), normal(inputs, outputs), normal(outputs)])
    assert mc.gradcheck(F.linear, [normal(N, inputs), normal(inputs, outputs)])


# Pooling: (N, H, W, C), kernel, settings

WINDOWS = {
    "2x2": ((2, 4, 4, 2), 2, {}),
    "does not divide": ((1, 5, 7, 2), 2, {}),
    "a pair": ((1, 6, 4, 2), (3, 1), {}),
    "overlap": ((2, 7, 7, 1), 3, {"stride": 2}),
    "overlap by all but one": ((1, 5, 5, 2), 3, {"stride": 1}),
    "stride longer than the window": ((1, 7, 8, 1), 2, {"stride": (3, 4)}),
    "padding": ((1, 4, 5, 2), 3, {"stride": 2, "padding": 1}),
    "padding, a pair": ((1, 4, 5, 2), (3, 2), {"stride": 2, "padding": (2, 0)}),
    "same": ((1, 5, 4, 2), 3, {"stride": 1, "padding": "same"}),
    "same, asymmetric": ((1, 5, 5, 1), 2, {"padding": "same"}),
    "same, stride": ((1, 7, 6, 1), (4, 3), {"stride": 3, "padding": "same"}),
    "valid": ((1, 5, 5, 1), 2, {"padding": "valid"}),
    "ceil_mode": ((1, 5, 6, 2), 2, {"ceil_mode": True}),
    "ceil_mode, overlap": ((1, 6, 8, 1), 3, {"stride": 2, "ceil_mode": True}),
    "ceil_mode, padding": ((1, 5, 6, 1), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    "the whole image": ((2, 3, 4, 2), (3, 4), {}),
    "1x1": ((1, 3, 3, 1), 1, {"stride": 2}),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("operation", ["max", "sum", "average", "average with padding"])
def test_pooling(operation, name):
    shape, kernel, settings = WINDOWS[name]
    pool = {
        "max": F.max_pool2d,
        "sum": F.sum_pool2d,
        "average": F.avg_pool2d,
        "average with padding": lambda *args, **rest: F.avg_pool2d(*args, **rest, count_include_pad=True),
    }[operation]
    assert mc.gradcheck(lambda x: pool(x, kernel, **settings), [apart(*shape)])


@pytest.mark.parametrize("output_size", [1, 2, (3, 2), (5, 4), (7, 6), (1, 9)])
def test_adaptive_pooling(output_size):
    assert mc.gradcheck(lambda x: F.adaptive_avg_pool2d(x, output_size), [normal(2, 5, 4, 2)])


def test_global_pooling():
    assert mc.gradcheck(F.global_avg_pool2d, [normal(2, 3, 4, 3)])


# Normalisation


@pytest.mark.parametrize("shape", [(3, 2, 2, 2), (2, 1, 1, 3), (4, 3), (1, 3, 2, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_in_input_gamma_and_beta(shape, training):
    C = shape[-1]
    mean, var = normal(C, seed=3), positive(C, seed=4)

    def fn(x, gamma, beta):
        # Copies, since training moves the running statistics: fn must give the same at each call.
        return F.batch_norm(x, gamma, beta, mean.copy(), var.copy(), training=training)

    assert mc.gradcheck(fn, [normal(*shape), normal(C, seed=1), normal(C, seed=2)])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_batch_norm_with_a_residual_and_relu(activation, training):
    mean, var = normal(2, seed=3), positive(2, seed=4)

    def fn(x, gamma, beta, *residual):
        added = residual[0] if residual else None
        running = mean.copy(), var.copy()
        return F.batch_norm(x, gamma, beta, *running, training=training, activation=activation, residual=added)

    inputs = [normal(3, 2, 2, 2), normal(2, seed=1), normal(2, seed=2), normal(3, 2, 2, 2, seed=5)]
    assert mc.gradcheck(fn, inputs[:3])
    assert mc.gradcheck(fn, inputs)
    assert mc.gradcheck(lambda x, gamma, beta: fn(x, gamma, beta, x), inputs[:3])  # one Tensor as both


@pytest.mark.parametrize("shape", [(3, 2, 2, 2), (4, 3)])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_sync_batch_norm_of_one_rank(shape, with_residual, activation):
    """Of several: tests/distributed/test_sync_batch_norm.py."""
    C, communicator = shape[-1], Alone(20.0)

    def fn(x, gamma, beta, residual):
        running, added = (np.zeros(C), np.ones(C)), residual if with_residual else None
        return F.sync_batch_norm(x, gamma, beta, *running, communicator, activation=activation, residual=added)

    assert mc.gradcheck(fn, [normal(*shape), normal(C, seed=1), normal(C, seed=2), normal(*shape, seed=5)])


@pytest.mark.parametrize("shape", [(2, 2, 2, 6), (3, 5), (2, 1, 1, 1)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_local_response_norm(shape, size):
    assert mc.gradcheck(lambda x: F.local_response_norm(x, size, alpha=0.7, beta=0.6, k=1.5), [normal(*shape)])


# Dropout


@pytest.mark.parametrize("p", [0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 2, 3)])
def test_dropout(p, shape):
    assert mc.gradcheck(lambda x: F.dropout(x, p, layer=2, step=3, first_sample=4, seed=5), [normal(*shape)])


# Losses


def test_cross_entropy_of_numbers_and_of_probabilities():
    logits, labels = normal(4, 3) * 3, np.array([2, 0, 1, 1])
    smooth = np.eye(3)[labels] * 0.9 + 0.1 / 3
    assert mc.gradcheck(lambda x: F.cross_entropy(x, labels), [logits])
    assert mc.gradcheck(lambda x: F.cross_entropy(x, labels) * 7, [logits])  # the gradient from above is not 1
    assert mc.gradcheck(lambda x: F.cross_entropy(x, smooth), [logits])
    assert mc.gradcheck(lambda x: F.cross_entropy(x, np.zeros(2, int)), [normal(2, 1)])
    assert mc.gradcheck(F.cross_entropy, [logits, labels])


@pytest.mark.parametrize("shape", [(4, 3), (5,), (2, 3, 2)])
@pytest.mark.parametrize("loss", [F.mean_squared_error, F.half_squared_error])
def test_squared_errors_in_both_inputs(loss, shape):
    assert mc.gradcheck(loss, [normal(*shape), normal(*shape, seed=1)])
    assert mc.gradcheck(lambda y, t: loss(y, t) * 3, [normal(*shape), normal(*shape, seed=1)])
    assert mc.gradcheck(lambda t: loss(mc.tensor(normal(*shape)), t), [normal(*shape, seed=1)])


def test_every_function_is_checked():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in F.__all__ if f"F.{name}" not in source] == []


def test_a_small_network():
    def network(x, w, b, gamma, beta, v):
        y = F.tanh(F.conv2d(x, w, b, padding="same"))
        y = F.batch_norm(y, gamma, beta, np.zeros(3), np.ones(3), training=True)
        y = F.avg_pool2d(F.sigmoid(y), 2)
        return F.cross_entropy(y.reshape(2, -1) @ v, np.array([1, 0]))

    inputs = [normal(2, 4, 4, 1), normal(3, 3, 1, 3), normal(3), positive(3), normal(3, seed=1), normal(12, 3)]
    assert mc.gradcheck(network, inputs)
