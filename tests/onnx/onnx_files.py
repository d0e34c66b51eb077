"""ONNX files made by onnx's own helpers, and what onnxruntime computes with them."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import minicnn as mc

FLOAT = onnx.TensorProto.FLOAT


def network(nodes, x_shape, weights=None, opset=13, output=None, ir_version=8):
    """A file of these nodes on the input "data"; the last one's first result is what comes out."""
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    data = helper.make_tensor_value_info("data", FLOAT, x_shape)
    result = helper.make_tensor_value_info(output or nodes[-1].output[0], FLOAT, None)
    body = helper.make_graph(nodes, "network", [data], [result], initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def theirs(model, x, threads=1):
    """The result of onnxruntime for x as the file wants it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    content = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    return session.run(None, {next(iter(names)): x})[0]


def images_last(x):
    """(N, C, H, W) as (N, H, W, C); anything else as it is."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def ours(graph, x):
    """The result of an imported network for x as the file wants it."""
    with mc.no_grad():
        return graph(mc.tensor(images_last(x))).numpy()


def check_close(got, expected, tolerance=1e-5):
    """Our result is theirs, up to a part of the largest."""
    expected = images_last(expected)
    assert got.shape == expected.shape
    assert np.isfinite(expected).all()
    assert abs(got - expected).max() <= tolerance * abs(expected).max()


def imported(model, path, input_shape=None):
    """What import_onnx makes of a file; path: of a file that may be written."""
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return mc.import_onnx(path, input_shape)
