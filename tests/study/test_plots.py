"""The pictures: what is drawn, what the PNG holds, what is refused, and that nothing global is touched."""

import builtins
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from drawings import assert_inside, read_png, texts

pytest.importorskip("matplotlib")

from minicnn.study import plots

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
HISTORY = {
    "loss": [0.5, 0.3, 0.2],
    "accuracy": [0.8, 0.9, 0.95],
    "val_loss": [0.4, 0.25, 0.3],
    "val_accuracy": [0.82, 0.93, 0.92],
}


def test_learning_curves(tmp_path):
    figure = plots.learning_curves(HISTORY, tmp_path / "curves.png")
    loss, accuracy = figure.axes
    assert (loss.get_title(), accuracy.get_title()) == ("Loss", "Accuracy")
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        training, validation, best = axes.get_lines()
        np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(training.get_ydata(), HISTORY[name])
        np.testing.assert_array_equal(validation.get_ydata(), HISTORY[f"val_{name}"])
        assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, HISTORY[f"val_{name}"][1])
    assert "validation, best 0.2500 in epoch 2" in texts(figure)
    assert "validation, best 93.00% in epoch 2" in texts(figure)
    pixels = read_png(tmp_path / "curves.png")
    assert pixels.shape[:2] == (570, 1560)
    for colour in ((31, 111, 180), (217, 98, 43)):
        assert (np.abs(pixels[..., :3] - np.array(colour) / 255).max(axis=2) < 0.02).sum() > 500
    assert_inside(figure)


@pytest.mark.parametrize(
    ("history", "panels", "lines"),
    [
        ({"loss": [1.0]}, 1, 1),
        ({"loss": [1.0, 0.5], "val_loss": [2.0, float("nan")]}, 1, 3),
        ({"loss": [1.0], "val_loss": [float("nan")]}, 1, 2),
        ({"loss": [1.0], "accuracy": [0.5], "val_accuracy": []}, 2, 1),
        ({"loss": list(np.linspace(1, 0, 200)), "seconds": [1.0] * 200}, 1, 1),
    ],
)
def test_learning_curves_of_what_there_is(history, panels, lines, tmp_path):
    figure = plots.learning_curves(history, tmp_path / "curves.png")
    assert len(figure.axes) == panels
    assert len(figure.axes[0].get_lines()) == lines
    assert read_png(tmp_path / "curves.png").std() > 0.02


def test_error_curves(tmp_path):
    deeper = {"accuracy": [0.25, 0.5], "val_accuracy": [float("nan")] * 2}  # trained without a validation
    figure = plots.error_curves({"shallow": HISTORY, "deep": deeper}, tmp_path / "errors.png")
    training, test, other = figure.axes[0].get_lines()
    np.testing.assert_allclose(training.get_ydata(), [0.2, 0.1, 0.05])
    np.testing.assert_allclose(test.get_ydata(), [0.18, 0.07, 0.08])
    np.testing.assert_array_equal(other.get_xdata(), [1, 2])
    np.testing.assert_allclose(other.get_ydata(), [0.75, 0.5])
    assert training.get_color() == test.get_color() != other.get_color()
    assert {"shallow, training 5.0%", "shallow, test 8.0%", "deep, training 50.0%"} <= set(texts(figure))
    assert read_png(tmp_path / "errors.png").std() > 0.02
    assert_inside(figure)


@pytest.mark.parametrize("histories", [{}, {"a": {"loss": [1.0]}}, {"a": HISTORY, "b": {"accuracy": []}}])
def test_error_curves_want_an_accuracy(histories):
    with pytest.raises(ValueError, match='error_curves expected histories with "accuracy", got'):
        plots.error_curves(histories)


def test_learning_curves_refuse_an_empty_or_ragged_history():
    with pytest.raises(ValueError, match=r"got \['lr'\]"):
        plots.learning_curves({"lr": [1.0]})
    with pytest.raises(ValueError, match="an empty one"):
        plots.learning_curves({})
    with pytest.raises(ValueError, match="got 2 and 1"):
        plots.learning_curves({"loss": [1.0, 2.0], "val_loss": [1.0]})


def test_confusion_heatmap(tmp_path):
    matrix = np.diag(np.arange(900, 1000, 10))
    matrix[6, 0] = 80
    figure = plots.confusion_heatmap(matrix, FASHION, tmp_path / "confusion.png")
    axes, bar = figure.axes
    assert axes.get_title() == f"{matrix.trace():,} of {matrix.sum():,} right ({matrix.trace() / matrix.sum():.2%})"
    assert sorted(text.get_text() for text in axes.texts) == sorted([*(str(n) for n in range(900, 1000, 10)), "80"])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(FASHION)
    assert bar.get_ylabel() == "share of the true class"
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown.sum(axis=1), 1)
    assert shown[6, 0] == pytest.approx(80 / 1040)
    assert_inside(figure)
    pixels = read_png(tmp_path / "confusion.png")
    assert pixels.shape[0] > 1000
    assert (pixels[..., :3].max(axis=2) < 0.5).mean() > 0.04  # the dark diagonal


