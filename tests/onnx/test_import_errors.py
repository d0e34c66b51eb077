"""Files that are no network, damaged ones and malicious ones: an error that says what is wrong, and nothing worse."""

import os
import sys

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_files import FLOAT, check_close, imported, network, ours, theirs

import minicnn as mc


def node(kind, inputs, outputs=("y",), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), name="it", **attributes)


def ints(*values):
    return np.array(values, np.int64)


W = np.ones((4, 3, 3, 3), np.float32)
FIVE = np.ones(5, np.float32)
X = ["N", 3, 6, 7]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "it.onnx"


def refuses(path, kind, match, nodes, x_shape=tuple(X), weights=None, opset=13):
    """Raises `kind` with these words, and the path before them."""
    nodes = nodes if isinstance(nodes, list) else [nodes]
    with pytest.raises(kind, match=match) as caught:
        imported(network(nodes, x_shape, weights, opset), path)
    assert str(caught.value).startswith(f"import_onnx cannot use {path}: ")


def test_unknown_operators_are_all_named(path):
    nodes = [
        node("Det", ["data"], ["a"]), node("Relu", ["a"], ["b"]), node("Det", ["b"], ["c"]),
        helper.make_node("Fused", ["c"], ["y"], domain="com.microsoft"),
    ]  # fmt: skip
    words = (r"operators that are not known here: Det, com.microsoft.Fused \(operator set 13; Det 'it', Det 'it', "
             r"com.microsoft.Fused 'y'\)")  # fmt: skip
    refuses(path, NotImplementedError, words, nodes)
    many = [node("Det", [f"x{i}"], [f"x{i + 1}"]) for i in range(14)]
    refuses(path, NotImplementedError, r"and 4 more\)", many)


