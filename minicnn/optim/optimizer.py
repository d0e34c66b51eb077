"""Optimizer: what all optimizers share. It holds the Parameters, their state, and what can go wrong with either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import device
from .._tensor import Tensor
from ..nn import Parameter
from ..nn.checks import real

Array = Any


class Optimizer:
    """Changes Parameters along their gradients, one `step` after another.

    A subclass has a file of its own. It names its settings in `setting_names`, the arrays that it keeps for each
    Parameter in `state_names`, and writes `update`, which changes the arrays of all Parameters.

    params: the Parameters, in an order that stays (model.parameters()); some may not be filled yet.
    lr: the learning rate, > 0. A schedule may bring it to 0 later.

    Raises ValueError for no Parameters, one that comes twice or a wrong number, TypeError for another kind of thing.
    """

    setting_names: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, params: Iterable[Parameter], lr: float) -> None:
        self.params = _checked_parameters(params, type(self).__name__)
        if real(lr, type(self).__name__, "lr") <= 0:
            raise ValueError(f"{type(self).__name__} expected lr > 0, got {lr!r}")
        self.lr = lr
        # Parameter number -> name -> array. Made at the first step: before it, a lazy layer's Parameter has no shape.
        self._state: dict[int, dict[str, Array]] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the next step: finite, >= 0."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        # float(): a NumPy scalar of float64 would turn float32 weights into float64 ones.
        lr = real(value, type(self).__name__, "lr")
        if lr < 0:
            raise ValueError(f"{type(self).__name__} expected lr >= 0, got {value!r}")
        self._lr = lr

    @property
    def state_names(self) -> tuple[str, ...]:
        """The arrays kept for each Parameter, of its shape and dtype, zeros at first."""
        return ()

    def update(self, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """One step: write into ws, the values of the Parameters that have a gradient, and into the arrays of `state`.

        dws: their gradients. state: for each of `state_names` their arrays, in the same order.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def zero_grad(self) -> None:
        """Forget the gradients; without it those of the next backward pass would be added to them."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Change every Parameter that has a gradient; one without (grad None) is left as it is.

        Raises RuntimeError for a Parameter without values and if there is no gradient at all, ValueError for a
        gradient of another shape or dtype than its Parameter; then nothing has been changed.
        """
        places, ws, dws = self._with_gradients()
        states = [self._state_of(i, w) for i, w in zip(places, ws, strict=True)]
        self.update(ws, dws, {name: [state[name] for state in states] for name in self.state_names})

    def _with_gradients(self) -> tuple[list[int], list[Array], list[Array]]:
        """The places in `params`, the values and the gradients of the Parameters that have one, all checked."""
        places, ws, dws = [], [], []
        for i, parameter in enumerate(self.params):
            if not parameter.is_filled:
                raise RuntimeError(
                    f"step: Parameter {i} has no values yet: run a forward pass first, so that its layer can infer its "
                    "sizes; a layer that the forward pass never reaches should not be in the model"
                )
            w, dw = parameter.data, parameter.grad
            if dw is None:
                continue
            if dw.shape != w.shape or dw.dtype != w.dtype:
                raise ValueError(
                    f"step expected for Parameter {i} a gradient of {w.dtype} {w.shape}, got {dw.dtype} {dw.shape}"
                )
            places.append(i)
            ws.append(w)
            dws.append(dw)
        if not places:
            raise RuntimeError("step found no gradients: call loss.backward() first")
        return places, ws, dws

    def _state_of(self, i: int, w: Array) -> dict[str, Array]:
        """The arrays of Parameter i: made if they are missing, and moved to where its values w are now."""
        state = self._state.setdefault(i, {})
        for name in self.state_names:
            array = state.get(name)
            if array is None:
                state[name] = device.array_module(w).zeros(w.shape, w.dtype)
            elif array.dtype != w.dtype or device.device_of(array) != device.device_of(w):
                state[name] = device.to_device(array, device.device_of(w)).astype(w.dtype, copy=False)
        return state

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, flat: settings as numbers ("lr"), state as copies of arrays ("velocity.0").

        The number in a name is the Parameter's place in `params`. Before the first step there are no arrays.
        """
        settings = {name: getattr(self, name) for name in self.setting_names}
        arrays = {f"{name}.{i}": array.copy() for i, state in self._state.items() for name, array in state.items()}
        return {**settings, **arrays}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, settings too; raises as `check_state_dict`, changing nothing."""
        self.check_state_dict(values)
        for name in self.setting_names:
            setattr(self, name, values[name])
        self._state = {}
        for key, value in values.items():
            if key not in self.setting_names:
                name, _, i = key.rpartition(".")
                self._state.setdefault(int(i), {})[name] = value.copy()

    def check_state_dict(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError or TypeError, saying why, if `load_state_dict` would refuse these values."""
        kind = type(self).__name__
        if missing := [name for name in self.setting_names if name not in values]:
            raise ValueError(f"{kind} misses {', '.join(missing)} in the state: it is another optimizer's, or damaged")
        settings = {name: values[name] for name in self.setting_names}
        if real(settings["lr"], kind, "lr") < 0:
            raise ValueError(f"{kind} expected lr >= 0, got {settings['lr']!r}")
        # The constructor is what checks settings; lr apart, which a schedule may have brought to 0.
        fresh = type(self)(self.params, **{**settings, "lr": 1.0})
        allowed = {f"{name}.{i}": i for i in range(len(self.params)) for name in fresh.state_names}
        arrays = {key: value for key, value in values.items() if key not in settings}
        if strangers := [key for key in arrays if key not in allowed]:
            raise ValueError(
                f"{kind} of {len(self.params)} Parameters cannot use {', '.join(strangers[:5])} in the state: "
                "it is that of other Parameters, of another optimizer or of other settings"
            )
        for key, value in arrays.items():
            _check_array(f"{kind}: {key}", value, self.params[allowed[key]])
        for i in {allowed[key] for key in arrays}:
            if incomplete := [name for name in fresh.state_names if f"{name}.{i}" not in arrays]:
                raise ValueError(f"{kind} misses {incomplete[0]}.{i} in the state: it is damaged")


def _check_array(what: str, value: Any, parameter: Parameter) -> None:
    if not (isinstance(value, np.ndarray) or device.is_cuda(value)) or value.dtype not in (np.float32, np.float64):
        raise TypeError(f"{what} expected an array of float32 or float64, got {getattr(value, 'dtype', type(value))}")
    if not parameter.fits(value.shape):
        raise ValueError(f"{what} expected shape {parameter.known_shape}, got {value.shape}")


def _checked_parameters(params: Iterable[Parameter], kind: str) -> list[Parameter]:
    """The Parameters as a list, each once."""
    cure = "pass model.parameters()"
    # A Tensor can be iterated too, row by row, which nobody means here.
    if isinstance(params, Tensor) or not isinstance(params, Iterable):
        raise TypeError(f"{kind} expected an iterable of Parameters, got {type(params).__name__}: {cure}")
    listed = list(params)
    for i, parameter in enumerate(listed):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{kind} expected Parameters, got {type(parameter).__name__} at place {i}: {cure}")
    if not listed:
        raise ValueError(f"{kind} got no Parameters to change: {cure} of a model that has some, and a fresh iterator")
    if len({id(parameter) for parameter in listed}) < len(listed):
        raise ValueError(f"{kind} got a Parameter twice and would change it twice a step: {cure}, which has each once")
    return listed
