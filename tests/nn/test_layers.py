"""The layers from their definitions: laziness, defaults, what they count, what they refuse."""

import itertools
import math

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import nn

RNG = np.random.default_rng(0)


def images(*shape, dtype=np.float32):
    return mc.tensor(RNG.standard_normal(shape).astype(dtype))


@pytest.fixture(autouse=True)
def _seeded():
    mc.seed(0)


# Laziness


LAZY = {
    "linear": (lambda C: nn.Linear(C, 10), 84, (3, 84)),
    "conv": (lambda C: nn.Conv2d(C, 6, 3), 5, (2, 4, 4, 5)),
    "grouped conv": (lambda C: nn.Conv2d(C, 6, (1, 3), groups=2), 4, (2, 4, 4, 4)),
}


@pytest.mark.parametrize("kind", LAZY)
def test_laziness_changes_no_bit(kind):
    make, C, shape = LAZY[kind]
    eager, eager_next = make(C), nn.Linear(4, 4)
    mc.seed(0)
    lazy, lazy_next = make(None), nn.Linear(4, 4)
    held = lazy.weight
    mc.seed(9)
    x = images(*shape)
    y = lazy(x)
    assert lazy.weight is held
    np.testing.assert_array_equal(lazy.weight.data, eager.weight.data)
    np.testing.assert_array_equal(lazy_next.weight.data, eager_next.weight.data)
    np.testing.assert_array_equal(y.data, eager(x).data)


def test_the_inferred_sizes_are_told():
    linear, conv = nn.Linear(None, 3), nn.Conv2d(None, 4, 3, groups=2)
    assert linear.in_features is None
    assert conv.in_channels is None
    linear(images(2, 7))
    conv(images(1, 3, 3, 6))
    assert linear.in_features == 7
    assert conv.in_channels == 6
    assert conv.weight.shape == (3, 3, 3, 4)
    with pytest.raises(ValueError, match=r"\(N, 7\)"):
        linear(images(2, 8))


@pytest.mark.parametrize(
    ("layer", "wrong", "right"),
    [
        (nn.Linear(None, 3), lambda: images(2, 4, 4, 5), (2, 80)),
        (nn.Linear(None, 3), lambda: images(2, 0), (2, 4)),
        (nn.Linear(None, 3), lambda: mc.tensor(np.ones((2, 5), np.int64)), (2, 4)),
        (nn.Linear(None, 3), lambda: np.ones((2, 5), np.float32), (2, 4)),
        (nn.Conv2d(None, 4, 3, groups=2), lambda: images(1, 5, 5, 3), (1, 5, 5, 4)),
        (nn.Conv2d(None, 4, 3), lambda: images(5, 5, 3), (1, 5, 5, 4)),
        (nn.Conv2d(None, 4, 3), lambda: mc.tensor(np.ones((1, 5, 5, 3), np.uint8)), (1, 5, 5, 4)),
    ],
)
def test_a_wrong_first_input_decides_nothing(layer, wrong, right):
    with pytest.raises((ValueError, TypeError), match="expected"):
        layer(wrong())
    assert not layer.weight.is_filled
    assert len(layer(images(*right))) == right[0]


# Weights at the start


@pytest.mark.parametrize(("layer", "fan_in"), [(nn.Conv2d(8, 64, 3), 72), (nn.Linear(100, 64), 100)])
def test_default_weights_are_kaiming_uniform_and_biases_zero(layer, fan_in):
    w = layer.weight.data
    limit = math.sqrt(6 / fan_in)
    assert w.dtype == np.float32
    assert 0.99 * limit < w.max() <= limit
    # Five standard errors of the variance of a uniform draw, v * sqrt(0.8 / n).
    assert abs(w.astype(np.float64).var() / (2 / fan_in) - 1) < 5 * math.sqrt(0.8 / w.size)
    np.testing.assert_array_equal(layer.bias.data, np.zeros(64, np.float32))


def test_two_layers_draw_different_weights_and_a_seed_repeats_them():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    assert not np.array_equal(a.weight.data, b.weight.data)
    mc.seed(0)
    np.testing.assert_array_equal(nn.Linear(4, 4).weight.data, a.weight.data)
    mc.seed(1)
    assert not np.array_equal(nn.Linear(4, 4).weight.data, a.weight.data)


def test_without_bias_there_is_none():
    for layer, shape in ((nn.Conv2d(2, 3, 1, bias=False), (1, 2, 2, 2)), (nn.Linear(2, 3, bias=False), (4, 2))):
        assert layer.bias is None
        assert [name for name, _ in layer.named_parameters()] == ["weight"]
        zeros = mc.tensor(np.zeros(shape, np.float32))
        assert not layer(zeros).data.any()


# Activations


