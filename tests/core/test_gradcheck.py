"""gradcheck passes what is right, and fails what is wrong in the ways that people get it wrong."""

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import minicnn as mc

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 5))


class Product(mc.Function):
    """y = x @ w, with a backward that is given from outside."""

    def __init__(self, dx, dw):
        self.dx, self.dw = dx, dw

    def forward(self, x, w):
        self.save(x, w)
        return x @ w

    def backward(self, dy):
        x, w = self.saved
        return self.dx(dy, x, w), self.dw(dy, x, w)


def dx(dy, x, w):
    return dy @ w.T


def dw(dy, x, w):
    return x.T @ dy


def product(dx=dx, dw=dw):
    return lambda x, w: Product(dx, dw)(x, w)


def test_the_right_gradient_passes():
    assert mc.gradcheck(product(), [X, W]) is True
    assert mc.gradcheck(lambda x: x[1, 2], [X]) is True
    assert mc.gradcheck(lambda x: x, [X]) is True


def last_column_zero(dy, x, w):
    gradient = dw(dy, x, w)
    gradient[:, -1] = 0
    return gradient


def one_element_off(dy, x, w):
    gradient = dx(dy, x, w)
    gradient[2, 1] *= 1.001
    return gradient


def nan_somewhere(dy, x, w):
    gradient = dx(dy, x, w)
    gradient[3, 0] = np.nan
    return gradient


WRONG = {
    "missing factor": (lambda dy, x, w: 0.5 * dx(dy, x, w), dw, 0, 12),
    "wrong sign": (dx, lambda dy, x, w: -dw(dy, x, w), 1, 15),
    "zero on the last column": (dx, last_column_zero, 1, 3),
    "one element in a thousand": (one_element_off, dw, 0, 1),
    "nan": (nan_somewhere, dw, 0, 1),
    "infinity": (lambda dy, x, w: dx(dy, x, w) * np.inf, dw, 0, 12),
    "none": (dx, lambda dy, x, w: None, 1, 15),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_fails_and_is_named(name):
    wrong_dx, wrong_dw, i, count = WRONG[name]
    with pytest.raises(AssertionError, match=rf"the gradient of input {i} \(\w\) is wrong at {count} of ") as caught:
        mc.gradcheck(product(wrong_dx, wrong_dw), [X, W])
    assert re.search(r"worst at \(\d, \d\): backward gave \S+, central differences \S+$", str(caught.value), re.M)


def test_the_worst_element_is_named_with_both_numbers():
    with pytest.raises(AssertionError, match=r"worst at \(2, 1\)"):
        mc.gradcheck(product(one_element_off), [X, W])
    with pytest.raises(AssertionError, match=r"worst at \(3, 0\): backward gave nan, central differences -?\d"):
        mc.gradcheck(product(nan_somewhere), [X, W])


def test_a_transposed_gradient_of_a_square_weight_fails():
    square = RNG.standard_normal((3, 3))
    with pytest.raises(AssertionError, match=r"the gradient of input 1 \(w\) is wrong"):
        mc.gradcheck(product(dw=lambda dy, x, w: dw(dy, x, w).T.copy()), [X, square])


def test_a_gradient_that_only_sums_right_fails():
    def average(dy, x, w):
        gradient = dx(dy, x, w)
        return np.full_like(gradient, gradient.mean())

    with pytest.raises(AssertionError, match=r"input 0 \(x\)"):
        mc.gradcheck(product(average), [X, W])


def test_a_function_that_is_nan_fails():
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match="central differences nan"):
        mc.gradcheck(lambda x: x.log(), [-np.ones(2)])


def test_a_kink_fails():
    with pytest.raises(AssertionError, match=r"at 1 of 1 elements\n  worst at \(\)"):
        mc.gradcheck(lambda x: mc.functional.relu(x), [np.zeros(())])


def test_precision_lost_on_the_way_is_told():
    with pytest.raises(AssertionError, match="returned float32 for float64 inputs"):
        mc.gradcheck(lambda x: x.to(dtype="float32") * 2, [X])


def test_inputs_are_as_they_were():
    x, w = X.copy(), mc.tensor(W, requires_grad=True)
    frozen = X.copy()
    frozen.flags.writeable = False
    mc.gradcheck(product(), [x, w])
    mc.gradcheck(product(), [frozen, w])
    with pytest.raises(AssertionError):
        mc.gradcheck(product(one_element_off), [x, w])
    assert_array_equal(x, X)
    assert_array_equal(w.data, W)
    assert w.grad is None


def test_the_function_sees_its_values_again_after_each_step():
    seen = []

    def fn(x):
        seen.append(x.data.copy())
        return x * 2

    x = np.array([1.0, 2.0])
    mc.gradcheck(fn, [x])
    assert_array_equal(seen[0], x)
    assert len(seen) == 5
    for values in seen[1:]:
        assert np.count_nonzero(values != x) == 1


def test_float32_is_checked_in_float64_and_integers_are_passed_on():
    def fn(x, rows):
        assert x.dtype == np.float64
        assert rows.dtype == np.int64
        return x[rows]

    assert mc.gradcheck(fn, [X.astype(np.float32), np.array([0, 0, 2])])
    with pytest.raises(TypeError, match="at least one input of floats"):
        mc.gradcheck(lambda rows: rows, [np.array([1, 2])])


def test_an_input_that_is_not_used_has_the_gradient_zero():
    assert mc.gradcheck(lambda x, y: x * 2, [X, W])


@pytest.mark.parametrize("shape", [(5,), (4, 1), ()])
def test_a_gradient_that_was_not_summed_back_is_told_by_its_shape(shape):
    class Sum(mc.Function):
        def forward(self, a, b):
            return a + b

        def backward(self, dy):
            return dy, dy

    with pytest.raises(RuntimeError, match=r"a gradient of shape \(4, 5\).* sum it back with unbroadcast"):
        mc.gradcheck(lambda a, b: Sum()(a, b), [RNG.standard_normal((4, 5)), RNG.standard_normal(shape)])
