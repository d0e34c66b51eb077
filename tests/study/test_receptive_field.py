"""Receptive fields against loops over positions, against the pixels that a gradient reaches, and as published."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn
from minicnn.study.receptive_field import effective_field, receptive_fields
from minicnn.study.steps import run_steps

pytestmark = pytest.mark.usefixtures("plain_kernels")


def seen(L, windows):
    """For each position of the last layer the set of pixels that it sees. windows: (K, stride, dilation, padding)."""
    sets = [{i} for i in range(L)]
    for K, s, d, p in windows:
        count = (len(sets) + 2 * p - d * (K - 1) - 1) // s + 1
        places = [[i * s + k * d - p for k in range(K)] for i in range(count)]
        sets = [set().union(*(sets[j] for j in row if 0 <= j < len(sets))) for row in places]
    return sets


STACKS = [
    (11, [(3, 1, 1, 0)]),
    (12, [(3, 2, 1, 1), (3, 2, 1, 1)]),  # strides that leave a remainder
    (17, [(5, 1, 1, 2), (2, 2, 1, 0), (3, 1, 2, 2)]),
    (20, [(3, 1, 3, 3), (3, 3, 1, 0), (2, 1, 1, 1)]),
    (9, [(1, 2, 1, 0), (3, 1, 1, 1), (3, 1, 1, 1)]),
]


@pytest.mark.parametrize(("L", "windows"), STACKS)
def test_windows_are_followed_back_to_the_image(L, windows):
    rows = nn.Sequential(*[nn.Conv2d(1, 1, (K, 1), (s, 1), (p, 0), (d, 1)) for K, s, d, p in windows])
    run = run_steps(rows, np.zeros((L, 3, 1), np.float32), "test")
    down, across = receptive_fields(run)[str(len(windows) - 1) if len(windows) > 1 else "0"]
    expected = seen(L, windows)
    assert down.first.tolist() == [min(s) for s in expected]
    assert down.last.tolist() == [max(s) for s in expected]
    assert across.first.tolist() == across.last.tolist() == [0, 1, 2]
    # On an image without borders: the same in the middle of one that is large enough.
    start, jump, size = down.rule
    far = seen(L + 400, windows)
    i = len(far) // 2
    assert (min(far[i]), max(far[i])) == (start + i * jump, start + i * jump + size - 1)
    assert across.rule == (0, 1, 1)


class Mixed(nn.Module):
    """Everything that moves pixels, with positive weights, so that no gradient cancels another."""

    def forward(self, x):
        w = mc.tensor(np.ones((3, 3, 1, 1)))
        a = F.conv2d(x, w, stride=2, padding=1)  # 14 x 13 -> 7 x 7
        b = F.sum_pool2d(F.pad(x, [(0, 0), (1, 0), (2, 0), (0, 0)]), (3, 3), 2)  # 15 x 15 -> 7 x 7
        a = F.concatenate([a, b], axis=3).sum(axis=3, keepdims=True) + a
        a = F.upsample(a, 2)[:, 1:13:3, 2:]  # 14 x 14 -> 4 x 12
        a = a.reshape(1, 4, 12, 1, 1).transpose(0, 1, 2, 4, 3).reshape(1, 4, 12, 1)
        return F.adaptive_avg_pool2d(F.sigmoid(a * 0.01), (3, 5))


class Gated(nn.Module):
    """A gate for the whole image, as in squeeze and excitation."""

    def forward(self, x):
        return x * x.mean(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize(
    "model",
    [
        Mixed(),
        Gated(),
        nn.AvgPool2d(3, 2, padding=1),
        nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True), nn.Upsample(3)),
    ],
    ids=["mixed", "gated", "pooling", "ceil"],
)
def test_the_frame_is_what_the_gradient_reaches(model):
    """The gradient of a unit is not 0 in the rows and columns of its frame, and 0 outside."""
    x = np.random.default_rng(0).uniform(0.5, 1, (14, 13, 1))
    name = run_steps(model, x, "test").steps[-1].name
    OH, OW = run_steps(model, x, "test").steps[-1].output.shape[1:3]
    for i, j in [(0, 0), (OH // 2, OW // 2), (OH - 1, OW - 1)]:
        run = run_steps(model, x, "test")
        down, across = receptive_fields(run)[name]
        reached = effective_field(run, run.steps[-1], (i, j)) != 0
        assert _bounds(reached.any(axis=1)) == (down.first[i], down.last[i])
        assert _bounds(reached.any(axis=0)) == (across.first[j], across.last[j])


def _bounds(line):
    return np.flatnonzero(line)[0], np.flatnonzero(line)[-1]


def test_behind_a_linear_layer_everything_is_seen_and_a_constant_sees_nothing():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(None, 5), nn.ReLU())
    fields = receptive_fields(run_steps(model, np.zeros((6, 7, 1), np.float32), "test"))
    down, across = fields["3"]
    assert (down.first.tolist(), down.last.tolist(), down.rule) == ([0], [5], None)
    assert (across.first.tolist(), across.last.tolist()) == ([0], [6])
    lenet = run_steps(models.lenet5("1998"), np.zeros((28, 28, 1), np.float32), "test")
    fields = receptive_fields(lenet)
    assert "c3.matmul" not in fields  # the weight that it makes of its table
    assert fields["c1.conv2d"][0].first[0] == 0
    assert fields["input.pad"][0].last[:3].tolist() == [-1, -1, 0]


# Araujo et al. 2019, table 1: the receptive field of the last layer with maps. Small images are enough.
@pytest.mark.parametrize(
    ("name", "shape", "size", "jump"),
    [("alexnet:2012", (99, 99, 3), 195, 32), ("vgg16", (32, 32, 3), 212, 32), ("mobilenet_v1", (64, 64, 3), 315, 32)],
)
def test_published_sizes(name, shape, size, jump, no_draws):
    model = models.build(name)
    model = model.features if hasattr(model, "features") else model
    run = run_steps(model, np.zeros(shape, np.float32), "test")
    fields = receptive_fields(run)
    last = next(s for s in reversed(run.steps) if s.output.ndim == 4 and s.operation.name != "AdaptiveAvgPool2d")
    for axis in fields[last.name]:
        assert axis.rule[1:] == (jump, size)


def test_a_function_of_the_users_own_is_left_out_and_all_behind_it():
    class Flip(mc.Function):
        def forward(self, x):
            return x[:, ::-1].copy()

        def backward(self, dy):
            return (dy[:, ::-1].copy(),)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.AvgPool2d(2), nn.AvgPool2d(2)

        def forward(self, x):
            return self.b(Flip()(self.a(x)))

    run = run_steps(Model(), np.ones((8, 8, 1), np.float32), "test")
    assert list(receptive_fields(run)) == ["a"]
    reached = effective_field(run, run.find("b", "test"), (0, 0)) != 0  # the gradient tells
    assert _bounds(reached.any(axis=1)) == (4, 7)


def test_the_effective_field_of_one_convolution_is_its_kernel():
    conv = nn.Conv2d(2, 3, 3, padding=1).to(dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 2))
    run = run_steps(conv, x, "test")
    expected = np.zeros((6, 5))
    for kh, kw in np.ndindex(3, 3):
        if 0 <= 4 + kh - 1 < 6 and 0 <= 4 + kw - 1 < 5:
            for c in range(2):  # of two images: the same, since a convolution is linear
                expected[4 + kh - 1, 4 + kw - 1] += 2 * abs(sum(conv.weight.data[kh, kw, c, o] for o in range(3)))
    np.testing.assert_allclose(effective_field(run, run.steps[0], (4, 4)), expected, rtol=1e-12)
