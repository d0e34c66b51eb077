"""The document: JSON whose numbers are the recording's, formulas and sources of every operation, a bearable size."""

import base64
import inspect
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, models, nn
from minicnn.kernels import reference
from minicnn.ops import (
    activation,
    arithmetic,
    conv,
    dropout,
    elementwise,
    linear,
    loss,
    movement,
    norm,
    pool,
    reduction,
)
from minicnn.study.backprop import record
from minicnn.study.backprop.document import document
from minicnn.study.backprop.formulas import FORMULAS
from minicnn.study.backprop.sources import description, kernel_names, of_function, uses

OPS = (activation, arithmetic, conv, dropout, elementwise, linear, loss, movement, norm, pool, reduction)
FUNCTIONS = sorted(
    {
        f
        for m in OPS
        for f in vars(m).values()
        if inspect.isclass(f) and issubclass(f, mc.Function) and f is not mc.Function
    },
    key=lambda f: f.__name__,
)


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def array_of(store, shape):
    """The numbers that a page would read."""
    numbers = np.frombuffer(base64.b64decode(store["data"]), "<f4")
    return numbers.reshape(shape if store["whole"] else (*shape[:-1], len(store["kept"]["indices"])))


@pytest.fixture(scope="module")
def lenet():
    mc.seed(0)
    r = record(models.lenet5(), image(28, 28, 1), 3)
    return r, document(r)


def test_every_number_of_lenet_is_the_engines(lenet):
    r, d = lenet
    assert [t["id"] for t in d["tensors"]] == list(range(len(r.tensors)))
    for t, entry in zip(r.tensors, d["tensors"], strict=True):
        for array, store in ((t.value, entry["value"]), (t.gradient, entry["gradient"])):
            assert store["whole"]
            assert_array_equal(array_of(store, entry["shape"]), array)
            assert store["range"] == [array.min(), array.max()]
            assert store["mean"] == pytest.approx(array.mean(dtype=np.float64))
            assert store["zeros"] == (array == 0).mean()
            histogram = store["histogram"]
            assert sum(histogram["counts"]) == array.size
            expected = np.histogram(array.astype(np.float64), histogram["edges"])[0]
            assert_array_equal(histogram["counts"], expected)


def test_the_document_is_json_of_a_modest_size(lenet):
    text = json.dumps(lenet[1], allow_nan=False)
    assert len(text) < 2_500_000
    assert json.loads(text) == lenet[1]


def test_nodes_say_what_they_are_and_how_they_were_set(lenet):
    r, d = lenet
    first = d["nodes"][0]
    assert (first["operation"], first["module"], first["arguments"]) == ("Conv2d", "conv2d", ["x", "w", "b"])
    assert first["settings"] == {
        "stride": [1, 1], "padding": [[2, 2], [2, 2]], "dilation": [1, 1], "groups": 1, "algorithm": "auto",
        "activation": "tanh",
    }  # fmt: skip
    assert d["nodes"][1]["settings"] == {
        "kernel_size": [2, 2], "stride": [2, 2], "padding": [[0, 0], [0, 0]], "ceil_mode": False,
        "count_include_pad": False,
    }  # fmt: skip
    assert [node["products"] for node in d["nodes"]] == [
        "conv2d", "avg_pool2d", "conv2d", "avg_pool2d", "reshape", "linear", "linear", "linear", "cross_entropy",
    ]  # fmt: skip
    assert d["sample"]["shape"] == [1, 28, 28, 1]
    assert (d["sample"]["label"], d["sample"]["loss"]) == (3, float(r.loss.value))
    logits = r.tensors[d["output"][0]].value[0].astype(np.float64)
    assert_allclose(d["sample"]["probabilities"], np.exp(logits) / np.exp(logits).sum())
    assert_allclose(-np.log(d["sample"]["probabilities"][3]), d["sample"]["loss"], rtol=1e-6)


def test_the_backward_order_counts_what_has_arrived():
    class Diamond(nn.Module):
        def forward(self, x):
            y = F.relu(x)
            return y * 2.0 + y * y

    d = document(record(Diamond(), image(4), 1))
    names = [node["operation"] for node in d["nodes"]]
    assert names == ["ReLU", "Multiply", "Multiply", "Add", "CrossEntropy"]
    assert [step["node"] for step in d["backward"]] == [4, 3, 2, 1, 0]
    relu = d["nodes"][0]["output"]
    arrived = [w for step in d["backward"] for w in step["writes"] if w["tensor"] == relu]
    assert [(w["input"], w["arrived"], w["awaited"]) for w in arrived] == [(0, 1, 3), (1, 2, 3), (0, 3, 3)]
    assert d["backward"][0]["reads"] == [d["nodes"][4]["output"]]  # the probabilities that it saved are no tensor
    assert d["backward"][2]["reads"] == [d["nodes"][2]["output"], relu]
    constants = {t["id"] for t in d["tensors"] if t["role"] == "constant"}
    assert not constants & {w["tensor"] for step in d["backward"] for w in step["writes"]}


