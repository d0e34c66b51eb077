"""SqueezeNet: published counts, torchvision's names, agreement with a PyTorch twin."""

import importlib

import numpy as np
import pytest
from tables import summary_and_table
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.squeezenet")

# torchvision's squeezenet1_0: places of the Fires in `features`, with their inputs, squeeze and expand (each of two).
FIRES = {3: (96, 16, 64), 4: (128, 16, 64), 5: (128, 32, 128), 7: (256, 32, 128), 8: (256, 48, 192),
         9: (384, 48, 192), 10: (384, 64, 256), 12: (512, 64, 256)}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    mc.seed(0)
    return models.squeezenet1_0()


@pytest.fixture(scope="module")
def summary(model):
    return mc.summary(model)


def test_size_and_work_are_the_known_ones(summary):
    assert summary.parameters == summary.trainable == 1_248_424  # torchvision prints it, with 0.819 G
    assert summary.multiply_adds / 1e9 == pytest.approx(0.819, rel=5e-4)


def test_stages_have_the_shapes_that_their_windows_give(summary):
    rows = {row.name: row.output_shape for row in summary.rows}
    # 224 pixels: floor((224 - 7) / 2) + 1 = 109, then each pooling ceil((H - 3) / 2) + 1.
    assert rows["features.0"] == (109, 109, 96)
    assert [rows[f"features.{i}"][0] for i in (2, 6, 11)] == [54, 27, 13]
    sides = dict(zip(FIRES, (54, 54, 54, 27, 27, 27, 27, 13), strict=True))
    for i, (_, _, expand) in FIRES.items():
        assert rows[f"features.{i}"] == (sides[i], sides[i], 2 * expand)
    assert [rows[name] for name in ("features", "classifier.1", "classifier.3", "flatten")] == [
        (13, 13, 512), (13, 13, 1000), (1, 1, 1000), (1000,),
    ]  # fmt: skip


def test_the_table_says_what_it_is(model):
    parts = {f"{part}{i}": layer for part in ("features", "classifier") for i, layer in enumerate(getattr(model, part))}
    docstring = models.squeezenet1_0.__doc__.replace("features.", "features").replace("classifier.", "classifier")
    summary_and_table(nn.Sequential(parts), docstring, (224, 224, 3))


def test_names_and_shapes_are_those_of_torchvision(model):
    expected = {"features.0": (7, 7, 3, 96)}
    for i, (inputs, squeeze, expand) in FIRES.items():
        expected[f"features.{i}.squeeze"] = (1, 1, inputs, squeeze)
        expected[f"features.{i}.expand1x1"] = (1, 1, squeeze, expand)
        expected[f"features.{i}.expand3x3"] = (3, 3, squeeze, expand)
    expected["classifier.1"] = (1, 1, 512, 1000)
    both = [(f"{layer}.{part}", shape if part == "weight" else shape[3:])
            for layer, shape in expected.items() for part in ("weight", "bias")]  # fmt: skip
    assert [(name, array.shape) for name, array in model.state_dict().items()] == both


def test_weights_are_torchvisions(model):
    for layer, fan_in in ((model.features[0], 147), (model.features[12].expand3x3, 9 * 64)):
        w = layer.weight.numpy()
        assert w.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)
        assert abs(w).max() <= (6 / fan_in) ** 0.5
    assert model.classifier[1].weight.numpy().std() == pytest.approx(0.01, rel=0.01)
    assert not any(p.numpy().any() for name, p in model.named_parameters() if name.endswith("bias"))
    assert model.classifier[0].p == 0.5


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (1, 5, 5, 3)])
def test_a_wrong_image_is_told_the_right_size(model, shape):
    with pytest.raises(ValueError, match=r"made for inputs \(N, 224, 224, 3\)"):
        model.eval()(mc.tensor(np.zeros(shape, np.float32)))


def test_small_network_against_torch():
    torch = pytest.importorskip("torch")
    layers = [nn.Conv2d(3, 5, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), parts.Fire(5, 3, 4, 6),
              nn.MaxPool2d(3, 2, ceil_mode=True), parts.Fire(10, 2, 3, 3)]  # fmt: skip
    model = parts.network(nn.Sequential(*layers), 6, 4)
    model.classifier[0].p = 0.0  # the two libraries drop other numbers
    twin = torch.nn.Sequential()
    twin.features = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 7, 2), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, ceil_mode=True),
        torch_fire(torch, 5, 3, 4, 6), torch.nn.MaxPool2d(3, 2, ceil_mode=True), torch_fire(torch, 10, 2, 3, 3),
    )  # fmt: skip
    last = [torch.nn.Conv2d(6, 4, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)]
    twin.classifier, twin.flatten = torch.nn.Sequential(torch.nn.Identity(), *last), torch.nn.Flatten()
    # 40 x 34 pixels: 17 x 14 after the convolution, and both poolings hang over an edge.
    check_training_step(model, twin, torch, np.random.default_rng(0).random((3, 40, 34, 3)), 4)


def torch_fire(torch, inputs, squeeze, narrow, wide):
    """A Fire in PyTorch."""

    class Fire(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.squeeze = torch.nn.Conv2d(inputs, squeeze, 1)
            self.expand1x1 = torch.nn.Conv2d(squeeze, narrow, 1)
            self.expand3x3 = torch.nn.Conv2d(squeeze, wide, 3, padding=1)

        def forward(self, x):
            x = self.squeeze(x).relu()
            return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)

    return Fire()
