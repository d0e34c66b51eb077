"""Every network of `models`: recorded, optimised, exported and imported again it computes the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from lived import build, check_close, images, run

import minicnn as mc
from minicnn import models
from minicnn.graph import trace

# A few seconds in all, and every kind of block among them. A network that joins `models` is tested with the slow ones.
QUICK = ("lenet1", "lenet5", "lenet5:d2l", "lenet5:1998", "digit_cnn", "resnet20", "nin", "densenet40_12",
         "squeezenet1_0", "mobilenet_v2")  # fmt: skip


def built(name):
    """For images that are small, which takes less time, where the network allows them; and its Graph."""
    try:
        model = build(name, (64, 64, models.input_shape(name)[2]))
        return model, trace(model, (64, 64, model.input_shape[2]))
    except ValueError:
        model = build(name)
        return model, trace(model)


def sensitivity(model, x, expected):
    """How far the result moves, as `check_close` counts, when each pixel moves by at most one rounding.

    Networks of a hundred layers with random weights pass 1e-5: no other order of sums could then be nearer.
    """
    moved = np.nextafter(x, np.random.default_rng(5).choice([0, 1], x.shape).astype(np.float32))
    return abs(run(model, moved) - expected).max() / abs(expected).max()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in models.names()]
)
def test_the_network_computes_the_same(name, tmp_path):
    model, graph = built(name)
    x = images(2, *graph.input_shape)
    expected = run(model, x)
    check_close(run(graph, x), expected, 1e-6)
    near = max(1e-5, 3 * sensitivity(model, x, expected))
    check_close(run(mc.optimize_for_inference(graph), x), expected, near)
    mc.export_onnx(graph, tmp_path / "network.onnx")
    onnx.checker.check_model(tmp_path / "network.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})
    check_close(logits, expected, 1e-4)
    check_close(run(mc.import_onnx(tmp_path / "network.onnx"), x), expected, near)


def test_resnet50_has_one_operation_a_step():
    """16 normalisations add residuals and stay; the others and all ReLUs are part of them and of 53 convolutions."""
    graph = mc.optimize_for_inference(build("resnet50"), (64, 64, 3))
    counted = {}
    for node in graph.nodes:
        counted[node.operation.name] = counted.get(node.operation.name, 0) + 1
    assert counted == {"Conv2d": 53, "MaxPool2d": 1, "BatchNormInference": 16, "AdaptiveAvgPool2d": 1, "Reshape": 1,
                       "Linear": 1}  # fmt: skip