def test_large_tensors_keep_whole_channels_and_explained_cells():
    mc.seed(1)
    conv2d = nn.Conv2d(3, 8, 3, padding=1, activation="relu")
    model = nn.Sequential(conv2d, nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(None, 30), nn.ReLU())
    r = record(model, image(20, 20, 3), 1)
    whole, d = document(r), document(r, numbers=12_000)
    assert all(t["value"]["whole"] for t in whole["tensors"])
    kept = [len(base64.b64decode(t[s]["data"])) // 4 for t in d["tensors"] for s in ("value", "gradient")]
    assert 6000 < sum(kept) <= 12_000
    sampled = [t for t in d["tensors"] if not t["value"]["whole"]]
    assert sampled
    for entry in sampled:
        t = r.tensors[entry["id"]]
        for array, store in ((t.value, entry["value"]), (t.gradient, entry["gradient"])):
            kept = store["kept"]
            assert kept["axis"] == array.ndim - 1
            assert len(set(kept["indices"])) == len(kept["indices"]) > 0
            assert_array_equal(array_of(store, entry["shape"]), array[..., kept["indices"]])
            assert sum(store["histogram"]["counts"]) == array.size
    explained = [(node, e) for node in d["nodes"] for e in node["explained"]]
    assert {node["operation"] for node, _ in explained} >= {"Conv2d", "BatchNorm", "MaxPool2d", "Linear"}
    for node, e in explained:
        assert e["engine"] == r.steps[node["id"]].parts[e["input"]][tuple(e["index"])]
        shown = sum(term["product"] for term in e["terms"])
        assert_allclose(shown + e["rest"], e["total"], rtol=1e-9, atol=1e-15)
        size = abs(e["rest"]) + sum(abs(term["product"]) for term in e["terms"])
        assert abs(e["total"] - e["engine"]) <= 1e-4 * size
        for term in e["terms"]:
            assert term["product"] == pytest.approx(np.prod([f["value"] for f in term["factors"]]))


def test_numbers_that_json_has_not_are_words_and_counted():
    x = np.array([np.nan, np.inf, 1, 0], np.float32)
    model = nn.Sequential(nn.ReLU(), nn.Linear(4, 3))
    with np.errstate(all="ignore"):
        r = record(model, x, 2)
    d = document(r)
    json.dumps(d, allow_nan=False)
    assert d["tensors"][0]["value"]["nonfinite"] == 2
    assert d["tensors"][0]["value"]["range"] == [0, 1]
    assert d["sample"]["loss"] == "nan"
    assert d["unchecked"]


# Formulas


def test_every_operation_has_formulas_that_render():
    assert set(FORMULAS) == set(FUNCTIONS)
    for function, formula in FORMULAS.items():
        names = list(inspect.signature(function.forward).parameters)[1:]
        assert set(formula.backward) <= set(names)
        differentiable = {n for n in names if not (n in ("mean", "var") and function is norm.BatchNormInference)}
        assert set(formula.backward) == differentiable, function


def test_formulas_are_mathml_and_follow_the_step(lenet):
    _, d = lenet
    for formula in d["formulas"].values():
        for math in (formula["forward"], *formula["where"], *formula["backward"]):
            assert ET.fromstring(math).tag.endswith("math")
            assert "\\" not in math
            assert "@" not in math
    conv_, last = d["formulas"][d["nodes"][0]["formula"]], d["formulas"][d["nodes"][7]["formula"]]
    assert "tanh" in conv_["forward"]
    assert len(conv_["backward"]) == 4  # dy through tanh, dx, dw, db
    assert "tanh" not in last["forward"]
    assert len(last["backward"]) == 3
    bare = document(record(nn.Linear(3, 2, bias=False), image(3), 0))
    assert [len(bare["formulas"][node["formula"]]["backward"]) for node in bare["nodes"]] == [2, 1]


# Sources


def test_every_kernel_of_a_layer_is_found_from_the_functions_that_call_it():
    named = {"activation": "tanh"}
    found = {
        name
        for function in FUNCTIONS
        for method in (function.forward, function.backward)
        for name in kernel_names(method, named)
    }
    others = {"philox4x32", "warp", "im2col", "col2im"} | {
        name for name in reference.__all__ if name.endswith("_update")
    }  # no operation's own
    others |= {"batch_norm_statistics"}  # of SyncBatchNorm, an operation of several ranks
    assert found == set(reference.__all__) - others


def test_sources_are_what_stands_in_the_files(lenet):
    r, _ = lenet
    first = uses(r, r.steps[0])
    by = {}
    for use in first:
        by.setdefault((use.role, use.direction, use.kernel, use.room), []).append(use.source)
    forward = by["forward", "forward", None, None][0]
    assert (forward.title, forward.path) == ("Conv2d.forward", "minicnn/ops/conv.py")
    assert forward.text == inspect.cleandoc("\n" + inspect.getsource(conv.Conv2d.forward))
    kernel = by["kernel", "forward", "conv2d_forward", "reference"]
    assert kernel[0].text == inspect.getsource(reference.conv2d_forward).rstrip()
    assert {"_im2col_forward", "im2col"} <= {source.title for source in kernel}
    assert not {"_implicit_gemm_forward", "winograd_forward"} & {source.title for source in kernel}
    assert by["kernel", "backward", "conv2d_backward_input", "cpu"][0].title == "conv2d_backward_input"
    assert "tanh_backward" in {use.kernel for use in first}
    assert "relu_backward" not in {use.kernel for use in first}
    folder = kernels.__path__[0]
    for use in first:
        if use.source.path.startswith("kernels/"):
            with open(f"{folder}/{use.source.path.removeprefix('kernels/')}") as file:
                lines = file.read().splitlines()
            text = use.source.text.splitlines()
            assert lines[use.source.line - 1 : use.source.line - 1 + len(text)] == text


def test_each_kernel_has_its_three_rooms_and_its_cu_file(lenet):
    _, d = lenet
    for node in d["nodes"]:
        assert [s["role"] for s in node["sources"]][:2] == ["forward", "backward"]
        rooms = {}
        for s in node["sources"]:
            assert s["code"] in d["code"]
            if s["role"] == "kernel":
                rooms.setdefault(s["kernel"], {}).setdefault(s["room"], []).append(d["code"][s["code"]])
        for kernel, by_room in rooms.items():
            assert set(by_room) == {"reference", "cpu", "cuda"}
            assert by_room["cuda"][-1]["path"].endswith(".cu"), kernel
            assert by_room["cpu"][0]["title"] == by_room["reference"][0]["title"] == kernel


def test_the_algorithm_that_serves_the_step_is_shown():
    def titles(conv2d, room, *shape):
        r = record(nn.Sequential(conv2d, nn.Flatten()), image(*shape), 0)
        return {u.source.path.rpartition("/")[2] for u in uses(r, r.steps[0]) if u.room == room}

    depthwise = nn.Conv2d(32, 32, 3, groups=32)
    assert "conv2d_depthwise.py" in titles(depthwise, "cpu", 8, 8, 32)
    assert "conv2d_depthwise.cu" in titles(depthwise, "cuda", 8, 8, 32)
    plain = nn.Conv2d(8, 8, 5)
    assert "conv2d_implicit_gemm.cu" in titles(plain, "cuda", 8, 8, 8)
    assert "winograd.py" not in titles(plain, "reference", 8, 8, 8)


class Half(mc.Function):
    """y = x / 2, a user's own."""

    def forward(self, x):
        return x / 2

    def backward(self, dy):
        return (dy / 2,)


def test_a_users_own_function_shows_its_docstring_and_source():
    class Net(nn.Module):
        def forward(self, x):
            return Half()(x)

    d = document(record(Net(), image(3), 0))
    node = d["nodes"][0]
    assert (node["operation"], node["formula"], node["products"]) == ("Half", None, None)
    assert node["description"] == "y = x / 2, a user's own."
    assert [d["code"][s["code"]]["title"] for s in node["sources"]] == ["Half.forward", "Half.backward"]
    assert {d["code"][s["code"]]["path"] for s in node["sources"]} == {"test_backprop_record_document.py"}
    assert len(node["gradcheck"]) == 3


class Linear(mc.Function):
    """A user's own of a known name."""

    def forward(self, x, w):
        return x * w

    def backward(self, dy):
        return dy, None


def test_a_users_function_of_a_known_name_is_not_taken_for_that():
    class Net(nn.Sequential):
        def forward(self, x):
            return Linear()(super().forward(x), mc.Tensor(np.ones(2, np.float32)))

    d = document(record(Net(nn.Linear(3, 2, bias=False)), image(3), 0))
    assert [node["operation"] for node in d["nodes"]] == ["Linear", "Linear", "CrossEntropy"]
    assert [node["formula"] is None for node in d["nodes"]] == [False, True, False]
    assert [node["products"] for node in d["nodes"]] == ["linear", None, "cross_entropy"]
    paths = [d["code"][node["sources"][0]["code"]]["path"] for node in d["nodes"]]
    assert paths == ["minicnn/ops/linear.py", "test_backprop_record_document.py", "minicnn/ops/loss.py"]


def test_a_function_without_a_file_has_no_source():
    scope = {"mc": mc}
    exec("class Typed(mc.Function):\n    def forward(self, x):\n        return x", scope)
    assert of_function(scope["Typed"].forward) is None
    assert kernel_names(scope["Typed"].forward, {}) == []


def test_a_docstring_that_points_elsewhere_is_followed():
    assert description(pool.MaxPool2d).startswith("The largest cell of each window")
    assert description(arithmetic.Add).startswith("y = a + b")


def test_code_is_highlighted_and_escaped(lenet):
    _, d = lenet
    for code in d["code"].values():
        assert ET.fromstring(f"<pre>{code['html']}</pre>") is not None
        assert "<script" not in code["html"]