def test_confusion_heatmap_of_many_classes_and_of_an_empty_row():
    figure = plots.confusion_heatmap(np.eye(100, dtype=int))
    assert not figure.axes[0].texts
    assert len(figure.axes[0].get_xticklabels()) == 100
    assert plots.confusion_heatmap(np.zeros((2, 2), int)).axes[0].get_title() == "0 of 0 right (0.00%)"


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.zeros(4), np.zeros((0, 0)), -np.eye(2)])
def test_confusion_heatmap_refuses(matrix):
    with pytest.raises(ValueError, match=r"matrix \(K, K\)"):
        plots.confusion_heatmap(matrix)


def test_confusion_heatmap_wants_a_name_for_each_class():
    with pytest.raises(ValueError, match="expected 3 class names, got 10"):
        plots.confusion_heatmap(np.eye(3), FASHION)


def test_filter_grid_of_one_channel(tmp_path):
    w = np.random.default_rng(0).normal(size=(5, 5, 1, 6))
    figure = plots.filter_grid(w, tmp_path / "filters.png")
    axes, _ = figure.axes
    sheet = axes.images[0].get_array()
    assert sheet.shape == (2 * 6 + 1, 3 * 6 + 1)  # six tiles in two rows, one pixel apart
    np.testing.assert_array_equal(sheet[1:6, 7:12], w[:, :, 0, 1])
    np.testing.assert_array_equal(sheet[7:12, 13:18], w[:, :, 0, 5])
    assert np.ma.getmaskarray(sheet)[0].all()
    assert axes.images[0].get_clim() == (-np.abs(w).max(), np.abs(w).max())
    assert axes.get_title() == "6 filters of 5 x 5 x 1"
    pixels = read_png(tmp_path / "filters.png")
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 100
    assert_inside(figure)


@pytest.mark.parametrize(("O", "rows", "columns"), [(96, 6, 16), (64, 8, 8), (48, 4, 12), (7, 3, 3)])
def test_filter_grid_is_wide_and_full_where_it_can_be(O, rows, columns, tmp_path):
    """AlexNet's 96 filters of 11 x 11 as in figure 3 of its paper: 6 rows of 16."""
    w = np.random.default_rng(0).normal(size=(11, 11, 3, O))
    (axes,) = plots.filter_grid(w, tmp_path / "filters.png").axes
    sheet = axes.images[0].get_array()
    assert sheet.shape == (12 * rows + 1, 12 * columns + 1, 3)
    last = sheet[12 * ((O - 1) // columns) + 1 :, 12 * ((O - 1) % columns) + 1 :][:11, :11]
    np.testing.assert_allclose(last, w[..., -1] / (2 * np.abs(w).max()) + 0.5)
    assert read_png(tmp_path / "filters.png").std() > 0.05


def test_filter_grid_takes_a_number_of_columns():
    sheet = plots.filter_grid(np.ones((1, 1, 1, 6)), columns=4).axes[0].images[0].get_array()
    assert sheet.shape == (2 * 2 + 1, 4 * 2 + 1)
    with pytest.raises(ValueError, match="columns >= 1, got 0"):
        plots.filter_grid(np.ones((1, 1, 1, 6)), columns=0)


def test_filter_grid_of_many_channels_has_a_row_for_each():
    w = np.random.default_rng(0).normal(size=(3, 5, 6, 16))
    axes, _ = plots.filter_grid(w).axes
    sheet = axes.images[0].get_array()
    assert sheet.shape == (6 * 4 + 1, 16 * 6 + 1)
    np.testing.assert_array_equal(sheet[9:12, 19:24], w[:, :, 2, 3])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("filter", "input channel")
    assert len(axes.get_yticks()) == 6


def test_filter_grid_of_three_channels_is_in_colour():
    w = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)
    (axes,) = plots.filter_grid(w).axes
    sheet = axes.images[0].get_array()
    assert sheet.shape == (9, 9, 3)
    assert sheet.min() >= 0
    assert sheet.max() <= 1
    np.testing.assert_allclose(sheet[1:4, 5:8], w[..., 1] / (2 * np.abs(w).max()) + 0.5, rtol=1e-6)


def test_filter_grid_of_a_large_layer_says_what_is_left_out():
    figure = plots.filter_grid(np.ones((1, 1, 40, 100)))
    assert figure.axes[0].get_title() == "100 filters of 1 x 1 x 40, the first 64, channels 0 to 15"
    assert figure.axes[0].images[0].get_array().shape == (16 * 2 + 1, 64 * 2 + 1)
    plots.filter_grid(np.zeros((3, 3, 1, 1)))  # a scale of 0 would be none


@pytest.mark.parametrize("shape", [(3, 3, 1), (3, 3, 0, 4)])
def test_filter_grid_refuses(shape):
    with pytest.raises(ValueError, match=r"weights \(KH, KW, C, O\)"):
        plots.filter_grid(np.zeros(shape))


def mistakes(count=60, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
    return images, generator.integers(0, 10, count), generator.normal(size=(count, 10)) * 3


def test_worst_mistakes_shows_the_highest_losses_first(tmp_path):
    images, labels, logits = mistakes()
    figure = plots.worst_mistakes(images, labels, logits, FASHION, tmp_path / "worst.png", count=7)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = [n for n in range(60) if logits[n].argmax() != labels[n]]
    expected = sorted(wrong, key=lambda n: p[n, labels[n]])[:7]
    assert len(figure.axes) == 7
    for axes, n in zip(figure.axes, expected, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array() * 255, images[n, :, :, 0])
        said = logits[n].argmax()
        assert axes.get_title() == f"{FASHION[said]} {p[n, said]:.0%}\n"
        assert axes.texts[0].get_text() == f"is {FASHION[labels[n]]}"
    assert f"{len(wrong)} of 60 wrong, the worst 7" in texts(figure)
    pixels = read_png(tmp_path / "worst.png")
    assert pixels.shape[1] > pixels.shape[0] * 1.5  # five beside each other in two rows
    assert pixels.std() > 0.2


def test_the_longest_names_fit_above_their_images():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    images, _, _ = mistakes(25)
    names = ["T-shirt/top", "a very long class name", *FASHION[2:]]
    figure = plots.worst_mistakes(images, np.zeros(25, int), np.eye(10)[np.ones(25, int)] * 50, names)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert len(boxes) == 25
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes[:5]))
    assert boxes[0].x0 >= 0
    assert boxes[4].x1 <= canvas.get_width_height()[0]


