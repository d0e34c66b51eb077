"""Pooling against loops over every window and, for ceil_mode and count_include_pad, against PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=300)
TIGHT = {"rtol": 1e-12, "atol": 1e-12}


@st.composite
def axes(draw):
    """size, kernel, stride, (before, after); the smallest size is that of a single window."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    smallest = max(1, kernel - before - after)
    return draw(st.integers(smallest, smallest + 5)), kernel, stride, (before, after)


@st.composite
def problems(draw):
    """x and kernel_size, stride, padding, ceil_mode."""
    (H, KH, SH, rows), (W, KW, SW, columns) = draw(axes()), draw(axes())
    N, C = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    kinds = {
        "any": rng.standard_normal((N, H, W, C)),
        "negative": -1 - rng.random((N, H, W, C)),
        "ties": rng.integers(-2, 0, (N, H, W, C)).astype(float),
        "special": rng.choice([np.nan, -np.inf, np.inf, -1.0], (N, H, W, C), p=[0.1, 0.6, 0.1, 0.2]),
    }
    kind = draw(st.sampled_from(sorted(kinds)))
    return kinds[kind], (KH, KW), (SH, SW), (rows, columns), draw(st.booleans())


def starts(size, kernel, stride, padding, ceil_mode):
    """Where the windows start; with ceil_mode one more, if cells are left over and it meets the array."""
    before, after = padding
    found = list(range(-before, size + after - kernel + 1, stride))
    following = found[-1] + stride
    if ceil_mode and found[-1] + kernel < size + after and following < size:
        found.append(following)
    return found


def windows(x_shape, kernel_size, stride, padding, ceil_mode):
    """(OH, OW), and for every window (oh, ow) its real cells (k, h, w) in row-major order, k = kh*KW + kw."""
    _, H, W, _ = x_shape
    KH, KW = kernel_size
    tops = starts(H, KH, stride[0], padding[0], ceil_mode)
    lefts = starts(W, KW, stride[1], padding[1], ceil_mode)
    cells = {}
    for (oh, top), (ow, left) in ((a, b) for a in enumerate(tops) for b in enumerate(lefts)):
        inside = ((kh * KW + kw, top + kh, left + kw) for kh in range(KH) for kw in range(KW))
        cells[oh, ow] = [(k, h, w) for k, h, w in inside if 0 <= h < H and 0 <= w < W]
    return (len(tops), len(lefts)), cells


@SETTINGS
@given(problems())
def test_max_pooling_by_loops(problem):
    x, kernel_size, stride, padding, ceil_mode = problem
    (N, _, _, C) = x.shape
    (OH, OW), cells = windows(x.shape, kernel_size, stride, padding, ceil_mode)
    dy = np.random.default_rng(0).standard_normal((N, OH, OW, C))
    y, index, dx = np.empty(dy.shape), np.empty(dy.shape, int), np.zeros(x.shape)
    for n, oh, ow, c in np.ndindex(dy.shape):
        winner, *others = cells[oh, ow]
        for other in others:
            best, value = x[n, winner[1], winner[2], c], x[n, other[1], other[2], c]
            if value > best or (np.isnan(value) and not np.isnan(best)):
                winner = other
        k, row, column = winner
        y[n, oh, ow, c], index[n, oh, ow, c] = x[n, row, column, c], k
        dx[n, row, column, c] += dy[n, oh, ow, c]
    got, got_index = reference.max_pool2d_forward(x, kernel_size, stride, padding, ceil_mode)
    assert_array_equal(got, y)
    assert_array_equal(got_index, index)
    assert got_index.dtype == np.int32
    got_dx = reference.max_pool2d_backward(dy, got_index, x.shape, kernel_size, stride, padding)
    assert_allclose(got_dx, dx, **TIGHT)


@SETTINGS
@given(problems(), st.booleans())
def test_sum_and_average_pooling_by_loops(problem, count_include_pad):
    x, kernel_size, stride, padding, ceil_mode = problem
    x = np.where(np.isfinite(x), x, 1.0)
    (N, H, W, C), ((top, bottom), (left, right)) = x.shape, padding
    (OH, OW), cells = windows(x.shape, kernel_size, stride, padding, ceil_mode)
    dy = np.random.default_rng(0).standard_normal((N, OH, OW, C))
    total, average = np.zeros(dy.shape), np.zeros(dy.shape)
    dtotal, daverage = np.zeros(x.shape), np.zeros(x.shape)
    for n, oh, ow, c in np.ndindex(dy.shape):
        count = len(cells[oh, ow])
        if count_include_pad:
            rows = range(oh * stride[0], oh * stride[0] + kernel_size[0])
            columns = range(ow * stride[1], ow * stride[1] + kernel_size[1])
            count = sum(i < top + H + bottom and j < left + W + right for i in rows for j in columns)
        for _, row, column in cells[oh, ow]:
            total[n, oh, ow, c] += x[n, row, column, c]
            average[n, oh, ow, c] += x[n, row, column, c] / count
            dtotal[n, row, column, c] += dy[n, oh, ow, c]
            daverage[n, row, column, c] += dy[n, oh, ow, c] / count
    where = kernel_size, stride, padding
    assert_allclose(reference.sum_pool2d_forward(x, *where, ceil_mode), total, **TIGHT)
    assert_allclose(reference.sum_pool2d_backward(dy, x.shape, *where), dtotal, **TIGHT)
    assert_allclose(reference.avg_pool2d_forward(x, *where, ceil_mode, count_include_pad), average, **TIGHT)
    assert_allclose(reference.avg_pool2d_backward(dy, x.shape, *where, count_include_pad), daverage, **TIGHT)


