"""What holds for every kernel: dtype kept, inputs untouched, results fresh, memory layout without influence."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference

rng = np.random.default_rng(0)
NONE = ((0, 0), (0, 0))
IMAGE, SMALL = rng.standard_normal((2, 6, 5, 4)), rng.standard_normal((2, 3, 2, 4))
WEIGHT, BIAS, POSITIVE = rng.standard_normal((3, 2, 2, 4)), rng.standard_normal(4), rng.random(4)
CLASSES, ROWS = np.array([2, 0, 3, 1]), np.full((4, 4), 0.25)
MATRIX, SQUARE = rng.standard_normal((4, 4)), rng.standard_normal((4, 4))
WHERE = (2, 2), ((1, 0), (0, 0)), (1, 2), 2
POOL = (2, 2), (2, 2), NONE
LOSS = np.array(0.5)
TURNS = np.array([[[0.8, -0.6, 1.1], [0.7, 0.9, -2.3]], [[1.2, 0.1, -0.4], [0.3, -0.8, 5.2]]])

# Name and arguments. The second call of a name is the one that does nothing, where a result could be its input.
CALLS = [
    ("im2col", (IMAGE, (3, 2), (2, 2), ((1, 0), (0, 0)), (1, 2))),
    ("im2col", (IMAGE, (1, 1), (1, 1), NONE, (1, 1))),
    ("col2im", (rng.standard_normal((2 * 3 * 2, 3 * 2 * 4)), IMAGE.shape, (3, 2), (2, 2), ((1, 0), (0, 0)), (1, 2))),
    ("col2im", (rng.standard_normal((60, 4)), IMAGE.shape, (1, 1), (1, 1), NONE, (1, 1))),
    *[
        call
        for algorithm in ("auto", "im2col", "implicit_gemm")
        for call in [
            ("conv2d_forward", (IMAGE, WEIGHT, BIAS, *WHERE, algorithm, None)),
            ("conv2d_forward", (IMAGE, WEIGHT, None, *WHERE, algorithm, "tanh")),
            ("conv2d_backward_input", (SMALL, WEIGHT, IMAGE.shape, *WHERE, algorithm)),
            ("conv2d_backward_weight", (SMALL, IMAGE, WEIGHT.shape, *WHERE, algorithm)),
        ]
    ],
    ("max_pool2d_forward", (IMAGE, *POOL, True)),
    ("max_pool2d_forward", (IMAGE, (1, 1), (1, 1), NONE, False)),
    ("max_pool2d_backward", (SMALL, rng.integers(0, 4, SMALL.shape).astype(np.int32), IMAGE.shape, *POOL)),
    ("max_pool2d_backward", (IMAGE, np.zeros(IMAGE.shape, np.int32), IMAGE.shape, (1, 1), (1, 1), NONE)),
    ("avg_pool2d_forward", (IMAGE, *POOL, True, False)),
    ("avg_pool2d_forward", (IMAGE, (1, 1), (1, 1), NONE, False, False)),
    ("avg_pool2d_backward", (SMALL, IMAGE.shape, *POOL, True)),
    ("avg_pool2d_backward", (IMAGE, IMAGE.shape, (1, 1), (1, 1), NONE, True)),
    ("sum_pool2d_forward", (IMAGE, *POOL, True)),
    ("sum_pool2d_forward", (IMAGE, (1, 1), (1, 1), NONE, True)),
    ("sum_pool2d_backward", (SMALL, IMAGE.shape, *POOL)),
    ("sum_pool2d_backward", (IMAGE, IMAGE.shape, (1, 1), (1, 1), NONE)),
    ("adaptive_avg_pool2d_forward", (IMAGE, (4, 3))),
    ("adaptive_avg_pool2d_forward", (IMAGE, (6, 5))),
    ("adaptive_avg_pool2d_backward", (SMALL, IMAGE.shape)),
    ("adaptive_avg_pool2d_backward", (IMAGE, IMAGE.shape)),
    ("batch_norm_forward", (IMAGE, POSITIVE, BIAS, 1e-5, None, None)),
    ("batch_norm_forward", (IMAGE, POSITIVE, BIAS, 1e-5, IMAGE * IMAGE - 1, "relu")),
    ("batch_norm_statistics", (IMAGE,)),
    ("batch_norm_backward", (IMAGE, IMAGE * 2 + 1, POSITIVE, BIAS, BIAS, POSITIVE, 1e-5, None)),
    ("batch_norm_backward", (IMAGE, IMAGE * 2 + 1, POSITIVE, BIAS, BIAS, POSITIVE, 1e-5, "relu")),
    ("batch_norm_inference_forward", (IMAGE, POSITIVE, BIAS, BIAS, POSITIVE, 1e-5, None, None)),
    ("batch_norm_inference_forward", (IMAGE, POSITIVE, BIAS, BIAS, POSITIVE, 1e-5, IMAGE * IMAGE - 1, "relu")),
    ("batch_norm_inference_backward", (IMAGE, IMAGE + 1, POSITIVE, BIAS, BIAS, POSITIVE, 1e-5, None)),
    ("batch_norm_inference_backward", (IMAGE, IMAGE + 1, POSITIVE, BIAS, BIAS, POSITIVE, 1e-5, "relu")),
    ("local_response_norm_forward", (IMAGE, 3, 0.5, 0.75, 2.0)),
    ("local_response_norm_backward", (IMAGE, IMAGE + 1, 3, 0.5, 0.75, 2.0)),
    ("relu_forward", (IMAGE,)),
    ("relu_forward", (abs(IMAGE),)),
    ("relu_backward", (IMAGE, IMAGE - 0.1)),
    ("relu_backward", (IMAGE, abs(IMAGE))),
    ("relu6_forward", (IMAGE,)),
    ("relu6_forward", (abs(IMAGE) + 5.9,)),
    ("relu6_backward", (IMAGE, 8 * IMAGE)),
    ("relu6_backward", (IMAGE, abs(IMAGE) + 5.9)),
    ("tanh_forward", (IMAGE,)),
    ("tanh_backward", (IMAGE, np.tanh(IMAGE))),
    ("sigmoid_forward", (IMAGE,)),
    ("sigmoid_backward", (IMAGE, abs(np.tanh(IMAGE)))),
    ("softmax_forward", (IMAGE,)),
    ("softmax_backward", (IMAGE, abs(IMAGE))),
    ("log_softmax_forward", (IMAGE,)),
    ("log_softmax_backward", (IMAGE, -abs(IMAGE))),
    ("cross_entropy_forward", (MATRIX, CLASSES)),
    ("cross_entropy_forward", (MATRIX, ROWS)),
    ("cross_entropy_backward", (LOSS, SQUARE, CLASSES)),
    ("cross_entropy_backward", (LOSS, SQUARE, ROWS)),
    ("mean_squared_error_forward", (MATRIX, SQUARE)),
    ("mean_squared_error_backward", (LOSS, MATRIX, SQUARE)),
    ("half_squared_error_forward", (MATRIX, SQUARE)),
    ("half_squared_error_backward", (LOSS, MATRIX, SQUARE)),
    ("dropout_forward", (IMAGE, 0.3, 1, 2, 3, 4)),
    ("dropout_forward", (IMAGE, 0.0, 1, 2, 3, 4)),
    ("dropout_backward", (IMAGE, 0.3, 1, 2, 3, 4)),
    ("dropout_backward", (IMAGE, 0.0, 1, 2, 3, 4)),
    ("linear_forward", (MATRIX, SQUARE, BIAS, None)),
    ("linear_forward", (MATRIX, SQUARE, None, "sigmoid")),
    ("linear_backward_input", (MATRIX, SQUARE)),
    ("linear_backward_weight", (MATRIX, SQUARE)),
    ("bias_backward", (IMAGE,)),
    ("bias_backward", (MATRIX[:1],)),
    ("warp", (IMAGE, TURNS, rng.standard_normal((2, 6, 5, 2)), "reflect", 0.0)),
    ("warp", (IMAGE, np.eye(2, 3) * np.ones((2, 1, 1)), None, "constant", 0.5)),
]
EVERY_CALL = pytest.mark.parametrize(
    ("name", "arguments"), CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)]
)
LAYOUTS = {
    "plain": lambda a: a.copy(),
    "transposed": np.asfortranarray,
    "backwards": lambda a: np.ascontiguousarray(np.flip(a))[(slice(None, None, -1),) * a.ndim],
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a.copy(),
}


def convert(arguments, dtype, layout=LAYOUTS["plain"]):
    """The arguments with floating-point arrays in `dtype`, and every array in that layout."""
    arrays = [isinstance(a, np.ndarray) for a in arguments]
    typed = [
        a.astype(dtype) if is_array and a.dtype.kind == "f" else a
        for a, is_array in zip(arguments, arrays, strict=True)
    ]
    return [layout(a) if is_array else a for a, is_array in zip(typed, arrays, strict=True)]


def call(name, arguments):
    results = getattr(reference, name)(*arguments)
    return results if isinstance(results, tuple) else (results,)


def test_every_kernel_is_listed_and_called_here():
    in_place_or_integer = {name for name in reference.__all__ if name.endswith("_update")} | {"philox4x32"}
    assert {name for name, _ in CALLS} | in_place_or_integer == set(reference.__all__)
    functions = {name for name, f in vars(reference).items() if inspect.isfunction(f)}
    assert functions == set(reference.__all__)


@EVERY_CALL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_inputs_are_untouched_and_results_are_fresh(name, arguments, dtype):
    given = convert(arguments, dtype)
    before = [np.copy(a) if isinstance(a, np.ndarray) else a for a in given]
    for result in call(name, given):
        assert type(result) is np.ndarray
        assert result.dtype == (np.int32 if result.dtype.kind == "i" else dtype)
        assert result.flags.writeable
        assert result.flags.c_contiguous
        assert not any(np.shares_memory(result, a) for a in given if isinstance(a, np.ndarray))
    for a, b in zip(given, before, strict=True):
        if isinstance(a, np.ndarray):
            assert_array_equal(a, b)


@EVERY_CALL
@pytest.mark.parametrize("layout", ["transposed", "backwards", "every second"])
def test_the_memory_layout_changes_nothing(name, arguments, layout):
    plain = call(name, convert(arguments, np.float64))
    other = call(name, convert(arguments, np.float64, LAYOUTS[layout]))
    for a, b in zip(plain, other, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@EVERY_CALL
def test_read_only_input_is_welcome_and_float32_agrees_with_float64(name, arguments):
    given = convert(arguments, np.float32)
    for a in given:
        if isinstance(a, np.ndarray):
            a.setflags(write=False)
    for single, double in zip(call(name, given), call(name, convert(arguments, np.float64)), strict=True):
        assert single.shape == double.shape
        assert_allclose(single, double, rtol=1e-4, atol=1e-4)
