"""How good predictions are: one number, a table of confusions, a table for each class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..nn.checks import positive

Array = np.ndarray[Any, Any]
Metric = Callable[[Array, Array], float]
RESERVED = ("loss", "lr", "seconds")  # keys of the history that no metric may take
NAME_WIDTH = 32  # of a class in the printed table, so that its lines stay below 80 columns


def main_output(outputs: Any) -> Any:
    """The Tensor (N, K) that metrics and predictions are about: what a model returned, or the first of a tuple."""
    return outputs[0] if isinstance(outputs, tuple) and outputs else outputs


def accuracy(outputs: Array, labels: Array) -> float:
    """The fraction of samples whose largest output stands at the label; on ties the first of the largest counts.

    outputs: (N, K), logits or probabilities; a sample with a NaN among them is wrong. labels: (N,) whole numbers, or
    (N, K) probabilities as mixup makes them, of which the largest is the label, on ties the first.
    Raises ValueError for other shapes and for N = 0, TypeError for labels (N,) that are no whole numbers.
    """
    return float(_within(outputs, labels, 1, "accuracy").mean())


def top_k_accuracy(k: int) -> Metric:
    """The metric "top5_accuracy", for k = 5: the fraction of samples whose label is among the k largest outputs.

    outputs and labels as in `accuracy`, which is the case k = 1: of equal outputs the first are the larger ones, and a
    sample with a NaN is wrong. Raises ValueError where there are fewer than k outputs.
    """
    k = positive(k, "top_k_accuracy", "k")

    def metric(outputs: Array, labels: Array) -> float:
        return float(_within(outputs, labels, k, metric.__name__).mean())

    metric.__name__ = metric.__qualname__ = f"top{k}_accuracy"
    return metric


def _within(outputs: Array, labels: Array, k: int, what: str) -> Array:
    """For each sample whether its label is among the k largest outputs: (N,) booleans."""
    outputs, labels = np.asarray(outputs), np.asarray(labels)
    if outputs.ndim != 2 or 0 in outputs.shape or labels.shape not in (outputs.shape, outputs.shape[:1]):
        raise ValueError(
            f"{what} expected outputs (N, K) and labels (N,) or (N, K), got {outputs.shape} and {labels.shape}"
        )
    N, K = outputs.shape
    if k > K:
        raise ValueError(f"{what} expected at least {k} outputs for each sample, got {K}")
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{what} expected labels of whole numbers, got {labels.dtype}: use labels.astype(int)")
    if labels.min() < 0 or labels.max() >= K:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{what} expected labels from 0 to {K - 1} for {K} outputs, got {wrong}")
    own = outputs[np.arange(N), labels][:, np.newaxis]  # (N, 1)
    earlier = np.arange(K) < labels[:, np.newaxis]  # (N, K)
    ahead = (outputs > own) | ((outputs == own) & earlier)
    return (ahead.sum(axis=1) < k) & ~np.isnan(outputs).any(axis=1)


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """How often each class was taken for each: (K, K) int64, the truth along the rows, the prediction along columns.

    labels, predictions: (N,) whole numbers from 0 to K - 1; predictions are outputs.argmax(axis=1). classes: K.
    Raises ValueError for other shapes and numbers out of range, TypeError for floats.
    """
    K = positive(classes, "confusion_matrix", "classes")
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        hint = ": use outputs.argmax(axis=1)" if predictions.ndim == 2 else ""
        raise ValueError(
            f"confusion_matrix expected labels and predictions (N,), got {labels.shape} and {predictions.shape}{hint}"
        )
    for name, numbers in (("labels", labels), ("predictions", predictions)):
        if numbers.dtype.kind not in "iu":
            raise TypeError(f"confusion_matrix expected {name} to be whole numbers, got {numbers.dtype}")
        if numbers.size and (int(numbers.min()) < 0 or int(numbers.max()) >= K):
            wrong = int(numbers.min()) if numbers.min() < 0 else int(numbers.max())
            raise ValueError(f"confusion_matrix expected {name} from 0 to {K - 1} for {K} classes, got {wrong}")
    cells = labels.astype(np.int64) * K + predictions.astype(np.int64)
    return np.bincount(cells, minlength=K * K).reshape(K, K)  # (K*K,) -> (K, K)


@dataclass(frozen=True)
class ClassReport:
    """What `class_report` found; all arrays (K,), one number a class.

    precision: of the samples predicted as this class, the fraction that are. recall: of its samples, the part found.
    f1: their harmonic mean. support: its samples. undefined: whether one of the three is 0/0, which counts as 0.
    accuracy: over all samples. macro_average: the plain mean over the classes of "precision", "recall" and "f1";
    weighted_average: weighted by support.
    """

    names: tuple[str, ...]
    precision: Array
    recall: Array
    f1: Array
    support: Array
    undefined: Array
    accuracy: float
    macro_average: Mapping[str, float]
    weighted_average: Mapping[str, float]


def class_report(confusion: Array, names: Sequence[str] | None = None) -> ClassReport:
    """Precision, recall and F1 of every class, from a confusion matrix with the truth along the rows.

        precision = hits / column sum,  recall = hits / row sum,  f1 = 2 * hits / (row sum + column sum)

    hits is the diagonal. A class that was never predicted has precision 0/0, one without samples recall 0/0: these
    count as 0, also in the averages, and `undefined` marks them.

    confusion: (K, K) counts. names: of the K classes; None numbers them.
    Raises ValueError for another shape, negative counts, no counts at all or a wrong number of names.
    Source: van Rijsbergen 1979, "Information Retrieval", chapter 7 (the F measure, with beta 1).
    """
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or confusion.dtype.kind not in "iu":
        raise ValueError(f"class_report expected counts (K, K), got {confusion.dtype} of shape {confusion.shape}")
    if confusion.size == 0 or confusion.min() < 0 or confusion.sum() == 0:
        raise ValueError("class_report expected counts >= 0 that are not all 0")
    K, confusion = len(confusion), confusion.astype(np.int64)  # twice the hits may be too many for a smaller type
    labelled = tuple(str(k) for k in range(K)) if names is None else tuple(str(name) for name in names)
    if len(labelled) != K:
        raise ValueError(f"class_report expected {K} names, one for each class, got {len(labelled)}")
    hits, support, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    columns = {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + predicted),
    }
    return ClassReport(
        names=labelled,
        **columns,
        support=support,
        undefined=(support == 0) | (predicted == 0),
        accuracy=float(hits.sum() / support.sum()),
        macro_average={name: float(column.mean()) for name, column in columns.items()},
        weighted_average={name: float(column @ support / support.sum()) for name, column in columns.items()},
    )


def format_report(report: ClassReport) -> str:
    """A report as a table of at most 80 columns."""
    lines = [_line("class", "precision", "recall", "F1", "support")]
    for k, name in enumerate(report.names):
        numbers = [f"{column[k]:.4f}" for column in (report.precision, report.recall, report.f1)]
        mark = " *" if report.undefined[k] else ""
        lines.append(_line(name, *numbers, str(report.support[k])) + mark)
    total = str(report.support.sum())
    lines.append("")
    for title, averages in (("macro average", report.macro_average), ("weighted average", report.weighted_average)):
        lines.append(_line(title, *[f"{averages[name]:.4f}" for name in ("precision", "recall", "f1")], total))
    lines.append(_line("accuracy", "", "", f"{report.accuracy:.4f}", total))
    if report.undefined.any():
        lines.append("* never predicted or without samples: 0/0, counted as 0")
    return "\n".join(lines)


def _line(name: str, *columns: str) -> str:
    name = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 3] + "..."
    return f"{name:<{NAME_WIDTH}}" + "".join(f"{column:>11}" for column in columns)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Element by element, with 0/0 = 0."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator != 0)


class RunningMeans:
    """Means of several numbers over batches, each batch counting by its samples: the last one may be smaller.

    sums, samples: of the batches so far, where a stopped run goes on; each sum is of value * samples.
    """

    def __init__(self, sums: Mapping[str, float] | None = None, samples: int = 0) -> None:
        self.sums, self.samples = dict(sums or {}), samples

    def add(self, values: Mapping[str, float], samples: int) -> None:
        """Count the means over one batch."""
        self.samples += samples
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * samples

    def values(self) -> dict[str, float]:
        """The means over all samples so far."""
        return {name: total / self.samples for name, total in self.sums.items()}


NAMED: Mapping[str, Metric] = {metric.__name__: metric for metric in (accuracy, top_k_accuracy(5))}


def named_metrics(metrics: Iterable[str | Metric]) -> dict[str, Metric]:
    """Metrics by the names that they have in the history; raises for an unknown name and for one that is taken."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(f'Trainer expected metrics to be a tuple like ("accuracy",), got {metrics!r}')
    named: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str) and metric not in NAMED:
            known = " and ".join(f'"{name}"' for name in NAMED)
            raise ValueError(f"the metrics known by name are {known}, got {metric!r}: pass a function instead")
        function = NAMED[metric] if isinstance(metric, str) else metric
        if not callable(function):
            raise TypeError(f"Trainer expected a metric to be a name or a function, got {metric!r}")
        name = _name(function)
        if name in named or name in RESERVED or name.startswith("val_"):
            raise ValueError(f"a metric cannot be called {name!r}, which the history uses already: rename the function")
        named[name] = function
    return named


def _name(function: Metric) -> str:
    """What a function is called; a functools.partial as the function in it."""
    function = function.func if isinstance(function, functools.partial) else function
    return str(getattr(function, "__name__", type(function).__name__))
