"""Tensor: what it takes, what it keeps, and that no operator changes the dtype on the way."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import minicnn as mc

FLOATS = [np.float32, np.float64]


def leaf(values, dtype=np.float32):
    return mc.tensor(np.array(values, dtype), requires_grad=True)


# The constructor


@pytest.mark.parametrize("values", [3, 2.5, True, [1, 2], [[1.0, 2.0], [3, 4]], (1, 2), [], [np.float64(1)]])
def test_lists_and_python_numbers_become_float32(values):
    x = mc.tensor(values)
    assert x.dtype == np.float32
    assert_array_equal(x.data, np.array(values, np.float32))
    assert type(x.data) is np.ndarray


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int8", "int32", "int64", "uint64", "bool"])
def test_arrays_keep_their_dtype_and_are_copied(dtype):
    array = np.ones((2, 3), dtype)
    x = mc.tensor(array)
    assert x.dtype == array.dtype
    assert not np.shares_memory(x.data, array)
    array[...] = 0
    assert x.data.all()


def test_numpy_scalars_keep_their_dtype():
    assert mc.tensor(np.float64(1)).dtype == np.float64
    assert mc.tensor(np.int16(1)).dtype == np.int16
    assert mc.tensor(np.float64(1)).shape == ()


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "u2"])
def test_big_endian_is_converted(kind):
    array = np.array([1, 2, 300], ">" + kind)
    x = mc.tensor(array, requires_grad=kind[0] == "f")
    assert x.data.dtype.isnative
    assert x.data.dtype == np.dtype(kind)
    assert_array_equal(x.data, [1, 2, 300])


def test_any_layout_is_taken_as_a_writable_row_major_array():
    base = np.arange(24.0).reshape(2, 3, 4)
    frozen = base.copy()
    frozen.flags.writeable = False
    for array in (base.T, base[::-1, :, ::-2], np.asfortranarray(base), np.broadcast_to(base[0], base.shape), frozen):
        x = mc.tensor(array)
        assert x.data.flags.c_contiguous
        assert x.data.flags.writeable
        assert_array_equal(x.data, array)


def test_a_memory_map_and_a_subclass_become_plain_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(3,))
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    assert type(mc.tensor(mapped).data) is np.ndarray
    assert type(mc.tensor(masked).data) is np.ndarray


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "complex64", "complex128", "object", "U3", "M8[s]"])
def test_other_dtypes_are_refused_and_the_cure_is_named(dtype):
    with pytest.raises(TypeError, match=r"expected float32, float64 or integers, got .*\.astype\(\"float32\"\)"):
        mc.tensor(np.zeros(2, dtype))


@pytest.mark.parametrize(
    "values", [None, "3", b"3", ["1", "2"], [None], [1j], 1j, [[1, 2], [3]], {}, object(), [[], [1]]]
)
def test_what_is_no_number_is_refused(values):
    with pytest.raises(TypeError, match="tensor expected an array, a list"):
        mc.tensor(values)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_only_floats_can_ask_for_a_gradient(dtype):
    with pytest.raises(TypeError, match=f"a gradient needs float32 or float64, got {dtype}"):
        mc.tensor(np.ones(2, dtype), requires_grad=True)


def test_a_tensor_of_a_tensor_is_refused():
    with pytest.raises(TypeError, match=r"got a Tensor: use \.detach"):
        mc.tensor(mc.tensor([1.0]))


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match='device expected "cpu" or "cuda", got \'gpu\''):
        mc.tensor([1.0], device="gpu")
    with pytest.raises(ValueError, match="got 'cuda:0'"):
        mc.tensor([1.0]).to("cuda:0")


# What it tells about itself


def test_shape_ndim_size_dtype_device():
    x = mc.tensor(np.zeros((2, 3, 4)))
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3, 4), 3, 24, np.float64, "cpu")
    assert x.numpy() is x.data
    assert x.grad is None
    assert x.creator is None


def test_repr():
    assert repr(mc.tensor([1, 2])) == "tensor([1., 2.])"
    assert repr(leaf([1.5])) == "tensor([1.5], requires_grad=True)"
    assert repr(mc.tensor(np.arange(2))) == "tensor([0, 1], dtype=int64)"
    assert repr(leaf(1.5, np.float64)) == "tensor(1.5, dtype=float64, requires_grad=True)"
    assert "..." in repr(mc.tensor(np.zeros(1000)))
    assert len(repr(mc.tensor(np.zeros((100, 100))))) < 1000


def test_item():
    assert mc.tensor([[2.5]]).item() == 2.5
    assert type(mc.tensor([2.5]).item()) is float
    assert type(mc.tensor(np.array(3)).item()) is int
    with pytest.raises(ValueError, match=r"one element, got shape \(2,\)"):
        mc.tensor([1, 2]).item()
    with pytest.raises(ValueError, match=r"one element, got shape \(0,\)"):
        mc.tensor([]).item()


def test_len_and_iteration():
    x = leaf([[1, 2], [3, 4], [5, 6]])
    assert len(x) == 3
    rows = list(x)
    assert [row.shape for row in rows] == [(2,)] * 3
    (rows[0] * 2 + rows[2]).sum().backward()
    assert_array_equal(x.grad, [[2, 2], [0, 0], [1, 1]])
    with pytest.raises(TypeError, match="without axes"):
        len(mc.tensor(1.0))
    with pytest.raises(TypeError, match="without axes"):
        iter(mc.tensor(1.0))


def test_truth_is_refused():
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(mc.tensor([1.0]))
    with pytest.raises(TypeError, match="neither true nor false"):
        assert mc.tensor(0.0)


def test_a_tensor_can_be_a_key_and_be_found_in_a_list():
    a, b = mc.tensor([1.0]), mc.tensor([1.0])
    assert {a: 1, b: 2}[a] == 1
    assert a in [a]
    assert b not in [a]


def test_assignment_into_a_tensor_is_refused():
    x = leaf([1, 2])
    with pytest.raises(TypeError):
        x[0] = 3.0


# dtype is kept

SCALARS = [2, 2.5, True, np.float32(2), np.float64(2), np.int64(2), np.uint8(2)]
OPERATORS = {
    "x + s": lambda x, s: x + s,
    "s + x": lambda x, s: s + x,
    "x - s": lambda x, s: x - s,
    "s - x": lambda x, s: s - x,
    "x * s": lambda x, s: x * s,
    "s * x": lambda x, s: s * x,
    "x / s": lambda x, s: x / s,
    "s / x": lambda x, s: s / x,
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_scalars_take_the_dtype_of_the_tensor(name, dtype):
    operator = OPERATORS[name]
    for shape in ((2, 3), ()):
        for scalar in SCALARS:
            values = np.full(shape, 3, dtype)
            x = mc.tensor(values, requires_grad=True)
            y = operator(x, scalar)
            assert type(y) is mc.Tensor
            assert type(y.data) is np.ndarray
            assert y.dtype == dtype
            assert y.shape == shape
            assert_array_equal(y.data, operator(values, dtype(scalar)))
            y.sum().backward()
            assert x.grad.dtype == dtype


UNARY = {
    "-x": lambda x: -x,
    "x**2": lambda x: x**2,
    "x**-0.5": lambda x: x**-0.5,
    "x**0": lambda x: x**0,
    "x**np.float64": lambda x: x ** np.float64(3),
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "mean over one axis": lambda x: x.mean(-1),
    "max": lambda x: x.max(),
    "max over one axis": lambda x: x.max(0),
    "reshape": lambda x: x.reshape(3, 2),
    "transpose": lambda x: x.transpose(),
    "index": lambda x: x[0],
    "one element": lambda x: x[0, 1],
    "advanced index": lambda x: x[[0, 0, 1]],
    "matmul": lambda x: x @ x.transpose(),
    "array @ x": lambda x: np.ones((4, 2), x.dtype) @ x,
    "x @ array": lambda x: x @ np.ones((3, 4), x.dtype),
    "array * x": lambda x: np.ones((2, 3), x.dtype) * x,
    "x / array": lambda x: x / np.ones((2, 3), x.dtype),
    "x += 1": lambda x: _plus_one(x),
}


def _plus_one(x):
    x += 1
    return x


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", FLOATS)
def test_operations_keep_the_dtype_in_both_directions(name, dtype):
    x = mc.tensor(np.array([[1, 2, 3], [4, 5, 6]], dtype), requires_grad=True)
    y = UNARY[name](x)
    assert y.dtype == dtype
    assert type(y.data) is np.ndarray
    y.sum().backward()
    assert x.grad.dtype == dtype
    assert type(x.grad) is np.ndarray
    assert x.grad.shape == x.shape


def test_an_array_on_the_left_makes_a_tensor_not_an_array_of_tensors():
    array = np.array([[1, 2], [3, 4]], np.float32)
    x = leaf([[1, 0], [2, 1]])
    for got, expected in (
        (array * x, array * x.data),
        (array + x, array + x.data),
        (array - x, array - x.data),
        (x.data / (x + 1), x.data / (x.data + 1)),
        (array @ x, array @ x.data),
        (x @ array, x.data @ array),
        (np.float64(2) * x, 2 * x.data),
        ([[1, 2], [3, 4]] - x, array - x.data),
    ):
        assert type(got) is mc.Tensor
        assert got.requires_grad
        assert got.dtype == np.float32
        assert_array_equal(got.data, expected)


def test_mixed_dtypes_are_refused_and_both_are_named():
    x = mc.tensor(np.ones(2, np.float32))
    y = mc.tensor(np.ones(2, np.float64))
    for operate in (lambda: x + y, lambda: x * y.data, lambda: y.data / x, lambda: x - np.arange(2), lambda: y @ x):
        with pytest.raises(TypeError, match=r"one dtype, got float\d\d and \w+: convert one with \.to\(dtype="):
            operate()


@pytest.mark.parametrize("other", ["3", b"1", None, 1j, np.complex64(1), np.str_("1"), np.datetime64("2020"), "abc"])
def test_an_operand_that_is_no_number_is_refused(other):
    with pytest.raises(TypeError, match="expected"):
        mc.tensor([1.0]) + other


def test_whole_numbers_never_become_floats_or_lose_a_fraction_in_silence():
    x = mc.tensor(np.arange(4))
    assert_array_equal((x + 1).data, [1, 2, 3, 4])
    assert (x * 2).dtype == np.int64
    for operate in (lambda: x + 1.5, lambda: 0.5 * x, lambda: x - np.float32(1)):
        with pytest.raises(TypeError, match="expected a whole number beside a Tensor of int64"):
            operate()
    for operate in (lambda: x / 2, lambda: 2 / x, lambda: x**2, x.mean, x.exp, x.log, x.sqrt):
        with pytest.raises(TypeError, match=r"expected float32 or float64, got int64: convert"):
            operate()


def test_power_takes_numbers_only():
    x = leaf([2.0])
    with pytest.raises(TypeError, match=r"expected a number as its exponent, got Tensor: use \(log"):
        x**x
    with pytest.raises(TypeError, match="got str"):
        x ** "2"


def test_power_at_zero_has_finite_gradients_where_they_exist():
    for exponent, expected in ((0, 0), (1, 1), (2, 0), (3, 0)):
        x = leaf([0.0, 0.0])
        (x**exponent).sum().backward()
        assert_array_equal(x.grad, [expected, expected])


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_and_infinity_stay_visible():
    x = mc.tensor([np.nan, np.inf, 1.0])
    assert np.isnan((x * 0).data[:2]).all()
    assert np.isnan(x.max().item())
    assert np.isnan(x.sum().item())


# to and detach


def test_detach_shares_the_array_and_stops_gradients():
    x = leaf([1.0, 2.0])
    y = (x * 3).detach()
    assert not y.requires_grad
    assert y.creator is None
    assert x.detach().data is x.data
    (x * y).sum().backward()
    assert_array_equal(x.grad, [3, 6])


def test_to_another_dtype_lets_the_gradient_through():
    x = leaf([1.0, 2.0])
    y = x.to(dtype="float64")
    assert y.dtype == np.float64
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32
    assert_array_equal(x.grad, [2, 4])


def test_to_makes_floats_of_images():
    y = mc.tensor(np.array([0, 255], np.uint8)).to(dtype=np.float32)
    assert y.dtype == np.float32
    assert_array_equal(y.data, [0, 255])


@pytest.mark.parametrize("dtype", ["float16", "int64", ">f4", "complex64"])
def test_to_refuses_other_dtypes(dtype):
    with pytest.raises(TypeError, match="to expected dtype float32 or float64, or on a GPU float16, got"):
        mc.tensor([1.0]).to(dtype=dtype)


def test_to_without_a_destination_is_refused():
    with pytest.raises(TypeError, match="got neither"):
        mc.tensor([1.0]).to()


# Indexing

INDICES = {
    "integer": 1,
    "negative": -1,
    "numpy integer": np.int64(2),
    "slice": slice(1, None, 2),
    "reversed": slice(None, None, -1),
    "none": (None, 0),
    "ellipsis": (Ellipsis, 0),
    "several": (1, slice(0, 2), slice(None, None, 2)),
    "empty": slice(0, 0),
    "list": [0, 2],
    "repeated": [0, 0, 2, 0],
    "array": np.array([[1, 1], [0, 1]]),
    "pairs, one of them twice": ([0, 1, 0], [2, 0, 2]),
    "mixed with a slice": (slice(None), [0, 0, 1], slice(1, 3)),
    "one array, one number": ([2, 2], 1),
    "boolean rows": np.array([True, False, True, True]),
    "boolean cells": np.arange(24).reshape(4, 3, 2) % 5 == 0,
    "true": True,
    "none of them": np.zeros(4, bool),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing_as_numpy_and_its_gradient_counts_how_often_a_place_is_named(name):
    index = INDICES[name]
    values = np.arange(24.0).reshape(4, 3, 2)
    x = mc.tensor(values, requires_grad=True)
    y = x[index]
    assert_array_equal(y.data, values[index])
    weights = np.arange(1.0, y.size + 1).reshape(y.shape)
    y.backward(weights)
    expected = np.zeros(24)
    # The places that an index names are what it picks out of their numbers.
    for place, weight in zip(np.arange(24).reshape(4, 3, 2)[index].reshape(-1), weights.reshape(-1), strict=True):
        expected[place] += weight
    assert_array_equal(x.grad, expected.reshape(4, 3, 2))


def test_a_tensor_can_be_an_index():
    x = leaf([[1, 2], [3, 4]])
    rows, mask = mc.tensor(np.array([1, 1, 0])), mc.tensor(np.array([True, False]))
    y = x[rows]
    assert_array_equal(y.data, [[3, 4], [3, 4], [1, 2]])
    y.sum().backward()
    assert_array_equal(x.grad, [[1, 1], [2, 2]])
    assert_array_equal(x[mask].data, [[1, 2]])
    assert_array_equal(x[rows, rows].data, [4, 4, 1])


def test_an_index_that_changes_after_the_call_changes_no_gradient():
    x = leaf([1, 2, 3])
    array, listed = np.array([0, 0]), [0, 0]
    y = x[array].sum() + x[listed].sum()
    array[:] = 2
    listed[:] = [1, 1]
    y.backward()
    assert_array_equal(x.grad, [4, 0, 0])


def test_a_wrong_index_is_an_error():
    x = leaf([1, 2, 3])
    with pytest.raises(IndexError):
        x[3]
    with pytest.raises(IndexError):
        x[0.5]
    with pytest.raises(IndexError):
        x[mc.tensor([0.0])]


# Reductions and movement: values, ties and errors


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 1), [1], (), np.int64(1), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_as_numpy(name, axis, keepdims):
    values = np.random.default_rng(0).standard_normal((2, 3, 4))
    x = mc.tensor(values, requires_grad=True)
    y = getattr(x, name)(axis, keepdims)
    expected = getattr(np, name)(values, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-14)
    y.sum().backward()
    assert x.grad.shape == values.shape


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_name_a_wrong_axis(name):
    x = mc.tensor(np.ones((2, 3), np.float32))
    for axis in (2, -3, (0, 0), (0, -2), 2**40):
        with pytest.raises(
            ValueError, match=rf"{name} expected different axes of an array of shape \(2, 3\), got axis"
        ):
            getattr(x, name)(axis)
    for axis in (0.5, "a", True, (0, None)):
        with pytest.raises(TypeError, match=f"{name} expected an axis, several or None, got"):
            getattr(x, name)(axis)


def test_mean_and_max_of_nothing_are_refused():
    x = mc.tensor(np.ones((2, 0), np.float32))
    for name in ("mean", "max"):
        with pytest.raises(ValueError, match=r"at least one element, got shape \(2, 0\)"):
            getattr(x, name)(1)
    assert_array_equal(x.sum(1).data, [0, 0])


def test_the_first_of_equal_maxima_receives_the_gradient():
    x = leaf([[1, 3, 3], [3, 0, 3]])
    x.max().backward()
    assert_array_equal(x.grad, [[0, 1, 0], [0, 0, 0]])
    x.grad = None
    x.max(axis=0).sum().backward()
    assert_array_equal(x.grad, [[0, 1, 1], [1, 0, 0]])
    x.grad = None
    x.max(axis=(1, 0)).backward()  # the order in which axes are named does not matter
    assert x.grad.sum() == 1


def test_reshape_and_transpose_take_numbers_or_a_tuple():
    x = mc.tensor(np.arange(6.0).reshape(2, 3))
    for y in (x.reshape(3, 2), x.reshape((3, 2)), x.reshape([3, 2]), x.reshape(-1, 2), x.reshape(np.int64(3), 2)):
        assert_array_equal(y.data, x.data.reshape(3, 2))
    for y in (x.transpose(), x.transpose(1, 0), x.transpose((1, 0)), x.transpose(-1, 0)):
        assert_array_equal(y.data, x.data.T)
    with pytest.raises(TypeError, match="float"):
        x.reshape(2.5, 3)
    with pytest.raises(TypeError, match="float"):
        x.transpose(1.0, 0.0)
    with pytest.raises(ValueError, match="reshape"):
        x.reshape(4, 2)
    with pytest.raises(ValueError, match="axes"):
        x.transpose(0)


def test_matmul_refuses_vectors_and_lengths_that_differ():
    x = mc.tensor(np.ones((2, 3), np.float32))
    for other in (np.ones(3, np.float32), np.ones((2, 3), np.float32), np.float32(2), 2.0):
        with pytest.raises(ValueError, match=r"\(\.\.\., M, K\) and \(\.\.\., K, N\), got \(2, 3\).*reshape"):
            x @ other