@pytest.mark.parametrize(
    ("name", "function"), [("relu", F.relu), ("tanh", F.tanh), ("sigmoid", F.sigmoid), (None, lambda x: x)]
)
def test_activation_is_applied_last_and_its_gradient_flows(name, function):
    for make, shape in (
        (lambda a: nn.Conv2d(2, 3, 3, activation=a), (2, 4, 4, 2)),
        (lambda a: nn.Linear(6, 3, activation=a), (4, 6)),
    ):
        x = images(*shape)
        mc.seed(0)
        with_it = make(name)
        mc.seed(0)
        without = make(None)
        y, expected = with_it(x), function(without(x))
        np.testing.assert_allclose(y.data, expected.data, rtol=1e-6, atol=1e-6)
        dy = RNG.standard_normal(y.shape).astype(np.float32)
        y.backward(dy)
        expected.backward(dy)
        np.testing.assert_allclose(with_it.weight.grad, without.weight.grad, rtol=1e-5, atol=1e-5)


# Shapes


def test_flatten_is_row_major_with_channels_fastest():
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    y = nn.Flatten()(mc.tensor(x)).data
    assert y.shape == (2, 60)
    for n, h, w, c in itertools.product(range(2), range(3), range(4), range(5)):
        assert y[n, (h * 4 + w) * 5 + c] == x[n, h, w, c]
    assert nn.Flatten()(mc.tensor(np.zeros((3, 7), np.float32))).shape == (3, 7)
    assert nn.Flatten()(mc.tensor(np.zeros(3, np.float32))).shape == (3, 1)
    with pytest.raises(TypeError, match=r"mc.tensor"):
        nn.Flatten()(x)


