"""Pictures of a network: what is drawn are the engine's numbers, everything is inside, the PNG is whole."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from drawings import assert_inside, read_png, texts

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, models, nn, optim
from minicnn.study import attribution, plots
from minicnn.study.gradient_norms import GradientNorms
from minicnn.study.plots.classical import CLASSICAL, filtered
from minicnn.study.plots.histograms import layer_signals
from minicnn.study.receptive_field import effective_field
from minicnn.study.steps import run_steps

pytestmark = pytest.mark.usefixtures("plain_kernels")


@pytest.fixture
def lenet():
    mc.seed(0)
    return models.lenet5()


@pytest.fixture
def image():
    return np.random.default_rng(0).random((28, 28, 1), np.float32)


# Feature maps


def test_feature_maps_are_the_layers_results(lenet, image, tmp_path):
    figure = plots.feature_maps(lenet, image, tmp_path / "maps.png", channels=8)
    rows = figure.axes
    assert len(rows) == 5  # the image and four layers
    x = mc.tensor(image[np.newaxis])
    with mc.no_grad():
        maps = lenet.average_pooling2d(lenet.conv2d(x)).numpy()[0]  # (14, 14, 6), each pixel drawn 4 x 4
    sheet = rows[2].images[0].get_array()
    assert sheet.shape == (58, 6 * 57 + 1)
    np.testing.assert_array_equal(sheet[1:57:4, 58:114:4], maps[..., 1])
    np.testing.assert_array_equal(sheet[4:58:4, 61:115:4], maps[..., 1])
    assert np.ma.getmaskarray(sheet)[:, 57].all()
    assert rows[2].images[0].get_clim() == (maps.min(), maps.max())
    assert "average_pooling2d\n14 x 14 x 6" in texts(figure)
    assert f"{maps.min():.3g} to\n{maps.max():.3g}" in texts(figure)
    assert "4 layers" in texts(figure)
    assert rows[3].images[0].get_array().shape[1] == 8 * (rows[3].images[0].get_array().shape[0] - 1) + 1
    assert read_png(tmp_path / "maps.png").std() > 0.1
    assert_inside(figure)


def test_feature_maps_of_chosen_layers_and_of_a_deep_model(image):
    deep = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(40)])
    figure = plots.feature_maps(deep, image)
    assert "18 of 40 layers" in texts(figure)
    assert any(text.startswith("39\n") for text in texts(figure))  # the last is always there
    assert len(figure.axes) == 19
    assert_inside(figure)  # also with names as short as these
    assert len(plots.feature_maps(deep, image, layers=["7", "3"]).axes) == 3
    colour = plots.feature_maps(nn.Conv2d(3, 2, 3), np.random.default_rng(0).random((9, 9, 3)))
    assert colour.axes[0].images[0].get_array().shape == (9, 9, 3)  # not three grey ones


def test_feature_maps_refuse(lenet, image):
    with pytest.raises(ValueError, match=r"more than one pixel, dense makes \(1, 120\)"):
        plots.feature_maps(lenet, image, layers=["dense"])
    with pytest.raises(ValueError, match=r"one image \(H, W, C\) and channels >= 1, got \(28, 28\) and 16"):
        plots.feature_maps(lenet, image[..., 0])
    with pytest.raises(ValueError, match="this one makes none"):
        plots.feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), image)


# Saliency and Grad-CAM


def test_saliency_draws_the_map(lenet, image, tmp_path):
    figure = plots.saliency(lenet, image, 3, path=tmp_path / "saliency.png")
    found = attribution.saliency(lenet, image, 3)
    shown, heat, *_ = figure.axes
    np.testing.assert_allclose(shown.images[0].get_array(), image[..., 0])
    np.testing.assert_array_equal(heat.images[0].get_array(), found.map)
    assert shown.get_title() == f"3\nprobability {found.probabilities[3]:.1%}"
    assert read_png(tmp_path / "saliency.png").std() > 0.1
    assert_inside(figure)


def test_grad_cam_lies_over_the_whole_image(lenet, image, tmp_path):
    names = [f"digit {k}" for k in range(10)]
    figure = plots.grad_cam(lenet, image, 8, names=names, path=tmp_path / "cam.png")
    shown, over, *_ = figure.axes
    behind, heat = over.images
    np.testing.assert_allclose(heat.get_array(), attribution.grad_cam(lenet, image, 8).map)
    assert heat.get_array().shape == (10, 10)
    assert list(heat.get_extent()) == list(behind.get_extent()) == [-0.5, 27.5, 27.5, -0.5]
    assert shown.get_title().startswith("digit 8\n")
    assert over.get_title() == "Grad-CAM: conv2d_1, 10 x 10"
    assert_inside(figure)
    with pytest.raises(ValueError, match="grad_cam expected 10 class names, got 1"):
        plots.grad_cam(lenet, image, names=["a"])


# Receptive fields


def test_receptive_fields_are_frames_on_the_image(lenet, image, tmp_path):
    figure = plots.receptive_fields(lenet, image, path=tmp_path / "fields.png")
    sees, legend, weighs = figure.axes
    frames = [(p.get_x() + 0.5, p.get_y() + 0.5, p.get_width(), p.get_height()) for p in sees.patches]
    # By hand: the middle of 28 x 28 is row 14, of 14 x 14 row 7, of 10 x 10 row 5, of 5 x 5 row 2.
    assert frames == [(12, 12, 5, 5), (12, 12, 6, 6), (8, 8, 14, 14), (6, 6, 16, 16)]
    written = [text.get_text() for text in legend.texts]
    assert written[::2] == ["conv2d", "average_pooling2d", "conv2d_1", "average_pooling2d_1"]
    assert written[1::2] == ["5 x 5, 1 apart", "6 x 6, 2 apart", "14 x 14, 2 apart", "16 x 16, 4 apart"]
    run = run_steps(lenet, image, "test")
    heat = effective_field(run, run.find("average_pooling2d_1", "test"), (2, 2))
    np.testing.assert_array_equal(weighs.images[0].get_array(), heat)
    assert [p.get_width() for p in weighs.patches] == [16]
    assert read_png(tmp_path / "fields.png").std() > 0.1
    assert_inside(figure)


def test_receptive_fields_of_a_unit_at_the_border(lenet, image):
    figure = plots.receptive_fields(lenet, image, "conv2d_1", (0, 9))
    frame = figure.axes[0].patches[-1]
    assert (frame.get_x() + 0.5, frame.get_y() + 0.5, frame.get_width(), frame.get_height()) == (16, 0, 12, 12)
    assert "conv2d_1, unit 0, 9" in texts(figure)


def test_receptive_fields_refuse(lenet, image):
    with pytest.raises(ValueError, match=r"a position inside 10 x 10, got \(10, 0\)"):
        plots.receptive_fields(lenet, image, "conv2d_1", (10, 0))
    with pytest.raises(ValueError, match=r"more than one pixel, flatten makes \(1, 400\)"):
        plots.receptive_fields(lenet, image, "flatten")

    class Double(mc.Function):
        def forward(self, x):
            return 2 * x

    class Own(nn.Module):
        def forward(self, x):
            return Double()(x)

    with pytest.raises(ValueError, match="does not know which cells double reads"):
        plots.receptive_fields(Own(), image, "double")
    with pytest.raises(ValueError, match="found no layer with maps"):
        plots.receptive_fields(Own(), image)


# Models of all kinds


@pytest.mark.filterwarnings("error")
def test_a_model_of_zeros_is_drawn_black(image):
    model = models.lenet5()
    for parameter in model.parameters():
        parameter.assign(np.zeros(parameter.shape))
    for draw in (plots.saliency, plots.grad_cam, plots.receptive_fields, plots.feature_maps):
        figure = draw(model, image)
        assert_inside(figure)
    assert not plots.saliency(model, image).axes[1].images[0].get_array().any()


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_network_is_drawn(name, no_draws):
    """On small images, where the network allows them."""
    with kernels.use("cpu"):
        model, C = models.build(name), models.input_shape(name)[2]
        try:
            run_steps(model, np.zeros((64, 64, C), np.float32), "test")
            shape = (64, 64, C)
        except ValueError:
            shape = models.input_shape(name)
        x = np.random.default_rng(0).random(shape, np.float32)
        assert plots.saliency(model, x).axes[1].images[0].get_array().shape == shape[:2]
        if name == "highway:fully_connected":
            return  # without maps
        assert_inside(plots.feature_maps(model, x))
        assert_inside(plots.receptive_fields(model, x))
        assert_inside(plots.grad_cam(model, x))


def test_names_are_written_as_they_are(tmp_path):
    """Dollar signs would make formulas, and those that are none would fail."""
    name = r"$\frac$_^{"
    model = nn.Sequential({name: nn.Conv2d(1, 2, 3, activation="relu"), "flat": nn.Flatten(), "fc": nn.Linear(None, 2)})
    x = np.random.default_rng(0).random((2, 6, 6, 1), np.float32)
    plots.feature_maps(model, x[0], tmp_path / "a.png")
    plots.saliency(model, x[0], names=[name, name], path=tmp_path / "a.png")
    plots.grad_cam(model, x[0], path=tmp_path / "a.png")
    plots.receptive_fields(model, x[0], path=tmp_path / "a.png")
    plots.gradient_norms({name: [1.0, 2.0]}, tmp_path / "a.png")
    plots.error_curves({name: {"accuracy": [0.5]}}, tmp_path / "a.png")
    plots.confusion_heatmap(np.eye(2), [name, name], tmp_path / "a.png")
    plots.activation_histograms({name: model}, x, np.array([0, 1]), path=tmp_path / "a.png")


# Activations and gradients


def stack(activation):
    mc.seed(0)
    hidden = [nn.Linear(20, 20, activation=activation) for _ in range(6)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(20, 3))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.random((30, 4, 5, 1), np.float32), rng.integers(0, 3, 30)


def test_layer_signals_are_activations_and_their_gradients(batch):
    """Of the last layer by hand: dy = (softmax - one-hot) / N @ w.T."""
    x, labels = batch
    model = stack("relu")
    signals = layer_signals(model, x, labels)
    assert [signal.name for signal in signals] == ["1", "2", "3", "4", "5", "6"]
    h = x.reshape(30, 20)
    for layer, signal in zip(list(model)[1:], signals, strict=False):
        h = (h @ layer.weight.data + layer.bias.data).clip(0)
        np.testing.assert_allclose(signal.values, h, rtol=1e-5, atol=1e-6)
    e = np.exp(h @ model[7].weight.data)
    p = e / e.sum(axis=1, keepdims=True)
    dy = (p - np.eye(3)[labels]) / 30 @ model[7].weight.data.T
    np.testing.assert_allclose(signals[-1].gradients, dy, rtol=1e-4, atol=1e-7)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_activation_histograms_count_every_number_that_is_not_zero(batch, tmp_path):
    x, labels = batch
    stacks = {"Sigmoid": stack("sigmoid"), "ReLU": stack("relu")}
    figure = plots.activation_histograms(stacks, x, labels, path=tmp_path / "histograms.png")
    assert len(figure.axes) == 4 * 6
    for start, name in ((0, "Sigmoid"), (12, "ReLU")):
        for i, signal in enumerate(layer_signals(stacks[name], x, labels)):
            for axes, array in zip(figure.axes[start + 2 * i :][:2], (signal.values, signal.gradients), strict=True):
                assert axes.patches[0].get_data().values.sum() == np.count_nonzero(array)
                assert axes.texts[0].get_text().endswith(f"{(array == 0).mean():.0%} are 0")
    titles = {axes.get_title() for axes in figure.axes}
    assert {"Sigmoid: activations", "ReLU: gradients"} <= titles
    # One scale for all gradients, on which the sigmoids' first layer stands far to the left of the ReLUs'.
    gradients = figure.axes[1::2]
    assert len({axes.get_xlim() for axes in gradients}) == 1
    assert middle(gradients[0]) < middle(gradients[6]) - 2  # powers of ten
    assert read_png(tmp_path / "histograms.png").std() > 0.05
    assert_inside(figure)


def middle(axes):
    """The mean of what a histogram shows."""
    counts, edges, _ = axes.patches[0].get_data()
    return np.average(edges[:-1], weights=counts)


def test_activation_histograms_of_one_model_with_functions_of_its_own(batch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))

        def forward(self, x):
            return F.tanh(x.reshape(len(x), 20) @ self.w)

    figure = plots.activation_histograms(Net(), *batch)
    assert [axes.get_title() for axes in figure.axes] == ["activations", "gradients"]
    with pytest.raises(ValueError, match="a model with ReLU, ReLU6, Sigmoid or Tanh"):
        plots.activation_histograms(nn.Sequential(nn.Flatten(), nn.Linear(20, 3)), *batch)
    with pytest.raises(ValueError, match="at least one model"):
        plots.activation_histograms({}, *batch)


def test_gradient_norms_are_kept_while_anything_trains(batch, tmp_path):
    x, labels = batch
    model = stack("relu")
    optimizer = optim.SGD(model.parameters(), 0.1)
    expected = {name: [] for name in "1234567"}
    with GradientNorms(model, optimizer) as norms:
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(mc.tensor(x)), labels).backward()
            for name, row in expected.items():
                parts = (model[int(name)].weight.grad, model[int(name)].bias.grad)
                row.append(np.sqrt(sum((part.astype(np.float64) ** 2).sum() for part in parts)))
            optimizer.step()
    with GradientNorms(model, optimizer) as outer, GradientNorms(model, optimizer) as inner:
        optimizer.step()
        with GradientNorms(model, optimizer):
            optimizer.step()
        optimizer.step()
    assert [len(each.by_layer["1"]) for each in (outer, inner)] == [3, 3]
    optimizer.step()  # outside: nobody listens
    assert list(norms.by_layer) == list(expected)
    for name, row in expected.items():
        np.testing.assert_allclose(norms.by_layer[name], row)
    figure = plots.gradient_norms(norms.by_layer, tmp_path / "norms.png")
    axes, _ = figure.axes
    np.testing.assert_allclose(axes.images[0].get_array(), list(expected.values()))
    assert [label.get_text() for label in axes.get_yticklabels()] == list("1234567")
    assert list(axes.images[0].get_extent())[:2] == [0.5, 3.5]  # steps 1 to 3
    assert_inside(figure)


def test_gradient_norms_see_a_trainer_and_name_the_models_own_parameters():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.unused = nn.Parameter(np.ones((4, 3), np.float32)), nn.Linear(2, 2)

        def forward(self, x):
            return x.reshape(len(x), 4) @ self.w

    model = Scale()
    optimizer = optim.SGD(model.parameters(), 0.1)
    images, labels = np.ones((6, 2, 2, 1), np.float32), np.arange(6) % 3
    with GradientNorms(model, optimizer) as norms:
        mc.Trainer(model, optimizer).fit(mc.data.ArrayDataset(images, labels), 2, batch_size=2, progress=False)
    assert {name: len(row) for name, row in norms.by_layer.items()} == {"w": 6, "unused": 6}
    assert np.isnan(norms.by_layer["unused"]).all()
    assert plots.gradient_norms(norms.by_layer).axes[0].images[0].get_array().mask[1].all()


@pytest.mark.parametrize("norms", [{}, {"a": []}, {"a": [1.0], "b": [1.0, 2.0]}, {"a": [0.0, float("nan")]}])
def test_gradient_norms_refuse(norms):
    with pytest.raises(ValueError, match="gradient_norms expected"):
        plots.gradient_norms(norms)


# The classical filters

PHOTO = [[60, 113, 56, 139, 85], [73, 121, 54, 84, 128], [131, 99, 70, 129, 127], [80, 57, 115, 69, 134],
         [104, 126, 123, 95, 130]]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "middle", "corner"),
    [
        # By hand, at row 2, column 2 (70, its neighbours 121 54 84, 99 129, 57 115 69) and at row 0, column 0.
        ("Identity", 70, 60),
        ("Edges: corners", 121 - 84 - 57 + 69, 121),
        ("Edges: 4 neighbours", 54 + 99 + 129 + 115 - 4 * 70, 113 + 73 - 4 * 60),
        ("Edges: 8 neighbours", 8 * 70 - (121 + 54 + 84 + 99 + 129 + 57 + 115 + 69), 8 * 60 - (113 + 73 + 121)),
        ("Sharpen", 5 * 70 - (54 + 99 + 129 + 115), 114),  # the lecture's number
        ("Box blur", (70 + 121 + 54 + 84 + 99 + 129 + 57 + 115 + 69) / 9, (60 + 113 + 73 + 121) / 9),
        ("Gaussian blur", (4 * 70 + 2 * (54 + 99 + 129 + 115) + 121 + 84 + 57 + 69) / 16,
         (4 * 60 + 2 * (113 + 73) + 121) / 16),
    ],
)  # fmt: skip
def test_classical_filters_by_hand(name, middle, corner):
    photo = np.array(PHOTO)[..., np.newaxis]
    y = filtered(photo, name)
    assert y.shape == (5, 5, 1)
    np.testing.assert_allclose([y[2, 2, 0], y[0, 0, 0]], [middle, corner], rtol=1e-6)
    if name == "Sharpen":
        np.testing.assert_array_equal(y[0, :, 0], [114, 328, -26, 470, 158])


def test_classical_filters_draw_each_channel_by_itself(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    figure = plots.classical_filters(photo, tmp_path / "classical.png")
    assert [axes.get_title() for axes in figure.axes] == list(CLASSICAL)
    for axes, name in zip(figure.axes, CLASSICAL, strict=True):
        green = filtered(photo[..., 1:2] / np.float32(255), name)[..., 0]
        np.testing.assert_allclose(axes.images[0].get_array()[..., 1], green.clip(0, 1), atol=1e-6)
    assert " 0 -1  0\n-1  5 -1\n 0 -1  0\n" in texts(figure)
    assert "1 2 1\n2 4 2\n1 2 1\n/ 16" in texts(figure)
    assert read_png(tmp_path / "classical.png").std() > 0.1
    assert_inside(figure)
    with pytest.raises(ValueError, match=r"a photo \(H, W, C\) with C 1 or 3, got shape \(20, 30\)"):
        plots.classical_filters(photo[..., 0])
