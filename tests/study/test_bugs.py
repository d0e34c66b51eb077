"""The bug room: each bug does what it says and nothing else, its check finds it, and afterwards the engine is whole."""

import inspect
import linecache
import re

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import nn, optim
from minicnn.study.bug_room import BUGS, Bug, normal
from minicnn.study.bug_room import wrong_gradients as gradients
from minicnn.study.bug_room import wrong_habits as habits

NAMED = {
    gradients.CROSS_ENTROPY: "a factor 1/5 is forgotten: a sum where a mean belongs",
    gradients.OVERLAPPING_WINDOWS: "`=` where `+=` belongs: windows overlap",
    gradients.KERNEL_NOT_TURNED: "backward reads input 1 (w) the wrong way round",
    gradients.BROADCASTING: "broadcasting is not summed back: input 1 (row) was copied along axis 0",
    gradients.BATCH_STATISTICS: "what sums over the channel is missing: the terms through its mean and variance",
    gradients.STRIDE_REMAINDER: "a loop that is one too short, or a stride remainder",
    habits.DROPOUT_ALWAYS: "fn is not deterministic",
}
each_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.title)


def leaf(array):
    return mc.tensor(array, requires_grad=True)


def test_there_are_ten():
    assert len(BUGS) == 10
    for what in ("title", "complaint", "explanation", "replacement", "check"):
        assert len({getattr(bug, what) for bug in BUGS}) == 10


@each_bug
def test_its_check_finds_it_and_passes_without_it(bug):
    bug.check()
    with bug.injected(), pytest.raises(AssertionError):
        bug.check()
    bug.check()


def test_no_check_finds_another_bug():
    for injected in BUGS:
        with injected.injected():
            for other in BUGS:
                if other is not injected:
                    other.check()


@each_bug
def test_the_engine_is_whole_again_after_an_exception_too(bug):
    def attributes():
        return [vars(other.owner)[other.name] for other in BUGS]

    before = attributes()
    with bug.injected():
        assert vars(bug.owner)[bug.name] is bug.replacement
    with pytest.raises(ZeroDivisionError), bug.injected():
        raise ZeroDivisionError
    assert all(now is then for now, then in zip(attributes(), before, strict=True))


@pytest.mark.parametrize("bug", NAMED, ids=lambda bug: bug.title)
def test_gradcheck_names_it(bug):
    said = " ".join(bug.symptom().split())
    assert NAMED[bug] in said.partition("likely cause: ")[2].partition(" evidence: ")[0]


@each_bug
def test_the_right_line_stands_where_it_is_said_and_the_wrong_one_in_the_replacement(bug):
    path, _, number = bug.place().rpartition(":")
    source = inspect.getsourcefile(bug.engine)
    assert source.endswith(path)
    assert linecache.getline(source, int(number)).strip() == bug.right.strip()
    assert inspect.getsource(bug.engine).count(bug.right) == 1
    assert bug.wrong in inspect.getsource(bug.replacement)


@each_bug
def test_what_people_complain_about_does_not_tell(bug):
    assert len(bug.hints) == 3
    assert bug.title not in bug.complaint
    assert not re.search(r"zero_grad|maximum|1/N|\+=|summed|turned|unbiased|mask", bug.complaint)


def test_a_symptom_that_is_not_there_is_an_error():
    harmless = Bug("t", "c", (), "e", F, "relu", F.relu, "", F.relu, "", lambda: None)
    with pytest.raises(RuntimeError, match="the check of the bug 't' has not found it"):
        harmless.symptom()


# What each of them does, from the definition


def test_cross_entropy():
    logits, labels = normal(4, 3), np.array([2, 0, 1, 1])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    with gradients.CROSS_ENTROPY.injected():
        x = leaf(logits)
        F.cross_entropy(x, labels).backward()
    np.testing.assert_allclose(x.grad, p - np.eye(3)[labels], atol=1e-12)


def test_gradients_are_kept():
    w = nn.Parameter(np.ones(2))
    optimizer = optim.SGD([w], lr=0.1)
    with habits.GRADIENTS_KEPT.injected():
        for step in (1, 2, 3):
            optimizer.zero_grad()
            w.sum().backward()
            np.testing.assert_array_equal(w.grad, [step, step])


