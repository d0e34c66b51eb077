"""Convolution in the cpu room against the reference, on both sides of every switch between its loops."""

from types import SimpleNamespace

import numpy as np
import pytest
from agreement import DTYPES, assert_sums_agree, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import conv2d_direct, conv2d_rows, conv2d_winograd
from minicnn.kernels.cpu.blocks import DEPTH
from minicnn.kernels.cpu.conv2d import ALGORITHMS
from minicnn.kernels.geometry import output_sizes

SETTINGS = settings(deadline=None, derandomize=True, max_examples=120)
GENERAL = ["im2col", "implicit_gemm", "direct"]  # which serve every shape
NONE = ((0, 0), (0, 0))
# Units of the last place of the largest sum. With Winograd's tiles of 4x4 the numbers that cancel are several times as
# large as what is left of them, with 2x2 about as large.
DIGITS = {"winograd": 64, "winograd_f2": 32}


@st.composite
def axes(draw):
    """size, kernel, stride, (before, after), dilation; the smallest size is that of a single window."""
    kernel, stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    before, after = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    smallest = max(1, dilation * (kernel - 1) + 1 - before - after)
    return draw(st.integers(smallest, smallest + 9)), kernel, stride, (before, after), dilation


@st.composite
def problems(draw):
    """The shapes of x and w; stride, padding, dilation and groups."""
    (H, KH, SH, rows, DH), (W, KW, SW, columns, DW) = draw(axes()), draw(axes())
    c, o, groups = draw(st.sampled_from([(1, 1, 1), (1, 1, 7), (1, 3, 2), (3, 8, 1), (5, 2, 3), (9, 17, 1)]))
    shapes = (draw(st.integers(1, 3)), H, W, groups * c), (KH, KW, c, groups * o)
    return *shapes, (SH, SW), (rows, columns), (DH, DW), groups


def arrays(x_shape, w_shape, stride, padding, dilation, dtype):
    """x, w, b and dy of a problem."""
    rng = np.random.default_rng(0)
    sizes = output_sizes(x_shape, w_shape[:2], stride, padding, dilation)
    shapes = [x_shape, w_shape, w_shape[3:], (x_shape[0], *sizes, w_shape[3])]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def by_name(algorithm):
    """The cpu room's convolution, which computes by that algorithm where it is asked for "auto"."""

    def named(kernel):
        return lambda *arguments: kernel(*(algorithm if isinstance(a, str) and a == "auto" else a for a in arguments))

    names = ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight")
    return SimpleNamespace(**{name: named(getattr(cpu, name)) for name in names})


def assert_all_directions_agree(problem, algorithm, dtype):
    x, w, b, dy = arrays(*problem[:5], dtype)
    room, where, accuracy = by_name(algorithm), (*problem[2:], "auto"), ()
    if algorithm in DIGITS:
        accuracy = DIGITS[algorithm], True
    assert_sums_agree("conv2d_forward", (x, w, b, *where, None), room, *accuracy)
    assert_sums_agree("conv2d_forward", (x, w, None, *where, None), room, *accuracy)
    assert_sums_agree("conv2d_backward_input", (dy, w, x.shape, *where), room, *accuracy)
    assert_sums_agree("conv2d_backward_weight", (dy, x, w.shape, *where), room, *accuracy)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("algorithm", GENERAL)
@SETTINGS
@given(problem=problems(), dtype=st.sampled_from(DTYPES))
def test_each_algorithm_for_all_shapes_is_the_reference(algorithm, parts, problem, dtype):
    with split(parts):
        assert_all_directions_agree(problem, algorithm, dtype)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(rows=axes(), columns=axes(), N=st.integers(1, 3), C=st.integers(2, 40), dtype=st.sampled_from(DTYPES))
def test_depthwise_is_the_reference(parts, rows, columns, N, C, dtype):
    (H, KH, SH, vertical, DH), (W, KW, SW, horizontal, DW) = rows, columns
    with split(parts):
        problem = case((N, H, W, C), (KH, KW, 1, C), (SH, SW), (vertical, horizontal), (DH, DW), C)
        assert_all_directions_agree(problem, "depthwise", dtype)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("algorithm", ["winograd", "winograd_f2"])
