"""Operations against PyTorch in float32, forward and gradients."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def close(got, expected):
    """Equal up to the rounding of float32.

    Both sides add up n products, n at most about 1200, each in its own order. A sum rounds n times by half a unit in
    the last place, 6e-8 of the partial sum, in random directions: sqrt(1200) * 6e-8 = 2e-6 of the largest partial sum,
    which is about the size of the largest sum of the array. Five times that is allowed; a wrong term makes much more.
    """
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


@pytest.fixture(autouse=True)
def _room(every_room):
    pass


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def compare(ours, theirs, arrays, to_torch=None, from_torch=None):
    """Forward and every gradient of `ours(*Tensors)` and `theirs(*torch tensors)`, from one random dy.

    to_torch: for each input the axes that make torch's layout of it; from_torch: the axes that undo it on the result.
    """
    to_torch = to_torch or [None] * len(arrays)
    tensors = [mc.tensor(a, requires_grad=True) for a in arrays]
    y = ours(*tensors)
    moved = [a if axes is None else a.transpose(axes) for a, axes in zip(arrays, to_torch, strict=True)]
    others = [torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in moved]
    z = theirs(*others)
    z = z if from_torch is None else z.permute(from_torch)
    assert y.dtype == np.float32
    close(y.data, z.detach().numpy())
    dy = normal(*y.shape, seed=9)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for tensor, other, axes in zip(tensors, others, to_torch, strict=True):
        expected = other.grad.numpy()
        expected = expected if axes is None else expected.transpose(np.argsort(axes))
        close(tensor.grad, expected)
        assert tensor.grad.dtype == np.float32


IMAGE, WEIGHT, BACK = (0, 3, 1, 2), (3, 2, 0, 1), (0, 2, 3, 1)  # NHWC -> NCHW, HWIO -> OIHW, NCHW -> NHWC

UNARY = {
    "exp": (lambda x: x.exp(), torch.exp),
    "log": (lambda x: (x * x + 1).log(), lambda x: (x * x + 1).log()),
    "sqrt": (lambda x: (x * x + 1).sqrt(), lambda x: (x * x + 1).sqrt()),
    "power": (lambda x: x**3, lambda x: x**3),
    "sum": (lambda x: x.sum((0, 2)), lambda x: x.sum((0, 2))),
    "mean": (lambda x: x.mean(-1, keepdims=True), lambda x: x.mean(-1, keepdim=True)),
    "max": (lambda x: x.max(1), lambda x: x.max(1).values),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda x: x.permute(2, 0, 1)),
    "index": (lambda x: x[[0, 0, 1], 1:], lambda x: x[[0, 0, 1], 1:]),
    "pad": (
        lambda x: F.pad(x, ((0, 0), (1, 2), (3, 0)), 2),
        lambda x: torch.nn.functional.pad(x, (3, 0, 1, 2), value=2),
    ),
    "relu": (F.relu, torch.relu),
    "relu6": (lambda x: F.relu6(x * 8), lambda x: torch.nn.functional.relu6(x * 8)),
    "tanh": (F.tanh, torch.tanh),
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "softmax": (F.softmax, lambda x: torch.softmax(x, -1)),
    "log_softmax": (F.log_softmax, lambda x: torch.log_softmax(x, -1)),
    "local_response_norm": (
        lambda x: F.local_response_norm(x, 3, alpha=0.5, beta=0.75, k=2.0),
        lambda x: torch.nn.functional.local_response_norm(x.movedim(-1, 1), 3, 0.5, 0.75, 2.0).movedim(1, -1),
    ),
    "local_response_norm, even": (
        lambda x: F.local_response_norm(x, 4, alpha=0.5),
        lambda x: torch.nn.functional.local_response_norm(x.movedim(-1, 1), 4, 0.5).movedim(1, -1),
    ),
}


@pytest.mark.parametrize("name", UNARY)
def test_operations_of_one_array(name):
    compare(*UNARY[name], [normal(2, 3, 5) * 3 if "soft" in name else normal(2, 3, 5)])


def test_relu6_where_it_has_no_derivative():
    compare(F.relu6, torch.nn.functional.relu6, [np.array([-1, -0.0, 0, 1, 5.5, 6, 6.5, np.inf, -np.inf], np.float32)])


BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / (b * b + 1),
    "@": lambda a, b: a @ b,
}


@pytest.mark.parametrize("name", BINARY)
def test_operations_of_two_arrays(name):
    shapes = ((4, 1, 2, 3), (5, 3, 2)) if name == "@" else ((4, 1, 3), (2, 1))
    compare(BINARY[name], BINARY[name], [normal(*shape, seed=i) for i, shape in enumerate(shapes)])


def test_concatenate_and_upsample():
    compare(lambda a, b: F.concatenate([a, b]), lambda a, b: torch.cat([a, b], -1), [normal(2, 3), normal(2, 4)])
    nearest = torch.nn.functional.interpolate
    compare(lambda x: F.upsample(x, 3), lambda x: nearest(x, scale_factor=3), [normal(2, 3, 4, 2)], [IMAGE], BACK)


CONVOLUTIONS = {
    "LeNet-5's first": ((2, 28, 28, 1), (5, 5, 1, 6), {}),
    "padding, stride": ((2, 9, 8, 3), (3, 3, 3, 8), {"padding": 1, "stride": 2}),
    "pairs": ((1, 9, 8, 4), (3, 2, 4, 5), {"padding": (2, 1), "stride": (3, 2), "dilation": (1, 2)}),
    "1x1": ((2, 5, 5, 16), (1, 1, 16, 8), {}),
    "stride longer than the kernel": ((1, 11, 10, 2), (2, 1, 2, 4), {"stride": (4, 3)}),
    "dilation": ((1, 10, 9, 2), (3, 3, 2, 4), {"dilation": 2, "padding": 2}),
    "groups": ((2, 6, 6, 8), (3, 3, 4, 6), {"groups": 2}),
    "depthwise": ((2, 7, 6, 5), (3, 3, 1, 5), {"groups": 5, "padding": 1, "stride": 2}),
    "same": ((1, 7, 6, 3), (4, 3, 3, 5), {"padding": "same"}),
    "valid": ((1, 7, 6, 3), (4, 3, 3, 5), {"padding": "valid"}),
    "long filters": ((1, 6, 6, 32), (3, 3, 32, 32), {"padding": 1}),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("algorithm", ["auto", "im2col", "implicit_gemm"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d(name, algorithm):
    x_shape, w_shape, settings = CONVOLUTIONS[name]
    # As a layer starts: weights of the size 1 / sqrt(numbers in a filter), so that y is about 1.
    scale = np.float32(1 / np.sqrt(np.prod(w_shape[:3])))
    compare(
        lambda x, w, b: F.conv2d(x, w, b, algorithm=algorithm, **settings),
        lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **settings),
        [normal(*x_shape), normal(*w_shape) * scale, normal(w_shape[3])],
        [IMAGE, WEIGHT, None],
        BACK,
    )


def test_linear():
    compare(F.linear, lambda x, w, b: x @ w + b, [normal(8, 50), normal(50, 10) * np.float32(0.15), normal(10)])


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_linear_and_conv2d_with_an_activation(activation):
    theirs = getattr(torch, activation)
    compare(
        lambda x, w, b: F.linear(x, w, b, activation=activation),
        lambda x, w, b: theirs(x @ w + b),
        [normal(12, 50), normal(50, 10) * np.float32(0.15), normal(10)],
    )
    for groups, O in ((1, 20), (3, 3)):
        compare(
            lambda x, w, b, g=groups: F.conv2d(x, w, b, padding=1, groups=g, activation=activation),
            lambda x, w, b, g=groups: theirs(torch.nn.functional.conv2d(x, w, b, padding=1, groups=g)),
            [normal(2, 6, 5, 3), normal(3, 3, 3 // groups, O) * np.float32(0.2), normal(O)],
            [IMAGE, WEIGHT, None],
            BACK,
        )


WINDOWS = {
    "2x2": ((2, 8, 8, 3), {"kernel_size": 2}),
    "does not divide": ((1, 9, 7, 2), {"kernel_size": 2}),
    "overlap": ((1, 13, 13, 4), {"kernel_size": 3, "stride": 2}),
    "padding": ((2, 8, 7, 3), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "pairs": ((1, 8, 7, 2), {"kernel_size": (3, 2), "stride": (1, 3), "padding": (1, 0)}),
    "ceil_mode": ((1, 8, 10, 2), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    "ceil_mode, padding": ((1, 8, 9, 2), {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}),
    "stride longer than the window": ((1, 9, 9, 2), {"kernel_size": 2, "stride": 4, "ceil_mode": True}),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("negative", [False, True])
def test_max_pool2d(name, negative):
    shape, settings = WINDOWS[name]
    x = -np.abs(normal(*shape)) - 1 if negative else normal(*shape)
    theirs = torch.nn.functional.max_pool2d
    compare(lambda x: F.max_pool2d(x, **settings), lambda x: theirs(x, **settings), [x], [IMAGE], BACK)


def test_max_pool2d_of_ties_gives_the_gradient_to_the_first():
    x = np.round(normal(2, 9, 9, 2))  # many equal numbers
    theirs = torch.nn.functional.max_pool2d
    compare(lambda x: F.max_pool2d(x, 3, 2), lambda x: theirs(x, 3, 2), [x], [IMAGE], BACK)


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_avg_pool2d(name, count_include_pad):
    shape, settings = WINDOWS[name]
    compare(
        lambda x: F.avg_pool2d(x, **settings, count_include_pad=count_include_pad),
        lambda x: torch.nn.functional.avg_pool2d(x, **settings, count_include_pad=count_include_pad),
        [normal(*shape)],
        [IMAGE],
        BACK,
    )


@pytest.mark.parametrize("name", WINDOWS)
def test_sum_pool2d(name):
    shape, settings = WINDOWS[name]
    compare(
        lambda x: F.sum_pool2d(x, **settings),
        lambda x: torch.nn.functional.avg_pool2d(x, **settings, divisor_override=1),
        [normal(*shape)],
        [IMAGE],
        BACK,
    )


@pytest.mark.parametrize("output_size", [1, 3, (2, 5), (7, 6), (10, 9)])
def test_adaptive_avg_pool2d(output_size):
    theirs = torch.nn.functional.adaptive_avg_pool2d
    x = normal(2, 7, 6, 3)
    compare(lambda x: F.adaptive_avg_pool2d(x, output_size), lambda x: theirs(x, output_size), [x], [IMAGE], BACK)
    compare(F.global_avg_pool2d, lambda x: x.mean((2, 3)), [x], [IMAGE])


@pytest.mark.parametrize("shape", [(4, 3, 3, 5), (6, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_its_running_statistics(shape, training):
    C = shape[-1]
    mean, var = normal(C, seed=3), np.abs(normal(C, seed=4)) + 1
    other_mean, other_var = torch.tensor(mean), torch.tensor(var)
    compare(
        lambda x, g, b: F.batch_norm(x, g, b, mean, var, training=training, momentum=0.3, eps=1e-3),
        lambda x, g, b: torch.nn.functional.batch_norm(x, other_mean, other_var, g, b, training, 0.3, 1e-3),
        [normal(*shape), normal(C, seed=1), normal(C, seed=2)],
        [IMAGE if len(shape) == 4 else None, None, None],
        BACK if len(shape) == 4 else None,
    )
    close(mean, other_mean.numpy())
    close(var, other_var.numpy())
    assert mean.dtype == var.dtype == np.float32


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_batch_norm_with_a_residual_and_relu(activation, training):
    C = 5
    mean, var = normal(C, seed=3), np.abs(normal(C, seed=4)) + 1
    statistics = torch.tensor(mean), torch.tensor(var)
    act = torch.relu if activation else lambda y: y
    ours = lambda x, g, b, *r: F.batch_norm(  # noqa: E731
        x, g, b, mean.copy(), var.copy(), training, activation=activation, residual=r[0] if r else None
    )
    arrays = [normal(4, 3, 3, C), normal(C, seed=1), normal(C, seed=2), normal(4, 3, 3, C, seed=5)]
    theirs = torch.nn.functional.batch_norm
    compare(ours, lambda x, g, b: act(theirs(x, *statistics, g, b, training, 0)), arrays[:3], [IMAGE, None, None], BACK)
    compare(
        ours,
        lambda x, g, b, r: act(theirs(x, *statistics, g, b, training, 0) + r),
        arrays,
        [IMAGE, None, None, IMAGE],
        BACK,
    )


def test_cross_entropy():
    labels = np.random.default_rng(0).integers(0, 7, 9)
    smooth = (np.eye(7)[labels] * 0.8 + 0.2 / 7).astype(np.float32)
    theirs = torch.nn.functional.cross_entropy
    for scale in (1, 30):
        logits = normal(9, 7) * np.float32(scale)
        compare(lambda x: F.cross_entropy(x, labels), lambda x: theirs(x, torch.tensor(labels)), [logits])
        compare(lambda x: F.cross_entropy(x, smooth), lambda x: theirs(x, torch.tensor(smooth)), [logits])


def test_cross_entropy_of_logits_of_a_thousand():
    logits = np.array([[1000, -1000, 0], [1000, 1000, 1000], [-1000, 0, -1000]], np.float32)
    labels = np.array([0, 1, 0])
    theirs = torch.nn.functional.cross_entropy
    compare(lambda x: F.cross_entropy(x, labels), lambda x: theirs(x, torch.tensor(labels)), [logits])


def test_squared_errors():
    compare(F.mean_squared_error, torch.nn.functional.mse_loss, [normal(5, 4), normal(5, 4, seed=1)])
    compare(F.half_squared_error, lambda y, t: ((y - t) ** 2).sum(-1).mean() / 2, [normal(5, 4), normal(5, 4, seed=1)])


def test_dropout_as_torch_with_the_mask_that_was_drawn():
    x = normal(4, 6)
    ones = F.dropout(mc.tensor(np.ones_like(x)), 0.3, step=7, seed=1)
    mask = torch.tensor(ones.data)
    compare(lambda x: F.dropout(x, 0.3, step=7, seed=1), lambda x: x * mask, [x])
    assert set(np.unique(ones.data)) == {np.float32(0), np.float32(1 / 0.7)}
