"""Convolution in the cpu room against the reference, on both sides of every switch between its loops."""

import numpy as np
import pytest
from agreement import DTYPES, assert_sums_agree, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import conv2d, conv2d_depthwise, conv2d_planes, conv2d_rows
from minicnn.kernels.cpu.blocks import DEPTH
from minicnn.kernels.geometry import output_sizes

SETTINGS = settings(deadline=None, derandomize=True, max_examples=120)
ALGORITHMS = ["im2col", "implicit_gemm"]
NONE = ((0, 0), (0, 0))


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


def assert_all_directions_agree(problem, algorithm, dtype):
    x, w, b, dy = arrays(*problem[:5], dtype)
    rest = *problem[2:], algorithm
    assert_sums_agree("conv2d_forward", (x, w, b, *rest, None), cpu)
    assert_sums_agree("conv2d_forward", (x, w, None, *rest, None), cpu)
    assert_sums_agree("conv2d_backward_input", (dy, w, x.shape, *rest), cpu)
    assert_sums_agree("conv2d_backward_weight", (dy, x, w.shape, *rest), cpu)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("way", [None, conv2d_rows, conv2d_planes], ids=["as chosen", "rows", "planes"])
@SETTINGS
@given(problem=problems(), dtype=st.sampled_from(DTYPES))
def test_implicit_gemm_is_the_reference(way, parts, problem, dtype):
    """All of its ways, whatever the shape: small shapes alone would never see `conv2d_rows`."""
    with split(parts), pytest.MonkeyPatch.context() as patch:
        if way:
            patch.setattr(conv2d, "_way", lambda w_shape, groups, itemsize: way)
            patch.setattr(conv2d, "_is_depthwise", lambda w_shape, groups: False)
        assert_all_directions_agree(problem, "implicit_gemm", dtype)


@SETTINGS
@given(problem=problems(), dtype=st.sampled_from(DTYPES))
def test_im2col_is_the_reference(problem, dtype):
    with split(2):
        assert_all_directions_agree(problem, "im2col", dtype)


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


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LARGE)
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
                    cpu.conv2d_forward(x, w, b, *rest, None),
                    cpu.conv2d_backward_input(dy, w, x.shape, *rest),
                    cpu.conv2d_backward_weight(dy, x, w.shape, *rest),
                )
            )
    for other in results[1:]:
        for one, many in zip(results[0], other, strict=True):
            assert_array_equal(one, many)


def test_the_large_cases_stand_on_both_sides_of_every_switch(monkeypatch):
    """A case list that a change of the constants has made useless should say so."""
    chosen, shares = set(), {"_forward": set(), "_input_gradient": set()}
    for room in (conv2d_rows, conv2d_planes, conv2d_depthwise):
        for name in {"forward", "input_gradient", "weight_gradient"} & set(vars(room)):
            original = getattr(room, name)

            def noted(*arguments, original=original, label=(room.__name__, name)):
                chosen.add(label)
                return original(*arguments)

            monkeypatch.setattr(room, name, noted)
    for name, seen in shares.items():
        inner = getattr(conv2d_rows, name)

        def shared(*arguments, inner=inner, seen=seen):
            seen.add(tuple(n > 1 for n in arguments[-2]))
            return inner(*arguments)

        monkeypatch.setattr(conv2d_rows, name, shared)
    with split(2):
        for problem in LARGE.values():
            x, w, b, dy = arrays(*problem[:5], np.float32)
            cpu.conv2d_forward(x, w, b, *problem[2:], "implicit_gemm", None)
            cpu.conv2d_backward_input(dy, w, x.shape, *problem[2:], "implicit_gemm")
            cpu.conv2d_backward_weight(dy, x, w.shape, *problem[2:], "implicit_gemm")
    assert len(chosen) == 8
    assert shares["_forward"] >= {(False, False), (False, True), (True, False)}
    assert shares["_input_gradient"] == {(False, False), (False, True), (True, False)}
    assert max(w[0] * w[1] * w[2] for _, w, *_ in LARGE.values()) > 2 * DEPTH
    assert max(w[3] for _, w, *_ in LARGE.values()) > 2 * DEPTH
    assert max(x[2] for x, *_ in LARGE.values()) > 4 * conv2d_planes.POSITIONS


def test_auto_is_implicit_gemm_and_an_unknown_algorithm_is_refused():
    x, w, b, dy = arrays((1, 4, 4, 2), (3, 3, 2, 3), (1, 1), NONE, (1, 1), np.float32)
    where = (1, 1), NONE, (1, 1), 1
    assert_array_equal(
        cpu.conv2d_forward(x, w, b, *where, "auto", None), cpu.conv2d_forward(x, w, b, *where, "implicit_gemm", None)
    )
    for name, arguments in [
        ("conv2d_forward", (x, w, b)),
        ("conv2d_backward_input", (dy, w, x.shape)),
        ("conv2d_backward_weight", (dy, x, w.shape)),
    ]:
        with pytest.raises(ValueError, match="winograd"):
            getattr(cpu, name)(*arguments, *where, "winograd", *([None] if name == "conv2d_forward" else []))


SPREAD = {
    "planes": case((3, 7, 6, 6), (3, 3, 3, 10), (2, 1), ONE, (1, 2), 2),
    "rows": case((3, 7, 6, 50), (3, 3, 25, 52), (2, 1), ONE, (1, 2), 2),
    "rows in place": case((3, 3, 3, 201), (1, 1, 201, 25)),
    "one channel": case((2, 6, 6, 1), (3, 3, 1, 1)),
    "depthwise": case((2, 6, 5, 7), (3, 2, 1, 7), (2, 1), ONE, groups=7),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", SPREAD)
def test_nan_and_infinity_reach_what_they_reach_in_the_reference(name, value, algorithm):
    """One such number at a time, in the first, a middle and the last element of each array."""
    problem = SPREAD[name]
    rest = *problem[2:], algorithm
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
                got = getattr(cpu, kernel)(*arguments)
                with np.errstate(invalid="ignore"):
                    expected = getattr(reference, kernel)(*arguments)
                assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=kernel)
                assert_array_equal(got[np.isinf(got)], expected[np.isinf(expected)], err_msg=kernel)
                finite = np.isfinite(expected)
                np.testing.assert_allclose(got[finite], expected[finite], rtol=1e-11, atol=1e-11)
                victim.flat[i] = kept