@SETTINGS
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 13)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    channels=st.tuples(*[st.sampled_from([1, 2, 5, 16, 17, 32, 33, 48])] * 2),
    cache=st.sampled_from([1, 40000]),
    dtype=st.sampled_from(DTYPES),
)
def test_winograd_is_the_reference(algorithm, parts, size, padding, channels, cache, dtype):
    """With all tiles at once, and few at a time. The last row of tiles sticks out of most of these images."""
    (N, H, W), (top, bottom, left, right), (C, O) = size, padding, channels
    H, W = max(H, 3 - top - bottom), max(W, 3 - left - right)
    with split(parts), pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv2d_winograd, "CACHE", cache)
        problem = case((N, H, W, C), (3, 3, C, O), padding=((top, bottom), (left, right)))
        assert_all_directions_agree(problem, algorithm, dtype)


def case(x, w, stride=(1, 1), padding=NONE, dilation=(1, 1), groups=1):
    return x, w, stride, padding, dilation, groups


ONE = ((1, 1), (1, 1))
LARGE = {
    "many tiles, tiles over several images": case((3, 40, 41, 2), (3, 3, 2, 5), padding=ONE),
    "images smaller than a tile": case((70, 4, 3, 3), (2, 2, 3, 4)),
    "images of one position": case((600, 3, 3, 2), (3, 3, 2, 3)),
    "a row longer than two tiles": case((1, 3, 1300, 1), (3, 3, 1, 3), padding=ONE),
    "a row longer than two tiles, every second": case((1, 2, 2307, 2), (1, 4, 2, 4), stride=(1, 2)),
    "several depths of columns": case((1, 30, 40, 60), (3, 3, 60, 9), padding=ONE),
    "several depths in every group": case((1, 20, 30, 124), (3, 3, 62, 8), groups=2),
    "one tile, the filters in blocks": case((1, 8, 8, 4), (3, 3, 4, 70)),
    "depthwise": case((2, 23, 22, 37), (3, 3, 1, 37), stride=(2, 2), padding=ONE, groups=37),
    "depthwise, more rows than fit the cache": case((1, 150, 151, 70), (3, 2, 1, 70), padding=ONE, groups=70),
    "depthwise, a stride longer than the kernel": case((2, 20, 21, 33), (2, 1, 1, 33), stride=(5, 3), groups=33),
    "depthwise, more padding than image": case(
        (1, 2, 1, 8), (3, 3, 1, 8), (2, 1), ((5, 4), (6, 3)), dilation=(2, 3), groups=8
    ),
    "depthwise, two filters each": case((2, 9, 8, 19), (3, 3, 1, 38), padding=ONE, groups=19),
    "long rows of several spans": case((2, 9, 9, 130), (3, 3, 130, 33), padding=ONE),
    "a row of exactly one span": case((1, 6, 6, 256), (2, 2, 256, 25)),
    "few positions, few of them at a time": case((5, 15, 15, 30), (3, 3, 30, 26), stride=(2, 1)),
    "many positions": case((4, 16, 16, 23), (3, 3, 23, 24), padding=ONE),
    "one position fewer": case((1, 33, 31, 25), (3, 3, 25, 24), padding=ONE),
    "one position": case((1, 5, 5, 64), (5, 5, 64, 31)),
    "1x1 in place": case((2, 17, 15, 300), (1, 1, 300, 45)),
    "1x1 in place over a span": case((1, 5, 7, 1100), (1, 1, 1100, 27)),
    "1x1 with a stride": case((2, 17, 15, 210), (1, 1, 210, 25), stride=(2, 2)),
    "1x1 with two blocks of filters": case((1, 8, 9, 30), (1, 1, 30, 300)),
    "1x1 in groups": case((1, 9, 9, 420), (1, 1, 210, 52), groups=2),
    "1x1 moved by the padding": case((1, 9, 9, 210), (1, 1, 210, 25), padding=((1, 0), (0, 1))),
    "long rows in groups, dilated": case((2, 13, 12, 84), (3, 2, 42, 56), (2, 3), ((2, 1), (0, 3)), (2, 1), groups=2),
    "a stride longer than the kernel": case((2, 20, 21, 210), (2, 1, 210, 26), stride=(5, 3)),
    "the kernel covers the padded image": case((2, 6, 5, 9), (9, 7, 9, 25), padding=((1, 2), (2, 0))),
    "more padding than image": case((2, 1, 1, 8), (3, 3, 8, 8), padding=((5, 4), (6, 3))),
    "15 filters": case((2, 9, 9, 6), (3, 3, 6, 15), padding=ONE),
    "16 filters": case((2, 9, 9, 6), (3, 3, 6, 16), padding=ONE),
    "the channels in blocks": case((1, 9, 6, 64), (3, 3, 64, 40), padding=ONE),
    "the channels in blocks, in groups": case((1, 5, 6, 192), (3, 2, 64, 48), (2, 1), ONE, (1, 2), 3),
    "the channels in blocks, deep": case((1, 5, 6, 128), (3, 3, 128, 530), (2, 1), ONE),
    "LeNet-5": case((16, 32, 32, 1), (5, 5, 1, 6)),
}


