"""Convolution, im2col and col2im against loops over every index."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference
from minicnn.kernels.reference.winograd import A_T, B_T, G

SETTINGS = settings(deadline=None, derandomize=True, max_examples=200)
TIGHT = {"rtol": 1e-12, "atol": 1e-12}
ALGORITHMS = ["auto", "im2col", "implicit_gemm"]


@st.composite
def axes(draw):
    """size, kernel, stride, (before, after), dilation; the smallest size is that of a single window."""
    kernel, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    smallest = max(1, dilation * (kernel - 1) + 1 - before - after)
    return draw(st.integers(smallest, smallest + 4)), kernel, stride, (before, after), dilation


@st.composite
def problems(draw):
    """x, w and stride, padding, dilation, groups."""
    (H, KH, SH, rows, DH), (W, KW, SW, columns, DW) = draw(axes()), draw(axes())
    N, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    C, O = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x, w = rng.standard_normal((N, H, W, C)), rng.standard_normal((KH, KW, C // groups, O))
    return x, w, (SH, SW), (rows, columns), (DH, DW), groups


def meetings(x_shape, kernel_size, stride, padding, dilation):
    """(OH, OW), and every (oh, ow, kh, kw, h, w): at place (oh, ow), kernel cell (kh, kw) lies on image cell (h, w)."""
    _, H, W, _ = x_shape
    last_row = H + sum(padding[0]) - dilation[0] * (kernel_size[0] - 1)
    last_column = W + sum(padding[1]) - dilation[1] * (kernel_size[1] - 1)
    OH, OW = len(range(0, last_row, stride[0])), len(range(0, last_column, stride[1]))
    met = []
    for oh, ow, kh, kw in np.ndindex(OH, OW, *kernel_size):
        h = oh * stride[0] + kh * dilation[0] - padding[0][0]
        w = ow * stride[1] + kw * dilation[1] - padding[1][0]
        if 0 <= h < H and 0 <= w < W:
            met.append((oh, ow, kh, kw, h, w))
    return (OH, OW), met


@SETTINGS
@given(problems())
def test_im2col_and_col2im_by_loops(problem):
    x, w, stride, padding, dilation, _ = problem
    (KH, KW), (N, _, _, C) = w.shape[:2], x.shape
    (OH, OW), met = meetings(x.shape, (KH, KW), stride, padding, dilation)
    expected = np.zeros((N, OH, OW, KH, KW, C))
    for oh, ow, kh, kw, row, column in met:
        expected[:, oh, ow, kh, kw] = x[:, row, column]
    expected = expected.reshape(N * OH * OW, KH * KW * C)
    columns = reference.im2col(x, (KH, KW), stride, padding, dilation)
    assert columns.shape == expected.shape
    assert_array_equal(columns, expected)

    values = np.random.default_rng(0).standard_normal(columns.shape)
    image = np.zeros(x.shape)
    for oh, ow, kh, kw, row, column in met:
        image[:, row, column] += values.reshape(N, OH, OW, KH, KW, C)[:, oh, ow, kh, kw]
    got = reference.col2im(values, x.shape, (KH, KW), stride, padding, dilation)
    assert_allclose(got, image, **TIGHT)
    assert_allclose(np.vdot(got, x), np.vdot(values, columns), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@SETTINGS
@given(problems())
def test_conv2d_in_all_three_directions_by_loops(algorithm, problem):
    x, w, stride, padding, dilation, groups = problem
    (N, _, _, C), O = x.shape, w.shape[3]
    (OH, OW), met = meetings(x.shape, w.shape[:2], stride, padding, dilation)
    rng = np.random.default_rng(0)
    b, dy = rng.standard_normal(O), rng.standard_normal((N, OH, OW, O))
    y, dx, dw = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(w.shape)
    for n, o in np.ndindex(N, O):
        first_channel = o // (O // groups) * (C // groups)
        for oh, ow, kh, kw, row, column in met:
            for c in range(C // groups):
                cell = n, row, column, first_channel + c
                y[n, oh, ow, o] += x[cell] * w[kh, kw, c, o]
                dx[cell] += dy[n, oh, ow, o] * w[kh, kw, c, o]
                dw[kh, kw, c, o] += x[cell] * dy[n, oh, ow, o]
    rest = stride, padding, dilation, groups, algorithm
    assert_allclose(reference.conv2d_forward(x, w, None, *rest, None), y, **TIGHT)
    assert_allclose(reference.conv2d_forward(x, w, b, *rest, None), y + b, **TIGHT)
    assert_allclose(reference.conv2d_backward_input(dy, w, x.shape, *rest), dx, **TIGHT)
    assert_allclose(reference.conv2d_backward_weight(dy, x, w.shape, *rest), dw, **TIGHT)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_the_gradients_are_adjoint_to_the_forward_direction_on_a_larger_image(algorithm, groups):
    rng = np.random.default_rng(groups)
    x, w = rng.standard_normal((3, 17, 14, 8)), rng.standard_normal((5, 3, 8 // groups, 16))
    rest = (2, 3), ((3, 1), (0, 2)), (1, 2), groups, algorithm
    y = reference.conv2d_forward(x, w, None, *rest, None)
    dy = rng.standard_normal(y.shape)
    dx = reference.conv2d_backward_input(dy, w, x.shape, *rest)
    dw = reference.conv2d_backward_weight(dy, x, w.shape, *rest)
    assert_allclose([np.vdot(dx, x), np.vdot(dw, w)], np.vdot(dy, y), rtol=1e-11)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cells_that_no_window_reaches_get_no_gradient(algorithm):
    dy, w = np.ones((1, 2, 2, 1)), np.ones((2, 2, 1, 1))
    dx = reference.conv2d_backward_input(dy, w, (1, 6, 6, 1), (3, 3), ((0, 0), (0, 0)), (1, 1), 1, algorithm)
    reached = np.array([1, 1, 0, 1, 1, 0])
    assert_array_equal(dx[0, :, :, 0], np.outer(reached, reached))


@pytest.mark.parametrize("m", [2, 4])
def test_winograds_constants_make_a_correlation(m):
    """In one dimension: A.T ((G g) * (B.T d)) = the m numbers that 3 weights g make of m + 2 numbers d."""
    d, g = np.random.default_rng(0).standard_normal((2, m + 2))
    g = g[:3]
    y = np.array(A_T[m]) @ ((np.array(G[m]) @ g) * (B_T[m] @ d))
    assert_allclose(y, [d[i : i + 3] @ g for i in range(m)], **TIGHT)


@pytest.mark.parametrize("algorithm", ["winograd", "winograd_f2"])
@SETTINGS
@given(
    size=st.tuples(st.integers(1, 2), st.integers(1, 11), st.integers(1, 11)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.integers(1, 2),
)
def test_winograd_is_the_definition(algorithm, size, padding, channels, groups):
    (N, H, W), (top, bottom, left, right), (C, O), rng = size, padding, channels, np.random.default_rng(0)
    x = rng.standard_normal((N, max(H, 3 - top - bottom), max(W, 3 - left - right), groups * C))
    w, where = rng.standard_normal((3, 3, C, groups * O)), ((1, 1), ((top, bottom), (left, right)), (1, 1), groups)
    y = reference.conv2d_forward(x, w, None, *where, "implicit_gemm", None)
    assert_allclose(reference.conv2d_forward(x, w, None, *where, algorithm, None), y, atol=1e-11)
    dy = rng.standard_normal(y.shape)
    for name, arguments in (
        ("conv2d_backward_input", (dy, w, x.shape)),
        ("conv2d_backward_weight", (dy, x, w.shape)),
    ):
        kernel = getattr(reference, name)
        assert_allclose(kernel(*arguments, *where, algorithm), kernel(*arguments, *where, "implicit_gemm"), atol=1e-11)


def test_winograd_refuses_what_it_does_not_serve():
    x, w, sides = np.ones((1, 9, 9, 1)), np.ones((3, 3, 1, 1)), ((0, 0), (0, 0))
    for weight, stride, dilation in ((w, (2, 2), (1, 1)), (w, (1, 1), (1, 2)), (w[:2], (1, 1), (1, 1))):
        with pytest.raises(ValueError, match="winograd serves 3x3 kernels with stride 1"):
            reference.conv2d_forward(x, weight, None, stride, sides, dilation, 1, "winograd", None)


def test_an_algorithm_of_another_room_is_refused():
    x, w = np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1))
    with pytest.raises(ValueError, match="direct"):
        reference.conv2d_forward(x, w, None, (1, 1), ((0, 0), (0, 0)), (1, 1), 1, "direct", None)
