"""Activations, softmax and losses of the cpu room against the reference, and how exact they are."""

import numpy as np
import pytest
from agreement import DTYPES, call, converted, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cpu, reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=120)
# float32: exp and tanh are polynomials with 2e-7 and 3e-7, and a row adds up to a few hundred of them.
TOLERANCE = {np.float32: {"rtol": 2e-6, "atol": 1e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-13}}
SHAPES = st.lists(st.integers(1, 12), min_size=0, max_size=4).map(tuple)
ROWS = st.tuples(st.integers(1, 9), st.sampled_from([1, 2, 3, 10, 16, 17, 100, 257]))
FORWARD = ["relu_forward", "relu6_forward", "tanh_forward", "sigmoid_forward"]
BACKWARD = ["relu_backward", "relu6_backward", "tanh_backward", "sigmoid_backward"]
SPECIAL = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, 87.5, -87.5, 104.0, -104.0, 3e38, -3e38])


def numbers(shape, scale=3.0):
    return scale * np.random.default_rng(0).standard_normal(shape)


def assert_agrees(name, arguments, dtype):
    """The kernel in `dtype` is the float64 reference on the very same numbers, but for rounding."""
    given = converted(arguments, dtype)
    for got, expected in zip(call(cpu, name, given), call(reference, name, converted(given, np.float64)), strict=True):
        assert got.dtype == dtype
        assert got.shape == expected.shape
        assert_allclose(got, expected, **TOLERANCE[dtype], err_msg=name)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_activations_are_the_reference(parts, shape, dtype):
    x, dy = numbers(shape), np.asarray(numbers((2, *shape))[1])
    x = np.asarray(x)
    with split(parts):
        for name in FORWARD:
            assert_agrees(name, (x,), dtype)
        assert_agrees("relu_backward", (dy, x), dtype)
        assert_agrees("relu6_backward", (dy, 3 * x), dtype)
        assert_agrees("tanh_backward", (dy, np.tanh(x)), dtype)
        assert_agrees("sigmoid_backward", (dy, abs(np.tanh(x))), dtype)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_of_a_single_number_and_of_none(shape, dtype):
    x = np.full(shape, 1.5, dtype)
    for name in FORWARD:
        y = getattr(cpu, name)(x)
        assert y.shape == shape
        assert_allclose(y, getattr(reference, name)(x), rtol=1e-6)
    for name in BACKWARD:
        dx = getattr(cpu, name)(x, x)
        assert dx.shape == shape
        assert_allclose(dx, getattr(reference, name)(x, x), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD + BACKWARD)
def test_activations_of_nan_infinity_and_denormals(name, dtype):
    """At every place of a vector: its lanes and what is left over behind the last one are different code."""
    values = np.concatenate([SPECIAL, [np.nan, np.inf, -np.inf, 1.0]]).astype(dtype)
    for shift in range(len(values)):
        x = np.tile(np.roll(values, shift), 3)[:37]
        arguments = (x,) if name in FORWARD else (np.ones_like(x), x)
        with np.errstate(invalid="ignore", over="ignore"):
            expected = getattr(reference, name)(*arguments)
        assert_allclose(getattr(cpu, name)(*arguments), expected, **TOLERANCE[dtype])


def test_a_zero_gives_a_zero_and_saturation_never_passes_one():
    zeros = np.zeros(40, np.float32)
    assert_array_equal(cpu.tanh_forward(zeros), zeros)
    assert np.signbit(cpu.tanh_forward(-zeros)).all()
    large = np.concatenate([np.linspace(7, 12, 100_001), np.logspace(1, 38, 1001), [np.inf]]).astype(np.float32)
    for x in (large, -large):
        assert (abs(cpu.tanh_forward(x)) <= 1).all()
        assert ((cpu.sigmoid_forward(x) >= 0) & (cpu.sigmoid_forward(x) <= 1)).all()
        assert (cpu.tanh_backward(np.ones_like(x), cpu.tanh_forward(x)) >= 0).all()


@pytest.mark.parametrize(("name", "error"), [("tanh_forward", 3e-7), ("sigmoid_forward", 2e-7)])
def test_the_absolute_error_in_float32_is_what_the_docstring_states(name, error):
    small = np.logspace(-45, 0, 100_001)
    x = np.concatenate([np.linspace(-100, 100, 400_001), np.linspace(-10, 10, 1_000_001), small, -small])
    x = x.astype(np.float32)
    exact = getattr(reference, name)(x.astype(np.float64))
    assert abs(getattr(cpu, name)(x) - exact).max() <= error
    assert f"at most {error:.0e}".replace("e-0", "e-") in getattr(cpu, name).__doc__


