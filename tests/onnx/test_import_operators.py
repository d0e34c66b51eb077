"""Every operator that import_onnx knows: the same numbers as onnxruntime, on sizes that hide no mistake."""

import numpy as np
import pytest
from onnx import helper
from onnx_files import check_close, images_last, imported, network, ours, theirs

import minicnn as mc
from minicnn import nn
from minicnn.onnx.loading import NEWEST

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def node(kind, inputs, outputs=("y",), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def ints(*values):
    return np.array(values, np.int64)


def check(tmp_path, nodes, x_shape, weights=None, opset=13, tolerance=1e-5, positive=False):
    """One sample, and where the file leaves their number open, three of them."""
    nodes = nodes if isinstance(nodes, list) else [nodes]
    for N in (1, 3):
        model = network(nodes, [N if N == 1 else "N", *x_shape], weights, opset)
        x = normal(N, *x_shape)
        x = abs(x) + 0.1 if positive else x
        graph = imported(model, tmp_path / "it.onnx")
        check_close(ours(graph, x), theirs(model, x), tolerance)
    return graph


# Layers with weights

CONVS = [
    ({}, (4, 3, 3, 2)),
    ({"strides": [2, 3], "pads": [1, 0, 2, 1]}, (4, 3, 3, 2)),
    ({"dilations": [2, 1], "pads": [2, 1, 0, 3], "kernel_shape": [3, 2]}, (4, 3, 3, 2)),
    ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (5, 3, 4, 3)),
    ({"auto_pad": "SAME_LOWER", "strides": [2, 3]}, (5, 3, 4, 3)),
    ({"auto_pad": "SAME_LOWER", "strides": [1, 2]}, (5, 3, 2, 2)),
    ({"auto_pad": "VALID", "strides": [3, 1]}, (5, 3, 1, 4)),
    ({"group": 3, "pads": [1, 1, 1, 1]}, (6, 1, 3, 3)),
]


@pytest.mark.parametrize(("attributes", "w_shape"), CONVS)
def test_conv(tmp_path, attributes, w_shape):
    weights = {"w": normal(*w_shape), "b": normal(w_shape[0])}
    graph = check(tmp_path, node("Conv", ["data", "w", "b"], **attributes), (3, 9, 11), weights)
    O, C, KH, KW = w_shape
    assert {name: p.shape for name, p in graph.named_parameters()} == {"w": (KH, KW, C, O), "b": (O,)}
    check(tmp_path, node("Conv", ["data", "w"], **attributes), (3, 9, 11), weights)


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 0.3, "beta": -2.0}, {"transB": 1, "alpha": 2.0}])
@pytest.mark.parametrize("b_shape", [None, (4,), (1, 4), (1,), ()])
def test_gemm(tmp_path, attributes, b_shape):
    weights = {"w": normal(4, 5) if "transB" in attributes else normal(5, 4)}
    weights |= {} if b_shape is None else {"b": normal(*b_shape)}
    check(tmp_path, node("Gemm", ["data", *weights], **attributes), (5,), weights)


def test_gemm_adds_what_varies_too(tmp_path):
    nodes = [node("Relu", ["data"], ["r"]), node("Gemm", ["data", "w", "r"], beta=0.5)]
    check(tmp_path, nodes, (5,), {"w": normal(5, 5)})


