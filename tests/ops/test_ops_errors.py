"""What a user can get wrong: each error says what was expected, what came and, where it can, what to do."""

import warnings

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F


@pytest.fixture(autouse=True)
def _room(every_room):
    pass


def ones(*shape, dtype=np.float32):
    return mc.tensor(np.ones(shape, dtype))


IMAGES = ones(2, 6, 5, 3)
GAMMA, MEAN, VAR = ones(3), np.zeros(3, np.float32), np.ones(3, np.float32)

# Every operation that a layer makes, on a good input x.
LAYERS = {
    "Conv2d": lambda x: F.conv2d(x, ones(3, 3, 3, 4), ones(4)),
    "MaxPool2d": lambda x: F.max_pool2d(x, 2),
    "SumPool2d": lambda x: F.sum_pool2d(x, 2),
    "AvgPool2d": lambda x: F.avg_pool2d(x, 2),
    "AdaptiveAvgPool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "AdaptiveAvgPool2d ": F.global_avg_pool2d,
    "BatchNorm2d": lambda x: F.batch_norm(x, GAMMA, GAMMA, MEAN.copy(), VAR.copy(), training=True),
    "LocalResponseNorm": lambda x: F.local_response_norm(x, 5),
    "upsample": lambda x: F.upsample(x, 2),
    "relu": F.relu,
    "relu6": F.relu6,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
    "dropout": lambda x: F.dropout(x, 0.5),
    "mean_squared_error": lambda x: F.mean_squared_error(x, x),
    "half_squared_error": lambda x: F.half_squared_error(x, x),
    "Linear": lambda x: F.linear(x, ones(3, 4)),
    "cross_entropy": lambda x: F.cross_entropy(x, np.zeros(2, int)),
}
FLAT = ("Linear", "cross_entropy")
FOUR_AXES = [
    "Conv2d", "MaxPool2d", "SumPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "AdaptiveAvgPool2d ", "upsample",
]  # fmt: skip