def test_worst_mistakes_when_there_are_none(tmp_path):
    images, labels, _ = mistakes()
    figure = plots.worst_mistakes(images, labels, np.eye(10)[labels], FASHION, tmp_path / "none.png")
    assert "No mistakes." in texts(figure)
    assert "0 of 60 wrong" in texts(figure)
    assert (read_png(tmp_path / "none.png")[..., :3].max(axis=2) < 0.6).sum() > 100


@pytest.mark.parametrize(
    "images",
    [
        np.random.default_rng(1).random((4, 8, 8, 3), dtype=np.float32),
        np.random.default_rng(1).normal(size=(4, 8, 8)),
        np.zeros((4, 8, 8, 1)),
    ],
)
def test_worst_mistakes_takes_colour_floats_and_blank_images(images):
    figure = plots.worst_mistakes(images, np.zeros(4, int), -np.eye(10)[np.zeros(4, int)])
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 4
    assert all(array.min() >= 0 and array.max() <= 1 for array in shown)


def test_worst_mistakes_refuses_what_does_not_fit():
    images, labels, logits = mistakes()
    for bad in ((images[:5], labels, logits), (images, labels[:5], logits), (images, labels, logits[0])):
        with pytest.raises(ValueError, match="of one N"):
            plots.worst_mistakes(*bad)
    with pytest.raises(ValueError, match="10 class names, got 1"):
        plots.worst_mistakes(images, labels, logits, ["a"])
    for labels_outside in (labels + 10, labels - 10, labels.astype(float)):
        with pytest.raises(ValueError, match="from 0 to 9"):
            plots.worst_mistakes(images, labels_outside, logits)
    with pytest.raises(ValueError, match="count"):
        plots.worst_mistakes(images, labels, logits, count=0)


def test_no_path_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plots.learning_curves(HISTORY).axes
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    target = tmp_path / "curves.png"
    target.write_bytes(b"old")

    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.learning_curves(HISTORY, target)
    assert target.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]


def test_a_missing_matplotlib_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    images, labels, logits = mistakes(4)
    for call in (
        lambda: plots.learning_curves(HISTORY),
        lambda: plots.error_curves({"a": HISTORY}),
        lambda: plots.confusion_heatmap(np.eye(2)),
        lambda: plots.filter_grid(np.ones((1, 1, 1, 1))),
        lambda: plots.worst_mistakes(images, labels, logits),
        lambda: plots.gradient_norms({"a": [1.0]}),
        lambda: plots.classical_filters(images[0]),
    ):
        with pytest.raises(ImportError, match=r'pip install "minicnn\[plots\]"'):
            call()


def test_importing_does_not_import_matplotlib_and_drawing_does_not_import_pyplot(tmp_path):
    code = (
        "import sys, minicnn.study.plots as plots\n"
        "assert not any(name.startswith('matplotlib') for name in sys.modules)\n"
        f"plots.learning_curves({{'loss': [1.0, 2.0]}}, {str(tmp_path / 'a.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
