"""The loops of the cpu room as plain Python, where NumPy refuses every index outside an array.

Compiled, these loops test no index: one that is too large reads or writes a neighbour's memory. Here the same source is
loaded a second time without the compiler. Scratch memory starts as NaN, so that a number which was never written
shows in the result. Tiles are made tiny, so that small images have many of them, with every kind of remainder.
"""

import importlib.util
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from test_reference_contract import CALLS, convert

from minicnn.kernels import cpu, reference

NAME = "minicnn.kernels.uncompiled"
SETTINGS = settings(deadline=None, derandomize=True, max_examples=150)
TINY = {
    "bands": {"NUMBERS": 24},
    "conv2d_direct": {"DEPTH": 5, "STEP": 4},
    "conv2d_rows": {"DEPTH": 5, "ROWS_AT_ONCE": 6, "PANELS_AT_ONCE": 2},
    "conv2d_winograd": {"DEPTH": 5, "CACHE": 3000},
    "pool2d": {"LINE": 7},
    "pool2d_sum": {"LINE": 7},
    "adaptive_pool2d": {"CHANNELS": 2},
    "softmax": {"NUMBERS": 7},
    "linear": {"DEPTH": 5, "STRETCH": 4, "HEIGHT": 3},
    "blocks": {"ROWS_AT_ONCE": 6, "HEIGHT": 3},
    "microkernel": {"BYTES": 16},
    "vectors": {"BYTES": 16},
}


def stretch(array, start, length):
    """array[start : start + length], which must lie inside: a slice alone would be cut short without a word."""
    if not 0 <= start <= len(array) - length:
        raise IndexError(f"{start} and {length} numbers behind it, in an array of {len(array)}")
    return array[start : start + length]


def vector_length(array):
    return sys.modules[f"{NAME}.vectors"].vector_length(array.itemsize)


def place(places, i):
    return places[np.uint64(i)] if isinstance(places, np.ndarray) else i * places


def tile_product(vectors):
    """What microkernel._tile_product says of itself, which exists only as vector instructions."""

    def multiply(a, a0, a_row, a_step, first, rows, panel, p0, p_step, K, c, c0, c_row, count, add, b, b0):
        assert 1 <= rows <= sys.modules[f"{NAME}.blocks"].HEIGHT
        assert 1 <= count <= vectors * vector_length(c)
        for m in range(first, first + rows):
            out, total = stretch(c, c0 + m * c_row, count), np.zeros(count)
            if b0 >= 0:
                total += stretch(b, b0, count)
            for k in range(K):
                number = a[np.uint64(a0 + place(a_row, m) + place(a_step, k))]
                total += number * stretch(panel, p0 + k * p_step, vectors * vector_length(c))[:count]
            out[:] = out + total if add else total

    return multiply


def multiply_channels(a, a0, a_row, a_step, first, rows, w, w0, w_step, K, c, c0, c_row, count, add, b, b0):
    """What microkernel.multiply_channels says of itself."""
    assert 1 <= rows <= sys.modules[f"{NAME}.conv2d_depthwise"].CHANNEL_ROWS
    for m in range(first, first + rows):
        out = stretch(c, c0 + m * c_row, count)
        total = out if add else stretch(b, b0, count) if b0 >= 0 else np.zeros(count)
        for k in range(K):
            numbers = stretch(a, a0 + place(a_row, m) + place(a_step, k), count)
            total = total + numbers * stretch(w, w0 + place(w_step, k), count)
        out[:] = total


def sandwich(matrix):
    """What winograd_tiles.sandwich says of itself."""
    matrix = np.array(matrix)

    def transform(d, d0, d_row, d_column, out, o0, o_row, o_column, count):
        assert count % vector_length(d) == 0
        rows, columns = matrix.shape
        cells = [[stretch(d, d0 + p * d_row + q * d_column, count) for q in range(columns)] for p in range(columns)]
        for i in range(rows):
            for j in range(rows):
                stretch(out, o0 + i * o_row + j * o_column, count)[:] = sum(
                    matrix[i, p] * matrix[j, q] * cells[p][q]
                    for p, q in np.ndindex(columns, columns)
                    if matrix[i, p] * matrix[j, q]
                )

    return transform


def sandwiches(matrices):
    """One for each m, which is the first argument."""
    transforms = {m: sandwich(matrix) for m, matrix in matrices.items()}
    return lambda m, *where: transforms[m](*where)


def transpose(a, a0, a_row, out, o0, o_row):
    """What vectors.transpose says of itself."""
    length = vector_length(a)
    rows = [stretch(a, a0 + i * a_row, length) for i in range(length)]
    for j in range(length):
        stretch(out, o0 + j * o_row, length)[:] = [row[j] for row in rows]


