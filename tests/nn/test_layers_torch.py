"""Every layer against PyTorch's: forward, and the gradients of input, weight and bias, in training and evaluation.

Float32 on both sides. The sums have at most a few hundred terms of size one, so rounding leaves relative errors of
about 1e-6; the tolerance is 2e-5 relative, and 2e-5 absolute where terms cancel.
"""

import numpy as np
import pytest

import minicnn as mc
from minicnn import nn

torch = pytest.importorskip("torch")

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    mc.seed(0)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def to_torch(array):
    """The same values in torch's layout: images (N, H, W, C) -> (N, C, H, W), others as they are."""
    array = np.ascontiguousarray(np.moveaxis(array, -1, 1) if array.ndim == 4 else array)
    return torch.tensor(array)


def from_torch(t):
    """A torch tensor of activations in our layout: (N, C, H, W) -> (N, H, W, C)."""
    array = t.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def weight_to_torch(name, array):
    """Convolution (KH, KW, C, O) -> (O, C, KH, KW), linear (in, out) -> (out, in), vectors as they are."""
    return torch.tensor(np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T))


def randomise(ours, theirs):
    """Give both layers the same random weights; fails where their names or sizes differ."""
    rng = np.random.default_rng(1)
    state = ours.state_dict()
    for name, _ in ours.named_parameters():
        state[name] = rng.standard_normal(state[name].shape).astype(np.float32)
    ours.load_state_dict(state)
    theirs.load_state_dict({name: weight_to_torch(name, array) for name, array in state.items()}, strict=True)


def compare(ours, theirs, shape, training=True, steps=1):
    """Run both layers forward and backward and compare all they compute."""
    rng = np.random.default_rng(2)
    randomise(ours, theirs)
    ours.train(training)
    theirs.train(training)
    for _ in range(steps):
        x = rng.standard_normal(shape).astype(np.float32)
        ours.zero_grad()
        theirs.zero_grad()
        x_ours = mc.tensor(x, requires_grad=True)
        x_theirs = to_torch(x).requires_grad_()
        y_ours, y_theirs = ours(x_ours), theirs(x_theirs)
        expected = from_torch(y_theirs)
        assert y_ours.data.dtype == np.float32
        np.testing.assert_allclose(y_ours.data, expected, **TOLERANCE)
        dy = rng.standard_normal(y_ours.shape).astype(np.float32)
        y_ours.backward(dy)
        y_theirs.backward(to_torch(dy))
        np.testing.assert_allclose(x_ours.grad, from_torch(x_theirs.grad), **TOLERANCE)
        grads = {name: p.grad for name, p in theirs.named_parameters()}
        assert [name for name, _ in ours.named_parameters()] == list(grads)
        for name, p in ours.named_parameters():
            got = weight_to_torch(name, p.grad).numpy()
            np.testing.assert_allclose(got, grads[name].numpy(), err_msg=name, **TOLERANCE)


both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])

CONVOLUTIONS = [
    ((3, 5, 3), {}, (2, 8, 7, 3)),
    ((1, 1, 1), {}, (1, 3, 3, 1)),
    ((4, 6, (1, 3)), {}, (2, 5, 6, 4)),
    ((3, 4, 3), {"stride": 2}, (2, 8, 9, 3)),
    ((3, 4, 2), {"stride": (3, 1)}, (2, 9, 5, 3)),
    ((3, 4, 2), {"stride": 5}, (1, 8, 8, 3)),
    ((3, 4, 3), {"padding": 1}, (2, 5, 6, 3)),
    ((3, 4, (3, 5)), {"padding": (0, 2), "stride": 2}, (2, 7, 6, 3)),
    ((3, 4, 3), {"dilation": 2}, (2, 7, 8, 3)),
    ((2, 3, 3), {"dilation": (2, 1), "padding": (2, 1), "stride": (2, 3)}, (2, 9, 8, 2)),
    ((4, 6, 3), {"groups": 2}, (2, 6, 6, 4)),
    ((4, 8, 3), {"groups": 4, "padding": 1, "stride": 2}, (2, 7, 7, 4)),
    ((6, 6, 3), {"groups": 6, "dilation": 2, "padding": 2}, (1, 6, 6, 6)),
    ((3, 4, 3), {"padding": "same"}, (2, 6, 5, 3)),
    ((3, 4, (2, 4)), {"padding": "same"}, (2, 6, 5, 3)),
    ((3, 4, (3, 2)), {"padding": "same", "dilation": (2, 3)}, (2, 6, 7, 3)),
    ((3, 4, 3), {"padding": "valid"}, (2, 6, 5, 3)),
    ((3, 4, 3), {"bias": False}, (2, 5, 5, 3)),
    ((3, 4, (5, 6)), {}, (3, 5, 6, 3)),
]


