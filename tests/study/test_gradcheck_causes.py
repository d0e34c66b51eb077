"""gradcheck names what went wrong: one mistake after another is made in a backward pass, and found by its traces."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import nn
from minicnn.ops import conv
from minicnn.study.bug_room.wrong_gradients import KERNEL_NOT_TURNED
from minicnn.study.gradient_check.error_map import error_map

RNG = np.random.default_rng(3)
ROWS, SQUARE, W = RNG.standard_normal((5, 4)), RNG.standard_normal((4, 4)), RNG.standard_normal((4, 6))
IMAGES, BIAS = RNG.standard_normal((2, 7, 6, 3)), RNG.standard_normal(3)


class Made(mc.Function):
    """y = forward(*arrays), with the gradients backward(dy, *arrays): right or wrong, as a test wants them."""

    def __init__(self, forward, backward):
        self.formulas = forward, backward

    def forward(self, *arrays):
        self.save(*arrays)
        return self.formulas[0](*arrays)

    def backward(self, dy):
        dxs = self.formulas[1](dy, *self.saved)
        return dxs if isinstance(dxs, tuple) else (dxs,)


def complaint(forward, backward, *inputs, **options):
    """What gradcheck says."""
    with pytest.raises(AssertionError) as caught:
        mc.gradcheck(lambda *tensors: Made(forward, backward)(*tensors), inputs, **options)
    text = str(caught.value)
    assert all(len(line) <= 76 for line in text.splitlines()), text
    return " ".join(text.split())  # without line breaks


# Pooling along rows, windows (N, W) -> (N, OW): the sum of `size` cells, every `stride` cells.


def pool(x, size=3, stride=2):
    return np.stack([x[:, i : i + size].sum(1) for i in range(0, x.shape[1] - size + 1, stride)], 1)


def pool_backward(dy, x, write, size=3, stride=2):
    """write(dx, window, dy): how a window hands its gradient back; right is dx[:, window] += dy."""
    dx = np.zeros_like(x)
    for i in range(dy.shape[1]):
        write(dx, slice(i * stride, i * stride + size), dy[:, i : i + 1])
    return dx


def add(dx, window, dy):
    dx[:, window] += dy


def overwrite(dx, window, dy):
    dx[:, window] = dy


def larger(dx, window, dy):
    dx[:, window] = np.maximum(dx[:, window], 2 * dy)


# Correlation of rows with a kernel: (N, W), (K,) -> (N, OW); with a kernel of two axes (K, 2) both filters added up.


def correlate(x, w):
    OW = x.shape[1] - len(w) + 1
    return sum(x[:, k : k + OW] * w[k].sum() for k in range(len(w)))


def correlate_backward(dy, x, w, turned=False):
    dx = np.zeros_like(x)
    for k in range(len(w)):
        dx[:, k : k + dy.shape[1]] += dy * w[::-1][k].sum() if turned else dy * w[k].sum()
    dw = np.stack([(x[:, k : k + dy.shape[1]] * dy).sum() * np.ones(w.shape[1]) for k in range(len(w))])
    return dx, dw


def normalise(x):
    return (x - x.mean(0)) / x.std(0)


def normalise_backward(dy, x, mean=True, variance=True):
    y = normalise(x)
    dx = dy - mean * dy.mean(0) - variance * y * (dy * y).mean(0)
    return dx / x.std(0)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def changed(a, place, value):
    b = a.copy()
    b[place] = value(b[place]) if callable(value) else value
    return b


class TestTheHelpersAreRight:
    """Otherwise the mistakes below would be others than they say."""

    @pytest.mark.parametrize(
        ("forward", "backward", "inputs"),
        [
            (pool, lambda dy, x: pool_backward(dy, x, add), [W]),
            (correlate, correlate_backward, [W, SQUARE[:, :2]]),
            (normalise, normalise_backward, [ROWS]),
            (softmax, lambda dy, x: softmax(x) * (dy - (dy * softmax(x)).sum(1, keepdims=True)), [ROWS]),
        ],
    )
    def test_right(self, forward, backward, inputs):
        assert mc.gradcheck(lambda *tensors: Made(forward, backward)(*tensors), inputs)


MATMUL = lambda x, w: x @ w  # noqa: E731
TANH = np.tanh

MISTAKES = {
    # name: (forward, wrong backward, inputs, cause, evidence)
    "sign": (TANH, lambda dy, x: -dy * (1 - np.tanh(x) ** 2), [ROWS], "the sign is turned", "is -1 times"),
    "sum for mean": (
        lambda x: np.asarray((x**2).mean(0).sum()), lambda dy, x: 2 * x * dy, [ROWS],
        "a factor 1/5 is forgotten: a sum where a mean belongs", "5 is the length of axis 0 of input 0",
    ),
    "mean for sum": (
        lambda x: x.sum(1), lambda dy, x: np.tile(dy[:, None], 4) / 4, [ROWS],
        "a factor 4 is forgotten", "4 is the length of axis 1 of input 0",
    ),
    "H * W": (
        lambda x: x.mean((1, 2)), lambda dy, x: np.ones_like(x) * dy[:, None, None], [IMAGES],
        "a factor 1/42 is forgotten", "42 is H * W of input 0",
    ),
    "square": (lambda x: x**2, lambda dy, x: dy * x, [ROWS], "a factor 2 is forgotten: that of a square", "is 0.5 "),
    "sign and factor": (lambda x: x.mean(0), lambda dy, x: -np.ones_like(x) * dy, [ROWS],
                        "the sign is turned, and a factor 1/5 is forgotten", "is -5 times"),
    "scale": (lambda x: 0.7 * x, lambda dy, x: dy, [ROWS], "a scale that one direction applies", "is 1.42857 times"),
    "None": (TANH, lambda dy, x: None, [ROWS], "no gradient arrived", "backward left no gradient at all"),
    "zeros": (TANH, lambda dy, x: 0 * dy, [ROWS], "backward gives zeros", "all 20 elements are exactly 0"),
    "bias, first row": (
        lambda x, b: x + b, lambda dy, x, b: (dy, dy[0]), [ROWS, SQUARE[0]],
        "broadcasting is not summed back: input 1 was copied along axis 0 (length 5)", "from the first of the result",
    ),
    "bias of images, last cell": (
        lambda x, b: x + b, lambda dy, x, b: (dy, dy[-1, -1, -1]), [IMAGES, BIAS],
        "input 1 was copied along axis 0 (length 2) and axis 1 (length 7) and axis 2 (length 6)", "from the last of",
    ),
    "weight, last sample": (
        MATMUL, lambda dy, x, w: (dy @ w.T, np.outer(x[-1], dy[-1])), [ROWS, W],
        "`=` where `+=` belongs, in a sum over axis 0 (length 5) of the result", "along axis 0 (length 5) alone",
    ),
    "last window lost": (
        pool, lambda dy, x: pool_backward(changed(dy, np.s_[:, -1], 0), x, add), [RNG.standard_normal((3, 9))],
        "the last windows (or rows) along axis 1 (length 4) of the result are lost", "all but the last",
    ),
    "overlap": (
        pool, lambda dy, x: pool_backward(dy, x, overwrite), [RNG.standard_normal((3, 9))],
        "`=` where `+=` belongs: windows overlap", "right at all 18 elements that one window covers, wrong at 9 of ",
    ),
    "overlap, not one share": (
        lambda x: pool(x), lambda dy, x: np.where(pool_backward(np.ones_like(dy), x, add) > 1,
                                                  3 * pool_backward(dy, x, overwrite), pool_backward(dy, x, overwrite)),
        [RNG.standard_normal((3, 9))],
        "something in how the shares of overlapping windows are put together", "wrong at 9 of the 9 that several cover",
    ),
    "kernel gradient flipped": (
        correlate, lambda dy, x, w: tuple(a[:: 1 - 2 * i] for i, a in enumerate(correlate_backward(dy, x, w))),
        [RNG.standard_normal((3, 9)), W[:, :1]], "flipped along axis 0, as where a kernel is", "read backwards along",
    ),
    "kernel not turned": (
        correlate, lambda dy, x, w: correlate_backward(dy, x, w, turned=True), [RNG.standard_normal((3, 7)), W[:3, :2]],
        "backward reads input 1 the wrong way round", "fn with input 1 flipped along",
    ),
    "w instead of w.T": (
        MATMUL, lambda dy, x, w: (dy @ w, x.T @ dy), [ROWS, SQUARE],
        "backward reads input 1 the wrong way round", "fn with input 1 transposed",
    ),
    "transposed": (
        MATMUL, lambda dy, x, w: (dy @ w.T, dy.T @ x), [ROWS, SQUARE], "transposed: two axes", "in the order (1, 0)",
    ),
    "reshaped": (
        lambda x: x.T, lambda dy, x: dy.reshape(x.shape), [ROWS], "a reshape where a transpose belongs", "order (1, 0)",
    ),
    "shifted": (
        TANH, lambda dy, x: np.roll(dy * (1 - np.tanh(x) ** 2), 1, axis=1), [ROWS],
        "shifted by one along axis 1", "each element has what belongs to the one before it",
    ),
    "shuffled": (
        TANH, lambda dy, x: (dy * (1 - np.tanh(x) ** 2))[[3, 0, 4, 1, 2]], [ROWS],
        "the right numbers in wrong places", "sorted, both are the same",
    ),
    "mask of dy": (
        lambda x: np.maximum(x, 0), lambda dy, x: np.maximum(dy, 0), [ROWS],
        "the mask asks for the sign of the gradient dy", "backward gave 0 wherever dy < 0",
    ),
    "no mask": (
        lambda x: np.maximum(x, 0), lambda dy, x: dy, [ROWS], "the factor (input 0 > 0) is forgotten", "backward times",
    ),
    "tanh's derivative": (TANH, lambda dy, x: dy, [ROWS], "the factor (1 - y**2) is forgotten", "backward times"),
    "exp twice": (np.exp, lambda dy, x: dy * np.exp(2 * x), [ROWS], "the factor y is there once too often", "came"),
    "gamma": (
        lambda x, gamma: x * gamma, lambda dy, x, gamma: (dy, (dy * x).sum(0)), [ROWS, SQUARE[0]],
        "the factor input 1 is forgotten", "at every element",
    ),
    "weight decay": (
        MATMUL, lambda dy, x, w: (dy @ w.T, x.T @ dy + 0.01 * w), [ROWS, W],
        "a term is too many: 0.01 * input 1", "the error is 0.01 times input 1",
    ),
    "mean": (
        normalise, lambda dy, x: normalise_backward(dy, x, mean=False), [ROWS],
        "what sums over the channel is missing: the term through its mean", "the error is a constant a",
    ),
    "mean and variance": (
        normalise, lambda dy, x: normalise_backward(dy, x, mean=False, variance=False), [ROWS],
        "the terms through its mean and variance, which depend on x too", "the error is a + b * input 0",
    ),
    "softmax without its sum": (
        softmax, lambda dy, x: softmax(x) * dy, [ROWS],
        "what sums over the row is missing: softmax's", "the error is a * y",
    ),
    "a scale by channel": (
        lambda x: x * [1, 2, 3, 4], lambda dy, x: dy, [ROWS],
        "a scale along axis 1, one number for each of its 4", "1, 0.5, 0.3333, 0.25 times",
    ),
    "forward in float32": (
        lambda x: np.tanh(x.astype(np.float32)).astype(float), lambda dy, x: dy * (1 - np.tanh(x) ** 2), [ROWS],
        "precision: fn computes with fewer digits", "every element of the result is a float32 number",
    ),
    "last column": (
        pool, lambda dy, x: changed(pool_backward(dy, x, add), np.s_[:, -1], 0), [RNG.standard_normal((3, 9))],
        "the edge is left out: a stride remainder", "the last index of axis 1, and backward gave 0 there",
    ),
    "last rows and columns": (
        TANH, lambda dy, x: changed(changed(dy * (1 - np.tanh(x) ** 2), np.s_[:, :, -1], lambda d: 2 * d),
                                    np.s_[:, -1], lambda d: 3 * d), [IMAGES],
        "the edge is treated wrongly", "the last index of axes 1 and 2",
    ),
    "remainder not cleared": (
        lambda x: pool(x, 2, 2), lambda dy, x: changed(pool_backward(dy, x, add, 2, 2), np.s_[:, -1], 0.3),
        [SQUARE[:, :3]],
        "the remainder that no window covers is not 0", "the last index of axis 1, where no result depends on x",
    ),
    "one channel": (
        TANH, lambda dy, x: changed(dy * (1 - np.tanh(x) ** 2), np.s_[..., 1], lambda d: d + 0.1), [IMAGES],
        "only a part of axis 3", "the indices 1 are wrong everywhere, all others are right",
    ),
    "nan": (
        lambda x: np.abs(x) * x, lambda dy, x: changed(2 * np.abs(x) * dy, (2, 1), np.nan), [ROWS],
        "a NaN or an infinity is made in backward", "NaN or infinity at 1 of 20 elements",
    ),
    "kink": (
        lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0), [changed(ROWS, (1, 2), 0)],
        "a kink: fn has no derivative there (ReLU at 0, two equal numbers under max); backward may", "at (1, 2)",
    ),
    "tie": (
        lambda x: x.max(1), lambda dy, x: dy[:, None] * (np.arange(4) == x.argmax(1)[:, None]),
        [changed(ROWS, np.s_[2, 1:3], 9)], "a tie: equal numbers under max, where fn has no derivative; backward may",
        "2 elements have the value 9, and moved all together their gradient is right",
    ),
    "tie paid twice": (
        lambda x: x.max(1), lambda dy, x: dy[:, None] * (x == x.max(1, keepdims=True)),
        [changed(ROWS, np.s_[2, 1:3], 9)], "a tie that is paid more or less than once: backward compares x == y",
        "2 elements have the value 9, to which backward gave",
    ),
    "too sharp a bend": (
        lambda x: np.sin(1e5 * x), lambda dy, x: 1e5 * np.cos(1e5 * x) * dy, [ROWS],
        "the step eps is too long", "with steps 1e-08 instead of 1e-06",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_evidence(name):
    forward, backward, inputs, cause, evidence = MISTAKES[name]
    said = complaint(forward, backward, *inputs)
    _, found, rest = said.partition("likely cause: ")
    assert found, said
    named, _, shown = rest.partition(" evidence: ")
    assert cause in named, said
    assert evidence in shown, said


def test_a_graph_that_is_cut_is_named():
    for fn in (lambda x: mc.tensor(np.tanh(x.numpy())), lambda x: F.tanh(x.detach())):
        said = " ".join(failing(fn, ROWS).split())
        assert "no gradient arrived" in said
        assert "although the result depends on input 0 (x)" in said


def test_a_backward_in_float32_is_named():
    def backward(dy, x, w):
        dy, x, w = (a.astype(np.float32) for a in (dy, x, w))
        return (dy @ w.T).astype(np.float64), (x.T @ dy).astype(np.float64)

    said = complaint(MATMUL, backward, ROWS, W, rtol=1e-8, atol=1e-8)
    assert "precision: backward computes in float32 although fn was given float64" in said


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1, 1), (2, 3, 1, 2, 2)])
@pytest.mark.parametrize("wrong", [np.zeros_like, np.negative, lambda dy: dy + 0.1, lambda dy: dy * np.inf])
def test_no_shape_is_too_small_for_a_report(shape, wrong):
    said = complaint(np.tanh, lambda dy, x: wrong(dy * (1 - np.tanh(x) ** 2)), RNG.standard_normal(shape))
    assert "likely cause" in said


def test_one_wrong_element_is_no_pattern():
    images = RNG.standard_normal((2, 3, 4, 2))
    for place in ((0, 0, 0, 0), (1, 2, 3, 1), (1, 1, 2, 0)):
        said = complaint(
            lambda x: np.maximum(x, 0), lambda dy, x, p=place: changed(dy * (x > 0), p, lambda d: d + 0.1), images
        )
        assert said.endswith("no likely cause: the error fits none of the mistakes that are known here")


def test_an_error_of_no_known_kind_is_called_that():
    noise = RNG.standard_normal(ROWS.shape)
    said = complaint(np.tanh, lambda dy, x: dy * (1 - np.tanh(x) ** 2) + noise, ROWS)
    assert said.endswith("no likely cause: the error fits none of the mistakes that are known here")


# The report around the cause


class Tripled(mc.Function):
    """y = x, and a backward that hands on three times the gradient."""

    def forward(self, x):
        return x.copy()

    def backward(self, dy):
        return (3 * dy,)


def failing(fn, *inputs, **options):
    with pytest.raises(AssertionError) as caught:
        mc.gradcheck(fn, inputs, **options)
    return str(caught.value)


def test_in_a_chain_the_operation_at_fault_is_named():
    x, w, b = (RNG.standard_normal(shape) for shape in ((2, 6, 6, 1), (3, 3, 1, 2), (2,)))
    said = failing(lambda x, w, b: F.avg_pool2d(F.tanh(Tripled()(F.conv2d(x, w, b))), 2), x, w, b)
    assert said.startswith("the gradient of input 0 (x) is wrong at 72 of 72 elements\n")
    assert "wrong too: input 1 (w) at 18, input 2 (b) at 2\n" in said
    assert "The fault lies in Tripled.backward, operation 2 of 4.\n" in said
    assert "every element is 3 times what it should be" in said
    said = failing(lambda x, w, b: Tripled()(F.conv2d(x, w)) + b, x, w, b)
    assert "right: input 2 (b)\n" in said
    assert "The fault lies in Tripled.backward, operation 2 of 3.\n" in said


def test_an_activation_that_is_fused_into_an_operation_is_told_from_the_rest_of_it(monkeypatch):
    x, w = RNG.standard_normal((1, 5, 5, 1)), RNG.standard_normal((3, 3, 1, 1))

    def fn(x, w):
        return F.conv2d(x, w, activation="tanh")

    with KERNEL_NOT_TURNED.injected():
        said = failing(fn, x, w)
    assert "The fault lies in Conv2d.backward (not in its tanh), operation 1 of 1." in said
    assert "flipped along axes 0 and 1" in " ".join(said.split())
    monkeypatch.setattr(conv, "activation_backward", lambda dy, y, activation: dy)
    said = failing(fn, x, w)
    assert "The fault lies in Conv2d.backward (in its tanh), operation 1 of 1." in said


def test_a_model_is_checked_in_its_parameters_too():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3))
    x = RNG.standard_normal((2, 5, 5, 1)).astype(np.float32)
    assert mc.gradcheck(model, [x])
    assert model[0].weight.dtype == np.float32
    assert model[0].weight.grad is None
    assert not model[1].running_mean.any()
    with pytest.raises(RuntimeError, match="run one forward pass first"):
        mc.gradcheck(nn.Linear(None, 3), [ROWS])

    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(3, np.float32))

        def forward(self, x):
            return Tripled()(self.scale * 2) * x

    said = failing(Doubled(), RNG.standard_normal((4, 3)))
    assert said.startswith("the gradient of scale is wrong at 3 of 3 elements\n")
    assert "right: input 0 (x)\n" in said
    assert "The fault lies in Tripled.backward, operation 2 of 3.\n" in said


def test_a_frozen_parameter_is_left_out():
    model = nn.Linear(3, 2)
    model.weight.requires_grad = False
    assert mc.gradcheck(model, [ROWS[:, :3]])


def test_a_layer_that_draws_is_told_from_a_wrong_gradient():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    said = failing(model, ROWS)
    assert "fn is not deterministic" in said
    assert "two calls on the same inputs differ by up to" in said
    assert mc.gradcheck(model.eval(), [ROWS])


def test_fewer_elements_are_fewer_calls_and_still_find_what_is_everywhere():
    calls = []

    def fn(x):
        calls.append(1)
        return x * x

    assert mc.gradcheck(fn, [np.ones((30, 30))], elements=7)
    assert len(calls) == 1 + 2 * 7
    said = failing(lambda x: Tripled()(x), RNG.standard_normal((30, 30)), elements=7)
    assert said.startswith("the gradient of input 0 (x) is wrong at 7 of 7 elements\n")
    assert "every element is 3 times what it should be" in said
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="gradcheck expected elements >= 1, or None for all"):
            mc.gradcheck(fn, [ROWS], elements=wrong)


def test_a_tensor_too_large_for_a_diagnosis_says_so():
    said = failing(lambda x: Tripled()(x), np.ones(5000), elements=3)
    assert "no diagnosis: more than 4000 elements are too many" in said
    assert "check the layer alone, on a small input" in " ".join(said.split())


# The map


def picture(wrong):
    """The lines of the map where the error is 1 at `wrong` and 0 elsewhere."""
    return error_map(wrong.astype(float), wrong).splitlines()


def test_the_map_of_an_image_shows_rows_and_columns_and_every_axis():
    wrong = np.zeros((2, 4, 5, 3), bool)
    wrong[1, :, -1] = True
    assert picture(wrong)[1:] == [
        "    axis 0 (2)    .#",
        "    axis 1 (4)    ####",
        "    axis 2 (5)    ....#",
        "    axis 3 (3)    ###",
        "  axis 0 from top to bottom, axis 2 from left to right",
        "    .....",
        "    ....#",
    ]
    wrong[:] = False
    wrong[:, 0, :] = wrong[:, :, 0] = True
    assert picture(wrong)[5:] == [
        "  axis 1 from top to bottom, axis 2 from left to right", "    #####", *["    #...."] * 3,
    ]  # fmt: skip


def test_the_map_of_other_shapes():
    assert error_map(np.array(1.0), np.array(True)) == ""
    assert picture(np.array([True, False, False]))[1:] == ["    #.."]
    assert picture(np.eye(3, dtype=bool))[3:] == [
        "  axis 0 from top to bottom, axis 1 from left to right", "    #..", "    .#.", "    ..#",
    ]  # fmt: skip
    five = np.zeros((2, 1, 3, 2, 2), bool)
    five[:, :, 2, 1] = True
    assert picture(five)[-3:] == ["    ..", "    ..", "    .#"]


def test_the_map_tells_small_errors_from_large_ones():
    error = np.array([0.0, -1.0, 0.11, 0.09, 0.011, 0.009, np.nan])
    assert error_map(error, error != 0).splitlines()[1] == "    .##++-#"


def test_the_map_of_a_long_axis_fits_the_page():
    wrong = np.zeros((200, 1000), bool)
    wrong[0, 999] = True
    lines = picture(wrong)
    assert max(map(len, lines)) <= 76
    assert len(lines) <= 24
    assert [line.count("#") for line in lines[-20:]] == [1] + [0] * 19
    assert lines[-20].endswith("#")


def test_where_only_the_bias_is_wrong_it_says_so():
    x, w, b = RNG.standard_normal((2, 4, 4, 1)), RNG.standard_normal((2, 2, 1, 3)), RNG.standard_normal(3)

    def fn(x, w, b):
        return Made(np.add, lambda dy, y, b: (dy, dy.mean((0, 1, 2))))(F.conv2d(x, w), b)

    said = " ".join(failing(fn, x, w, b).split())
    assert said.startswith("the gradient of input 2 (b) is wrong at 3 of 3 elements")
    assert "right: input 0 (x), input 1 (w)" in said
    assert "only the bias: all else is right; its gradient is the sum of dy" in said
    assert "a factor 18 is forgotten, or there is a mean where a sum belongs" in said
    said = failing(lambda x, s: Made(np.multiply, lambda dy, x, s: (dy * s, 0 * s))(x, s), x, RNG.standard_normal(1))
    assert "only the bias" not in said


def test_rounding_in_the_sum_is_told_from_an_error():
    """Beside a huge element of the result a small one drowns, in the sum of both alone."""
    huge = mc.tensor(np.array([1e10]))
    said = failing(lambda x: F.concatenate([x, huge]), np.ones(1))
    assert "differences of each element of the result by itself" in " ".join(said.split())