def test_upsample_repeats_pixels():
    x = images(1, 2, 3, 2)
    y = nn.Upsample(2)(x).data
    assert y.shape == (1, 4, 6, 2)
    for h, w in itertools.product(range(4), range(6)):
        np.testing.assert_array_equal(y[0, h, w], x.data[0, h // 2, w // 2])


def test_pooling_stride_is_the_kernels_size_by_default():
    for layer in (nn.MaxPool2d, nn.AvgPool2d, nn.SumPool2d):
        assert layer((2, 3)).stride == (2, 3)
        assert layer((2, 3))(images(1, 4, 6, 1)).shape == (1, 2, 2, 1)


def test_sum_pooling_adds():
    x = images(1, 4, 4, 2)
    expected = x.data.reshape(1, 2, 2, 2, 2, 2).sum(axis=(2, 4))  # (N, OH, KH, OW, KW, C) -> (N, OH, OW, C)
    np.testing.assert_allclose(nn.SumPool2d(2)(x).data, expected, rtol=1e-6, atol=1e-6)


def test_max_pooling_pads_with_minus_infinity():
    x = mc.tensor(np.full((1, 3, 3, 1), -1, np.float32))
    np.testing.assert_array_equal(nn.MaxPool2d(3, 1, 1)(x).data, x.data)


def test_same_padding_makes_ceil_h_over_stride():
    x = images(1, 7, 6, 2)
    for stride in (1, 2, 3):
        expected = (1, math.ceil(7 / stride), math.ceil(6 / stride), 4)
        assert nn.Conv2d(2, 4, 3, stride=stride, padding="same")(x).shape == expected
        assert nn.MaxPool2d(3, stride, padding="same")(x).shape == (*expected[:3], 2)


# Batch normalisation


def test_batch_norm_counts_training_steps_only():
    layer = nn.BatchNorm2d(3)
    layer(images(2, 4, 4, 3))
    layer.eval()(images(2, 4, 4, 3))
    layer.train()(images(5, 3))
    assert int(layer.num_batches_tracked) == 2
    assert layer.num_batches_tracked.dtype == np.int64


def test_batch_norm_without_momentum_keeps_the_plain_mean():
    layer = nn.BatchNorm2d(3, momentum=None)
    batches = [images(8, 2, 2, 3) for _ in range(4)]
    for x in batches:
        layer(x)
    means = [x.data.mean(axis=(0, 1, 2)) for x in batches]
    variances = [x.data.var(axis=(0, 1, 2), ddof=1) for x in batches]
    np.testing.assert_allclose(layer.running_mean, np.mean(means, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var, np.mean(variances, axis=0), rtol=1e-5, atol=1e-6)


def test_batch_norm_that_fails_counts_nothing():
    layer = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="more than one value"):
        layer(images(1, 3))
    assert int(layer.num_batches_tracked) == 0
    assert not layer.running_mean.any()


def test_evaluation_of_a_sample_does_not_depend_on_its_batch():
    layer = nn.BatchNorm2d(3)
    layer(images(4, 2, 2, 3))
    layer.eval()
    x = images(4, 2, 2, 3)
    np.testing.assert_array_equal(layer(x).data[:1], layer(mc.tensor(x.data[:1])).data)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_ends_a_residual_block(training):
    plain, block = nn.BatchNorm2d(3).train(training), nn.BatchNorm2d(3, activation="relu").train(training)
    x, residual = images(4, 2, 2, 3), images(4, 2, 2, 3)
    np.testing.assert_allclose(block(x, residual).data, np.maximum(plain(x).data + residual.data, 0), atol=1e-6)
    np.testing.assert_allclose(block.running_var, plain.running_var)
    assert repr(block) == "BatchNorm2d(3, eps=1e-05, momentum=0.1, activation='relu')"


def test_batch_norm_in_float64_after_to():
    layer = nn.BatchNorm2d(3).to(dtype="float64")
    layer(images(4, 2, 2, 3, dtype=np.float64))
    assert layer.running_var.dtype == np.float64


# Dropout


def test_dropout_is_the_identity_in_evaluation():
    layer = nn.Dropout(0.5).eval()
    x = images(4, 10)
    assert layer(x) is x
    assert int(layer.counter) == 0


def test_dropout_draws_by_seed_layer_and_step():
    mc.seed(11)
    nn.ReLU()
    nn.Linear(2, 2, bias=False)  # takes number 0
    layer = nn.Dropout(0.3)
    mc.seed(0)
    x = images(4, 50)
    for step in range(3):
        expected = F.dropout(x, 0.3, layer=1, step=step, seed=11)
        np.testing.assert_array_equal(layer(x).data, expected.data)
    assert int(layer.counter) == 3


def test_dropout_resumes_where_its_counter_is_put():
    layer = nn.Dropout(0.5)
    x = images(4, 50)
    steps = [layer(x).data for _ in range(3)]
    assert not np.array_equal(steps[0], steps[2])
    layer.counter = np.array(2, np.int64)
    np.testing.assert_array_equal(layer(x).data, steps[2])


def test_two_dropouts_have_different_masks():
    x = images(4, 50)
    assert not np.array_equal(nn.Dropout(0.5)(x).data, nn.Dropout(0.5)(x).data)


def test_dropout_drops_p_and_keeps_the_mean():
    p, n = 0.3, 200_000
    y = nn.Dropout(p)(mc.tensor(np.ones((2, n // 2), np.float32))).data
    assert abs((y == 0).mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)


def test_the_counter_is_a_buffer_that_is_not_saved():
    layer = nn.Dropout(0.5)
    assert [name for name, _ in layer.named_buffers()] == ["counter"]
    assert layer.state_dict() == {}


# Multiply-adds


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"kernel_size": 3}, (5, 6, 4)),
        ({"kernel_size": (1, 3), "stride": 2, "padding": 1}, (5, 6, 4)),
        ({"kernel_size": 3, "groups": 2, "dilation": 2}, (7, 8, 4)),
        ({"kernel_size": 2, "padding": "same"}, (5, 6, 4)),
    ],
)
def test_multiply_adds_of_a_convolution_count_its_products(settings, shape):
    layer = nn.Conv2d(4, 6, **settings)
    layer.weight.initialize(nn.init.ones)
    # With x and w all ones and no padding, each output is the number of its products; padding's products count too.
    x = np.ones((1, *shape), np.float32)
    y = layer(mc.tensor(x))
    per_output = layer.weight.data[..., 0].size
    assert layer(mc.tensor(x)).data.max() == per_output
    assert layer.multiply_adds(shape, y.shape[1:]) == y.size * per_output
    assert layer.multiply_adds((7, *shape), (7, *y.shape[1:])) == y.size * per_output


def test_multiply_adds_of_lenets_layers():
    # LeCun et al. 1998, section II.B: C1 has 156 parameters and 122,304 connections, of which 28*28*6 are biases.
    assert nn.Conv2d(1, 6, 5).multiply_adds((32, 32, 1), (28, 28, 6)) == 122_304 - 28 * 28 * 6
    assert nn.Linear(120, 84).multiply_adds((120,), (84,)) == 120 * 84
    assert nn.ReLU().multiply_adds((120,), (120,)) == 0


def test_a_linear_layer_knows_the_shape_of_flattened_images():
    layer = nn.Linear((5, 6, 4), 84)
    assert (layer.image_shape, layer.in_features, layer.weight.shape) == ((5, 6, 4), 120, (120, 84))
    assert "in_features=(5, 6, 4)" in repr(layer)
    assert nn.Linear(120, 84).image_shape is None


# Arguments


REFUSED = [
    (lambda: nn.Conv2d(0, 4, 3), ValueError, "in_channels"),
    (lambda: nn.Conv2d(3.0, 4, 3), TypeError, "in_channels"),
    (lambda: nn.Conv2d(3, None, 3), TypeError, "out_channels"),
    (lambda: nn.Conv2d(3, -4, 3), ValueError, "out_channels"),
    (lambda: nn.Conv2d(True, 4, 3), TypeError, "in_channels"),
    (lambda: nn.Conv2d(3, 4, 0), ValueError, "kernel_size"),
    (lambda: nn.Conv2d(3, 4, (3, 3, 3)), ValueError, "kernel_size"),
    (lambda: nn.Conv2d(3, 4, 3, stride=0), ValueError, "stride"),
    (lambda: nn.Conv2d(3, 4, 3, dilation=0), ValueError, "dilation"),
    (lambda: nn.Conv2d(3, 4, 3, padding=-1), ValueError, "padding"),
    (lambda: nn.Conv2d(3, 4, 3, padding="full"), ValueError, '"same" or "valid"'),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "in_channels that groups=2 divides, got 3"),
    (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels that groups=2 divides, got 3"),
    (lambda: nn.Conv2d(None, 3, 3, groups=2), ValueError, "out_channels that groups=2 divides, got 3"),
    (lambda: nn.Conv2d(4, 4, 3, groups=0), ValueError, "groups"),
    (lambda: nn.Conv2d(4, 4, 3, bias="relu"), TypeError, "bias"),
    (lambda: nn.Conv2d(4, 4, 3, activation="swish"), ValueError, '"relu", "tanh", "sigmoid", got \'swish\''),
    (lambda: nn.Linear(4, 4, activation=F.relu), ValueError, "activation"),
    (lambda: nn.BatchNorm2d(4, activation="tanh"), ValueError, "activation to be None, \"relu\", got 'tanh'"),
    (lambda: nn.Linear(0, 4), ValueError, "in_features"),
    (lambda: nn.Linear((7, 7), 4), ValueError, "shape (H, W, C) of an image, got (7, 7)"),
    (lambda: nn.Linear((7, 0, 3), 4), ValueError, "W to be a whole number"),
    (lambda: nn.Linear(4, "4"), TypeError, "out_features"),
    (lambda: nn.Linear(4, 4, "relu"), TypeError, "bias"),
    (lambda: nn.MaxPool2d(0), ValueError, "MaxPool2d: kernel_size"),
    (lambda: nn.AvgPool2d(2, stride=(1, 0)), ValueError, "AvgPool2d: stride"),
    (lambda: nn.SumPool2d(2, padding="sane"), ValueError, "SumPool2d expected padding"),
    (lambda: nn.MaxPool2d(2, 2, 0, 1), TypeError, "ceil_mode"),
    (lambda: nn.AvgPool2d(2, count_include_pad=None), TypeError, "count_include_pad"),
    (lambda: nn.AdaptiveAvgPool2d(0), ValueError, "output_size"),
    (lambda: nn.BatchNorm2d(None), TypeError, "num_features"),
    (lambda: nn.BatchNorm2d(3, eps=0), ValueError, "eps > 0"),
    (lambda: nn.BatchNorm2d(3, eps=math.nan), ValueError, "eps"),
    (lambda: nn.BatchNorm2d(3, momentum=1.5), ValueError, "momentum"),
    (lambda: nn.BatchNorm2d(3, momentum="0.1"), TypeError, "momentum"),
    (lambda: nn.LocalResponseNorm(0), ValueError, "size"),
    (lambda: nn.LocalResponseNorm(5, alpha=math.inf), ValueError, "alpha"),
    (lambda: nn.Dropout(1.0), ValueError, "0 <= p < 1"),
    (lambda: nn.Dropout(-0.1), ValueError, "0 <= p < 1"),
    (lambda: nn.Dropout("0.5"), TypeError, "p to be a number"),
    (lambda: nn.Upsample(1.5), TypeError, "scale"),
]


@pytest.mark.parametrize(("make", "error", "words"), REFUSED)
def test_a_wrong_argument_is_an_error_where_it_stands(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)


def test_numpy_integers_are_whole_numbers():
    layer = nn.Conv2d(np.int64(2), np.int32(4), np.int64(3))
    assert layer.weight.shape == (3, 3, 2, 4)


def test_repr_shows_what_was_asked_for():
    assert repr(nn.Conv2d(1, 6, 5)) == "Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))"
    assert repr(nn.Conv2d(None, 6, 5, 2, "same", 2, 3, False, "relu")) == (
        "Conv2d(None, 6, kernel_size=(5, 5), stride=(2, 2), padding='same', dilation=(2, 2), groups=3, bias=False, "
        "activation='relu')"
    )
    assert repr(nn.Linear(4, 3, activation="tanh")) == (
        "Linear(in_features=4, out_features=3, bias=True, activation='tanh')"
    )
    assert repr(nn.BatchNorm2d(3)) == "BatchNorm2d(3, eps=1e-05, momentum=0.1)"