def good(name, dtype=np.float32):
    return np.ones((2, 3), dtype) if name in FLAT else np.ones((2, 6, 5, 3), dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_the_good_input_is_taken(name):
    assert LAYERS[name](mc.tensor(good(name))).dtype == np.float32


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_whole_numbers_are_refused_and_the_cure_is_named(name, dtype):
    message = rf'^{name.strip()} expected float32 or float64, got {dtype}: convert with mc.tensor\(.*"float32"'
    with pytest.raises(TypeError, match=message):
        LAYERS[name](mc.tensor(good(name, dtype)))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("make", [np.asarray, list, lambda x: None])
def test_what_is_no_tensor_is_refused(name, make):
    x = make(good(name))
    with pytest.raises(TypeError, match=rf"^{name.strip()} expected a Tensor, got {type(x).__name__}: wrap arrays"):
        LAYERS[name](x)


@pytest.mark.parametrize("name", FOUR_AXES)
def test_images_have_four_axes(name):
    with pytest.raises(ValueError, match=rf"^{name.strip()} expected an array of 4 axes \(N, H, W, C\), got shape "):
        LAYERS[name](ones(2, 3))
    with pytest.raises(ValueError, match=r"got shape \(6, 5, 3\): one image needs an axis in front, image\[None\]"):
        LAYERS[name](ones(6, 5, 3))
    with pytest.raises(ValueError, match=r"got shape \(1, 2, 6, 5, 3\)"):
        LAYERS[name](ones(1, 2, 6, 5, 3))


@pytest.mark.parametrize("name", [*FOUR_AXES, "BatchNorm2d"])
@pytest.mark.parametrize("shape", [(0, 6, 5, 3), (2, 0, 5, 3), (2, 6, 0, 3)])
def test_images_are_not_empty(name, shape):
    with pytest.raises(ValueError, match=rf"^{name.strip()} expected at least one element, got an array of shape \("):
        LAYERS[name](ones(*shape))


@pytest.mark.parametrize("name", ["relu", "relu6", "tanh", "sigmoid", "softmax", "log_softmax", "dropout"])
def test_a_batch_of_zero_stays_one_where_nothing_is_counted(name):
    assert LAYERS[name](ones(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("name", LAYERS)
def test_nan_stays_visible(name):
    x = good(name)
    x[0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        # Dropout may drop some of them, none of the others.
        y = LAYERS[name](mc.tensor(x)).data
    assert np.isnan(y).any()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("make", ["read-only", "fortran", "reversed", "broadcast", "strided"])
def test_any_memory_layout_gives_the_same(name, make):
    x = np.random.default_rng(0).standard_normal(good(name).shape).astype(np.float32)
    if make == "broadcast":
        x[:] = x[:1]
    expected = mc.Tensor(np.ascontiguousarray(x), requires_grad=True)
    array = {
        "read-only": lambda: x.copy(),
        "fortran": lambda: np.asfortranarray(x),
        "reversed": lambda: x[::-1, ::-1].copy()[::-1, ::-1],
        "broadcast": lambda: np.broadcast_to(x[0], x.shape),
        "strided": lambda: np.repeat(x, 2, axis=1)[:, ::2],
    }[make]()
    if make == "read-only":
        array.flags.writeable = False
    got = mc.Tensor(array, requires_grad=True)  # the class takes an array as it is
    y, z = LAYERS[name](got), LAYERS[name](expected)
    np.testing.assert_allclose(y.data, z.data, rtol=1e-5, atol=1e-6)  # sums may be taken in another order
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(got.grad, expected.grad, rtol=1e-5, atol=1e-6)


# One number where several are wanted, and the other way round

WINDOW_ARGUMENTS = {
    "kernel_size": lambda value: F.max_pool2d(IMAGES, value),
    "stride": lambda value: F.max_pool2d(IMAGES, 2, value),
    "stride ": lambda value: F.conv2d(IMAGES, ones(3, 3, 3, 4), stride=value),
    "dilation": lambda value: F.conv2d(IMAGES, ones(3, 3, 3, 4), dilation=value),
    "output_size": lambda value: F.adaptive_avg_pool2d(IMAGES, value),
}
NO_PAIRS = [
    0,
    -1,
    1.5,
    2.0,
    "2",
    True,
    (1,),
    (1, 2, 3),
    (1, 0),
    (1, 1.5),
    (1, True),
    [],
    {},
    2**31,
    2**40,
    2**70,
    (1, 2**31),
]


@pytest.mark.parametrize("name", WINDOW_ARGUMENTS)
@pytest.mark.parametrize("value", [*NO_PAIRS, np.array([1, 1]), float("nan")], ids=repr)
def test_sizes_are_whole_numbers_from_one_on(name, value):
    with pytest.raises(ValueError, match=rf"^{name.strip()} expected a whole number >= 1 .*or a pair of them, got "):
        WINDOW_ARGUMENTS[name](value)


def test_sizes_may_be_numpy_numbers_or_lists():
    assert F.max_pool2d(IMAGES, np.int64(2), [2, np.uint8(1)]).shape == (2, 3, 4, 3)


def test_padding_may_differ_on_each_side():
    sides, w = ((2, 0), (1, 3)), ones(3, 3, 3, 4)
    around = F.pad(IMAGES, [(0, 0), *sides, (0, 0)])
    np.testing.assert_allclose(F.conv2d(IMAGES, w, padding=sides).numpy(), F.conv2d(around, w).numpy(), rtol=1e-6)
    assert F.max_pool2d(IMAGES, 4, 1, padding=sides).shape == F.max_pool2d(around, 4, 1).shape


@pytest.mark.parametrize(
    "value",
    [-1, 1.5, (1,), (1, -1), ((1, 1), 1), ((1, -1), (1, 1)), ((1, 1), (1, 1), (1, 1)), None, True, 2**31, np.ones(2)],
    ids=repr,
)
def test_padding_is_whole_numbers_from_zero_on(value):
    for call in (lambda p: F.conv2d(IMAGES, ones(3, 3, 3, 4), padding=p), lambda p: F.avg_pool2d(IMAGES, 3, padding=p)):
        with pytest.raises(ValueError, match=r"^padding expected a whole number >= 0 .*or a pair of them, got "):
            call(value)


@pytest.mark.parametrize("value", ["Same", "SAME", "full", "", "vaild"])
def test_a_misspelt_padding_is_named(value):
    for call in (lambda p: F.conv2d(IMAGES, ones(3, 3, 3, 4), padding=p), lambda p: F.max_pool2d(IMAGES, 3, padding=p)):
        with pytest.raises(
            ValueError, match=f'^padding expected a number, a pair, "same" or "valid", got \'{value}\'$'
        ):
            call(value)


def test_the_cells_of_a_window_can_be_counted():
    """All of this window but its middle is padding."""
    for pool in (F.max_pool2d, F.avg_pool2d):
        with pytest.raises(ValueError, match=r"expected a kernel of less than 2\*\*31 cells, got \(4, 1073741824\)"):
            pool(IMAGES, (4, 2**30), (1, 2**30), padding=((0, 0), (2**30 - 1, 2**30 - 1)))


@pytest.mark.parametrize("flag", [1, 0, "no", None, np.True_])
def test_flags_are_true_or_false(flag):
    for name, pool in (("MaxPool2d", F.max_pool2d), ("SumPool2d", F.sum_pool2d), ("AvgPool2d", F.avg_pool2d)):
        with pytest.raises(TypeError, match=f"^{name} expected ceil_mode to be True or False, got"):
            pool(IMAGES, 2, ceil_mode=flag)
    with pytest.raises(TypeError, match=r"^AvgPool2d expected count_include_pad to be True or False, got"):
        F.avg_pool2d(IMAGES, 2, count_include_pad=flag)
    with pytest.raises(TypeError, match=r"^BatchNorm2d expected training to be True or False, got"):
        F.batch_norm(IMAGES, GAMMA, GAMMA, MEAN, VAR, training=flag)


# Convolution


def test_conv2d_names_nchw():
    message = (
        r"^Conv2d expected 3 input channels \(last axis\), got an array of shape \(8, 3, 224, 220\); "
        r"it looks like NCHW: use x.transpose\(0, 2, 3, 1\)$"
    )
    with pytest.raises(ValueError, match=message):
        F.conv2d(ones(8, 3, 224, 220), ones(3, 3, 3, 4))


def test_conv2d_names_other_channels_without_a_wrong_hint():
    with pytest.raises(
        ValueError, match=r"expected 4 input channels \(last axis\), got an array of shape \(2, 6, 5, 3\)$"
    ):
        F.conv2d(IMAGES, ones(3, 3, 4, 4))
    with pytest.raises(ValueError, match=r"expected 6 input channels .*\(2, 6, 5, 3\); it looks like NCHW"):
        F.conv2d(IMAGES, ones(3, 3, 3, 4), groups=2)


@pytest.mark.parametrize(
    ("kernel", "settings", "spans"),
    [
        ((7, 3), {}, r"spans \(7, 3\) over \(6, 5\)"),
        ((3, 6), {}, r"spans \(3, 6\) over \(6, 5\)"),
        ((3, 3), {"dilation": 3}, r"spans \(7, 7\) over \(6, 5\)"),
        ((10, 3), {"padding": (1, 0)}, r"spans \(10, 3\) over \(8, 5\)"),
        ((3, 3), {"dilation": 2**31 - 1}, r"spans \(4294967295, 4294967295\) over \(6, 5\)"),
    ],
)
def test_conv2d_refuses_a_kernel_larger_than_the_padded_input(kernel, settings, spans):
    message = (
        rf"^Conv2d expected a kernel that fits its padded input, .*{spans} \(input \(2, 6, 5, 3\)\): make the kernel"
    )
    with pytest.raises(ValueError, match=message):
        F.conv2d(IMAGES, ones(*kernel, 3, 4), **settings)


def test_a_kernel_as_large_as_the_padded_input_is_taken():
    assert F.conv2d(IMAGES, ones(8, 7, 3, 4), padding=1).shape == (2, 1, 1, 4)
    assert F.max_pool2d(IMAGES, (6, 5)).shape == (2, 1, 1, 3)


@pytest.mark.parametrize("groups", [0, -1, 1.0, "1", True, None, (1,)])
def test_conv2d_groups_are_whole_numbers_from_one_on(groups):
    with pytest.raises(ValueError, match=r"^Conv2d expected groups >= 1, got"):
        F.conv2d(IMAGES, ones(3, 3, 3, 4), groups=groups)


@pytest.mark.parametrize("groups", [3, 2**40])
def test_conv2d_groups_divide_the_filters(groups):
    message = rf"O divisible by groups={groups}, got shape \(3, 3, 1, 4\)"
    with pytest.raises(ValueError, match=message):
        F.conv2d(IMAGES, ones(3, 3, 1, 4), groups=groups)


@pytest.mark.parametrize("shape", [(3, 3, 4), (3, 3, 1, 3, 4), (4,), (0, 3, 3, 4), (3, 3, 3, 0), (3, 3, 0, 4)])
def test_conv2d_weights_have_four_axes_and_numbers(shape):
    with pytest.raises(ValueError, match=r"^Conv2d expected a weight \(KH, KW, C // groups, O\).*got shape \("):
        F.conv2d(IMAGES, ones(*shape))


@pytest.mark.parametrize("shape", [(3,), (1,), (1, 4), ()])
def test_conv2d_bias_has_one_number_for_each_filter(shape):
    with pytest.raises(ValueError, match=r"^Conv2d expected a bias of shape \(4,\), got \("):
        F.conv2d(IMAGES, ones(3, 3, 3, 4), ones(*shape))


@pytest.mark.parametrize("algorithm", ["fft", "", None, 1, []])
def test_conv2d_names_its_algorithms(algorithm):
    with pytest.raises(ValueError, match=r"^Conv2d expected an algorithm of auto, im2col, implicit_gemm.*, got"):
        F.conv2d(IMAGES, ones(3, 3, 3, 4), algorithm=algorithm)


@pytest.mark.parametrize("stride", [7, 1000, 2**31 - 1, (1, 2**31 - 1)])
def test_conv2d_with_a_stride_beyond_the_image_makes_one_window(stride):
    x, w = mc.tensor(IMAGES.data, requires_grad=True), mc.tensor(np.ones((3, 3, 3, 4)), requires_grad=True)
    w = mc.tensor(w.data.astype(np.float32), requires_grad=True)
    y = F.conv2d(x, w, stride=stride, padding=1)
    y.sum().backward()
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    places = [(i, j) for i in range(0, 6, rows) for j in range(0, 5, columns)]
    assert y.shape[1] * y.shape[2] == len(places)
    dx = np.zeros((8, 7))
    for i, j in places:
        dx[i : i + 3, j : j + 3] += 4
    np.testing.assert_array_equal(x.grad, np.broadcast_to(dx[1:-1, 1:-1, None], x.shape))


# Mixed dtypes and arrays beside Tensors


def beside(name, make):
    """The operation with one operand made by `make`."""
    return {
        "w": lambda: F.conv2d(IMAGES, make(3, 3, 3, 4)),
        "b": lambda: F.conv2d(IMAGES, ones(3, 3, 3, 4), make(4)),
        "w ": lambda: F.linear(ones(2, 3), make(3, 4)),
        "b ": lambda: F.linear(ones(2, 3), ones(3, 4), make(4)),
        "gamma": lambda: F.batch_norm(IMAGES, make(3), GAMMA, MEAN, VAR),
        "beta": lambda: F.batch_norm(IMAGES, GAMMA, make(3), MEAN, VAR),
        "target": lambda: F.mean_squared_error(ones(2, 3), make(2, 3)),
        "target ": lambda: F.half_squared_error(ones(2, 3), make(2, 3)),
    }[name]()


@pytest.mark.parametrize("name", ["w", "b", "w ", "b ", "gamma", "beta", "target", "target "])
def test_operands_have_one_dtype_and_are_tensors(name):
    message = rf'got an input of float32 and {name.strip()} of float64: convert with .to\(dtype="float64"\)'
    with pytest.raises(TypeError, match=message):
        beside(name, lambda *shape: ones(*shape, dtype=np.float64))
    with pytest.raises(TypeError, match=f"{name.strip()} expected a Tensor, got ndarray: wrap arrays with mc.tensor"):
        beside(name, lambda *shape: np.ones(shape, np.float32))
    with pytest.raises(TypeError, match=f"{name.strip()} expected float32 or float64, got int64"):
        beside(name, lambda *shape: ones(*shape, dtype=np.int64))


# Pooling

POOLS = {"MaxPool2d": F.max_pool2d, "SumPool2d": F.sum_pool2d, "AvgPool2d": F.avg_pool2d}


@pytest.mark.parametrize("name", POOLS)
def test_pooling_refuses_a_window_larger_than_the_padded_input(name):
    with pytest.raises(ValueError, match=rf"^{name} expected a kernel that fits.*spans \(7, 7\) over \(6, 5\)"):
        POOLS[name](IMAGES, 7)
    with pytest.raises(ValueError, match=r"spans \(2147483647, 1\) over \(6, 5\)"):
        POOLS[name](IMAGES, (2**31 - 1, 1))
    for kernel in (7, (7, 5), (6, 6)):  # by one cell too: ceil_mode lets the last window hang over, not the first
        with pytest.raises(ValueError, match=r"expected a kernel that fits"):
            POOLS[name](IMAGES, kernel, ceil_mode=True)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        (2, {"padding": 2}),
        ((2, 3), {"padding": (0, 3)}),
        (1, {"stride": 1, "padding": 1}),
        (2, {"stride": 7, "padding": (2, 0)}),
    ],
)
def test_pooling_refuses_a_window_wholly_in_the_padding(name, kernel, settings):
    with pytest.raises(ValueError, match=rf"^{name}: with kernel .*wholly in the padding: make the padding smaller"):
        POOLS[name](IMAGES, kernel, **settings)


def test_every_window_that_is_taken_holds_a_cell():
    taken = refused = 0
    x = mc.tensor(np.full((1, 3, 4, 1), -1, np.float32))
    for kernel, stride, padding, ceil_mode in np.ndindex(5, 5, 5, 2):
        settings = {"stride": stride + 1, "padding": padding, "ceil_mode": bool(ceil_mode)}
        try:
            y = F.max_pool2d(x, kernel + 1, **settings)
            taken += 1
            assert (y.data == -1).all()
            np.testing.assert_allclose(F.avg_pool2d(x, kernel + 1, **settings).data, -1, rtol=1e-6)
        except ValueError:
            refused += 1
    assert taken > 50
    assert refused > 50


# Linear


def test_linear_names_the_shape_it_wants():
    with pytest.raises(ValueError, match=r"^Linear expected an array of shape \(N, 3\), got \(2, 4\)$"):
        F.linear(ones(2, 4), ones(3, 4))
    with pytest.raises(ValueError, match=r"\(N, 90\), got \(2, 6, 5, 3\): flatten it first, with nn.Flatten\(\) or"):
        F.linear(IMAGES, ones(90, 4))
    with pytest.raises(ValueError, match=r"\(N, 3\), got \(3,\)$"):
        F.linear(ones(3), ones(3, 4))
    with pytest.raises(ValueError, match=r"at least one sample, got an array of shape \(0, 3\)"):
        F.linear(ones(0, 3), ones(3, 4))
    for shape in ((3,), (3, 4, 1), (0, 4), (3, 0)):
        with pytest.raises(ValueError, match=r"^Linear expected a weight \(in, out\), got shape \("):
            F.linear(ones(2, 3), ones(*shape))
    for shape in ((3,), (1, 4), ()):
        with pytest.raises(ValueError, match=r"^Linear expected a bias of shape \(4,\), got \("):
            F.linear(ones(2, 3), ones(3, 4), ones(*shape))


@pytest.mark.parametrize("wrong", ["swish", F.relu, True, ["relu"]])
def test_a_fused_activation_is_one_that_there_is(wrong):
    for call in (
        lambda: F.linear(ones(2, 3), ones(3, 4), activation=wrong),
        lambda: F.conv2d(IMAGES, ones(2, 2, 3, 5), activation=wrong),
    ):
        with pytest.raises(ValueError, match='activation to be None, "relu", "tanh", "sigmoid", got'):
            call()


# Normalisation


def test_batch_norm_names_the_shape_it_wants():
    with pytest.raises(ValueError, match=r"expected 3 input channels .*\(2, 3, 6, 5\); it looks like NCHW"):
        F.batch_norm(ones(2, 3, 6, 5), GAMMA, GAMMA, MEAN, VAR)
    for shape in ((2, 4), (3,), (2, 6, 3), (0, 3)):
        with pytest.raises(ValueError, match=r"^BatchNorm2d expected \(N, H, W, 3\) or \(N, 3\), got shape \("):
            F.batch_norm(ones(*shape), GAMMA, GAMMA, MEAN, VAR)
    for shape in ((), (1, 3)):
        with pytest.raises(ValueError, match=r"^BatchNorm2d expected gamma of shape \(C,\), got \("):
            F.batch_norm(IMAGES, ones(*shape), GAMMA, MEAN, VAR)
    with pytest.raises(ValueError, match=r"expected beta as float32 of shape \(3,\), got float32 \(4,\)"):
        F.batch_norm(IMAGES, GAMMA, ones(4), MEAN, VAR)


def test_batch_norm_names_its_running_statistics():
    with pytest.raises(ValueError, match=r"expected running_mean as float32 of shape \(3,\), got float32 \(4,\)"):
        F.batch_norm(IMAGES, GAMMA, GAMMA, np.zeros(4, np.float32), VAR)
    with pytest.raises(ValueError, match=r"expected running_var as float32 of shape \(3,\), got float64 \(3,\)"):
        F.batch_norm(IMAGES, GAMMA, GAMMA, MEAN, VAR.astype(np.float64))
    for wrong in ([0, 0, 0], None, GAMMA):
        with pytest.raises(TypeError, match=f"expected running_mean as an array, got {type(wrong).__name__}"):
            F.batch_norm(IMAGES, GAMMA, GAMMA, wrong, VAR)


def test_batch_norm_names_the_residual_and_the_activation_that_it_wants():
    def call(**end):
        return F.batch_norm(IMAGES, GAMMA, GAMMA, MEAN, VAR, **end)

    with pytest.raises(ValueError, match=r"a residual of the input's shape \(2, 6, 5, 3\), got \(2, 6, 5, 1\)$"):
        call(residual=ones(2, 6, 5, 1))
    with pytest.raises(TypeError, match="one dtype, got an input of float32 and residual of float64"):
        call(residual=ones(2, 6, 5, 3, dtype=np.float64))
    with pytest.raises(TypeError, match="BatchNorm2d: residual expected a Tensor, got ndarray"):
        call(residual=IMAGES.data)
    with pytest.raises(ValueError, match="BatchNorm2d expected activation to be None, \"relu\", got 'tanh'"):
        call(activation="tanh")


def test_batch_norm_in_training_needs_two_values_and_otherwise_one():
    mean = MEAN.copy()
    for x in (ones(1, 3), ones(1, 1, 1, 3)):
        with pytest.raises(ValueError, match=r"more than one value for each channel, got shape \(1, .*\.eval\(\)"):
            F.batch_norm(x, GAMMA, GAMMA, mean, VAR.copy(), training=True)
        assert F.batch_norm(x, GAMMA, GAMMA, mean, VAR).shape == x.shape
    np.testing.assert_array_equal(mean, MEAN)


@pytest.mark.parametrize("name", ["eps", "momentum"])
def test_batch_norm_settings_are_finite_numbers(name):
    for wrong, error in (
        ("x", TypeError),
        (None, TypeError),
        (True, TypeError),
        (np.nan, ValueError),
        (np.inf, ValueError),
    ):
        with pytest.raises(error, match=f"^BatchNorm2d expected {name} to be"):
            F.batch_norm(IMAGES, GAMMA, GAMMA, MEAN, VAR, **{name: wrong})
    with pytest.raises(ValueError, match=r"expected eps >= 0, got -1.0"):
        F.batch_norm(IMAGES, GAMMA, GAMMA, MEAN, VAR, eps=-1)


def test_batch_norm_of_a_channel_without_variance_is_finite():
    x = mc.tensor(np.full((4, 2, 2, 3), 7, np.float32), requires_grad=True)
    y = F.batch_norm(x, GAMMA, GAMMA, MEAN.copy(), VAR.copy(), training=True)
    y.sum().backward()
    np.testing.assert_allclose(y.data, 1, atol=1e-6)
    assert np.isfinite(x.grad).all()


def test_batch_norm_for_inference_remembers_the_statistics_of_the_call():
    mean, var = np.array([5.0, 6, 7], np.float32), np.array([4.0, 4, 4], np.float32)
    x, gamma = mc.tensor(IMAGES.data, requires_grad=True), mc.tensor(np.ones(3, np.float32), requires_grad=True)
    y = F.batch_norm(x, gamma, GAMMA, mean, var, eps=0)
    mean[:] = 0
    var[:] = 1
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 0.5, rtol=1e-6)
    np.testing.assert_allclose(gamma.grad, [60 * -4 / 2, 60 * -5 / 2, 60 * -6 / 2], rtol=1e-5)


def test_local_response_norm_names_its_settings():
    for size in (0, -1, 1.5, "5", True, None, 2**31, 2**70):
        with pytest.raises(ValueError, match=r"^LocalResponseNorm expected a whole size >= 1"):
            F.local_response_norm(IMAGES, size)
    for name in ("alpha", "beta", "k"):
        with pytest.raises(TypeError, match=f"^LocalResponseNorm expected {name} to be a number, got 'x'"):
            F.local_response_norm(IMAGES, 5, **{name: "x"})
        with pytest.raises(ValueError, match=f"^LocalResponseNorm expected {name} to be finite, got nan"):
            F.local_response_norm(IMAGES, 5, **{name: np.nan})
    for shape in ((3,), (), (0, 3), (2, 0)):
        with pytest.raises(ValueError, match=r"^LocalResponseNorm expected \(\.\.\., C\) with at least two axes, got"):
            F.local_response_norm(ones(*shape), 5)


# Softmax and losses


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_needs_a_class(name):
    for shape in ((), (2, 0), (0,)):
        with pytest.raises(ValueError, match=rf"^{name} expected an array \(\.\.\., K\) with K >= 1, got shape \("):
            LAYERS[name](ones(*shape))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (), (0, 3), (2, 0)])
