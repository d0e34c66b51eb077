"""The products behind a gradient: those that loops over every index find, adding up to the engine's number."""

import itertools

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, nn
from minicnn.study.backprop import record
from minicnn.study.backprop.products import kind, products

SLOPES = {
    None: lambda y: 1.0, "relu": lambda y: float(y > 0), "tanh": lambda y: 1 - y**2, "sigmoid": lambda y: y * (1 - y),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _reference():
    """No kernels need be compiled for float64."""
    with kernels.use("reference"):
        yield


class Layer(nn.Module):
    """A function of x and Parameters, in float64."""

    def __init__(self, function, *shapes):
        super().__init__()
        generator = np.random.default_rng(1)
        self.function = function
        self.w = nn.Parameter(generator.normal(size=shapes[0]) if shapes else np.ones(1))
        self.b = nn.Parameter(generator.normal(size=shapes[1])) if len(shapes) > 1 else None

    def forward(self, x):
        return self.function(x, *[p for p in (self.w, self.b) if p is not None])


def weighted_sum(y, weights):
    """A loss whose gradient is not the same everywhere."""
    return (y * mc.Tensor(weights)).sum()


def recorded(function, x_shape, *shapes):
    """The recording of one function, and the arrays of its one step: inputs, y, dy."""
    model = Layer(function, *shapes)
    x = np.random.default_rng(2).normal(size=x_shape)
    with mc.no_grad():
        y = model(mc.tensor(x[None])).numpy()
    r = record(model, x, np.random.default_rng(3).normal(size=y.shape), loss=weighted_sum)
    step = r.steps[0]
    arrays = [r.tensors[i].value for i in step.inputs]
    return r, arrays, y, r.tensors[step.output].gradient


def cells(shape, count=12):
    """Some cells of an array, the corners among them."""
    every = list(np.ndindex(shape))
    chosen = np.random.default_rng(4).choice(len(every), min(count, len(every)), replace=False)
    return {every[0], every[-1], *(every[i] for i in chosen)}


def check(r, input, index, expected, node=0):
    """The terms are the expected products {place of the factors: product}, and add up to the engine's number."""
    made = products(r, node, input, index)
    got = sorted(term.product for term in made.terms)
    np.testing.assert_allclose(got, sorted(expected), rtol=1e-12, atol=1e-14)
    part = r.steps[node].parts[input][index]
    assert made.engine == part
    np.testing.assert_allclose(made.total, part, rtol=1e-10, atol=1e-12)
    for factor in (f for term in made.terms for f in term.factors if f.tensor is not None and "'" not in f.name):
        if factor.name != "x_hat":
            t = r.tensors[factor.tensor]
            assert factor.value == (t.gradient if factor.gradient else t.value)[factor.index]
    return made


CONVOLUTIONS = [
    ((6, 7, 2), (3, 2, 2, 3), 1, 0, 1, 1, None),
    ((7, 8, 2), (3, 3, 2, 3), 2, ((1, 0), (2, 1)), 1, 1, "relu"),
    ((9, 8, 4), (2, 3, 2, 6), (1, 2), "same", (2, 1), 2, "tanh"),
    ((5, 5, 3), (3, 3, 1, 6), 3, 2, 1, 3, "sigmoid"),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding", "dilation", "groups", "act"), CONVOLUTIONS)
def test_every_product_of_a_convolution(x_shape, w_shape, stride, padding, dilation, groups, act):
    def function(x, w, b):
        return F.conv2d(x, w, b, stride, padding, dilation, groups, activation=act)

    r, (x, w, _), y, dy = recorded(function, x_shape, w_shape, w_shape[3:])
    (SH, SW), ((top, _), (left, _)), (DH, DW), *_ = r.steps[0].operation.geometry
    (_, H, W, _), (KH, KW, C, O), (_, OH, OW, _) = x.shape, w.shape, y.shape
    ds = dy * np.vectorize(SLOPES[act])(y)
    dx, dw = {}, {}
    for oh, ow, o, kh, kw, c in itertools.product(*map(range, (OH, OW, O, KH, KW, C))):
        h, v, channel = oh * SH + kh * DH - top, ow * SW + kw * DW - left, o // (O // groups) * C + c
        if 0 <= h < H and 0 <= v < W:
            row, column = oh * OW + ow, (kh * KW + kw) * C + c
            dx.setdefault((0, h, v, channel), {})[row, column, o] = ds[0, oh, ow, o] * w[kh, kw, c, o]
            dw.setdefault((kh, kw, c, o), {})[row] = x[0, h, v, channel] * ds[0, oh, ow, o]
    for index in cells(x.shape):
        made = check(r, 0, index, dx.get(index, {}).values())
        for (row, column), total in made.column_sums().items():
            np.testing.assert_allclose(total, sum(p for k, p in dx[index].items() if k[:2] == (row, column)))
    for index in cells(w.shape):
        made = check(r, 1, index, dw.get(index, {}).values())
        assert {term.place["row"]: term.product for term in made.terms} == pytest.approx(dw.get(index, {}))
    for (o,) in cells((O,)):
        check(r, 2, (o,), ds[0, :, :, o].ravel())


def test_rows_and_columns_are_those_of_im2col():
    stride, padding = (2, 1), ((1, 1), (0, 2))
    r, (x, w), y, _ = recorded(lambda x, w: F.conv2d(x, w, None, stride, padding), (6, 5, 2), (3, 2, 2, 3))
    matrix = kernels.room().im2col(x, (3, 2), stride, padding, (1, 1))
    for index in cells(w.shape):
        for term in products(r, 0, 1, index).terms:
            assert matrix[term.place["row"], term.place["column"]] == term.factors[0].value
            assert y.shape[2] * term.place["window"][0] + term.place["window"][1] == term.place["row"]
    for index in cells(x.shape):
        for term in products(r, 0, 0, index).terms:
            assert matrix[term.place["row"], term.place["column"]] == x[index]


POOLS = [
    (2, None, 0, False),
    (3, 2, 1, False),
    ((3, 2), (2, 1), ((1, 0), (0, 1)), False),
    (3, 2, 0, True),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), POOLS)
@pytest.mark.parametrize("what", ["max", "sum", "avg", "avg with padding"])
def test_every_product_of_a_pooling(what, kernel, stride, padding, ceil_mode):
    def function(x, _):
        more = {"count_include_pad": True} if what == "avg with padding" else {}
        return getattr(F, f"{what[:3]}_pool2d")(x, kernel, stride, padding, ceil_mode, **more)

    r, (x,), y, dy = recorded(function, (7, 8, 2))
    (KH, KW), (SH, SW), ((top, bottom), (left, right)) = r.steps[0].operation.windows
    (_, H, W, C), (_, OH, OW, _) = x.shape, y.shape
    dx = {index: [] for index in np.ndindex(x.shape)}
    for oh, ow, c in itertools.product(range(OH), range(OW), range(C)):
        window = [(oh * SH + kh - top, ow * SW + kw - left) for kh in range(KH) for kw in range(KW)]
        inside = [(h, v) for h, v in window if 0 <= h < H and 0 <= v < W]
        padded = [(h, v) for h, v in window if h < H + bottom and v < W + right]
        best = max(inside, key=lambda at: x[0, at[0], at[1], c])
        shares = {"sum": 1, "avg": 1 / len(inside), "avg with padding": 1 / len(padded)}
        for at in inside:
            share = float(at == best) if what == "max" else shares[what]
            dx[0, at[0], at[1], c].append(share * dy[0, oh, ow, c])
    for index in cells(x.shape, 30):
        check(r, 0, index, dx[index])


def test_the_window_of_a_maximum_names_its_winner():
    r, (x,), _, _ = recorded(lambda x, _: F.max_pool2d(x, 3, 2), (7, 7, 1))
    for index in np.ndindex(x.shape):
        for term in products(r, 0, 0, index).terms:
            (oh, ow), (kh, kw), (wh, ww) = (term.place[k] for k in ("window", "tap", "winner"))
            assert (oh * 2 + kh, ow * 2 + kw) == index[1:3]
            assert x[0, oh * 2 + wh, ow * 2 + ww, 0] == x[0, oh * 2 : oh * 2 + 3, ow * 2 : ow * 2 + 3, 0].max()


def test_adaptive_windows_overlap_where_the_size_does_not_divide():
    r, (x,), _, dy = recorded(lambda x, _: F.adaptive_avg_pool2d(x, (3, 2)), (7, 5, 2))
    rows, columns = [(0, 3), (2, 5), (4, 7)], [(0, 3), (2, 5)]  # floor(i * 7 / 3) to ceil((i + 1) * 7 / 3)
    for n, h, v, c in np.ndindex(x.shape):
        on = [(i, j) for i, (a, b) in enumerate(rows) for j, (d, e) in enumerate(columns) if a <= h < b and d <= v < e]
        check(r, 0, (n, h, v, c), [dy[0, i, j, c] / 9 for i, j in on])


@pytest.mark.parametrize("act", [None, "relu", "tanh", "sigmoid"])
def test_every_product_of_a_linear_layer(act):
    r, (x, w, _), y, dy = recorded(lambda x, w, b: F.linear(x, w, b, activation=act), (5,), (5, 4), (4,))
    ds = dy * np.vectorize(SLOPES[act])(y)
    for i in range(5):
        check(r, 0, (0, i), [ds[0, o] * w[i, o] for o in range(4)])
        for o in range(4):
            check(r, 1, (i, o), [x[0, i] * ds[0, o]])
            check(r, 2, (o,), [ds[0, o]])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("act", [None, "relu"])
@pytest.mark.parametrize("with_residual", [True, False])
def test_a_batch_normalisation_adds_up(training, act, with_residual):
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            generator = np.random.default_rng(5)
            self.gamma, self.beta = nn.Parameter(generator.normal(size=3)), nn.Parameter(generator.normal(size=3))
            self.register_buffer("mean", generator.normal(size=3))
            self.register_buffer("var", generator.random(3) + 0.5)

        def forward(self, x):
            residual = x * 0.5 if with_residual else None
            arrays = (self.gamma, self.beta, self.mean, self.var)
            return F.batch_norm(x, *arrays, training=training, activation=act, residual=residual)

    generator = np.random.default_rng(6)
    r = record(Normalised(), generator.normal(size=(3, 4, 3)), generator.normal(size=(1, 3, 4, 3)), weighted_sum)
    step = next(s for s in r.steps if s.operation.name.startswith("BatchNorm"))
    y, dy = r.tensors[step.output].value, r.tensors[step.output].gradient
    ds = dy * np.vectorize(SLOPES[act])(y)
    for input, part in enumerate(step.parts):
        for index in cells(part.shape) if part is not None else ():
            made = products(r, step.id, input, index)
            np.testing.assert_allclose(made.total, part[index], rtol=1e-9, atol=1e-12)
            assert len(made.terms) == (3 if training and input == 0 else 12 if input in (1, 2) else 1)
    assert products(r, step.id, 2, (1,)).total == pytest.approx(ds[..., 1].sum())


@pytest.mark.parametrize("name", ["relu", "relu6", "tanh", "sigmoid"])
def test_an_activation_is_one_product_with_its_slope(name):
    r, (x, _), *_ = recorded(lambda x, _: getattr(F, name)(x * 4), (3, 4, 2))
    step = r.steps[1]
    assert kind(step) == name
    slopes = {
        "relu": x * 4 > 0, "relu6": (x * 4 > 0) & (x * 4 < 6),
        "tanh": np.cosh(x * 4) ** -2, "sigmoid": np.exp(-x * 4) / (1 + np.exp(-x * 4)) ** 2,
    }  # fmt: skip
    dy = r.tensors[step.output].gradient
    for index in cells(x.shape):
        check(r, 0, index, [dy[index] * slopes[name][index]], node=1)


def test_cross_entropy_and_reshape():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4)).to(dtype="float64")
    x = np.random.default_rng(7).random((1, 2, 3))
    r = record(model, x, 2)
    logits = r.tensors[r.output[0]].value[0]
    p = np.exp(logits) / np.exp(logits).sum()
    last = r.steps[-1]
    for k in range(4):
        check(r, 0, (0, k), [p[k] - (k == 2)], node=last.id)
    for k, index in enumerate(np.ndindex(1, 1, 2, 3)):
        made = check(r, 0, index, [r.steps[1].parts[0][0, k]])
        assert made.terms[0].factors[0].index == (0, k)
    smoothed = record(model, x, np.array([[0.1, 0.2, 0.3, 0.4]]))
    for k in range(4):
        check(smoothed, 0, (0, k), [p[k] - (k + 1) / 10], node=last.id)