def test_an_image_of_minus_one_stays_minus_one_where_it_is_padded():
    y, _ = reference.max_pool2d_forward(-np.ones((1, 3, 3, 1)), (2, 2), (2, 2), ((1, 0), (1, 0)), False)
    assert_array_equal(y, -np.ones((1, 2, 2, 1)))


def test_the_first_of_tied_cells_gets_the_whole_gradient():
    x = np.zeros((1, 4, 4, 1))
    y, index = reference.max_pool2d_forward(x, (2, 2), (2, 2), ((0, 0), (0, 0)), False)
    dx = reference.max_pool2d_backward(np.full(y.shape, 5.0), index, x.shape, (2, 2), (2, 2), ((0, 0), (0, 0)))
    first = np.array([1, 0, 1, 0])
    assert_array_equal(dx[0, :, :, 0], 5 * np.outer(first, first))


def test_nan_wins_against_infinity_and_the_first_nan_gets_the_gradient():
    x = np.array([[np.inf, np.nan], [np.nan, 1.0]]).reshape(1, 2, 2, 1)
    y, index = reference.max_pool2d_forward(x, (2, 2), (1, 1), ((0, 0), (0, 0)), False)
    assert np.isnan(y).all()
    assert index.item() == 1
    dx = reference.max_pool2d_backward(np.ones(y.shape), index, x.shape, (2, 2), (1, 1), ((0, 0), (0, 0)))
    assert_array_equal(dx.ravel(), [0, 1, 0, 0])


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_pooling_is_that_of_torch(kernel, stride, ceil_mode):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(kernel)
    for (H, W), pad in [(size, p) for size in [(7, 8), (9, 5)] for p in range(kernel // 2 + 1)]:
        where = (kernel, kernel), (stride, stride), ((pad, pad), (pad, pad))
        x = rng.standard_normal((2, H, W, 3))
        tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        ty = torch.nn.functional.max_pool2d(tx, kernel, stride, pad, ceil_mode=ceil_mode)
        dy = rng.standard_normal(ty.permute(0, 2, 3, 1).shape)
        ty.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
        y, index = reference.max_pool2d_forward(x, *where, ceil_mode)
        assert_array_equal(y, ty.detach().permute(0, 2, 3, 1))
        assert_allclose(reference.max_pool2d_backward(dy, index, x.shape, *where), tx.grad.permute(0, 2, 3, 1), **TIGHT)
        for count_include_pad in (False, True):
            tx.grad = None
            ty = torch.nn.functional.avg_pool2d(tx, kernel, stride, pad, ceil_mode, count_include_pad)
            ty.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
            y = reference.avg_pool2d_forward(x, *where, ceil_mode, count_include_pad)
            dx = reference.avg_pool2d_backward(dy, x.shape, *where, count_include_pad)
            assert_allclose(y, ty.detach().permute(0, 2, 3, 1), **TIGHT)
            assert_allclose(dx, tx.grad.permute(0, 2, 3, 1), **TIGHT)


@pytest.mark.parametrize("output_size", [(1, 1), (2, 3), (5, 7), (6, 2), (9, 4)])
def test_adaptive_average_pooling_by_loops(output_size):
    (N, H, W, C), (OH, OW) = (2, 5, 7, 3), output_size
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((N, H, W, C)), rng.standard_normal((N, OH, OW, C))
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for n, oh, ow, c in np.ndindex(dy.shape):
        # In whole numbers: h lies in [floor(oh*H/OH), ceil((oh+1)*H/OH)) where these two hold.
        rows = [h for h in range(H) if (h + 1) * OH > oh * H and h * OH < (oh + 1) * H]
        columns = [w for w in range(W) if (w + 1) * OW > ow * W and w * OW < (ow + 1) * W]
        for h, w in ((h, w) for h in rows for w in columns):
            y[n, oh, ow, c] += x[n, h, w, c] / (len(rows) * len(columns))
            dx[n, h, w, c] += dy[n, oh, ow, c] / (len(rows) * len(columns))
    assert_allclose(reference.adaptive_avg_pool2d_forward(x, output_size), y, **TIGHT)
    assert_allclose(reference.adaptive_avg_pool2d_backward(dy, x.shape), dx, **TIGHT)


def test_an_infinity_spoils_only_the_adaptive_windows_that_hold_it():
    x = np.ones((1, 4, 4, 1))
    x[0, 0, 0, 0] = np.inf
    y = reference.adaptive_avg_pool2d_forward(x, (2, 2))
    assert_array_equal(y[0, :, :, 0], [[np.inf, 1], [1, 1]])


def test_the_average_of_a_large_float32_image_keeps_its_digits():
    y = reference.adaptive_avg_pool2d_forward(np.full((1, 500, 500, 2), 0.1, np.float32), (1, 1))
    assert_allclose(y, np.float32(0.1), rtol=1e-7)
