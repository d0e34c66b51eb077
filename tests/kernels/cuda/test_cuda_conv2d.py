"""Convolution in the CUDA room against the reference, and the struct that tells its kernels where windows lie."""

from types import SimpleNamespace

import numpy as np
import pytest
from agreement import DTYPES, assert_sums_agree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from test_cpu_conv2d import NONE, ONE, SPREAD, arrays, axes, case, problems

from minicnn.kernels import cuda, reference
from minicnn.kernels.cuda import _product
from minicnn.kernels.cuda._windows import divider

SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DIRECTIONS = ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight")


def by_name(algorithm):
    """The cuda room's convolution, which computes by that algorithm where it is asked for "auto"."""

    def named(kernel):
        return lambda *arguments: kernel(*(algorithm if isinstance(a, str) and a == "auto" else a for a in arguments))

    return SimpleNamespace(**{name: named(getattr(cuda, name)) for name in DIRECTIONS})


def calls(problem, dtype):
    """Every kernel with its arguments."""
    x, w, b, dy = arrays(*problem[:5], dtype)
    where = *problem[2:], "auto"
    return [
        ("conv2d_forward", (x, w, b, *where, None)),
        ("conv2d_forward", (x, w, None, *where, None)),
        ("conv2d_backward_input", (dy, w, x.shape, *where)),
        ("conv2d_backward_weight", (dy, x, w.shape, *where)),
    ]


def assert_all_directions_agree(problem, algorithm, dtype):
    for name, arguments in calls(problem, dtype):
        assert_sums_agree(name, arguments, by_name(algorithm))


@pytest.mark.parametrize("algorithm", ["im2col", "implicit_gemm"])
@SETTINGS
@given(problem=problems(), dtype=st.sampled_from(DTYPES))
def test_each_algorithm_for_all_shapes_is_the_reference(emulator, algorithm, problem, dtype):
    assert_all_directions_agree(problem, algorithm, dtype)


@SETTINGS
@given(
    rows=axes(), columns=axes(), N=st.integers(1, 3), C=st.integers(2, 40), each=st.integers(1, 3),
    dtype=st.sampled_from(DTYPES),
)  # fmt: skip
def test_depthwise_is_the_reference(emulator, rows, columns, N, C, each, dtype):
    (H, KH, SH, vertical, DH), (W, KW, SW, horizontal, DW) = rows, columns
    problem = case((N, H, W, C), (KH, KW, 1, C * each), (SH, SW), (vertical, horizontal), (DH, DW), C)
    assert_all_directions_agree(problem, "depthwise", dtype)