def test_float32_of_the_cpu_room_adds_up_to_rounding():
    mc.seed(0)
    conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, activation="relu")
    model = nn.Sequential(conv, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(None, 5))
    with kernels.use("cpu"):
        r = record(model, np.random.default_rng(8).random((16, 16, 3), np.float32), 1)
    assert [kind(step) for step in r.steps] == ["conv2d", "max_pool2d", "reshape", "linear", "cross_entropy"]
    for step in r.steps:
        for input, part in enumerate(step.parts):
            for index in cells(part.shape, 5):
                made = products(r, step.id, input, index)
                size = sum(abs(term.product) for term in made.terms)
                assert abs(made.total - part[index]) <= 1e-6 * size


class Half(mc.Function):
    def forward(self, x):
        return x / 2

    def backward(self, dy):
        return (dy / 2,)


def test_what_is_not_there_is_refused_in_a_sentence():
    r, *_ = recorded(lambda x, w: Half()(F.linear(x, w)), (3,), (3, 2))
    for arguments, error, message in [
        ((0, 0, (0, 3)), IndexError, "expected a cell of an array of shape (1, 3), got (0, 3)"),
        ((0, 0, (1,)), IndexError, "expected a cell of an array of shape (1, 3), got (1,)"),
        ((0, 2, (0, 0)), IndexError, "Linear has inputs from 0 to 1, got 2"),
        ((9, 0, (0, 0)), IndexError, "expected a step from 0 to 3, got 9"),
        ((1, 0, (0, 0)), ValueError, "step 1 is a Half"),
    ]:
        with pytest.raises(error) as caught:
            products(r, *arguments)
        assert message in str(caught.value)
    assert kind(r.steps[1]) is None


def test_an_input_without_a_gradient_is_refused():
    model = nn.Linear(3, 2)
    model.weight.requires_grad = False
    r = record(model, np.ones(3, np.float32), 0)
    with pytest.raises(ValueError, match="input 1 of step 0, a Linear, received no gradient"):
        products(r, 0, 1, (0, 0))