@pytest.mark.parametrize(("words", "operation", "weights"), [
    ("Relu 'it': it reads 'z', which is no input or weight, .* in order and without cycles", node("Relu", ["z"]), {}),
    ("it has 2 inputs, some perhaps left out, and needs 1 to 1", node("Relu", ["data", "data"]), {}),
    ("it has 1 inputs, .* needs 2 to 3", node("Conv", ["data"]), {}),
    ("it has 2 inputs, .* needs 2 to 3", node("Conv", ["data", ""]), {}),
    ("it has 3 inputs, some perhaps left out", node("Sum", ["data", "", "data"]), {}),
    ("it has 0 inputs", node("Sum", []), {}),
    ("expected one value", node("Constant", []), {}),
    ("its value to be a tensor, got 3", node("Constant", [], value=3), {}),
    ("its value to be a tensor of one number, got 'a'", node("ConstantOfShape", ["s"], value="a"), {"s": ints(2)}),
    ("its output 'w' is there already", node("Relu", ["data"], ["w"]), {"w": W}),
    ("attribute group to be of type int, got 1.0", node("Conv", ["data", "w"], group=1.0), {"w": W}),
    ("attribute strides to be whole numbers, got 2", node("Conv", ["data", "w"], strides=2), {"w": W}),
    ("strides as two whole numbers > 0", node("Conv", ["data", "w"], strides=[0, 1]), {"w": W}),
    ("strides as two whole numbers > 0", node("Conv", ["data", "w"], strides=[2**31, 1]), {"w": W}),
    ("kernel_shape as two whole numbers > 0", node("MaxPool", ["data"]), {}),
    ("kernel_shape as two whole numbers > 0", node("MaxPool", ["data"], kernel_shape=[3]), {}),
    ("padding expected a whole number >= 0", node("Conv", ["data", "w"], pads=[0, -1, 0, 0]), {"w": W}),
    ("padding expected a whole number >= 0", node("Conv", ["data", "w"], pads=[2**40, 0, 0, 0]), {"w": W}),
    ("expected pads of four numbers", node("Conv", ["data", "w"], pads=[1, 1]), {"w": W}),
    ("auto_pad 'SAME'", node("Conv", ["data", "w"], auto_pad="SAME"), {"w": W}),
    (r"its kernel_shape is \(2, 3\)", node("Conv", ["data", "w"], kernel_shape=[2, 3]), {"w": W}),
    ("expected groups >= 1, got 0", node("Conv", ["data", "w"], group=0), {"w": W}),
    ("expected 2 input channels", node("Conv", ["data", "w"]), {"w": W[:, :2]}),
    (r"expected a bias of shape \(4,\), got \(3,\)", node("Conv", ["data", "w", "b"]), {"w": W, "b": W[0, 0, 0]}),
    ("kernel that fits its padded input", node("MaxPool", ["data"], kernel_shape=[9, 9]), {}),
    ("wholly in the padding", node("MaxPool", ["data"], kernel_shape=[1, 1], pads=[1, 1, 0, 0]), {}),
    ("expected 5 input channels", node("BatchNormalization", ["data", *"gbmv"]), dict.fromkeys("gbmv", FIVE)),
    ("size", node("LRN", ["data"], size=-1), {}),
    (r"it makes \(1, 125\) of 'data', which has shape", node("Reshape", ["data", "s"]), {"s": ints(0, 125)}),
    ("its shape is", node("Reshape", ["data", "s"]), {"s": ints(0, -1, -1)}),
    ("its shape is", node("Reshape", ["data", "s"]), {"s": ints(0, 3, 6, 7, 0)}),
    ("its shape to be a list of whole numbers|expected its shape", node("Reshape", ["data", "w"]), {"w": W}),
    ("its perm is", node("Transpose", ["data"], perm=[0, 1, 2, 2]), {}),
    ("it has no axis 4", node("Concat", ["data", "data"], axis=4), {}),
    ("expected shapes that agree elsewhere", [node("Transpose", ["data"], ["t"], perm=[0, 1, 3, 2]),
                                              node("Concat", ["data", "t"], axis=1)], {}),
    ("different axes below 4", node("Unsqueeze", ["w", "a"], ["u"]), {"w": W[0, 0], "a": ints(1, 1)}),
    ("it leaves out the axes", node("Squeeze", ["data", "a"]), {"a": ints(1)}),
    ("it cuts an axis of length 6 into", node("Split", ["data", "s"], ["y", "z"], axis=2), {"s": ints(1, 1)}),
    ("its result is empty", node("Slice", ["data", "s", "s", "a"]), {"s": ints(2), "a": ints(2)}),
    ("it cuts from", node("Slice", ["data", "s", "s", "a", "z"]), {"s": ints(2), "a": ints(2), "z": ints(0)}),
    ("it pads 4 axes by", node("Pad", ["data", "p"]), {"p": ints(1, 1)}),
    ("impossible shape", node("Pad", ["data", "p"]), {"p": ints(0, 0, 2**40, 0, 0, 0, 0, 0)}),
    ("impossible shape", node("ConstantOfShape", ["s"]), {"s": ints(2**20, 2**20)}),
    ("impossible shape", node("Resize", ["data", "", "s"]), {"s": np.array([1, 1, 2**20, 2**20], np.float32)}),
    ("could not be broadcast together", node("Add", ["data", "w"]), {"w": W[0, 0, 0, :2]}),
    ("takes 5 numbers, and 'f' has 126", [node("Flatten", ["data"], ["f"]), node("Gemm", ["f", "w"])],
     {"w": FIVE[:, None]}),
])  # fmt: skip
def test_what_contradicts_itself(path, words, operation, weights):
    refuses(path, ValueError, words, operation, weights=weights)