# More than one tile each way, in some direction, and tails of them.
LARGE = {
    "many windows": case((2, 9, 10, 3), (3, 3, 3, 5), padding=ONE),
    "many filters": case((1, 5, 5, 7), (3, 3, 7, 130), padding=ONE),
    "many channels": case((1, 5, 6, 70), (2, 3, 70, 66), (2, 1), ONE, (1, 2)),
    "groups": case((2, 7, 6, 132), (3, 2, 66, 140), (2, 3), ((2, 1), (0, 3)), (2, 1), 2),
    "1x1": case((2, 9, 8, 68), (1, 1, 68, 72)),
    "1x1 with a stride": case((2, 17, 9, 20), (1, 1, 20, 66), (2, 2)),
    "1x1 moved by the padding": case((1, 9, 9, 20), (1, 1, 20, 66), padding=((1, 0), (0, 1))),
    "a stride longer than the kernel": case((2, 20, 21, 10), (2, 1, 10, 6), (5, 3)),
    "a stride and a dilation with a common factor": case((1, 19, 20, 5), (3, 4, 5, 6), (4, 6), ONE, (6, 4)),
    "first layer": case((1, 23, 23, 3), (7, 7, 3, 64), (2, 2), ((3, 3), (3, 3))),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_cases_are_the_reference(emulator, name, dtype):
    assert_all_directions_agree(LARGE[name], "implicit_gemm", dtype)


# More channels than a block takes at once, more columns than one block has, and several filters for a channel.
WIDE = {
    "depthwise": [
        case((1, 2, 2, 1030), (2, 1, 1, 1030), padding=ONE, groups=1030),
        case((1, 2, 2, 520), (1, 2, 1, 1040), groups=520),
        case((2, 2, 300, 2), (2, 3, 1, 6), (1, 2), ONE, groups=2),
    ],
    "im2col": [case((1, 2, 2, 1030), (2, 1, 1030, 2), padding=ONE), case((2, 2, 300, 2), (2, 3, 2, 3), (1, 2), ONE)],
}


@pytest.mark.parametrize(("algorithm", "problem"), [(name, problem) for name in WIDE for problem in WIDE[name]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_wide_images_are_the_reference(emulator, algorithm, problem, dtype):
    assert_all_directions_agree(problem, algorithm, dtype)


@pytest.mark.parametrize("problem", [case((3, 9, 10, 6), (3, 2, 3, 4), (1, 2), ONE, groups=2),
                                     case((3, 9, 10, 300), (2, 2, 1, 300), (2, 1), groups=300)])  # fmt: skip
def test_the_weight_gradient_is_added_up_in_parts_of_one_order(emulator, monkeypatch, problem):
    name, arguments = calls(problem, np.float32)[-1]
    bits = []
    for deep in (7, 7, 10**9):
        monkeypatch.setattr(_product, "DEEP", deep)
        assert_sums_agree(name, arguments, cuda)
        bits.append(cuda.conv2d_backward_weight(*arguments))
    assert_array_equal(bits[0], bits[1])
    assert (bits[0] != bits[2]).any()  # or nothing was cut


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_fused_activation_has_the_bits_of_the_separate_one(emulator, activation, groups):
    x, w, b, _ = arrays(*case((2, 5, 6, 6), (3, 2, 6 // groups, 12), groups=groups)[:5], np.float32)
    where = (1, 1), NONE, (1, 1), groups, "auto"
    separate = getattr(cuda, f"{activation}_forward")(cuda.conv2d_forward(x, w, b, *where, None))
    assert_array_equal(cuda.conv2d_forward(x, w, b, *where, activation), separate)


@pytest.mark.parametrize("algorithm", ["im2col", "implicit_gemm", "auto"])
@pytest.mark.parametrize("emulator", ["shuffled"], indirect=True)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", SPREAD)
def test_nan_and_infinity_reach_what_they_reach_in_the_reference(emulator, name, value, algorithm):
    """One such number at a time, in the first, a middle and the last element of each array."""
    room = by_name(algorithm)
    for position in (0, 0.37, 0.62, 1):
        for kernel, arguments in calls(SPREAD[name], np.float64):
            for victim in arguments[:3]:
                if isinstance(victim, np.ndarray):
                    i = int(position * (victim.size - 1))
                    kept, victim.flat[i] = victim.flat[i], value
                    with np.errstate(invalid="ignore"):
                        expected = getattr(reference, kernel)(*arguments)
                    got = getattr(room, kernel)(*arguments)
                    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11, err_msg=kernel)
                    victim.flat[i] = kept


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [
        ("winograd", case((1, 9, 9, 2), (3, 3, 2, 3))),
        ("winograd_f2", case((1, 9, 9, 2), (3, 3, 2, 3))),
        ("direct", case((1, 9, 9, 2), (3, 3, 2, 3))),
        ("depthwise", case((1, 9, 9, 4), (3, 3, 2, 4), groups=2)),
        ("depthwise", case((1, 9, 9, 1), (3, 3, 1, 1))),
    ],
)
def test_an_algorithm_that_does_not_serve_the_shape_is_refused(algorithm, problem):
    for name, arguments in calls(problem, np.float32):
        with pytest.raises(ValueError, match=f"algorithm.*{algorithm}"):
            getattr(by_name(algorithm), name)(*arguments)


def test_a_batch_of_none(emulator):
    for shape in [(1, 1, 6, 4), (3, 3, 6, 4), (3, 3, 1, 6)]:
        groups = 6 // shape[2]
        x, dy = np.empty((0, 5, 5, 6), np.float32), np.empty((0, *[6 - shape[0]] * 2, shape[3]), np.float32)
        w, where = np.ones(shape, np.float32), ((1, 1), NONE, (1, 1), groups, "auto")
        assert cuda.conv2d_forward(x, w, None, *where, None).shape == dy.shape
        assert cuda.conv2d_backward_input(dy, w, x.shape, *where).shape == x.shape
        assert_array_equal(cuda.conv2d_backward_weight(dy, x, shape, *where), np.zeros(shape))


@given(by=st.integers(1, 2**31 - 1), n=st.integers(0, 2**31 - 1))
def test_a_division_by_product_and_shift_is_exact(by, n):
    factor, shift, _ = divider(by)
    assert factor < 2**32
    for each in (n, n // by * by, max(0, n // by * by - 1), 2**31 - 1):
        assert each * factor >> shift == each // by
