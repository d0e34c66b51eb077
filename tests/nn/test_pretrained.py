"""load_pretrained: PyTorch's layouts turned, flattened images sorted, and everything that does not fit said."""

import importlib

import numpy as np
import pytest
from safetensors.numpy import save_file

import minicnn as mc
from minicnn import models, nn

vgg = importlib.import_module("minicnn.models.vgg")


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def saved(path, arrays):
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)
    return path


def small():
    """Two convolutions, one of them in groups; images of 2 x 3 x 6 flattened; two fully connected layers."""
    return nn.Sequential(
        nn.Conv2d(3, 4, (3, 2)), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1, groups=2, bias=False),
        nn.Flatten(), nn.Linear((2, 3, 6), 5), nn.Linear(5, 2),
    )  # fmt: skip


SMALL = {"0.weight": (4, 3, 3, 2), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,), "1.running_mean": (4,),
         "1.running_var": (4,), "1.num_batches_tracked": (), "3.weight": (6, 2, 1, 1), "5.weight": (5, 36),
         "5.bias": (5,), "6.weight": (2, 5), "6.bias": (2,)}  # fmt: skip


def torch_state():
    return drawn(SMALL) | {"1.num_batches_tracked": np.array(7, np.int64)}


def test_every_number_comes_to_its_place(tmp_path):
    arrays, model = torch_state(), small()
    before = dict(model.named_parameters())
    assert model.load_pretrained(saved(tmp_path / "a", arrays)) is model
    got = model.state_dict()
    for o, c, kh, kw in np.ndindex(4, 3, 3, 2):
        assert got["0.weight"][kh, kw, c, o] == arrays["0.weight"][o, c, kh, kw]
    for o, c in np.ndindex(6, 2):
        assert got["3.weight"][0, 0, c, o] == arrays["3.weight"][o, c, 0, 0]
    for out, h, w, c in np.ndindex(5, 2, 3, 6):
        assert got["5.weight"][(h * 3 + w) * 6 + c, out] == arrays["5.weight"][out, (c * 2 + h) * 3 + w]
    np.testing.assert_array_equal(got["6.weight"], arrays["6.weight"].T)
    for name in ("0.bias", "1.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked", "5.bias", "6.bias"):
        np.testing.assert_array_equal(got[name], arrays[name])
    assert all(parameter is before[name] for name, parameter in model.named_parameters())


def test_the_network_computes_what_pytorch_computes(tmp_path):
    torch = pytest.importorskip("torch")
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, (3, 2)), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.Conv2d(4, 6, 1, groups=2, bias=False),
        torch.nn.Flatten(), torch.nn.Linear(36, 5), torch.nn.Linear(5, 2),
    ).eval()  # fmt: skip
    torch.nn.init.uniform_(twin[1].running_mean)
    images = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32)
    expected = twin(torch.tensor(images).permute(0, 3, 1, 2)).detach().numpy()
    for kind in ("zip", "legacy"):
        torch.save(twin.state_dict(), tmp_path / kind, _use_new_zipfile_serialization=kind == "zip")
        model = small().eval().load_pretrained(tmp_path / kind)
        np.testing.assert_allclose(model(mc.tensor(images)).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_vgg_of_torchvision_and_of_timm_give_the_same(tmp_path):
    model = vgg.network(((4,), (6,)), 5, hidden=8)
    state = drawn({"features.0.weight": (4, 3, 3, 3), "features.0.bias": (4,), "features.3.weight": (6, 4, 3, 3),
                   "features.3.bias": (6,), "classifier.0.weight": (8, 6 * 49), "classifier.0.bias": (8,),
                   "classifier.3.weight": (8, 8), "classifier.3.bias": (8,), "classifier.6.weight": (5, 8),
                   "classifier.6.bias": (5,)})  # fmt: skip
    ours = model.load_pretrained(saved(tmp_path / "a", state)).state_dict()
    for place, name in ((0, "pre_logits.fc1"), (3, "pre_logits.fc2"), (6, "head.fc")):
        weight = state.pop(f"classifier.{place}.weight")
        kernel = {0: (8, 6, 7, 7), 3: (8, 8, 1, 1), 6: (5, 8)}[place]
        state |= {f"{name}.weight": weight.reshape(kernel), f"{name}.bias": state.pop(f"classifier.{place}.bias")}
    other = vgg.network(((4,), (6,)), 5, hidden=8).load_pretrained(saved(tmp_path / "b", state)).state_dict()
    for name, array in ours.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floats_of_another_width_become_the_parameters(tmp_path, dtype):
    arrays = {name: a.astype(dtype) if a.dtype.kind == "f" else a for name, a in torch_state().items()}
    model = small().load_pretrained(saved(tmp_path / "a", arrays))
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(model[6].weight.numpy(), arrays["6.weight"].T.astype(np.float32))


def test_lazy_layers_are_filled(tmp_path):
    arrays = {name: array for name, array in torch_state().items() if name.startswith(("0.", "1."))}
    model = nn.Sequential(nn.Conv2d(None, 4, (3, 2)), nn.BatchNorm2d(4)).load_pretrained(saved(tmp_path / "a", arrays))
    np.testing.assert_array_equal(model[0].weight.numpy(), arrays["0.weight"].transpose(2, 3, 1, 0))
    head = nn.Linear(None, 5).load_pretrained(saved(tmp_path / "b", {"weight": np.ones((5, 3), np.float32),
                                                                     "bias": np.zeros(5, np.float32)}))  # fmt: skip
    assert head.in_features == 3


# What does not fit


def refused(said, model, path, arrays):
    before = model.state_dict()
    with pytest.raises(ValueError, match=said) as caught:
        model.load_pretrained(saved(path / "a.safetensors", arrays))
    assert str(caught.value).startswith(f"{path / 'a.safetensors'} was not loaded, and nothing was changed: ")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    return str(caught.value)


def test_missing_and_surplus_names_are_listed_and_counted(tmp_path):
    arrays = torch_state()
    del arrays["0.bias"], arrays["6.weight"]
    text = refused(
        "it is for another network", small(), tmp_path, arrays | drawn({f"more.{i}": (2,) for i in range(13)})
    )
    lines = text.splitlines()
    assert lines[1] == "  2 names of this network are missing in it: 0.bias, 6.weight"
    assert lines[2].startswith("  13 names in it are unknown to this network: more.0, more.1, ")
    assert lines[2].endswith(" and 3 more")
    assert lines[2].count("more.") == 10
    assert len(lines) == 3


def test_weights_of_another_architecture_are_named(tmp_path):
    resnet = {"conv1.weight": (64, 3, 7, 7), "layer1.0.bn3.weight": (256,), "fc.weight": (1000, 2048)}
    refused(
        "for another network; by its names it is for a ResNet of 50 or more layers", small(), tmp_path, drawn(resnet)
    )


def test_another_number_of_classes(tmp_path):
    arrays = torch_state() | drawn({"6.weight": (10, 5), "6.bias": (10,)})
    text = refused(r"6\.weight: expected shape \(5, 2\), got \(5, 10\)", small(), tmp_path, arrays)
    assert "6.bias: expected shape (2,), got (10,)" in text


@pytest.mark.parametrize("change", [("0.weight", (4, 3, 3)), ("5.weight", (5, 6, 2, 3)), ("5.weight", (5, 35)),
                                    ("0.weight", (4, 3, 2, 3)), ("1.weight", (2, 2))])  # fmt: skip
def test_other_shapes(tmp_path, change):
    name, shape = change
    text = refused("expected shape", small(), tmp_path, torch_state() | drawn({name: shape}))
    assert "torch's layout" not in text


@pytest.mark.parametrize(("name", "shape"), [("0.weight", (3, 2, 3, 4)), ("6.weight", (5, 2))])
def test_arrays_that_lie_as_ours_do_are_not_turned_again(tmp_path, name, shape):
    refused(f"{name} of shape .* lies as in this engine already.*load_state_dict", small(), tmp_path,
            torch_state() | drawn({name: shape}))  # fmt: skip


def test_numbers_of_another_kind(tmp_path):
    refused("0.bias: expected floats, got int64", small(), tmp_path, torch_state() | {"0.bias": np.arange(4)})


def flattened(*between, inputs):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *between, nn.Linear(inputs, 5))


