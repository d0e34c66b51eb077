"""Broadcasting: an element that was copied to many places receives the sum of their gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minicnn as mc
from minicnn._function import unbroadcast

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60)
# float64, and sums of at most 5**5 terms near 1: what remains is rounding.
TIGHT = {"rtol": 1e-12, "atol": 1e-12}

# name: (the operator, its derivative in a, its derivative in b), for one pair of numbers
OPERATORS = {
    "+": (lambda a, b: a + b, lambda a, b: 1, lambda a, b: 1),
    "-": (lambda a, b: a - b, lambda a, b: 1, lambda a, b: -1),
    "*": (lambda a, b: a * b, lambda a, b: b, lambda a, b: a),
    "/": (lambda a, b: a / b, lambda a, b: 1 / b, lambda a, b: -a / b**2),
}


@st.composite
def shape_pairs(draw, min_length=0):
    """Two shapes that broadcast: axes of one dropped in front, or set to 1."""
    common = draw(st.lists(st.integers(min_length, 3), max_size=4))

    def part():
        shape = [1 if draw(st.booleans()) else n for n in common]
        return tuple(shape[draw(st.integers(0, len(shape))) :])

    return part(), part()


def places(shape, result_shape):
    """For every place of the result, the place of an operand of `shape` that was copied there."""
    in_front = len(result_shape) - len(shape)
    for place in np.ndindex(result_shape):
        yield place, tuple(0 if n == 1 else i for i, n in zip(place[in_front:], shape, strict=True))


def operands(shape_a, shape_b, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.5, 2, shape_a), rng.uniform(0.5, 2, shape_b)
    return a, b, rng.uniform(-1, 1, np.broadcast_shapes(shape_a, shape_b))


@pytest.mark.parametrize("name", OPERATORS)
@SETTINGS
@given(shapes=shape_pairs())
def test_operators_by_loops(name, shapes):
    operator, derivative_a, derivative_b = OPERATORS[name]
    a, b, dy = operands(*shapes)
    expected_y, expected_da, expected_db = np.zeros(dy.shape), np.zeros(a.shape), np.zeros(b.shape)
    for (place, i), (_, j) in zip(places(a.shape, dy.shape), places(b.shape, dy.shape), strict=True):
        expected_y[place] = operator(a[i], b[j])
        expected_da[i] += dy[place] * derivative_a(a[i], b[j])
        expected_db[j] += dy[place] * derivative_b(a[i], b[j])
    ta, tb = mc.tensor(a, requires_grad=True), mc.tensor(b, requires_grad=True)
    y = operator(ta, tb)
    y.backward(dy)
    assert_allclose(y.data, expected_y, **TIGHT)
    assert_allclose(ta.grad, expected_da, **TIGHT)
    assert_allclose(tb.grad, expected_db, **TIGHT)


@pytest.mark.parametrize("name", OPERATORS)
@SETTINGS
@given(shapes=shape_pairs())
def test_operators_as_torch(name, shapes):
    torch = pytest.importorskip("torch")
    operator = OPERATORS[name][0]
    a, b, dy = operands(*shapes, seed=1)
    ta, tb = mc.tensor(a, requires_grad=True), mc.tensor(b, requires_grad=True)
    operator(ta, tb).backward(dy)
    pa, pb = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    operator(pa, pb).backward(torch.tensor(dy))
    assert_allclose(ta.grad, pa.grad.numpy(), **TIGHT)
    assert_allclose(tb.grad, pb.grad.numpy(), **TIGHT)


@SETTINGS
@given(batches=shape_pairs(), lengths=st.tuples(*[st.integers(1, 3)] * 3))
def test_matmul_batches_by_loops(batches, lengths):
    M, K, N = lengths
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((*batches[0], M, K)), rng.standard_normal((*batches[1], K, N))
    batch = np.broadcast_shapes(*batches)
    dy = rng.standard_normal((*batch, M, N))
    expected_y, expected_da, expected_db = np.zeros(dy.shape), np.zeros(a.shape), np.zeros(b.shape)
    for (place, i), (_, j) in zip(places(batches[0], batch), places(batches[1], batch), strict=True):
        for m, k, n in np.ndindex(M, K, N):
            expected_y[(*place, m, n)] += a[(*i, m, k)] * b[(*j, k, n)]
            expected_da[(*i, m, k)] += dy[(*place, m, n)] * b[(*j, k, n)]
            expected_db[(*j, k, n)] += dy[(*place, m, n)] * a[(*i, m, k)]
    ta, tb = mc.tensor(a, requires_grad=True), mc.tensor(b, requires_grad=True)
    y = ta @ tb
    y.backward(dy)
    assert_allclose(y.data, expected_y, **TIGHT)
    assert_allclose(ta.grad, expected_da, **TIGHT)
    assert_allclose(tb.grad, expected_db, **TIGHT)


@SETTINGS
@given(shapes=shape_pairs())
def test_unbroadcast_is_the_adjoint_of_broadcasting(shapes):
    # <dy, broadcast(x)> = <unbroadcast(dy), x> for every x: the definition of a transposed linear map.
    x, _, dy = operands(*shapes, seed=3)
    dx = unbroadcast(dy, x.shape)
    assert dx.shape == x.shape
    assert_allclose((dx * x).sum(), (dy * np.broadcast_to(x, dy.shape)).sum(), **TIGHT)


def test_an_axis_of_length_zero_gives_a_gradient_of_zero():
    a, b = mc.tensor(np.ones((1, 3)), requires_grad=True), mc.tensor(np.ones((0, 3)), requires_grad=True)
    (a * b).sum().backward()
    assert_array_equal(a.grad, np.zeros((1, 3)))
    assert b.grad.shape == (0, 3)


def test_shapes_that_do_not_broadcast_are_refused_and_named():
    a, b = mc.tensor(np.ones((2, 3))), mc.tensor(np.ones((2, 4)))
    for operator, _, _ in OPERATORS.values():
        with pytest.raises(ValueError, match=r"\(2,3\) \(2,4\)"):
            operator(a, b)
    with pytest.raises(ValueError, match="broadcast"):
        mc.tensor(np.ones((2, 2, 2))) @ mc.tensor(np.ones((3, 2, 2)))


def test_sums_in_float32_lose_no_digits():
    """A million equal numbers: added one after another in float32 they would be wrong by a hundredth."""
    x = mc.tensor(np.full((64, 128, 128, 4), 0.1, np.float32))
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)).numpy(), 0.1, rtol=1e-6)
    shift, scale = (mc.tensor(np.ones(4, np.float32), requires_grad=True) for _ in range(2))
    (x * scale + shift).backward(np.full(x.shape, 0.1, np.float32))
    count = 64 * 128 * 128
    np.testing.assert_allclose(shift.grad, 0.1 * count, rtol=1e-6)
    np.testing.assert_allclose(scale.grad, 0.01 * count, rtol=1e-6)
    assert shift.grad.dtype == np.float32


def test_sums_of_whole_numbers_stay_whole():
    assert mc.tensor(np.arange(6).reshape(2, 3)).sum(axis=0).numpy().tolist() == [3, 5, 7]
