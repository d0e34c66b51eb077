"""The picture of the learning-rate finder."""

import numpy as np
import pytest
from drawings import assert_inside, read_png, texts

pytest.importorskip("matplotlib")

from minicnn.study import plots
from minicnn.train import LearningRateCurve

LRS = list(np.geomspace(1e-4, 1, 9))
LOSSES = [2.4, 2.3, 2.3, 2.0, 1.5, 0.4, 0.9, 1.3, 5.0]
SMOOTHED = [2.4, 2.35, 2.3, 2.1, 1.8, 1.0, 0.8, 1.1, 3.0]
CURVE = LearningRateCurve(LRS, LOSSES, SMOOTHED, diverged=True)


def test_it_shows_the_losses_the_least_and_the_suggestion(tmp_path):
    figure = plots.learning_rate_curve(CURVE, tmp_path / "curve.png")
    (axes,) = figure.axes
    batches, smoothed, least, suggestion = axes.get_lines()
    np.testing.assert_array_equal(batches.get_xydata(), np.transpose([LRS, LOSSES]))
    np.testing.assert_array_equal(smoothed.get_xydata(), np.transpose([LRS, SMOOTHED]))
    assert least.get_xydata().tolist() == [[LRS[6], 0.8]]
    assert list(suggestion.get_xdata()) == [LRS[6] / 10] * 2
    assert axes.get_xscale() == "log"
    assert {"least at 0.1", "suggestion 0.01"} <= set(texts(figure))
    low, high = axes.get_ylim()
    assert low < 0.4  # every loss of a batch but the one after which it diverged
    assert 3.0 < high < 5.0
    assert read_png(tmp_path / "curve.png").std() > 0.02
    assert_inside(figure)


def test_it_is_written_only_where_a_path_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plots.learning_rate_curve(LearningRateCurve([0.1, 0.2], [1.0, 1.0], [1.0, 1.0], diverged=False))
    assert not list(tmp_path.iterdir())
