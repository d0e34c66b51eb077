"""The networks that come with the package onnx, their constant weights filled with random numbers.

They are as the converters of 2017 wrote them (from Caffe and Caffe2, operator set 9): shapes as inputs, normalisation
with a separate scale, average pooling with one-sided padding, a softmax over all axes.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_files import check_close, imported, ours, theirs

import minicnn as mc

FILES = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
QUICK = ["squeezenet", "inception_v1", "densenet121", "shufflenet"]
SLOW = ["bvlc_alexnet", "zfnet512", "vgg19", "resnet50", "inception_v2"]


def filled(name, x):
    """A file with random weights, such that the numbers before a softmax have deviation 1 for x; as its bytes."""
    model, rng = onnx.load(FILES / f"light_{name}.onnx"), np.random.default_rng(5)
    body = model.graph
    shapes = {
        tensor.name: tuple(tensor.dims) for tensor in body.initializer if tensor.data_type == onnx.TensorProto.FLOAT
    }
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in body.initializer}
    for node in [node for node in body.node if node.op_type == "ConstantOfShape"]:
        shapes[node.output[0]] = tuple(arrays[node.input[0]])
        body.node.remove(node)
    read = {name for node in body.node for name in node.input}
    kept = [tensor for tensor in body.initializer if tensor.name not in read or tensor.name not in shapes]
    roles = {node.output[0]: "scale" if after == "Mul" else "shift" for node, after in unsqueezed(body)}
    del body.initializer[:]
    body.initializer.extend(kept)
    for node in body.node:
        for place, weight in enumerate(node.input):
            if weight in shapes:
                array = drawn(rng, node.op_type, place, shapes.pop(weight), roles.get(node.output[0], ""))
                body.initializer.append(numpy_helper.from_array(array, weight))
    last = [node for node in body.node if node.op_type in ("Conv", "Gemm")][-1]
    result, body.output[0].name = body.output[0].name, last.output[0]
    deviation = theirs(model, x, threads=2).std()
    body.output[0].name = result
    for tensor in body.initializer:
        if tensor.name in last.input[1:]:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / deviation, tensor.name))
    return model.SerializeToString()


def unsqueezed(body):
    """The nodes that make a weight of DenseNet's scale and shift fit, each with the kind of node that reads it."""
    readers = {name: node.op_type for node in body.node for name in node.input}
    return [(node, readers[node.output[0]]) for node in body.node if node.op_type == "Unsqueeze"]


def drawn(rng, kind, place, shape, role):
    """A weight for the input `place` of a node of this kind: He's deviation, and small numbers around 1 or 0."""
    if kind in ("Conv", "Gemm") and place == 1:
        return rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)
    around = 1.0 if role == "scale" or (kind == "BatchNormalization" and place in (1, 4)) else 0.0
    return (around + 0.3 * rng.uniform(-1, 1, shape)).astype(np.float32)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_of_onnx_computes_what_onnxruntime_computes(tmp_path, name):
    x = np.random.default_rng(6).standard_normal((1, 3, 224, 224), np.float32)
    content = filled(name, x)
    graph, expected = imported(content, tmp_path / f"{name}.onnx"), theirs(content, x, threads=2)
    assert 5e-4 < expected.std() < 2
    check_close(ours(graph, x), expected, 1e-4)
    check_close(ours(mc.optimize_for_inference(graph), x), expected, 1e-4)


def test_a_file_as_it_comes_has_weights_that_are_computed(tmp_path):
    graph = mc.import_onnx(FILES / "light_squeezenet.onnx")
    assert graph.input_shape == (224, 224, 3)
    assert sum(p.size for p in graph.parameters()) == 1_235_496  # SqueezeNet 1.1
