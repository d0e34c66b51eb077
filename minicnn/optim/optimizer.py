"""Optimizer: what all optimizers share. It holds the Parameters, their state, and what can go wrong with either."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from .. import device
from .._function import mark_changed
from ..nn import Parameter
from .groups import ParameterGroup, Rule, Settings, above_0, at_least_0, split_groups

Array = Any
Params = Iterable[Parameter] | Iterable[Mapping[str, Any]]

# Whom each step of an Optimizer tells about itself; see `observe`.
_observers: list[observe] = []


class observe:
    """`with observe(before, after):` calls before(optimizer) and after(optimizer) around each step of an Optimizer."""

    def __init__(self, before: Callable[[Optimizer], None], after: Callable[[Optimizer], None]) -> None:
        self.before, self.after = before, after

    def __enter__(self) -> None:
        _observers.append(self)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _observers.remove(self)


class Optimizer:
    """Changes Parameters along their gradients, one `step` after another.

    A subclass has a file of its own. It names its settings in `rules`, with what each has to be, the arrays that it
    keeps for each Parameter in `kept`, and writes `update`, which changes the arrays of a group's Parameters.

    params: the Parameters, in an order that stays (model.parameters()); some may not be filled yet. Or groups of them
        with settings of their own, {"params": [...], "lr": 0.01}; a setting that a group lacks is that of the others.
    lr: the learning rate, > 0. A schedule may bring it to 0 later. others: the other settings, by name.

    groups: a `ParameterGroup` for each. params: all Parameters, flat, in order. A setting is an attribute too:
    `optimizer.lr` reads that of the first group, and assigning it sets that of every group.

    Raises ValueError for no Parameters, one that comes twice or a wrong number, TypeError for another kind of thing.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"lr": at_least_0}
    kept: ClassVar[tuple[str, ...]] = ()  # the arrays kept for each Parameter, of its shape and dtype, zeros at first
    counters: ClassVar[tuple[str, ...]] = ()  # those of `kept` that are a single number, of shape ()

    lr: float

    def __init__(self, params: Params, lr: float, others: Mapping[str, Any] | None = None) -> None:
        kind, settings = type(self).__name__, {"lr": lr, **(others or {})}
        self.groups: list[ParameterGroup] = []
        for own, differing in split_groups(params, kind, self.rules):
            group = ParameterGroup(own, {**settings, **differing}, self.checked)
            above_0(group.lr, kind, "lr")
            self.groups.append(group)
        self.params = [parameter for group in self.groups for parameter in group.params]
        # Parameter number -> name -> array. Made at the first step: before it, a lazy layer's Parameter has no shape.
        self._state: dict[int, dict[str, Array]] = {}

    @classmethod
    def checked(cls, settings: Settings) -> Settings:
        """The settings as they are kept; a subclass adds what concerns several of them.

        Raises ValueError or TypeError for a wrong one.
        """
        return {name: rule(settings[name], cls.__name__, name) for name, rule in cls.rules.items()}

    def __getattr__(self, name: str) -> Any:
        # Python comes here when ordinary lookup finds nothing.
        if name in type(self).rules:
            return getattr(self.groups[0], name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.rules:
            super().__setattr__(name, value)
            return
        changed = [self.checked({**group.settings, name: value}) for group in self.groups]  # before any is assigned
        for group, settings in zip(self.groups, changed, strict=True):
            group.assign(settings)

    def state_names(self, group: ParameterGroup) -> tuple[str, ...]:
        """Which of `kept` a group with these settings uses: all, where a subclass says nothing else."""
        return self.kept

    def update(self, group: ParameterGroup, ws: list[Array], dws: list[Array], state: dict[str, list[Array]]) -> None:
        """One step: write into ws, the values of the Parameters that have a gradient, and into the arrays of `state`.

        group: whose Parameters they are, for its settings. dws: their gradients. state: for each of `state_names` their
        arrays, in the same order.
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
        with_gradient = [i for i in range(len(self.params)) if self._has_gradient(i)]
        if not with_gradient:
            raise RuntimeError("step found no gradients: call loss.backward() first")
        for observer in tuple(_observers):
            observer.before(self)
        with device.explaining():
            for group, places in self._places():
                here = [i for i in with_gradient if i in places]
                if here:
                    self._step_group(group, here)
        for observer in tuple(_observers):
            observer.after(self)

    def _has_gradient(self, i: int) -> bool:
        """Whether Parameter i has a gradient; raises for one that `step` cannot use."""
        parameter = self.params[i]
        if not parameter.is_filled:
            raise RuntimeError(
                f"step: Parameter {i} has no values yet: run a forward pass first, so that its layer can infer its "
                "sizes; a layer that the forward pass never reaches should not be in the model"
            )
        w, dw = parameter.data, parameter.grad
        if dw is not None and (dw.shape != w.shape or dw.dtype != w.dtype):
            raise ValueError(
                f"step expected for Parameter {i} a gradient of {w.dtype} {w.shape}, got {dw.dtype} {dw.shape}"
            )
        return dw is not None

    def _places(self) -> Iterator[tuple[ParameterGroup, range]]:
        """Each group, and the places of its Parameters in `params`."""
        first = 0
        for group in self.groups:
            yield group, range(first, first + len(group.params))
            first += len(group.params)

    def _step_group(self, group: ParameterGroup, places: list[int]) -> None:
        for i in places:
            mark_changed(self.params[i])
        ws, dws = [self.params[i].data for i in places], [self.params[i].grad for i in places]
        names = self.state_names(group)
        states = [self._state_of(i, names, w) for i, w in zip(places, ws, strict=True)]
        self.update(group, ws, dws, {name: [state[name] for state in states] for name in names})

    def _state_of(self, i: int, names: tuple[str, ...], w: Array) -> dict[str, Array]:
        """The arrays of Parameter i: made if they are missing, and moved to where its values w are now."""
        state = self._state.setdefault(i, {})
        for name in names:
            array = state.get(name)
            if array is None:
                state[name] = device.array_module(w).zeros(() if name in self.counters else w.shape, w.dtype)
            elif array.dtype != w.dtype or device.device_of(array) != device.device_of(w):
                state[name] = device.to_device(array, device.device_of(w)).astype(w.dtype, copy=False)
        return state

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, flat: settings as numbers ("lr"), state as copies of arrays ("velocity.0").

        The number in an array's name is the Parameter's place in `params`; before the first step there are no arrays.
        The settings of a second group are "groups.1.lr" and so on; "groups.1.first" is the place where it begins.
        An array that the settings no longer use (the velocity after momentum = 0) is there too: they may do so again.
        """
        values: dict[str, Any] = {}
        for prefix, group, places in self._prefixes():
            values |= {f"{prefix}{name}": value for name, value in group.settings.items()}
            values |= {f"{prefix}first": places.start} if prefix else {}
            for i in self._state.keys() & set(places):  # settings that were changed since the last step may use others
                self._state_of(i, self.state_names(group), self.params[i].data)
        arrays = {f"{name}.{i}": array.copy() for i, state in self._state.items() for name, array in state.items()}
        return {**values, **arrays}

    def _prefixes(self) -> Iterator[tuple[str, ParameterGroup, range]]:
        """Each group with what its settings' names begin with in the state, and its places."""
        for k, (group, places) in enumerate(self._places()):
            yield f"groups.{k}." if k else "", group, places

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, settings too; raises as `check_state_dict`, changing nothing."""
        arrays = self._checked_arrays(values)
        for prefix, group, _ in self._prefixes():
            group.assign({name: values[f"{prefix}{name}"] for name in self.rules})
        self._state = {}
        for key, array in arrays.items():
            name, _, i = key.rpartition(".")
            self._state.setdefault(int(i), {})[name] = array.copy()

    def check_state_dict(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError or TypeError, saying why, if `load_state_dict` would refuse these values."""
        self._checked_arrays(values)

    def _checked_arrays(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The arrays in a state, if all of it fits; else raises."""
        kind, names = type(self).__name__, dict[int, tuple[str, ...]]()
        settings_read: set[str] = set()
        for prefix, _, places in self._prefixes():
            settings_read |= self._check_settings(values, prefix, places.start)
            saved = ParameterGroup([], {name: values[f"{prefix}{name}"] for name in self.rules}, self.checked)
            names |= {i: self.state_names(saved) for i in places}
        arrays = {key: value for key, value in values.items() if key not in settings_read}
        place_of = {f"{name}.{i}": i for i in names for name in self.kept}
        if strangers := [key for key in arrays if key not in place_of]:
            raise ValueError(
                f"{kind} of {len(self.params)} Parameters in {len(self.groups)} groups cannot use "
                f"{', '.join(strangers[:5])} in the state: it is that of other Parameters or groups, of another "
                "optimizer or of other settings"
            )
        for key, value in arrays.items():
            single = key.rpartition(".")[0] in self.counters
            _check_array(f"{kind}: {key}", value, None if single else self.params[place_of[key]])
        for i in {place_of[key] for key in arrays}:
            if incomplete := [name for name in names[i] if f"{name}.{i}" not in arrays]:
                raise ValueError(f"{kind} misses {incomplete[0]}.{i} in the state: it is damaged")
        return arrays

    def _check_settings(self, values: Mapping[str, Any], prefix: str, first: int) -> set[str]:
        """The names in a state of one group's settings; raises if one is missing, or the group begins elsewhere."""
        kind = type(self).__name__
        expected = [f"{prefix}{name}" for name in self.rules] + ([f"{prefix}first"] if prefix else [])
        if missing := [name for name in expected if name not in values]:
            raise ValueError(f"{kind} misses {', '.join(missing)} in the state: it is another optimizer's, or damaged")
        if prefix and values[f"{prefix}first"] != first:
            raise ValueError(
                f"{kind} expected {prefix}first to be {first}, where this group begins, got "
                f"{values[f'{prefix}first']!r} in the state: it is that of other groups"
            )
        return set(expected)


def _check_array(what: str, value: Any, parameter: Parameter | None) -> None:
    """Raise unless value is an array that fits the Parameter, or, without one, a single number."""
    if not (isinstance(value, np.ndarray) or device.is_cuda(value)) or value.dtype not in (np.float32, np.float64):
        raise TypeError(f"{what} expected an array of float32 or float64, got {getattr(value, 'dtype', type(value))}")
    fits, known = (value.shape == (), ()) if parameter is None else (parameter.fits(value.shape), parameter.known_shape)
    if not fits:
        raise ValueError(f"{what} expected shape {known}, got {value.shape}")