def test_overlapping_windows():
    image = np.zeros((1, 3, 5, 1))
    image[0, 1, 2] = 7.0  # the largest of both windows of 3x3, every 2
    with gradients.OVERLAPPING_WINDOWS.injected():
        x = leaf(image)
        F.max_pool2d(x, 3, stride=2).backward(np.array([10.0, 1.0]).reshape(1, 1, 2, 1))
    assert x.grad[0, 1, 2, 0] == 1.0
    assert np.count_nonzero(x.grad) == 1


def test_softmax_overflows():
    with habits.SOFTMAX_OVERFLOW.injected():
        small = F.softmax(mc.tensor([[1.0, 3.0]])).numpy()
        assert np.isnan(F.softmax(mc.tensor([[1000.0, 0.0]])).numpy()).any()
        assert mc.gradcheck(F.softmax, [normal(3, 4)])
    np.testing.assert_allclose(small, [[1 / (1 + np.e**2), np.e**2 / (1 + np.e**2)]], rtol=1e-6)


def test_a_kernel_is_not_turned():
    dy, w = normal(1, 3, 3, 1), normal(2, 2, 1, 1)
    dx = np.zeros((1, 4, 4, 1))
    for i, j, kh, kw in np.ndindex(3, 3, 2, 2):
        dx[0, i + kh, j + kw, 0] += dy[0, i, j, 0] * w[1 - kh, 1 - kw, 0, 0]
    with gradients.KERNEL_NOT_TURNED.injected():
        x = leaf(normal(1, 4, 4, 1))
        F.conv2d(x, mc.tensor(w)).backward(dy)
    np.testing.assert_allclose(x.grad, dx, atol=1e-12)


def test_broadcasting_pays_the_first_copy_alone():
    dy = normal(4, 3)
    with gradients.BROADCASTING.injected():
        row, column = leaf(np.zeros(3)), leaf(np.zeros((4, 1)))
        (row + column).backward(dy)
    np.testing.assert_array_equal(row.grad, dy[0])
    np.testing.assert_array_equal(column.grad, dy[:, :1])


def test_dropout_in_evaluation():
    layer, x = nn.Dropout(0.5).eval(), mc.tensor(np.ones((4, 50)))
    with habits.DROPOUT_ALWAYS.injected():
        first, second = layer(x).numpy(), layer(x).numpy()
    assert set(np.unique(first)) == {0.0, 2.0}
    assert (first != second).any()
    np.testing.assert_array_equal(layer(x).numpy(), 1)


def test_batch_statistics_are_taken_for_constants():
    values, gamma, dy = normal(6, 2), normal(2), normal(6, 2)
    with gradients.BATCH_STATISTICS.injected():
        x = leaf(values)
        running = np.zeros(2), np.ones(2)
        F.batch_norm(x, mc.tensor(gamma), mc.tensor(gamma), *running, training=True, eps=0.0).backward(dy)
    np.testing.assert_allclose(x.grad, dy * gamma / values.std(axis=0), atol=1e-12)


@pytest.mark.parametrize("momentum", [1.0, 0.3, 0.0])
def test_the_running_variance_is_biased(momentum):
    values, mean, var = normal(4, 2), np.zeros(2), np.full(2, 5.0)
    with habits.BIASED_VARIANCE.injected():
        x, one = leaf(values), mc.tensor(np.ones(2))
        assert mc.gradcheck(lambda x: F.batch_norm(x, one, one, mean.copy(), var.copy(), training=True), [values])
        F.batch_norm(x, one, one, mean, var, training=True, momentum=momentum)
    np.testing.assert_allclose(mean, momentum * values.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(var, (1 - momentum) * 5.0 + momentum * values.var(axis=0), rtol=1e-12)


def test_a_strides_remainder_is_lost():
    with gradients.STRIDE_REMAINDER.injected():
        odd, even = leaf(np.zeros((1, 5, 5, 1))), leaf(np.zeros((1, 4, 4, 1)))
        F.avg_pool2d(odd, 2, ceil_mode=True).sum().backward()
        F.avg_pool2d(even, 2, ceil_mode=True).sum().backward()
    expected = np.zeros((5, 5))
    expected[:4, :4] = 0.25
    np.testing.assert_array_equal(odd.grad[0, :, :, 0], expected)
    np.testing.assert_array_equal(even.grad[0, :, :, 0], 0.25)