def test_exp_inside_softmax_has_a_small_relative_error_in_float32():
    """softmax of (0, x) is e**x / (1 + e**x), and for a very negative x as good as e**x."""
    x = -np.logspace(-6, np.log10(87), 200_001).astype(np.float32)
    rows = np.stack([np.zeros_like(x), x], axis=1)
    assert_allclose(cpu.softmax_forward(rows), reference.softmax_forward(rows.astype(np.float64)), rtol=5e-7)
    log = cpu.log_softmax_forward(rows)
    assert_allclose(log, reference.log_softmax_forward(rows.astype(np.float64)), rtol=5e-7, atol=2e-7)


def test_the_logarithm_inside_log_softmax_has_a_small_relative_error_in_float32():
    """Of K equal numbers each has the logarithm -log(K)."""
    for K in [*range(1, 200), 1000, 4097, 65_537, 1_000_003]:
        assert_allclose(cpu.log_softmax_forward(np.zeros((1, K), np.float32))[0, 0], -np.log(K), rtol=3e-7)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(lead=st.lists(st.integers(1, 6), max_size=2), rows=ROWS, scale=st.sampled_from([0.1, 3, 60]))
def test_softmax_is_the_reference(parts, lead, rows, scale):
    x = numbers((*lead, *rows), scale)
    dy = numbers((2, *x.shape))[1]
    with split(parts):
        for dtype in DTYPES:
            assert_agrees("softmax_forward", (x,), dtype)
            assert_agrees("log_softmax_forward", (x / scale,), dtype)
            assert_agrees("softmax_backward", (dy, reference.softmax_forward(x)), dtype)
    for dtype in DTYPES:
        # The sum of dy times e**y may cancel, so what is left is compared with what was added.
        y, rough = reference.log_softmax_forward(x), abs(dy).sum(axis=-1, keepdims=True)
        got = cpu.log_softmax_backward(dy.astype(dtype), y.astype(dtype))
        expected = reference.log_softmax_backward(dy.astype(dtype).astype(float), y.astype(dtype).astype(float))
        assert (abs(got - expected) <= TOLERANCE[dtype]["rtol"] * rough).all()


INFINITE_ROWS = [
    [5, np.nan, 1],
    [np.nan, 1, 2],
    [1, 2, np.nan],
    [np.inf, 1, 2],
    [1, np.inf, np.inf],
    [-np.inf, -np.inf, -np.inf],
    [-np.inf, 1, 2],
    [2, -np.inf, 1],
    [-np.inf, np.nan, np.inf],
    [1e38, -3e38, 3e38],
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", INFINITE_ROWS, ids=str)
def test_softmax_and_cross_entropy_of_nan_and_infinity(row, dtype):
    """The row in the middle of two ordinary ones, which must not notice."""
    x = np.array([[1, 2, 3], row, [3, 1, 2]], dtype)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for name in ("softmax_forward", "log_softmax_forward"):
            got, expected = getattr(cpu, name)(x), getattr(reference, name)(x)
            assert np.isfinite(expected[[0, 2]]).all()
            assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
        for target in ([0, 1, 2], [2, 0, 0], np.eye(3), np.full((3, 3), 1 / 3)):
            target = np.array(target)
            results = (call(room, "cross_entropy_forward", (x, target)) for room in (cpu, reference))
            for got, expected in zip(*results, strict=True):
                assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(rows=ROWS, kind=st.sampled_from([np.int64, np.int32, np.uint8, "rows", "weighted rows"]))
def test_cross_entropy_is_the_reference(parts, rows, kind):
    N, K = rows
    rng = np.random.default_rng(0)
    if kind in ("rows", "weighted rows"):
        target = rng.dirichlet(np.ones(K), N) * (1 if kind == "rows" else rng.integers(0, 5, K))
    else:
        target = rng.integers(0, min(K, 256), N).astype(kind)
    logits, loss = numbers(rows), np.array(0.7)
    with split(parts):
        for dtype in DTYPES:
            assert_agrees("cross_entropy_forward", (logits, target), dtype)
            p = reference.softmax_forward(logits)
            p = p * target.sum(axis=1, keepdims=True) if target.ndim == 2 else p
            assert_agrees("cross_entropy_backward", (loss, p, target), dtype)


def test_an_impossible_class_costs_what_it_should_and_not_infinity():
    logits = np.array([[0.0, 1000.0]], np.float32)
    loss, _ = cpu.cross_entropy_forward(logits, np.array([0]))
    assert loss == 1000


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(rows=ROWS)
def test_squared_errors_are_the_reference(parts, rows):
    y, target, loss = numbers(rows), numbers((2, *rows))[1], np.array(0.7)
    with split(parts):
        for dtype in DTYPES:
            for name in ("mean_squared_error", "half_squared_error"):
                assert_agrees(f"{name}_forward", (y, target), dtype)
                assert_agrees(f"{name}_backward", (loss, y, target), dtype)
                assert_agrees(f"{name}_forward", (y[0], target[0]), dtype)


def test_the_error_of_a_million_float32_keeps_its_digits():
    y = np.full((1000, 1000), 0.1, np.float32)
    assert_allclose(cpu.mean_squared_error_forward(y, np.zeros_like(y)), 0.01, rtol=2e-7)