@both_modes
@pytest.mark.parametrize(("arguments", "settings", "shape"), CONVOLUTIONS)
# torch warns that "same" with an even kernel copies the input.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_conv2d(arguments, settings, shape, training):
    compare(nn.Conv2d(*arguments, **settings), torch.nn.Conv2d(*arguments, **settings), shape, training)


@both_modes
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (1, 30), (33, 4)])
def test_linear(shape, bias, training):
    compare(nn.Linear(shape[1], 6, bias), torch.nn.Linear(shape[1], 6, bias), shape, training)


THEIR_ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}


@pytest.mark.parametrize("name", THEIR_ACTIVATIONS)
def test_the_activation_of_a_layer(name):
    class Theirs(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.weight, self.bias, self.layer = layer.weight, layer.bias, [layer]

        def forward(self, x):
            return THEIR_ACTIVATIONS[name]()(self.layer[0](x))

    compare(nn.Conv2d(3, 4, 3, activation=name), Theirs(torch.nn.Conv2d(3, 4, 3)), (2, 6, 5, 3))
    compare(nn.Linear(7, 4, activation=name), Theirs(torch.nn.Linear(7, 4)), (3, 7))


WINDOWS = [
    ((2,), {}, (2, 6, 8, 3)),
    ((2,), {}, (2, 7, 5, 3)),
    ((3, 2), {}, (2, 7, 9, 3)),
    ((2, 3), {}, (2, 8, 9, 1)),
    (((2, 3), (1, 2)), {}, (1, 6, 8, 2)),
    ((3, 2, 1), {}, (2, 7, 8, 3)),
    (((3, 2), (2, 1), (1, 0)), {}, (2, 6, 6, 2)),
    ((3, 2), {"ceil_mode": True}, (2, 8, 6, 3)),
    ((2,), {"ceil_mode": True}, (2, 5, 7, 3)),
    ((3, 2, 1), {"ceil_mode": True}, (2, 6, 7, 3)),
    ((2, 2, 1), {"ceil_mode": True}, (2, 6, 5, 2)),
    ((5,), {}, (2, 5, 5, 3)),
]


@both_modes
@pytest.mark.parametrize(("arguments", "settings", "shape"), WINDOWS)
def test_max_pool2d(arguments, settings, shape, training):
    compare(nn.MaxPool2d(*arguments, **settings), torch.nn.MaxPool2d(*arguments, **settings), shape, training)


@both_modes
@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize(("arguments", "settings", "shape"), WINDOWS)
def test_avg_pool2d(arguments, settings, shape, count, training):
    settings = settings | {"count_include_pad": count}
    compare(nn.AvgPool2d(*arguments, **settings), torch.nn.AvgPool2d(*arguments, **settings), shape, training)


def test_the_padding_of_an_average_counts_only_if_asked():
    x = np.ones((1, 2, 2, 1), np.float32)
    np.testing.assert_array_equal(nn.AvgPool2d(3, 1, 1)(mc.tensor(x)).data, x)
    theirs = from_torch(torch.nn.AvgPool2d(3, 1, 1)(to_torch(x)))
    assert (theirs < 1).all()
    np.testing.assert_allclose(nn.AvgPool2d(3, 1, 1, count_include_pad=True)(mc.tensor(x)).data, theirs, **TOLERANCE)


@pytest.mark.parametrize(("arguments", "settings", "shape"), [w for w in WINDOWS if not w[1]])
def test_sum_pool2d(arguments, settings, shape):
    # torch: the average whose divisor is 1.
    compare(nn.SumPool2d(*arguments), torch.nn.AvgPool2d(*arguments, divisor_override=1), shape)


@both_modes
@pytest.mark.parametrize("size", [1, 2, 3, (2, 5), 7])
def test_adaptive_avg_pool2d(size, training):
    compare(nn.AdaptiveAvgPool2d(size), torch.nn.AdaptiveAvgPool2d(size), (2, 7, 5, 3), training)


def test_global_avg_pool2d():
    theirs = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    compare(nn.GlobalAvgPool2d(), theirs, (2, 7, 5, 3))


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, None])
@pytest.mark.parametrize("shape", [(4, 5, 3, 6), (4, 1, 1, 6), (16, 6)])
def test_batch_norm2d_over_three_steps_then_in_evaluation(shape, momentum):
    ours = nn.BatchNorm2d(6, momentum=momentum)
    theirs = (torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d)(6, momentum=momentum)
    compare(ours, theirs, shape, training=True, steps=3)
    assert not np.array_equal(ours.running_mean, np.zeros(6)) or momentum == 0
    for name, buffer in ours.named_buffers():
        np.testing.assert_allclose(buffer, getattr(theirs, name).numpy(), err_msg=name, **TOLERANCE)
    assert int(ours.num_batches_tracked) == 3
    compare(ours, theirs, shape, training=False)
    assert int(ours.num_batches_tracked) == 3


