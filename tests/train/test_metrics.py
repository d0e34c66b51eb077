"""Metrics by hand, and against counting in loops."""

import functools

import numpy as np
import pytest

from minicnn.train import accuracy, class_report, confusion_matrix, format_report, top_k_accuracy
from minicnn.train.metrics import RunningMeans, named_metrics


def test_accuracy_by_hand():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5], [-3.0, -4.0]])
    assert accuracy(outputs, np.array([1, 1, 0, 0])) == 0.75
    assert type(accuracy(outputs, [1, 1, 1, 1])) is float


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (np.ones((3, 2)), np.ones(2, int)),
        (np.ones(3), np.ones(3, int)),
        (np.ones((3, 2)), np.ones((3, 4), int)),
        (np.ones((0, 2)), np.ones(0, int)),
        (np.ones((3, 2)), np.ones(3)),
    ],
)
def test_accuracy_refuses(outputs, labels):
    with pytest.raises((ValueError, TypeError), match="accuracy expected"):
        accuracy(outputs, labels)


def place(row, label):
    """How many outputs stand before the label's when they are sorted, equal ones in the order of their classes."""
    return sorted(range(len(row)), key=lambda k: (-row[k], k)).index(label)


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k_counts_the_labels_among_the_first_of_a_sorted_row(k):
    rng = np.random.default_rng(0)
    outputs, labels = rng.integers(0, 4, (300, 7)).astype(float), rng.integers(0, 7, 300)  # four values: many ties
    metric = top_k_accuracy(k)
    assert metric(outputs, labels) == np.mean([place(row, y) < k for row, y in zip(outputs, labels, strict=True)])
    assert metric.__name__ == f"top{k}_accuracy"
    assert type(metric(outputs, labels)) is float
    if k == 1:
        assert metric(outputs, labels) == accuracy(outputs, labels) == np.mean(outputs.argmax(axis=1) == labels)


def test_of_equal_outputs_the_first_counts():
    equal = np.zeros((4, 4))
    assert [top_k_accuracy(k)(equal, np.arange(4)) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]
    assert [accuracy(equal[:1], [k]) for k in range(4)] == [1, 0, 0, 0]


def test_a_sample_with_a_nan_is_wrong_and_infinities_are_numbers():
    """argmax alone would take the NaN for the largest."""
    nan, inf = np.nan, np.inf
    outputs = np.array([[nan, 1, 0], [nan, 1, 0], [nan, nan, nan], [inf, 1, 0], [-inf, -inf, 0]])
    labels = np.array([0, 1, 2, 0, 2])
    assert accuracy(outputs, labels) == 2 / 5
    assert top_k_accuracy(3)(outputs, labels) == 2 / 5


def test_of_labels_that_are_probabilities_the_largest_counts():
    outputs = np.array([[3.0, 2, 1], [3, 2, 1], [3, 2, 1], [3, 2, 1]])
    mixed = np.array([[0.7, 0.3, 0], [0.3, 0.7, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]])
    assert accuracy(outputs, mixed) == 0.5
    assert top_k_accuracy(2)(outputs, mixed) == 1
    assert accuracy(outputs, np.eye(3, dtype=int)[[0, 1, 2, 0]]) == 0.5


@pytest.mark.parametrize(
    ("k", "outputs", "labels", "text"),
    [
        (0, None, None, "top_k_accuracy expected k to be a whole number >= 1, got 0"),
        (2.0, None, None, "top_k_accuracy expected k to be a whole number >= 1, got 2.0"),
        (4, np.ones((2, 3)), [0, 1], "top4_accuracy expected at least 4 outputs for each sample, got 3"),
        (2, np.ones((2, 3)), [0, 3], "top2_accuracy expected labels from 0 to 2 for 3 outputs, got 3"),
        (2, np.ones((2, 3)), [0, -1], "top2_accuracy expected labels from 0 to 2 for 3 outputs, got -1"),
        (2, np.ones((2, 3)), np.ones((2, 4)), r"top2_accuracy expected .* got \(2, 3\) and \(2, 4\)"),
        (2, np.ones((2, 3)), [0.0, 1.0], "top2_accuracy expected labels of whole numbers, got float64"),
    ],
)
def test_top_k_refuses(k, outputs, labels, text):
    with pytest.raises((ValueError, TypeError), match=text):
        top_k_accuracy(k)(outputs, np.array(labels))