FLATTENINGS = {
    "Flatten": ([node("Flatten", ["r"], ["f"])], {}),
    "Reshape": ([node("Reshape", ["r", "s"], ["f"])], {"s": ints(0, -1)}),
    "Reshape to a length": ([node("Reshape", ["r", "s"], ["f"])], {"s": ints(-1, 60)}),
    "Reshape of two axes": ([node("Reshape", ["r", "s"], ["t"]), node("Flatten", ["t"], ["f"])], {"s": ints(0, 3, -1)}),
    "what PyTorch writes for x.view(x.size(0), -1)": (
        [
            node("Shape", ["r"], ["h"]), node("Gather", ["h", "zero"], ["n"], axis=0),
            node("Unsqueeze", ["n", "axes"], ["v"]), node("Concat", ["v", "rest"], ["s"], axis=0),
            node("Reshape", ["r", "s"], ["f"]),
        ],
        {"zero": np.array(0), "axes": ints(0), "rest": ints(-1)},
    ),
    "with layers between": (
        [node("Flatten", ["r"], ["f1"]), node("Dropout", ["f1"], ["f2"]), node("Tanh", ["f2"], ["f"])], {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLATTENINGS)
@pytest.mark.parametrize("product", ["Gemm", "MatMul"])
def test_rows_of_a_layer_after_flattened_images_are_put_in_our_order(tmp_path, name, product):
    nodes, weights = FLATTENINGS[name]
    nodes = [node("Relu", ["data"], ["r"]), *nodes, node(product, ["f", "w"])]
    graph = check(tmp_path, nodes, (3, 4, 5), {"w": normal(60, 7), **weights})
    if "two axes" not in name:
        assert "Transpose" not in {each.operation.name for each in graph.nodes}


def test_flattened_images_come_out_in_the_files_order(tmp_path):
    check(tmp_path, [node("Flatten", ["data"], ["f"]), node("Relu", ["f"])], (3, 4, 5))
    shapes = {"s": ints(0, 4, 5, 3)}
    check(tmp_path, [node("Flatten", ["data"], ["f"]), node("Reshape", ["f", "s"])], (3, 4, 5), shapes)
    check(tmp_path, [node("Flatten", ["data"], ["f"]), node("Softmax", ["f"])], (3, 4, 5))
    check(tmp_path, [node("Flatten", ["data"], ["f"]), node("Mul", ["f", "w"])], (3, 4, 5), {"w": normal(60)})
    weights = {f"bn{i}": abs(normal(60)) + 0.1 for i in range(4)}
    check(tmp_path, [node("Flatten", ["data"], ["f"]), node("BatchNormalization", ["f", *weights])], (3, 4, 5), weights)
    nodes = [node("Flatten", ["data"], ["f"]), node("Relu", ["f"], ["g"]), node("Concat", ["f", "g"], axis=-1)]
    check(tmp_path, nodes, (3, 4, 5))


def test_matmul_of_each_sample(tmp_path):
    check(tmp_path, node("MatMul", ["data", "w"]), (3, 4, 5), {"w": normal(5, 2)})
    check(tmp_path, node("MatMul", ["w", "data"]), (3, 4, 5), {"w": normal(6, 4)})
    nodes = [node("Transpose", ["data"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["data", "t"])]
    check(tmp_path, nodes, (3, 4, 5))


@pytest.mark.parametrize("x_shape", [(6, 3, 5), (6,)])
def test_batch_normalization(tmp_path, x_shape):
    weights = {"gamma": normal(6), "beta": normal(6), "mean": normal(6), "var": abs(normal(6)) + 0.1}
    graph = check(tmp_path, node("BatchNormalization", ["data", *weights], epsilon=1e-2), x_shape, weights, opset=14)
    assert [name for name, _ in graph.named_parameters()] == ["gamma", "beta"]
    assert [name for name, _ in graph.named_buffers()] == ["mean", "var"]
    check(tmp_path, node("BatchNormalization", ["data", *weights], momentum=0.5), x_shape, weights, opset=9)
    check(tmp_path, node("BatchNormalization", ["data", *weights], spatial=1), x_shape, weights, opset=7)


@pytest.mark.parametrize("settings", [{"size": 5}, {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 2.0}, {"size": 1}])
def test_local_response_norm(tmp_path, settings):
    check(tmp_path, node("LRN", ["data"], **settings), (7, 3, 4))


# Pooling

POOLS = [
    {"kernel_shape": [2, 3]},
    {"kernel_shape": [3, 2], "strides": [2, 3]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [2, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 4], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"},
    {"kernel_shape": [3, 2], "strides": [3, 3], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1, "pads": [1, 1, 0, 0]},
]


@pytest.mark.parametrize("settings", POOLS)
def test_max_pool(tmp_path, settings):
    check(tmp_path, node("MaxPool", ["data"], **settings), (3, 8, 11))


@pytest.mark.parametrize("settings", POOLS)
@pytest.mark.parametrize("counted", [0, 1])
def test_average_pool(tmp_path, settings, counted):
    check(tmp_path, node("AveragePool", ["data"], count_include_pad=counted, **settings), (3, 8, 11), opset=19)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pooling(tmp_path, kind):
    check(tmp_path, node(kind, ["data"]), (3, 4, 5))
    check(tmp_path, [node(kind, ["data"], ["p"]), node("Flatten", ["p"])], (3, 4, 5))


# Activations


@pytest.mark.parametrize("kind", ["Relu", "Tanh", "Sigmoid", "Neg", "Exp", "Identity", "Dropout"])
def test_each_element(tmp_path, kind):
    check(tmp_path, node(kind, ["data"]), (3, 4, 5))


@pytest.mark.parametrize("kind", ["Log", "Sqrt"])
def test_each_positive_element(tmp_path, kind):
    check(tmp_path, node(kind, ["data"]), (3, 4, 5), positive=True)


def test_clip(tmp_path):
    scaled = node("Mul", ["data", "ten"], ["m"])
    bounds = {"ten": np.float32(10), "low": np.float32(0), "high": np.float32(6)}
    check(tmp_path, [scaled, node("Clip", ["m", "low", "high"])], (3, 4, 5), bounds)
    check(tmp_path, [scaled, node("Clip", ["m", "low"])], (3, 4, 5), bounds)
    check(tmp_path, [scaled, node("Clip", ["m"], min=0.0, max=6.0)], (3, 4, 5), {"ten": np.float32(10)}, opset=9)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [None, 1, 2, 3, -1, -2])
@pytest.mark.parametrize("opset", [9, 13])
def test_softmax_over_an_axis_and_before_operator_set_13_over_all_behind_it(tmp_path, kind, axis, opset):
    attributes = {} if axis is None else {"axis": axis}
    check(tmp_path, node(kind, ["data"], **attributes), (3, 4, 5), opset=opset)
    check(tmp_path, node(kind, ["data"], **attributes), (7, 1, 1), opset=opset)


@pytest.mark.parametrize("opset", [9, 13])
def test_softmax_of_rows(tmp_path, opset):
    check(tmp_path, node("Softmax", ["data"]), (7,), opset=opset)


# Arithmetic


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (3, 1, 1), (3, 4, 5), (1, 3, 1, 1), (1, 1, 4, 5)])
def test_arithmetic_with_a_constant(tmp_path, kind, shape):
    weights = {"w": normal(*shape) + np.float32(3)}
    graph = check(tmp_path, node(kind, ["data", "w"]), (3, 4, 5), weights)
    check(tmp_path, node(kind, ["w", "data"]), (3, 4, 5), weights, positive=True)
    trained = kind in ("Add", "Mul") and weights["w"].size > 1
    assert [name for name, _ in graph.named_parameters()] == (["w"] if trained else [])
    assert [name for name, _ in graph.named_buffers()] == ([] if trained else ["w"])


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Sum"])
def test_arithmetic_of_two_results(tmp_path, kind):
    nodes = [node("Relu", ["data"], ["r"]), node("Exp", ["r"], ["e"]), node(kind, ["data", "e"])]
    check(tmp_path, nodes, (3, 4, 5))
    pooled = [node("GlobalAveragePool", ["data"], ["p"]), node("Sigmoid", ["p"], ["s"])]
    check(tmp_path, [*pooled, node(kind, ["data", "s"])], (3, 4, 5))
    check(tmp_path, [*pooled, node(kind, ["s", "data"])], (3, 4, 5), positive=True)


def test_one_operand_lies_in_another_order(tmp_path):
    nodes = [node("Transpose", ["data"], ["t"], perm=[0, 1, 3, 2]), node("Sub", ["data", "t"])]
    check(tmp_path, nodes, (3, 4, 4))


def test_a_sum_of_many_and_of_one(tmp_path):
    check(tmp_path, [node("Relu", ["data"], ["r"]), node("Sum", ["data", "r", "w", "r"])], (3, 4, 5), {"w": normal(5)})
    check(tmp_path, node("Sum", ["data"]), (3, 4, 5))


@pytest.mark.parametrize("exponent", [2.0, 0.5, -1.0])
def test_power(tmp_path, exponent):
    check(tmp_path, node("Pow", ["data", "e"]), (3, 4, 5), {"e": np.float32(exponent)}, positive=True)


@pytest.mark.parametrize("kind", ["ReduceSum", "ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("axes", [[1], [2, 3], [-1, 1], [1, 2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(tmp_path, kind, axes, keepdims):
    check(tmp_path, node(kind, ["data"], axes=axes, keepdims=keepdims), (3, 4, 5), opset=11)
    check(tmp_path, node(kind, ["data", "a"], keepdims=keepdims), (3, 4, 5), {"a": ints(*axes)}, opset=18)


# Movement


@pytest.mark.parametrize("perm", [[0, 2, 3, 1], [0, 1, 3, 2], [0, 3, 1, 2], [0, 3, 2, 1]])
def test_transpose(tmp_path, perm):
    check(tmp_path, [node("Transpose", ["data"], ["t"], perm=perm), node("Exp", ["t"])], (3, 4, 5))


@pytest.mark.parametrize(
    "shape",
    [
        (0, 2, 3, 4, 5),
        (0, 6, 20),
        (0, 3, 2, 4, 5),
        (-1, 24, 5),
        (0, 4, 6, 5),
        (0, 6, 5, 4),
        (0, 6, 4, 5, 1),
        (0, 1, 6, 4, 5),
        (-1, 120),
        (0, 12, 10),
        (0, 8, 15),
        (0, 1, 120),
    ],
)
def test_reshape(tmp_path, shape):  # fmt: skip
    check(tmp_path, [node("Relu", ["data"], ["r"]), node("Reshape", ["r", "s"])], (6, 4, 5), {"s": ints(*shape)})


def test_a_shuffle_of_channels_moves_nothing_but_channels(tmp_path):
    nodes = [
        node("Reshape", ["data", "cut"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "join"]),
    ]  # fmt: skip
    graph = check(tmp_path, nodes, (6, 4, 5), {"cut": ints(0, 2, 3, 4, 5), "join": ints(0, 6, 4, 5)})
    assert [each.shape for each in graph.nodes] == [(1, 4, 5, 2, 3), (1, 4, 5, 3, 2), (1, 4, 5, 6)]


def test_the_number_of_samples_that_a_file_names_is_free_here(tmp_path):
    nodes = [node("Reshape", ["data", "s"], ["r"]), node("Gemm", ["r", "w"])]
    for named in (1, 4):
        model = network(nodes, [named, 3, 2, 2], {"s": ints(named, -1), "w": normal(12, 2)})
        graph, x = imported(model, tmp_path / "it.onnx"), normal(named, 3, 2, 2)
        check_close(ours(graph, x), theirs(model, x))
        np.testing.assert_allclose(ours(graph, np.concatenate([x, x]))[named:], ours(graph, x), rtol=1e-5)


def test_squeeze_and_unsqueeze(tmp_path):
    nodes = [node("GlobalAveragePool", ["data"], ["p"]), node("Squeeze", ["p", "a"], ["s"]), node("Exp", ["s"])]
    check(tmp_path, nodes, (3, 4, 5), {"a": ints(2, -1)})
    check(tmp_path, [node("Unsqueeze", ["data", "a"])], (3, 4), {"a": ints(1, -1)})
    check(tmp_path, [node("Unsqueeze", ["data"], axes=[2])], (3, 4), opset=11)
    nodes = [node("Unsqueeze", ["w"], ["u"], axes=[1, 2]), node("Mul", ["data", "u"])]
    graph = check(tmp_path, nodes, (3, 4, 5), {"w": normal(3)}, opset=9)
    assert {name: p.shape for name, p in graph.named_parameters()} == {"w": (3,)}


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_concat(tmp_path, axis):
    nodes = [node("Relu", ["data"], ["r"]), node("Transpose", ["data"], ["t"], perm=[0, 2, 1, 3]),
             node("Concat", ["r", "data", "t"], axis=axis)]  # fmt: skip
    check(tmp_path, nodes, (4, 4, 5))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_split(tmp_path, axis):
    nodes = [node("Split", ["data"], ["a", "b"], axis=axis), node("Sub", ["b", "a"])]
    check(tmp_path, nodes, (4, 4, 6))
    nodes = [node("Split", ["data", "s"], ["a", "b"], axis=axis), node("Concat", ["b", "a"], axis=axis)]
    check(tmp_path, nodes, (4, 4, 4), {"s": ints(1, 3)})
    check(tmp_path, [node("Split", ["data"], ["a", "b", "y"], axis=1, num_outputs=3)], (8, 4, 4), opset=18)


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), [
    ((1,), (3,), (1,), (1,)), ((0, 1), (4, -1), (2, 3), (2, 1)), ((-1,), (-9,), (3,), (-2,)),
    ((1, 0), (2**63 - 1, 2), (-3, -1), (1, 1)), ((-2,), (-(2**63) + 1,), (2,), (-1,)),
])  # fmt: skip
def test_slice(tmp_path, starts, ends, axes, steps):
    values = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    check(tmp_path, node("Slice", ["data", *values]), (4, 5, 6), {name: ints(*v) for name, v in values.items()})


def test_slice_of_old(tmp_path):
    check(tmp_path, node("Slice", ["data"], starts=[1, 1], ends=[3, 9], axes=[1, 3]), (4, 5, 6), opset=9)


def test_pad(tmp_path):
    pads = [0, 1, 2, 0, 0, 0, 3, 1]
    check(tmp_path, node("Pad", ["data"], pads=pads, value=0.5), (3, 4, 5), opset=9)
    check(tmp_path, node("Pad", ["data", "p", "v"]), (3, 4, 5), {"p": ints(*pads), "v": np.float32(-2)})
    weights = {"p": ints(1, 2, 3, 4), "a": ints(-1, 2)}
    check(tmp_path, node("Pad", ["data", "p", "", "a"]), (3, 4, 5), weights, opset=18)


@pytest.mark.parametrize("how", [
    {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, {},
    {"coordinate_transformation_mode": "pytorch_half_pixel", "nearest_mode": "round_prefer_ceil"},
])  # fmt: skip
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_resize(tmp_path, how, scale):
    scales = np.array([1, 1, scale, scale], np.float32)
    check(tmp_path, node("Resize", ["data", "", "s"], mode="nearest", **how), (3, 4, 5), {"s": scales})


def test_resize_to_a_size_and_of_old(tmp_path):
    graph = imported(
        network([node("Resize", ["data", "", "", "s"], mode="nearest")], [1, 3, 4, 5], {"s": ints(1, 3, 8, 10)}),
        tmp_path / "it.onnx",
    )
    assert graph.nodes[-1].shape == (1, 8, 10, 3)
    scales = {"s": np.array([1, 1, 2, 2], np.float32)}
    check(tmp_path, node("Resize", ["data", "s"], mode="nearest"), (3, 4, 5), scales, opset=10)
    check(tmp_path, node("Upsample", ["data", "s"], mode="nearest"), (3, 4, 5), scales, opset=9)
    check(tmp_path, node("Upsample", ["data"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]), (3, 4, 5), opset=7)


# Constants, and operator sets that onnxruntime reads no more


def test_what_depends_on_constants_alone_is_computed_once(tmp_path):
    nodes = [
        node("Constant", [], ["two"], value_float=2.0), node("Constant", [], ["shape"], value_ints=[3, 1, 1]),
        node("ConstantOfShape", ["shape"], ["zeros"]), node("Add", ["zeros", "two"], ["c"]),
        node("Cast", ["c"], ["d"], to=7), node("Cast", ["d"], ["e"], to=1), node("Sqrt", ["e"], ["f"]),
        node("Sub", ["f", "w"], ["g"]), node("Mul", ["g", "g"], ["h"]), node("Div", ["h", "two"], ["i"]),
        node("Pow", ["i", "two"], ["j"]), node("Neg", ["j"], ["k"]), node("Exp", ["k"], ["l"]),
        node("Slice", ["w", "zero", "one"], ["m"]), node("Concat", ["l", "m"], ["n"], axis=0),
        node("Transpose", ["n"], ["o"], perm=[1, 0, 2]), node("ReduceMax", ["o"], ["p"], axes=[1], keepdims=1),
        node("Mul", ["data", "p"]),
    ]  # fmt: skip
    weights = {"w": normal(3, 1, 1), "zero": ints(0), "one": ints(1)}
    graph = check(tmp_path, nodes, (3, 4, 5), weights)
    assert [each.operation.name for each in graph.nodes] == ["Multiply"]


def test_old_operators_broadcast_from_an_axis(tmp_path):
    x, w = normal(2, 3, 4, 5), normal(3)
    model = network([node("Mul", ["data", "w"], axis=1, broadcast=1)], ["N", 3, 4, 5], {"w": w}, opset=6)
    check_close(ours(imported(model, tmp_path / "it.onnx"), x), x * w[:, None, None])


def test_the_newest_operator_set(tmp_path):
    nodes = [
        node("Conv", ["data", "w"], ["c"]), node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2]),
        node("BatchNormalization", ["m", "v", "v", "v", "v"], ["n"]), node("Pad", ["n", "p"], ["o"]),
        node("Transpose", ["o"], ["t"], perm=[0, 3, 1, 2]), node("ReduceMean", ["t", "a"], ["r"], keepdims=0),
        node("Flatten", ["r"], ["f"]), node("Softmax", ["f"]),
    ]  # fmt: skip
    weights = {"w": normal(4, 3, 2, 2), "v": abs(normal(4)), "p": ints(0, 0, 1, 0, 0, 0, 0, 1), "a": ints(1)}
    check(tmp_path, nodes, (3, 7, 8), weights, opset=NEWEST)


