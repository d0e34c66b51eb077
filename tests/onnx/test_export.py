"""The ONNX file itself: names, layouts, the free batch, and what happens where it cannot be written."""

import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import minicnn as mc
from minicnn import models, nn


@pytest.fixture(scope="module")
def lenet():
    mc.seed(0)
    return models.lenet5()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def test_the_file_follows_the_conventions(lenet, path):
    mc.export_onnx(lenet, path)
    file = onnx.load(path)
    assert (file.ir_version, file.opset_import[0].version, file.producer_name) == (7, 13, "minicnn")

    def shape(value):
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    (x,), (y,) = file.graph.input, file.graph.output
    assert (x.name, shape(x)) == ("x", ["N", 1, 28, 28])
    assert (y.name, shape(y)) == ("dense_2", ["N", 10])
    assert [node.name for node in file.graph.node if node.op_type in ("Conv", "Gemm", "AveragePool")] == [
        "conv2d/Conv", "average_pooling2d", "conv2d_1/Conv", "average_pooling2d_1", "dense/Gemm", "dense_1/Gemm",
        "dense_2",
    ]  # fmt: skip


def test_weights_are_turned_and_keep_their_names(lenet, path):
    mc.export_onnx(lenet, path)
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    state = lenet.state_dict()
    assert set(state) <= set(arrays)
    np.testing.assert_array_equal(arrays["conv2d_1.weight"], state["conv2d_1.weight"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(arrays["dense.weight"], state["dense.weight"].T)
    np.testing.assert_array_equal(arrays["dense.bias"], state["dense.bias"])


def test_an_image_comes_out_as_one(path):
    mc.export_onnx(nn.Conv2d(3, 5, 3), path, (6, 8, 3))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape == ["N", 5, 4, 6]


def test_one_layer_called_twice_has_one_weight(path):
    layer = nn.Conv2d(3, 3, 1)
    mc.export_onnx(nn.Sequential({"a": layer, "b": layer}), path, (4, 4, 3))
    assert sorted(each.name for each in onnx.load(path).graph.initializer) == ["a.bias", "a.weight"]


def test_one_array_in_two_layouts_has_two_names(path):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(np.arange(9, dtype=np.float32).reshape(3, 3))

        def forward(self, x):
            return mc.functional.linear(x, self.w) + x @ self.w

    model, x = Both(), np.ones((2, 3), np.float32)
    mc.export_onnx(model, path, (3,))
    assert sorted(each.name for each in onnx.load(path).graph.initializer) == ["w", "w_2"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], model(mc.tensor(x)).numpy())


def test_the_model_stays_as_it_is(lenet, path):
    before = lenet.state_dict()
    lenet.train()
    mc.export_onnx(lenet, path)
    assert lenet.training
    for name, array in lenet.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_package_is_asked_for_where_it_is_missing(lenet, path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "minicnn\[onnx\]"'):
        mc.export_onnx(lenet, path)
    assert not path.exists()


def test_a_place_that_cannot_be_written_to_is_named(lenet, tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder of the ONNX file, does not exist"):
        mc.export_onnx(lenet, tmp_path / "nowhere" / "model.onnx")
    with pytest.raises(IsADirectoryError, match="is a folder: name a file in it"):
        mc.export_onnx(lenet, tmp_path)


def test_a_failure_leaves_the_old_file(lenet, path, monkeypatch):
    path.write_bytes(b"old")
    with pytest.raises(NotImplementedError):
        mc.export_onnx(nn.Sequential(Noise()), path, (3,))

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            mc.export_onnx(lenet, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


class Noise(nn.Module):
    """An operation that no file can hold."""

    def forward(self, x):
        return mc.functional.dropout(x, 0.5)


def test_errors_are_those_of_trace(path):
    with pytest.raises(ValueError, match="expected the shape of one sample"):
        mc.export_onnx(nn.ReLU(), path)
    with pytest.raises(TypeError, match="expected a Module"):
        mc.export_onnx("lenet5", path)
