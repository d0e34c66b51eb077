"""How long the gradients of each layer are, step by step: kept while any loop trains."""

from __future__ import annotations

from types import TracebackType

from ..device import array_module
from ..nn import Module
from ..optim import Optimizer
from ..optim.optimizer import observe


class GradientNorms:
    """`with GradientNorms(model, optimizer) as norms:` keeps the norm of each layer's gradient at each optimizer step.

    Whatever trains inside: `trainer.fit(...)` or a loop of one's own. `norms.by_layer` is then, for each layer with
    Parameters by its dotted name, in the order of the layers, a list of one number a step: the square root of the sum
    of the squares of all gradients of its Parameters; NaN in a step where it had none.

    On a GPU a Trainer replays recorded steps, which Python does not see: make it with capture=False.
    """

    def __init__(self, model: Module, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._observing = observe(before=self._note, after=lambda optimizer: None)
        self._layers: dict[str, list[str]] = {}
        self._parameters = dict(model.named_parameters())
        for name in self._parameters:
            self._layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
        self.by_layer: dict[str, list[float]] = {layer: [] for layer in self._layers}

    def __enter__(self) -> GradientNorms:
        self._observing.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._observing.__exit__(kind, error, trace)

    def _note(self, optimizer: Optimizer) -> None:
        if optimizer is not self._optimizer:
            return
        for layer, names in self._layers.items():
            gradients = [g for name in names if (g := self._parameters[name].grad) is not None]
            square = sum(float(array_module(g).square(g.astype("float64")).sum()) for g in gradients)
            self.by_layer[layer].append(square**0.5 if gradients else float("nan"))