def test_cross_entropy_needs_logits_of_two_axes(shape):
    with pytest.raises(ValueError, match=r"^cross_entropy expected logits \(N, K\) with N >= 1 and K >= 1, got shape"):
        F.cross_entropy(ones(*shape), np.zeros(2, int))


LABELS = {
    "too large": ([0, 3], ValueError, "labels from 0 to 2 for 3 classes, got 3$"),
    "negative": ([-1, 2], ValueError, "labels from 0 to 2 for 3 classes, got -1$"),
    "far too large": (
        np.array([0, 2**63], np.uint64),
        ValueError,
        "labels from 0 to 2 for 3 classes, got 9223372036854775808$",
    ),
    "wrong length": (
        [0, 1, 2],
        ValueError,
        r"labels of shape \(2,\) or one-hot \(2, 3\) for logits \(2, 3\), got shape \(3,\)",
    ),
    "none": ([], ValueError, r"got shape \(0,\)"),
    "a column": ([[0], [1]], ValueError, r"got shape \(2, 1\)"),
    "float": ([0.0, 1.0], TypeError, r"labels of whole numbers, got float64: use labels.astype\(int\)"),
    "bool": ([True, False], TypeError, "labels of whole numbers, got bool"),
    "strings": (["a", "b"], TypeError, "labels of whole numbers, got <U1"),
    "objects": (np.array([0, None]), TypeError, "labels of whole numbers, got object"),
    "a number": (1, TypeError, "labels as an array, got int"),
    "nothing": (None, TypeError, "labels as an array, got NoneType"),
    "whole numbers of two axes": ([[0, 1, 2], [2, 1, 0]], ValueError, r"probabilities that add up to 1, got .* 3\.0"),
    "rows of 0.9": (np.full((2, 3), 0.3), ValueError, "probabilities that add up to 1, got .*0.9"),
    "negative probability": ([[2.0, -1.0, 0.0], [1, 0, 0]], ValueError, r"add up to 1, got numbers from -1.0"),
    "nan": ([[np.nan, 1.0, 0.0], [1, 0, 0]], ValueError, "add up to 1, got numbers from nan"),
    "transposed one-hot": (np.eye(3)[:, :2], ValueError, r"got shape \(3, 2\)"),
}