def test_old_files(tmp_path):
    """Operator set 4 and before: a shape as an attribute, is_test, consumed_inputs, the broadcast of Gemm."""
    weights = {"scale": normal(3), "shift": normal(3), "mean": normal(3), "var": abs(normal(3)), "w": normal(60, 2),
               "b": normal(2)}  # fmt: skip
    nodes = [
        node(
            "BatchNormalization", ["data", "scale", "shift", "mean", "var"], ["n"], is_test=1, consumed_inputs=[0] * 5
        ),
        node("Relu", ["n"], ["r"], consumed_inputs=[0]),
        node("Dropout", ["r"], ["d", "mask"], is_test=1),
        node("Reshape", ["d"], ["f"], shape=[0, -1]),
        node("Gemm", ["f", "w", "b"], broadcast=1),
    ]
    x = normal(2, 3, 4, 5)
    scale, shift, mean, var = (weights[name][:, None, None] for name in ("scale", "shift", "mean", "var"))
    normalised = np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + shift, 0)
    model = network(nodes, ["N", 3, 4, 5], weights, opset=4)
    expected = normalised.reshape(2, -1) @ weights["w"] + weights["b"]
    check_close(ours(imported(model, tmp_path / "it.onnx"), x), expected)


# The network as a whole


def test_an_imported_network_is_a_module(tmp_path):
    weights = {"w": normal(4, 3, 3, 3), "b": normal(4), "gamma": normal(4), "beta": normal(4), "mean": normal(4),
               "var": abs(normal(4)) + 0.1, "fc": normal(4, 2)}  # fmt: skip
    nodes = [
        node("Conv", ["data", "w", "b"], ["conv"]), node("BatchNormalization", ["conv", *list(weights)[2:6]], ["bn"]),
        node("Relu", ["bn"], ["relu"]), node("GlobalAveragePool", ["relu"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]), node("Gemm", ["flat", "fc"], ["logits"]),
    ]  # fmt: skip
    model, x = network(nodes, ["N", 3, 6, 7], weights), normal(4, 3, 6, 7)
    graph = imported(model, tmp_path / "it.onnx")
    expected = theirs(model, x)
    assert [each.output for each in graph.nodes] == ["conv", "bn", "relu", "pool", "flat", "logits"]
    assert graph.input_shape == (6, 7, 3)

    optimised = mc.optimize_for_inference(graph)
    assert len(optimised.nodes) < len(graph.nodes)
    check_close(ours(optimised, x), expected)

    mc.export_onnx(graph, tmp_path / "again.onnx")
    again = mc.import_onnx(tmp_path / "again.onnx")
    check_close(ours(again, x), expected)
    check_close(theirs((tmp_path / "again.onnx").read_bytes(), x), expected)
    assert set(again.state_dict()) == set(graph.state_dict()) == set(weights)

    assert str(mc.summary(graph))
    double = imported(model, tmp_path / "it.onnx").to(dtype="float64")
    check_close(double(mc.tensor(images_last(x).astype(np.float64))).numpy(), expected)

    before = graph.state_dict()
    optimizer = mc.optim.SGD(graph.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        loss = mc.functional.cross_entropy(graph(mc.tensor(images_last(x))), np.array([0, 1, 0, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert {name for name, value in graph.state_dict().items() if (value != before[name]).any()} == {
        "w", "b", "gamma", "beta", "fc",
    }  # fmt: skip


def test_weights_that_are_read_twice_are_one_parameter(tmp_path):
    nodes = [node("MatMul", ["data", "w"], ["a"]), node("Relu", ["a"], ["r"]), node("MatMul", ["r", "w"], ["b"]),
             node("Gemm", ["b", "w"], transB=1)]  # fmt: skip
    graph = check(tmp_path, nodes, (5,), {"w": normal(5, 5)})
    assert [name for name, _ in graph.named_parameters()] == ["w", "w_2"]  # the second is the transpose


def test_names_that_a_graph_needs_itself_are_given_a_number(tmp_path):
    weights = {name: normal(5) for name in ("x", "nodes", "training", "forward", "output")}
    nodes = [node("Add", [before, name], [after]) for before, name, after in
             zip(["data", "a", "b", "c", "d"], weights, ["a", "b", "c", "d", "e"], strict=True)]  # fmt: skip
    graph = check(tmp_path, nodes, (5,), weights)
    assert isinstance(graph, nn.Module)
    assert [name for name, _ in graph.named_parameters()] == [f"{name}_2" for name in weights]


def test_a_size_that_a_file_leaves_open_is_given(tmp_path):
    model = network([node("Conv", ["data", "w"])], ["N", 3, "H", "W"], {"w": normal(4, 3, 2, 2)})
    graph, x = imported(model, tmp_path / "it.onnx", (5, 6, 3)), normal(2, 3, 5, 6)
    check_close(ours(graph, x), theirs(model, x))
