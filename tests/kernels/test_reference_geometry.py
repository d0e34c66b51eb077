"""The shape arithmetic against windows that are laid out one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.kernels import geometry

SETTINGS = settings(deadline=None, derandomize=True, max_examples=200)


@st.composite
def axes(draw):
    """size, kernel, stride, (before, after), dilation of an axis on which at least one window fits."""
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    smallest = max(1, dilation * (kernel - 1) + 1 - before - after)
    return draw(st.integers(smallest, smallest + 8)), kernel, stride, (before, after), dilation


def windows(size, kernel, stride, padding, dilation, ceil_mode):
    """The cells of each window, cell 0 being the first of the array."""
    before, after = padding
    found = []
    while True:
        start = len(found) * stride - before
        cells = [start + k * dilation for k in range(kernel)]
        behind = [cell for cell in cells if cell >= size + after]
        covered = bool(found) and found[-1][-1] == size + after - 1
        if behind and not (ceil_mode and not covered and start < size):
            return found
        found.append(cells)
        if behind:
            return found


@SETTINGS
@given(axes(), st.booleans())
def test_output_size_and_taps_are_those_of_windows_laid_out_one_by_one(axis, ceil_mode):
    size, kernel, stride, padding, dilation = axis
    expected = windows(size, kernel, stride, padding, dilation, ceil_mode)
    out = geometry.output_size(size, kernel, stride, padding, dilation, ceil_mode)
    assert out == len(expected)
    for k in range(kernel):
        met = range(10_000)[geometry.taps(k, out, stride, dilation)]
        assert [cell - padding[0] for cell in met] == [cells[k] for cells in expected]


@SETTINGS
@given(axes(), st.booleans(), st.booleans())
def test_cells_of_a_window_and_the_padding_that_covers_it(axis, ceil_mode, count_include_pad):
    size, kernel, stride, padding, _ = axis
    expected = windows(size, kernel, stride, padding, 1, ceil_mode)
    low, high = (-padding[0], size + padding[1]) if count_include_pad else (0, size)
    counts = [sum(low <= cell < high for cell in cells) for cells in expected]
    assert geometry.window_cells(size, kernel, stride, padding, len(expected), count_include_pad) == counts
    before, after = geometry.covering_padding(size, kernel, stride, padding, len(expected))
    assert before == padding[0]
    assert after == max(padding[1], expected[-1][-1] - size + 1)


def test_output_sizes_takes_height_then_width():
    sizes = geometry.output_sizes((2, 7, 12, 3), (3, 2), (2, 3), ((1, 0), (0, 1)), (2, 1))
    assert sizes == ((7 + 1 - 5) // 2 + 1, (12 + 1 - 2) // 3 + 1)
    assert geometry.output_sizes((2, 7, 13, 3), (2, 2), (2, 3), ((0, 0), (0, 0)), ceil_mode=True) == (4, 5)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_output_size_is_that_of_torch(kernel, ceil_mode):
    torch = pytest.importorskip("torch")
    for size in range(kernel, 12):
        for stride in range(1, 6):
            for pad in range(kernel // 2 + 1):
                y = torch.nn.functional.max_pool1d(torch.zeros(1, 1, size), kernel, stride, pad, ceil_mode=ceil_mode)
                assert geometry.output_size(size, kernel, stride, (pad, pad), 1, ceil_mode) == y.shape[2]


@pytest.mark.parametrize(("size", "out"), [(7, 7), (7, 3), (10, 4), (3, 5), (1, 3), (13, 1)])
def test_adaptive_windows_share_out_every_cell(size, out):
    for i in range(out):
        start, stop = geometry.adaptive_window(i, size, out)
        # Cell c lies in window i where the stretch [c, c+1) and the stretch [i, i+1) * size/out have points in common.
        cells = [c for c in range(size) if c * out < (i + 1) * size and (c + 1) * out > i * size]
        assert list(range(start, stop)) == cells