@pytest.mark.parametrize(("words", "operation", "weights"), [
    ("its attribute sparkle is not known", node("Relu", ["data"], sparkle=1), {}),
    ("its weight depends on the network's input", node("Conv", ["data", "data"]), {}),
    ("its shape depends on the network's input", node("Reshape", ["data", "data"]), {}),
    ("'w' does not depend on the network's input", node("Conv", ["w", "w"]), {"w": W}),
    ("it reads the constant 'w'", node("Relu", ["w"]), {"w": W}),
    (r"a weight \(O, C, KH, KW\) is supported", node("Conv", ["data", "w"]), {"w": W[0]}),
    ("'w' is of dtype float64", node("Conv", ["data", "w"]), {"w": W.astype(np.float64)}),
    ("'w' is of dtype float16", node("Add", ["data", "w"]), {"w": W[0, 0, :1, :1].astype(np.float16)}),
    ("pooling with dilation", node("MaxPool", ["data"], kernel_shape=[2, 2], dilations=[2, 2]), {}),
    ("odd number of channels", node("LRN", ["data"], size=4), {}),
    ("fixed statistics", node("BatchNormalization", ["data", *"gbmv"], training_mode=1), dict.fromkeys("gbmv", FIVE)),
    ("transA", [node("Flatten", ["data"], ["f"]), node("Gemm", ["f", "w"], transA=1)], {"w": W[0, 0]}),
    (r"clips to \[-1.0, 1.0\]", node("Clip", ["data", "a", "b"]), {"a": np.float32(-1), "b": np.float32(1)}),
    ("it drops out in evaluation", node("Dropout", ["data", "r", "t"]), {"r": np.float32(0.5), "t": np.array(True)}),
    ("mode 'reflect'", node("Pad", ["data", "p"], mode="reflect"), {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    ("nearest pixel", node("Resize", ["data", "", "s"], mode="linear"), {"s": np.array([1, 1, 2, 2], np.float32)}),
    ("whole scales", node("Resize", ["data", "", "s"]), {"s": np.array([1, 1, 1.5, 1.5], np.float32)}),
    ("results are float32", node("Cast", ["data"], to=11), {}),
    ("mixes the samples|axis of the samples", node("Transpose", ["data"], perm=[1, 0, 2, 3]), {}),
    ("axis of the samples", node("Concat", ["data", "data"], axis=0), {}),
    ("axis of the samples", node("ReduceMean", ["data"]), {}),
    ("axis of the samples", node("Softmax", ["data"], axis=0), {}),
    ("axis of the samples", node("Squeeze", ["data", "a"]), {"a": ints(0)}),
    ("before that of the samples", node("Unsqueeze", ["data", "a"]), {"a": ints(0)}),
    ("axis of the samples", node("Pad", ["data", "p"]), {"p": ints(1, 0, 0, 0, 0, 0, 0, 0)}),
    ("one sample of shape", node("Reshape", ["data", "s"]), {"s": ints(3, -1)}),
    ("one row of all samples", node("Flatten", ["data"], axis=0), {}),
    ("mixes the samples", node("Add", ["data", "w"]), {"w": np.ones((2, 1, 1, 1), np.float32)}),
    ("is combined with one of 4 axes", [node("Flatten", ["data"], ["f"]), node("Add", ["data", "f"])], {}),
])  # fmt: skip
def test_what_is_not_supported(path, words, operation, weights):
    refuses(path, NotImplementedError, words, operation, weights=weights)


def test_samples_are_not_mixed_by_a_product(path):
    nodes = [node("Transpose", ["data"], ["t"], perm=[1, 0]), node("MatMul", ["data", "t"])]
    refuses(path, NotImplementedError, "samples", nodes, ("N", 4))
    refuses(path, NotImplementedError, "samples", node("MatMul", ["w", "data"]), ("N", 4), {"w": W[0, 0, :, :1]})


def test_sorted_operations_without_cycles(path):
    cycle = [node("Add", ["data", "b"], ["a"]), node("Relu", ["a"], ["b"])]
    refuses(path, ValueError, "reads 'b'.* in order and without cycles", cycle)
    unsorted = [node("Relu", ["a"], ["b"]), node("Relu", ["data"], ["a"])]
    refuses(path, ValueError, "reads 'a'.* in order and without cycles", unsorted)
    mask = [node("Dropout", ["data"], ["a", "mask"]), node("Cast", ["mask"], ["y"], to=1)]
    refuses(path, ValueError, "reads 'mask'", mask)


def with_values(x=(("data", FLOAT, X),), y=("y",)):
    """A file with these inputs and outputs."""
    made = [helper.make_tensor_value_info(name, dtype, shape) for name, dtype, shape in x]
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in y]
    body = helper.make_graph([node("Relu", ["data"])], "network", made, results)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_inputs_and_outputs(path):
    two = (("data", FLOAT, X), ("other", FLOAT, X))
    for kind, words, file in (
        (NotImplementedError, "networks of one input are supported, and it has 2: data, other", with_values(two)),
        (NotImplementedError, "networks of one input are supported, and it has 0: none", with_values(())),
        (NotImplementedError, "networks of one output are supported, and it has 2: y, z", with_values(y=("y", "z"))),
        (NotImplementedError, "'data' is of uint8", with_values((("data", onnx.TensorProto.UINT8, X),))),
        (NotImplementedError, "2 to 4 axes is supported, and 'data' has 5", with_values((("data", FLOAT, [*X, 3]),))),
        (NotImplementedError, "2 to 4 axes is supported, and 'data' has 1", with_values((("data", FLOAT, [3]),))),
        (ValueError, "the output 'z' is computed by no operation", with_values(y=("z",))),
        (ValueError, r"says \('\?', 7, 3\) of one sample's shape: import_onnx\(path, input_shape=",
         with_values((("data", FLOAT, ["N", 3, "H", 7]),))),
        (ValueError, "says nothing of one sample's shape", with_values((("data", FLOAT, None),))),
        (ValueError, "would fill the memory", with_values((("data", FLOAT, ["N", 3, 2**30, 2**30]),))),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            imported(file, path)
    constant = network([node("Relu", ["data"], ["a"]), node("Identity", ["w"])], X, {"w": W})
    with pytest.raises(ValueError, match="the output 'y' does not depend on the input"):
        imported(constant, path)


def test_input_shape_is_checked(path):
    with pytest.raises(ValueError, match=r"made for samples of shape \(6, 7, 3\), and input_shape is \(3, 6, 7\)"):
        imported(with_values(), path, (3, 6, 7))
    with pytest.raises(ValueError, match=r"samples of shape \(None, 7, 3\), and input_shape is \(6, 7\)"):
        imported(with_values((("data", FLOAT, ["N", 3, "H", 7]),)), path, (6, 7))
    for wrong in (0, (), (6, 7, 0), "abc", (6.5, 7, 3)):
        with pytest.raises(ValueError, match="import_onnx expected"):
            imported(with_values(), path, wrong)


@pytest.mark.parametrize("opset", [0, -3, 27, 2**40])
def test_operator_sets_that_are_not_known(path, opset):
    refuses(path, NotImplementedError, rf"it uses operator set {opset}, and 1 to 26 are known", node("Relu", ["data"]),
            opset=opset)  # fmt: skip


def test_what_is_no_onnx_file(path, tmp_path):
    whole = network([node("Conv", ["data", "w"])], X, {"w": W}).SerializeToString()
    for content in (
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(1000),
        whole[:-1],
        whole[: len(whole) // 2],
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"import_onnx expected .*{path.name} \({len(content)} bytes\)"):
            mc.import_onnx(path)
    with pytest.raises(FileNotFoundError):
        mc.import_onnx(tmp_path / "nothing.onnx")
    with pytest.raises(IsADirectoryError):
        mc.import_onnx(tmp_path)


def test_the_package_is_asked_for_where_it_is_missing(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'import_onnx needs .* pip install "minicnn\[onnx\]"'):
        mc.import_onnx(path)


def tensor_of(model):
    return model.graph.initializer[0]


def test_tensors_that_are_damaged(path):
    def change(**fields):
        model = network([node("Conv", ["data", "w"])], X, {"w": W})
        for name, value in fields.items():
            if name == "dims":
                del tensor_of(model).dims[:]
                tensor_of(model).dims.extend(value)
            else:
                setattr(tensor_of(model), name, value)
        return model

    for kind, words, fields in (
        (ValueError, "the tensor 'w' of shape .* is damaged", {"raw_data": b"abcd"}),
        (ValueError, "the tensor 'w' of shape .* is damaged", {"dims": (4, 3, 3, 4)}),
        (ValueError, "the tensor 'w' has the impossible shape", {"dims": (4, 3, 3, -3)}),
        (ValueError, "the tensor 'w' has the impossible shape", {"dims": (2**40, 2**40)}),
        (NotImplementedError, "the tensor 'w' is of dtype BFLOAT16", {"data_type": onnx.TensorProto.BFLOAT16}),
        (NotImplementedError, "the tensor 'w' is of dtype STRING", {"data_type": onnx.TensorProto.STRING}),
        (NotImplementedError, "the tensor 'w' is of dtype 12345", {"data_type": 12345}),
        (ValueError, "weight", {"dims": (0, 3, 3, 3), "raw_data": b""}),
    ):
        with pytest.raises((kind, NotImplementedError), match=words):
            imported(change(**fields), path)


def beside(path, location="weights.bin", length=None, offset=None, content=None):
    """A file whose weight lies in another one."""
    model = network([node("Conv", ["data", "w"])], X, {"w": W})
    tensor, values = tensor_of(model), np.arange(W.size, dtype=np.float32)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", length), ("offset", offset)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    (path.parent / "weights.bin").write_bytes(values.tobytes() if content is None else content)
    return model, values.reshape(W.shape)


def test_weights_beside_the_file(path):
    model, w = beside(path)
    x = np.random.default_rng(0).random((2, 3, 6, 7), np.float32)
    whole = network([node("Conv", ["data", "w"])], X, {"w": w})
    check_close(ours(imported(model, path), x), theirs(whole, x))
    model, w = beside(path, offset=8, length=W.nbytes, content=bytes(8) + w.tobytes())
    check_close(ours(imported(model, path), x), theirs(whole, x))


@pytest.mark.parametrize(("words", "settings"), [
    ("is said to lie in '../weights.bin', which is not in the folder", {"location": "../weights.bin"}),
    ("is said to lie in '/etc/passwd'", {"location": "/etc/passwd"}),
    ("is said to lie in ''", {"location": ""}),
    ("is said to lie in 'link'", {"location": "link"}),
    ("which is missing: put it beside this one", {"location": "nowhere.bin"}),
    ("which is missing", {"location": "."}),
    ("needs 432 bytes, and .* has 100 at 0", {"content": bytes(100)}),
    ("needs 432 bytes, .* 8 are said to be its own", {"length": 8}),
    ("has 0 at 999999", {"offset": 999999}),
    ("a place or length of '-4'", {"offset": -4}),
    ("a place or length of '9{30}'", {"offset": "9" * 30}),
])  # fmt: skip
def test_weights_beside_the_file_that_are_not_there(path, words, settings):
    os.symlink("/etc/hostname", path.parent / "link")
    model, _ = beside(path, **settings)
    with pytest.raises(ValueError, match=words):
        imported(model, path)


def test_damaged_files_never_raise_anything_else(path):
    """A byte changed at random, a thousand times: an error of the three kinds, or a network that runs."""
    nodes = [node("Conv", ["data", "w"], ["c"], pads=[1, 1, 1, 1]), node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2]),
             node("Reshape", ["p", "s"], ["f"]), node("Gemm", ["f", "g"])]  # fmt: skip
    rng = np.random.default_rng(0)
    weights = {"w": W, "s": ints(0, -1), "g": np.ones((4 * 5 * 6, 2), np.float32)}
    content = network(nodes, ["N", 3, 6, 7], weights).SerializeToString()
    structure = [i for i in range(len(content)) if not in_weights(content, i)]
    refused = 0
    for _ in range(1000):
        damaged = bytearray(content)
        damaged[rng.choice(structure)] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            graph = mc.import_onnx(path)
        except (ValueError, NotImplementedError):
            refused += 1
        else:
            assert ours(graph, np.ones((2, *graph.input_shape), np.float32).transpose(0, 3, 1, 2)).size
    assert refused > 300


def in_weights(content, i):
    """Whether a byte belongs to the values of a weight, not to what is said of it."""
    return any(0 <= i - content.index(blob) < len(blob) for blob in (W.tobytes(), np.ones(240, np.float32).tobytes()))