@pytest.mark.parametrize("name", LABELS)
def test_cross_entropy_names_what_is_wrong_with_the_labels(name):
    labels, error, message = LABELS[name]
    with pytest.raises(error, match="^cross_entropy expected .*" + message):
        F.cross_entropy(ones(2, 3), labels)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "fiu":
        with pytest.raises(error, match="^cross_entropy expected .*" + message):
            F.cross_entropy(ones(2, 3), mc.tensor(labels))


def test_cross_entropy_takes_labels_of_any_whole_dtype_and_one_hot_of_any():
    logits = mc.tensor(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    labels = np.array([0, 2, 1, 1])
    expected = F.cross_entropy(logits, labels).item()
    for dtype in ("uint8", "int8", "int32", ">i4", "uint64"):
        assert F.cross_entropy(logits, labels.astype(dtype)).item() == expected
    assert F.cross_entropy(logits, [0, 2, 1, 1]).item() == expected
    assert F.cross_entropy(logits, mc.tensor(labels)).item() == expected
    assert F.cross_entropy(logits, np.repeat(labels, 2)[::2]).item() == expected
    for dtype in ("uint8", "bool", "float32", "float64", "int64"):
        loss = F.cross_entropy(logits, np.eye(3, dtype=dtype)[labels])
        assert loss.dtype == np.float32
        assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_remembers_the_labels_of_the_call():
    logits, labels = mc.tensor(np.zeros((2, 2), np.float32), requires_grad=True), np.array([0, 0])
    one_hot = np.eye(2, dtype=np.float32)[labels]
    for target in (labels, one_hot):
        logits.grad = None
        loss = F.cross_entropy(logits, target)
        target[...] = target[:, ::-1].copy() if target.ndim == 2 else 1
        loss.backward()
        np.testing.assert_allclose(logits.grad, [[-0.25, 0.25]] * 2)


def test_cross_entropy_stays_finite_where_exp_does_not():
    logits = mc.tensor([[1000.0, 0.0], [-1000.0, 1000.0]], requires_grad=True)
    loss = F.cross_entropy(logits, np.array([1, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(1500)
    np.testing.assert_allclose(logits.grad, [[0.5, -0.5], [-0.5, 0.5]])


@pytest.mark.parametrize("name", ["mean_squared_error", "half_squared_error"])
def test_squared_errors_need_one_shape(name):
    loss = getattr(F, name)
    for shapes in (((2, 3), (3, 2)), ((2, 3), (3,)), ((2, 1), (2, 3)), ((), ()), ((0, 3), (0, 3))):
        with pytest.raises(
            ValueError, match=rf"^{name} expected two Tensors of one shape with at least one element, got \("
        ):
            loss(ones(*shapes[0]), ones(*shapes[1]))


# Dropout


@pytest.mark.parametrize("p", [1, 1.5, -0.1, "0.5", None, True, np.nan, np.inf, 1j, (0.5,)])
def test_dropout_needs_a_probability_below_one(p):
    with pytest.raises(ValueError, match=r"^dropout expected a probability 0 <= p < 1, got"):
        F.dropout(IMAGES, p)


def test_dropout_takes_any_real_number():
    for p in (0, 0.5, np.float32(0.5), np.float64(0.5)):
        assert F.dropout(IMAGES, p).shape == IMAGES.shape
    assert F.dropout(IMAGES, 0) is IMAGES


@pytest.mark.parametrize("name", ["layer", "step", "first_sample", "seed"])
def test_dropout_numbers_are_whole_and_fit(name):
    limit = 2**64 if name == "seed" else 2**32
    for wrong in (-1, limit, 1.0, "1", True):
        with pytest.raises(
            ValueError, match=rf"^dropout expected {name} to be a whole number from 0 to 2\*\*\d\d - 1, got"
        ):
            F.dropout(IMAGES, 0.5, **{name: wrong})
    assert F.dropout(IMAGES, 0.5, **{name: np.uint64(limit - 3)}).shape == IMAGES.shape
    with pytest.raises(ValueError, match="at least one axis"):
        F.dropout(ones(), 0.5)


def test_dropout_without_a_seed_takes_the_one_of_the_engine():
    mc.seed(5)
    y = F.dropout(IMAGES, 0.5)
    mc.seed(0)
    np.testing.assert_array_equal(y.data, F.dropout(IMAGES, 0.5, seed=5).data)
    assert (y.data != F.dropout(IMAGES, 0.5).data).any()


# Movement


def test_pad_names_what_it_wants():
    x = ones(2, 3)
    for wrong in (
        1,
        (1, 1),
        ((1, 1),),
        ((1, 1), (0, -1)),
        ((0.5, 1), (0, 0)),
        ((1, 1, 1), (0, 0)),
        ((True, 0), (0, 0)),
        "ab",
    ):
        with pytest.raises(ValueError, match=r"^pad expected 2 pairs \(before, after\) of whole numbers >= 0, got"):
            F.pad(x, wrong)
    with pytest.raises(TypeError, match=r"^pad expected a number as its value, got 'a'"):
        F.pad(x, ((1, 1), (0, 0)), "a")
    with pytest.raises(TypeError, match=r"^pad expected a Tensor, got ndarray: wrap"):
        F.pad(x.data, ((1, 1), (0, 0)))
    with pytest.raises((ValueError, MemoryError)):
        F.pad(x, ((2**62, 0), (0, 0)))
    np.testing.assert_array_equal(F.pad(x, [[1, 0], (0, np.int64(1))], -np.inf).data[:, 3], [-np.inf] * 3)


@pytest.mark.parametrize("scale", [0, -1, 1.5, 2.0, "2", True, None, (2, 2), 2**31, 2**62])
def test_upsample_needs_a_whole_scale(scale):
    with pytest.raises(ValueError, match=r"^upsample expected a whole scale >= 1"):
        F.upsample(IMAGES, scale)


def test_concatenate_names_what_does_not_fit():
    a, b = ones(2, 3), ones(2, 4)
    for wrong in ([], [a, b.data], [1], a.data):
        with pytest.raises(TypeError, match=r"^concatenate expected a sequence of at least one Tensor"):
            F.concatenate(wrong)
    for axis in (2, -3):
        with pytest.raises(ValueError, match=rf"^concatenate expected an axis of shape \(2, 3\), got {axis}"):
            F.concatenate([a, b], axis)
    for axis in (1.0, None, True, "0"):
        with pytest.raises(TypeError, match=r"^concatenate expected a whole number as its axis, got"):
            F.concatenate([a, b], axis)
    for other in (ones(3, 4), ones(2, 3, 1), ones(2, 4, dtype=np.float64)):
        with pytest.raises(
            ValueError, match=r"^concatenate along axis -1 expected shapes that agree.*got \[\(\(2, 3\), 'float32'\)"
        ):
            F.concatenate([a, other])
    with pytest.raises(ValueError, match="concatenate along axis 0"):
        F.concatenate([a, b], axis=0)