def test_batch_norm2d_eps():
    compare(nn.BatchNorm2d(3, eps=0.5), torch.nn.BatchNorm2d(3, eps=0.5), (4, 3, 3, 3))


@both_modes
@pytest.mark.parametrize(
    ("size", "settings"),
    [(5, {}), (5, {"alpha": 0.5, "beta": 0.75, "k": 2.0}), (2, {"alpha": 1.0}), (4, {"alpha": 1.0})],
)
def test_local_response_norm(size, settings, training):
    ours, theirs = nn.LocalResponseNorm(size, **settings), torch.nn.LocalResponseNorm(size, **settings)
    compare(ours, theirs, (2, 3, 4, 7), training)


@both_modes
@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "Tanh", "Sigmoid"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (6, 7)])
def test_activations(name, shape, training):
    compare(getattr(nn, name)(), getattr(torch.nn, name)(), shape, training)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax(name):
    compare(getattr(nn, name)(), getattr(torch.nn, name)(dim=-1), (6, 7))


def test_upsample():
    compare(nn.Upsample(3), torch.nn.Upsample(scale_factor=3, mode="nearest"), (2, 3, 4, 5))


def test_flatten_of_vectors_and_dropout_in_evaluation():
    compare(
        nn.Sequential(nn.Flatten(), nn.Dropout(0.5)),
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout()),
        (4, 6),
        False,
    )


def build(library):
    return library.Sequential(
        library.Conv2d(3, 4, 3, padding=1, bias=False),
        library.BatchNorm2d(4),
        library.ReLU(),
        library.Sequential(
            library.MaxPool2d(3, 2, 1), library.Conv2d(4, 6, 1), library.Dropout(0.5), library.BatchNorm2d(6)
        ),
        library.AdaptiveAvgPool2d(1),
        library.Flatten(),
        library.Linear(6, 5),
    )


def test_the_names_of_the_state_are_torchs_in_torchs_order():
    assert list(build(nn).state_dict()) == list(build(torch.nn).state_dict())
    ours, theirs = nn.Linear(2, 3), torch.nn.Linear(2, 3)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in build(nn).named_modules()] == [name for name, _ in build(torch.nn).named_modules()]
    assert [name for name, _ in build(nn).named_parameters()] == [
        name for name, _ in build(torch.nn).named_parameters()
    ]


def test_a_whole_network_in_evaluation():
    compare(build(nn), build(torch.nn), (2, 8, 8, 3), training=False)