def served(algorithm):
    """The large cases that an algorithm computes."""
    for name, (_, w_shape, stride, _, dilation, groups) in LARGE.items():
        plain = w_shape[:2] == (3, 3) and stride == dilation == (1, 1) and groups == 1
        depthwise = groups > 1 and w_shape[2:] == (1, groups)
        if {"winograd": plain, "winograd_f2": plain, "depthwise": depthwise}.get(algorithm, True):
            yield name


@pytest.mark.parametrize(("algorithm", "name"), [(each, name) for each in ALGORITHMS[1:] for name in served(each)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_cases_are_the_reference_on_any_number_of_threads(name, dtype, algorithm):
    problem = LARGE[name]
    assert_all_directions_agree(problem, algorithm, dtype)
    x, w, b, dy = arrays(*problem[:5], dtype)
    rest = *problem[2:], algorithm
    results = []
    for parts in (1, 2, 5):
        with split(parts):
            results.append(
                (
                    cpu.conv2d_forward(x, w, b, *rest, "relu"),
                    cpu.conv2d_backward_input(dy, w, x.shape, *rest),
                    cpu.conv2d_backward_weight(dy, x, w.shape, *rest),
                )
            )
    for other in results[1:]:
        for one, many in zip(results[0], other, strict=True):
            assert_array_equal(one, many)


def test_the_large_cases_stand_on_both_sides_of_every_switch(monkeypatch):
    """A case list that a change of the constants has made useless should say so."""
    shares = {"_forward": set(), "_input_gradient": set(), "_weight_gradient": set()}
    place = {"_forward": -3, "_input_gradient": -2, "_weight_gradient": -2}  # of the argument `share`
    parts = set()
    for name, seen in shares.items():
        inner = getattr(conv2d_rows, name)

        def shared(*arguments, inner=inner, seen=seen, place=place[name]):
            seen.add(tuple(n > 1 for n in arguments[place]))
            if seen is shares["_weight_gradient"]:
                parts.add(len(arguments[2]))
            return inner(*arguments)

        monkeypatch.setattr(conv2d_rows, name, shared)
    with split(2):
        for problem in LARGE.values():
            x, w, b, dy = arrays(*problem[:5], np.float32)
            cpu.conv2d_forward(x, w, b, *problem[2:], "implicit_gemm", None)
            cpu.conv2d_backward_input(dy, w, x.shape, *problem[2:], "implicit_gemm")
            cpu.conv2d_backward_weight(dy, x, w.shape, *problem[2:], "implicit_gemm")
    assert shares["_forward"] >= {(False, False), (False, True), (True, False)}
    assert shares["_input_gradient"] == {(False, False), (False, True), (True, False)}
    assert shares["_weight_gradient"] == {(False, False), (False, True), (True, False), (True, True)}
    assert min(parts) == 1
    assert max(parts) > 2
    assert max(w[0] * w[1] * w[2] for _, w, *_ in LARGE.values()) > 2 * DEPTH
    assert max(w[3] for _, w, *_ in LARGE.values()) > 2 * DEPTH
    assert max(x[2] for x, *_ in LARGE.values()) > 4 * conv2d_direct.STEP


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [
        ("winograd", case((1, 9, 9, 2), (3, 3, 2, 3), stride=(2, 1))),
        ("winograd", case((1, 9, 9, 2), (3, 3, 2, 3), dilation=(1, 2))),
        ("winograd_f2", case((1, 9, 9, 2), (3, 5, 2, 3))),
        ("winograd", case((1, 9, 9, 4), (3, 3, 2, 6), groups=2)),
        ("depthwise", case((1, 9, 9, 4), (3, 3, 1, 8), groups=4)),
        ("depthwise", case((1, 9, 9, 1), (3, 3, 1, 1))),
        ("fft", case((1, 9, 9, 2), (3, 3, 2, 3))),
    ],
)
def test_an_algorithm_that_does_not_serve_the_shape_is_refused(algorithm, problem):
    x, w, b, dy = arrays(*problem[:5], np.float32)
    room, where = by_name(algorithm), (*problem[2:], "auto")
    for name, arguments in [
        ("conv2d_forward", (x, w, b, *where, None)),
        ("conv2d_backward_input", (dy, w, x.shape, *where)),
        ("conv2d_backward_weight", (dy, x, w.shape, *where)),
    ]:
        with pytest.raises(ValueError, match=f"algorithm.*{algorithm}"):
            getattr(room, name)(*arguments)


SPREAD = {
    "few channels": case((3, 7, 6, 6), (3, 3, 3, 10), (2, 1), ONE, (1, 2), 2),
    "rows": case((3, 7, 6, 50), (3, 3, 25, 52), (2, 1), ONE, (1, 2), 2),
    "rows in place": case((3, 3, 3, 201), (1, 1, 201, 25)),
    "one channel": case((2, 6, 6, 1), (3, 3, 1, 1)),
    "depthwise": case((2, 6, 5, 7), (3, 2, 1, 7), (2, 1), ONE, groups=7),
}


@pytest.mark.parametrize("algorithm", [*GENERAL, "auto"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", SPREAD)
def test_nan_and_infinity_reach_what_they_reach_in_the_reference(name, value, algorithm):
    """One such number at a time, in the first, a middle and the last element of each array."""
    problem, room = SPREAD[name], by_name(algorithm)
    rest = *problem[2:], "auto"
    for position in (0, 0.37, 0.62, 1):
        for spoilt in range(3):
            x, w, b, dy = arrays(*problem[:5], np.float64)
            for kernel, operands in [
                ("conv2d_forward", [x, b, w]),
                ("conv2d_backward_input", [dy, w]),
                ("conv2d_backward_weight", [dy, x]),
            ]:
                victim = operands[spoilt % len(operands)]
                i = int(position * (victim.size - 1))
                kept, victim.flat[i] = victim.flat[i], value
                arguments = {
                    "conv2d_forward": (x, w, b, *rest, None),
                    "conv2d_backward_input": (dy, w, x.shape, *rest),
                    "conv2d_backward_weight": (dy, x, w.shape, *rest),
                }[kernel]
                got = getattr(room, kernel)(*arguments)
                with np.errstate(invalid="ignore"):
                    expected = getattr(reference, kernel)(*arguments)
                assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=kernel)
                assert_array_equal(got[np.isinf(got)], expected[np.isinf(expected)], err_msg=kernel)
                finite = np.isfinite(expected)
                np.testing.assert_allclose(got[finite], expected[finite], rtol=1e-11, atol=1e-11)
                victim.flat[i] = kept


def test_a_depthwise_weight_gradient_keeps_its_digits_over_many_positions():
    """One product a hundred thousand times: float32, added one by one, would lose three of its digits."""
    x, dy = np.full((8, 112, 112, 4), 0.1, np.float32), np.full((8, 112, 112, 4), 0.1, np.float32)
    where = (1, 1), ((0, 0), (0, 0)), (1, 1), 4, "depthwise"
    got = cpu.conv2d_backward_weight(dy, x, (1, 1, 1, 4), *where)
    np.testing.assert_allclose(got, 8 * 112 * 112 * float(x[0, 0, 0, 0]) ** 2, rtol=4e-6)
