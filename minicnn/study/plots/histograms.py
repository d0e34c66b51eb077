"""Histograms of activations and of the gradients in them, layer by layer: where a deep network's signal goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import functional as F
from ..._tensor import Tensor
from ...device import to_device
from ...nn import Module
from ...ops import activation
from ..figure import FAINT, INK, PathLike, new_figure, plain, save_figure
from ..steps import Step, differentiate, run_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any
MAX_LAYERS = 12
BINS = 40
ACTIVATIONS = (activation.ReLU, activation.ReLU6, activation.Sigmoid, activation.Tanh)
VALUES, GRADIENTS = "#1f6fb4", "#d9622b"


@dataclass(frozen=True)
class LayerSignal:
    """The result of an activation, and the gradient of the loss in it; of one shape."""

    name: str
    values: Array
    gradients: Array


def layer_signals(
    model: Module, images: Array, labels: Array, loss: Callable[[Any, Array], Tensor] = F.cross_entropy
) -> list[LayerSignal]:
    """The results of a model's activations for a batch, and the gradients of its loss in them, first layer first.

    images: (N, H, W, C), uint8 or floats as the model takes them. labels: as the loss takes them.
    Runs one step in training mode, and leaves the model as it was; weights get no gradient. An activation is ReLU,
    ReLU6, Sigmoid or Tanh, by itself or as the end of a layer. Raises ValueError for a model that has none.
    """
    run = run_steps(model, images, "layer_signals", training=True)
    gradients = differentiate(run, loss(run.result, labels))
    steps = [step for step in run.steps if _is_activation(step) and step.name in gradients]
    if not steps:
        raise ValueError("layer_signals expected a model with ReLU, ReLU6, Sigmoid or Tanh on the way to its loss")
    return [LayerSignal(step.name, step.output.numpy(), to_device(gradients[step.name], "cpu")) for step in steps]


def _is_activation(step: Step) -> bool:
    return isinstance(step.operation, ACTIVATIONS) or getattr(step.operation, "activation", None) is not None


def activation_histograms(
    models: Module | Mapping[str, Module],
    images: Array,
    labels: Array,
    loss: Callable[[Any, Array], Tensor] = F.cross_entropy,
    path: PathLike | None = None,
) -> Figure:
    """Histograms of what each activation makes of a batch, and of the gradients that come back to it; see
    `layer_signals`.

    models: one model, or several by name beside each other: a deep stack with sigmoids and the same with ReLUs shows
        why deep networks were hard to train before 2010. The gradients of all are drawn on one logarithmic scale.

    Of more than 12 layers 12 evenly spread ones are shown. Numbers that are exactly 0, of which ReLU makes many, are
    not drawn; what share they are is written above each, and of the activations the standard deviation. The few
    that lie far beyond all others stand at the ends.

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    section 4; Glorot, Bordes, Bengio 2011, "Deep Sparse Rectifier Neural Networks".
    """
    named = {"": models} if isinstance(models, Module) else dict(models)
    if not named:
        raise ValueError("activation_histograms expected at least one model, got none")
    signals = {name: _spread(layer_signals(model, images, labels, loss)) for name, model in named.items()}
    rows = max(map(len, signals.values()))
    width, height = 5.6 * len(signals), 0.72 * rows + 0.8
    figure = new_figure(width, height)
    figure.set_layout_engine("none")  # which would measure each of the many axes, and take seconds
    longest = max(len(signal.name) for shown in signals.values() for signal in shown)
    room = 0.25 + 0.062 * longest  # inches, for the names
    grid = figure.add_gridspec(
        rows, 2 * len(signals), left=room / width, right=1 - 0.25 / width, bottom=0.35 / height, top=1 - 0.4 / height,
        wspace=0.15 + (0.3 * room if len(signals) > 1 else 0), hspace=0.3,
    )  # fmt: skip
    limits = _decades([signal.gradients for shown in signals.values() for signal in shown])
    for place, (name, shown) in enumerate(signals.items()):
        between = _range([signal.values for signal in shown])
        for i, signal in enumerate(shown):
            last = i == len(shown) - 1
            left = figure.add_subplot(grid[i, 2 * place])
            _draw_values(left, signal, between, last)
            right = figure.add_subplot(grid[i, 2 * place + 1])
            _draw_gradients(right, signal, limits, last)
            if i == 0:
                left.set_title(f"{plain(name)}: activations" if name else "activations", fontsize=10, color=INK)
                right.set_title(f"{plain(name)}: gradients" if name else "gradients", fontsize=10, color=INK)
    return save_figure(figure, path)


def _spread(signals: list[LayerSignal]) -> list[LayerSignal]:
    places = np.linspace(0, len(signals) - 1, min(MAX_LAYERS, len(signals))).round().astype(int)
    return [signals[i] for i in places]


def _range(values: list[Array]) -> tuple[float, float]:
    """What 998 of 1000 activations lie between, in the layer where they reach furthest; 0 is in it."""
    lowest = min(float(np.quantile(array, 0.001)) for array in values)
    largest = max(float(np.quantile(array, 0.999)) for array in values)
    return (min(lowest, 0.0), max(largest, 0.0)) if lowest < largest else (-1.0, 1.0)


def _decades(gradients: list[Array]) -> tuple[float, float]:
    """The powers of ten between which the gradients lie, but for a few of the smallest."""
    sizes = np.concatenate([np.abs(dy[dy != 0]).ravel() for dy in gradients])
    if not sizes.size:
        return -8.0, 0.0
    return float(np.floor(np.log10(np.quantile(sizes, 0.005)))), float(np.ceil(np.log10(sizes.max())))


def _draw_values(axes: Axes, signal: LayerSignal, limits: tuple[float, float], last: bool) -> None:
    axes.stairs(*np.histogram(signal.values[signal.values != 0].clip(*limits), BINS, limits), fill=True, color=VALUES)
    _finish(axes, limits, last, f"std {signal.values.std():.2g}, {_zeros(signal.values)}")
    axes.set_ylabel(plain(signal.name), rotation=0, ha="right", va="center", fontsize=7, color=INK)


def _draw_gradients(axes: Axes, signal: LayerSignal, limits: tuple[float, float], last: bool) -> None:
    sizes = np.abs(signal.gradients[signal.gradients != 0])
    axes.stairs(*np.histogram(np.log10(sizes).clip(*limits), BINS, limits), fill=True, color=GRADIENTS)
    _finish(axes, limits, last, _zeros(signal.gradients))
    if last:
        ticks = range(int(limits[0]), int(limits[1]) + 1, max(1, round((limits[1] - limits[0]) / 4)))
        axes.set_xticks(list(ticks), [f"$10^{{{n}}}$" for n in ticks])


def _zeros(array: Array) -> str:
    return f"{(array == 0).mean():.0%} are 0"


def _finish(axes: Axes, limits: tuple[float, float], last: bool, written: str) -> None:
    """No frame but the line below, numbers there only in the last row."""
    axes.set_xlim(*limits)
    axes.set_ylim(0, 1.45 * axes.get_ylim()[1])  # room for what is written
    axes.set_yticks([])
    axes.tick_params(labelsize=7, colors=INK, labelbottom=last, length=2)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.text(0.98, 0.98, written, transform=axes.transAxes, ha="right", va="top", fontsize=7, color=INK)