def add_few(out, o0, x, x0, step, first, last, scale, weight, count):
    """What pool2d_sum.add_few says of itself."""
    cells = [weight[k] * stretch(x, x0 + k * step, count) for k in range(first, last)]
    stretch(out, o0, count)[:] = scale * sum(cells, np.zeros(count))


@pytest.fixture(scope="module")
def uncompiled():
    """A copy of the cpu room, imported under another name with the compiler switched off."""
    numba.config.DISABLE_JIT = True
    try:
        spec = importlib.util.spec_from_file_location(NAME, cpu.__file__, submodule_search_locations=list(cpu.__path__))
        room = sys.modules[NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(room)
    finally:
        numba.config.DISABLE_JIT = False
    activation = sys.modules[f"{NAME}.activation"]
    for part in ("activation", "fused"):
        sys.modules[f"{NAME}.{part}"].tanh = np.tanh
    sys.modules[f"{NAME}.pool2d_sum"].add_few = add_few
    sys.modules[f"{NAME}.softmax"].maximum = np.maximum
    for name, function in {"exp_nonpositive": "_exp", "log_from_one": "_log"}.items():
        # The compiler picks the function by dtype; both are plain Python.
        by_size = {size: getattr(activation, f"{function}{size}") for size in (32, 64)}
        for part in ("activation", "softmax"):
            setattr(sys.modules[f"{NAME}.{part}"], name, lambda x, f=by_size: f[8 * x.itemsize](x))
    blocks = sys.modules[f"{NAME}.blocks"]
    blocks.multiply_tile, blocks.multiply_narrow_tile, blocks.transpose = tile_product(2), tile_product(1), transpose
    sys.modules[f"{NAME}.conv2d_depthwise"].multiply_channels = multiply_channels
    winograd, tiles = sys.modules[f"{NAME}.conv2d_winograd"], sys.modules[f"{NAME}.winograd_tiles"]
    winograd.transpose = transpose
    for name, matrices in {"input": tiles.B_T, "weight": tiles.G, "output": tiles.A_T}.items():
        setattr(winograd, f"transform_{name}", sandwiches(matrices))
        setattr(winograd, f"transform_{name}_back", sandwiches({m: np.transpose(M) for m, M in matrices.items()}))
    sys.modules[f"{NAME}._jit"].threads_for = lambda work, grain=1: 3
    yield room
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def poisoned():
    """Memory that nobody has written yet is NaN, or a number far outside every array."""
    empty = np.empty
    with pytest.MonkeyPatch.context() as patch:

        def poisoned_empty(shape, dtype=float, order="C"):
            array = empty(shape, dtype, order)
            if array.dtype.kind in "fiu":
                array.fill(np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max)
            return array

        patch.setattr(np, "empty", poisoned_empty)
        patch.setattr(np, "empty_like", lambda a: poisoned_empty(a.shape, a.dtype))
        yield


@pytest.fixture(params=["usual tiles", "tiny tiles"])
def tiles(request, uncompiled, poisoned, monkeypatch):
    if request.param == "tiny tiles":
        make_tiny(monkeypatch)


def make_tiny(patch):
    """Tiles of 3 rows and 2 or 4 columns, in blocks of 5 and 6."""
    for part, constants in TINY.items():
        for constant, value in constants.items():
            patch.setattr(sys.modules[f"{NAME}.{part}"], constant, value)


def agree(room, name, arguments):
    got, expected = (getattr(r, name)(*arguments) for r in (room, reference))
    for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (got, expected)), strict=True):
        assert a.shape == b.shape
        assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)])
def test_every_kernel_stays_inside_its_arrays(uncompiled, tiles, name, arguments):
    agree(uncompiled, name, convert(arguments, np.float64))


@st.composite
def axes(draw, most_dilation=2):
    """size, kernel, stride, (before, after), dilation of one axis; the smallest size is that of a single window."""
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, most_dilation))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    if most_dilation == 1:  # pooling: no window lies wholly in the padding
        before, after = min(before, kernel - 1), min(after, kernel - 1)
    smallest = max(1, dilation * (kernel - 1) + 1 - before - after)
    return draw(st.integers(smallest, smallest + 4)), kernel, stride, (before, after), dilation