def test_confusion_matrix_counts():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, 200), rng.integers(0, 5, 200).astype(np.uint8)
    expected = np.zeros((6, 6), int)
    for label, prediction in zip(labels, predictions, strict=True):
        expected[label, prediction] += 1
    counts = confusion_matrix(labels, predictions, 6)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "predictions", "classes", "text"),
    [
        ([0, 1], [0, 3], 3, "predictions from 0 to 2 for 3 classes, got 3"),
        ([0, -1], [0, 1], 3, "labels from 0 to 2 for 3 classes, got -1"),
        ([0.0, 1.0], [0, 1], 3, "labels to be whole numbers"),
        ([0, 1], [0], 3, r"got \(2,\) and \(1,\)"),
        ([0, 1], [[0.5, 0.5]], 3, "argmax"),
        ([0, 1], [0, 1], 0, "classes"),
        ([0, 1], [0, 1], 2.0, "classes"),
    ],
)
def test_confusion_matrix_refuses(labels, predictions, classes, text):
    with pytest.raises((ValueError, TypeError), match=text):
        confusion_matrix(np.array(labels), np.array(predictions), classes)


def test_class_report_by_hand():
    #                      predicted: cat dog bird
    report = class_report(np.array([[4, 1, 0], [2, 3, 0], [0, 0, 0]]), ["cat", "dog", "bird"])
    np.testing.assert_allclose(report.precision, [4 / 6, 3 / 4, 0])
    np.testing.assert_allclose(report.recall, [4 / 5, 3 / 5, 0])
    np.testing.assert_allclose(report.f1, [8 / 11, 6 / 9, 0])
    np.testing.assert_array_equal(report.support, [5, 5, 0])
    np.testing.assert_array_equal(report.undefined, [False, False, True])
    assert report.accuracy == pytest.approx(0.7)
    assert report.macro_average["recall"] == pytest.approx((0.8 + 0.6) / 3)
    assert report.weighted_average["precision"] == pytest.approx((4 / 6 + 3 / 4) / 2)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint64])
def test_counts_of_any_integer_type_give_the_same_report(dtype):
    report = class_report(np.array([[100, 1], [0, 127]], dtype))
    np.testing.assert_allclose(report.f1, [200 / 201, 254 / 255])


def test_the_table_fits_80_columns_and_says_what_0_over_0_is():
    report = class_report(np.array([[10**9, 1], [0, 0]]), ["a name much too long for a table of eighty columns", "b"])
    text = format_report(report)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "0/0, counted as 0" in text
    assert "*" not in format_report(class_report(np.eye(3, dtype=int)))


@pytest.mark.parametrize(
    ("confusion", "names"),
    [
        (np.ones((2, 3), int), None),
        (np.zeros((2, 2), int), None),
        (-np.eye(2, dtype=int), None),
        (np.eye(2), None),
        (np.eye(2, dtype=int), ["one"]),
        (np.zeros((0, 0), int), None),
    ],
)
def test_class_report_refuses(confusion, names):
    with pytest.raises(ValueError, match="class_report expected"):
        class_report(confusion, names)


def test_running_means_count_samples():
    means = RunningMeans()
    means.add({"loss": 1.0}, 3)
    means.add({"loss": 5.0}, 1)
    assert means.values() == {"loss": 2.0}


def test_metrics_by_name():
    def top(outputs, labels):
        return 0.0

    assert list(named_metrics(("accuracy", top))) == ["accuracy", "top"]
    assert named_metrics(()) == {}
    assert list(named_metrics((top_k_accuracy(3), "top5_accuracy"))) == ["top3_accuracy", "top5_accuracy"]
    assert list(named_metrics((functools.partial(top), accuracy))) == ["top", "accuracy"]
    for wrong, text in [
        (("acuracy",), 'metrics known by name are "accuracy" and "top5_accuracy", got \'acuracy\''),
        (("top5_accuracy", top_k_accuracy(5)), "rename"),
        (("accuracy", accuracy), "rename"),
        ("accuracy", "tuple"),
        ((3,), "a name or a function"),
        (None, "tuple"),
    ]:
        with pytest.raises((ValueError, TypeError), match=text):
            named_metrics(wrong)
    top.__name__ = "val_loss"
    with pytest.raises(ValueError, match="rename"):
        named_metrics((top,))