CONV = {"0.weight": (4, 3, 3, 3), "0.bias": (4,)}


@pytest.mark.parametrize("between", [[nn.Flatten()], [nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5)], [],
                                     [nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten()]])  # fmt: skip
@pytest.mark.parametrize("inputs", [24, None])
def test_a_linear_that_cannot_know_its_images_asks_for_them(tmp_path, between, inputs):
    last = len(between) + 1
    arrays = drawn(CONV | {f"{last}.weight": (5, 24), f"{last}.bias": (5,)})
    with pytest.raises(ValueError, match=rf"{last}, a Linear of 24 inputs.*write nn\.Linear\(\(H, W, C\), 5\)"):
        flattened(*between, inputs=inputs).load_pretrained(saved(tmp_path / "a", arrays))


@pytest.mark.parametrize("between", [[nn.GlobalAvgPool2d()], [nn.AdaptiveAvgPool2d(1), nn.Flatten()], [nn.Flatten()]])
def test_images_of_one_pixel_have_one_order(tmp_path, between):
    last = len(between) + 1
    arrays = drawn(CONV | {f"{last}.weight": (5, 4), f"{last}.bias": (5,)})
    model = flattened(*between, inputs=4).load_pretrained(saved(tmp_path / "a", arrays))
    np.testing.assert_array_equal(model[last].weight.numpy(), arrays[f"{last}.weight"].T)


def test_a_layer_whose_layout_is_unknown_is_refused(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(np.zeros((3, 3), np.float32))

    refused("table is a Own's, whose layout in PyTorch is not known", Own(), tmp_path, drawn({"table": (3, 3)}))


def test_no_such_file_or_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file 'resnet5'.*there are resnet50, "):
        small().load_pretrained("resnet5")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        small().load_pretrained(tmp_path / "nowhere.pth")
    with pytest.raises(TypeError, match="path of a file of weights or a name such as 'resnet50', got 3"):
        small().load_pretrained(3)


def test_mobilenet_v2_of_timm_is_that_of_torchvision(tmp_path):
    """timm's names, written by hand from its source, in front of the weights of one network."""
    model = models.mobilenet_v2(num_classes=3)
    state = model.state_dict()
    parts = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    blocks = [(stage, place) for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for place in range(count)]
    theirs = {}
    for name, array in state.items():
        layer, _, last = name.rpartition(".")
        outside = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head",
                   "features.18.1": "bn2", "classifier.1": "classifier"}  # fmt: skip
        if layer not in outside:
            number, part = layer.removeprefix("features.").split(".conv.")
            stage, place = blocks[int(number) - 1]
            outside[layer] = f"blocks.{stage}.{place}.{(first if number == '1' else parts)[part]}"
        turned = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        theirs[f"{outside[layer]}.{last}"] = turned
    other = models.mobilenet_v2(num_classes=3).load_pretrained(saved(tmp_path / "a", theirs))
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