@pytest.mark.parametrize("algorithm", ["im2col", "implicit_gemm", "direct", "depthwise"])
@SETTINGS
@given(axes(), axes(), st.tuples(*[st.integers(1, 3)] * 4), st.booleans())
def test_convolution_stays_inside_its_arrays(uncompiled, poisoned, algorithm, rows, columns, counts, spoilt):
    """With NaN in the first cells of the first group, too: it must not stay behind in memory that is used again."""
    N, groups, c, o = counts
    o *= 2
    (H, KH, SH, vertical, DH), (W, KW, SW, horizontal, DW) = rows, columns
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((N, H, W, groups * c)), rng.standard_normal((KH, KW, c, groups * o))
    if algorithm == "depthwise":
        groups += 1
        x, w = rng.standard_normal((N, H, W, groups)), rng.standard_normal((KH, KW, 1, groups))
    where = (SH, SW), (vertical, horizontal), (DH, DW), groups
    dy = rng.standard_normal(reference.conv2d_forward(x, w, None, *where, "auto", None).shape)
    if spoilt:
        x.reshape(-1, x.shape[3])[:4, 0] = dy.reshape(-1, dy.shape[3])[:4, 0] = np.nan
    agree_in_all_directions(uncompiled, algorithm, x, w, dy, where)


@pytest.mark.parametrize("algorithm", ["winograd", "winograd_f2"])
@SETTINGS
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.tuples(*[st.integers(1, 9)] * 2),
)
def test_winograd_stays_inside_its_arrays(uncompiled, poisoned, algorithm, size, padding, channels):
    (N, H, W), (top, bottom, left, right), rng = size, padding, np.random.default_rng(0)
    x = rng.standard_normal((N, max(H, 3 - top - bottom), max(W, 3 - left - right), channels[0]))
    w, where = rng.standard_normal((3, 3, *channels)), ((1, 1), ((top, bottom), (left, right)), (1, 1), 1)
    dy = rng.standard_normal(reference.conv2d_forward(x, w, None, *where, "auto", None).shape)
    agree_in_all_directions(uncompiled, algorithm, x, w, dy, where)


def agree_in_all_directions(room, algorithm, x, w, dy, where):
    b = np.random.default_rng(1).standard_normal(w.shape[3])
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        for name, arguments, last in (
            ("conv2d_forward", (x, w, b, *where), ("relu",)),
            ("conv2d_backward_input", (dy, w, x.shape, *where), ()),
            ("conv2d_backward_weight", (dy, x, w.shape, *where), ()),
        ):
            got = getattr(room, name)(*arguments, algorithm, *last)
            assert_allclose(got, getattr(reference, name)(*arguments, "auto", *last), rtol=1e-10, atol=1e-10)


@SETTINGS
@given(axes(1), axes(1), st.integers(1, 2), st.integers(1, 3), st.booleans(), st.booleans())
def test_pooling_stays_inside_its_arrays(uncompiled, poisoned, rows, columns, N, C, ceil_mode, include):
    (H, KH, SH, vertical, _), (W, KW, SW, horizontal, _) = rows, columns
    x = np.random.default_rng(0).standard_normal((N, H, W, C))
    where = (KH, KW), (SH, SW), (vertical, horizontal)
    y, index = reference.max_pool2d_forward(x, *where, ceil_mode)
    agree(uncompiled, "max_pool2d_forward", (x, *where, ceil_mode))
    agree(uncompiled, "max_pool2d_backward", (y, index, x.shape, *where))
    agree(uncompiled, "avg_pool2d_forward", (x, *where, ceil_mode, include))
    agree(uncompiled, "avg_pool2d_backward", (y, x.shape, *where, include))


@SETTINGS
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_matrix_products_stay_inside_their_arrays(uncompiled, poisoned, M, N, K):
    rng = np.random.default_rng(0)
    x, w, b, dy = (rng.standard_normal(shape) for shape in [(M, K), (K, N), (N,), (M, N)])
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        agree(uncompiled, "linear_forward", (x, w, b, "relu"))
        agree(uncompiled, "linear_backward_input", (dy, w))
        agree(uncompiled, "linear_backward_weight", (dy, x))


def test_an_index_outside_an_array_is_noticed(uncompiled, monkeypatch):
    tiles = sys.modules[f"{NAME}.tiles"]
    array = np.zeros(16)
    with pytest.raises(OverflowError):
        array[tiles.at(-1)]
    # Without its panel for dy's last rows, the weight gradient reads whole vectors behind the end of dy.
    monkeypatch.setattr(sys.modules[f"{NAME}.conv2d_direct"], "panel_width", lambda itemsize: 1)
    x, dy = np.ones((1, 6, 6, 1)), np.ones((1, 5, 5, 3))
    with pytest.raises(IndexError):
        uncompiled.conv2d_backward_weight(dy, x, (2, 2, 1, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, "direct")
