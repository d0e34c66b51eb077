"""Parameter groups: which Parameters an optimizer changes, and with what settings.

Weight decay is not for every Parameter, and a layer that is trained already wants a smaller learning rate than a fresh
one. So an optimizer has its Parameters in groups, of which each has settings of its own; mostly there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._tensor import Tensor
from ..nn import Parameter
from ..nn.checks import real

Settings = dict[str, Any]
Rule = Callable[[Any, str, str], Any]  # (value, optimizer, name) -> the value as it is kept; raises for a wrong one


def at_least_0(value: Any, optimizer: str, name: str) -> float:
    """A finite number >= 0, as a float: a NumPy scalar of float64 would turn float32 weights into float64 ones."""
    number = real(value, optimizer, name)
    if number < 0:
        raise ValueError(f"{optimizer} expected {name} >= 0, got {value!r}")
    return number


def above_0(value: Any, optimizer: str, name: str) -> float:
    """A finite number > 0."""
    number = real(value, optimizer, name)
    if number <= 0:
        raise ValueError(f"{optimizer} expected {name} > 0, got {value!r}")
    return number


def below_1(value: Any, optimizer: str, name: str) -> float:
    """A number in [0, 1): how much of an average is kept."""
    number = real(value, optimizer, name)
    if not 0 <= number < 1:
        raise ValueError(f"{optimizer} expected {name} in [0, 1), got {value!r}")
    return number


def two_below_1(value: Any, optimizer: str, name: str) -> tuple[float, float]:
    """A pair of numbers in [0, 1)."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{optimizer} expected {name} to be a pair of numbers in [0, 1), got {value!r}")
    return below_1(value[0], optimizer, f"{name}[0]"), below_1(value[1], optimizer, f"{name}[1]")


class ParameterGroup:
    """Parameters that an optimizer changes with the same settings.

    params: the Parameters, a list. settings: by their names. check: settings -> settings as they are kept, raising
    ValueError or TypeError for a wrong one; the optimizer's `checked`.

    Every setting can be read and assigned as an attribute: `group.lr = 0.01`. A wrong value raises as the optimizer's
    constructor does, a name that is no setting AttributeError; then nothing has been changed.
    """

    params: list[Parameter]

    def __init__(self, params: list[Parameter], settings: Settings, check: Callable[[Settings], Settings]) -> None:
        vars(self).update(params=params, _settings=check(settings), _check=check)

    @property
    def settings(self) -> Settings:
        """All settings by name; a copy."""
        return dict(vars(self)["_settings"])

    def __getattr__(self, name: str) -> Any:
        # Python comes here when ordinary lookup finds nothing.
        settings = vars(self).get("_settings", {})
        if name in settings:
            return settings[name]
        raise AttributeError(f"this group has no setting {name!r}, only {', '.join(settings)}")

    def __setattr__(self, name: str, value: Any) -> None:
        getattr(self, name)  # raises for what is no setting
        if name not in self.settings:
            raise AttributeError(f"{name} of a group cannot be assigned, only {', '.join(self.settings)}")
        self.assign({**self.settings, name: value})

    def assign(self, settings: Settings) -> None:
        """Take over all settings at once: two of them may be wrong one by one and right together."""
        vars(self)["_settings"] = vars(self)["_check"](settings)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"ParameterGroup({len(self.params)} Parameters, {settings})"


def split_groups(params: Any, kind: str, names: Iterable[str]) -> list[tuple[list[Parameter], Settings]]:
    """What an optimizer was given, as its groups: the Parameters and the settings of their own.

    params: an iterable of Parameters, which is one group, or of dicts {"params": Parameters, "lr": ...}. kind: the
    optimizer's class. names: of the settings that there are.
    """
    # A Tensor can be iterated too, row by row, which nobody means here.
    if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
        raise TypeError(
            f"{kind} expected an iterable of Parameters or of dicts, got {type(params).__name__}: pass "
            "model.parameters(), or a list of groups"
        )
    listed = list(params)
    dicts = [each for each in listed if isinstance(each, Mapping)]
    if dicts and len(dicts) < len(listed):
        raise TypeError(f"{kind} expected Parameters or dicts, got both: put every Parameter into a dict")
    groups = [_group(each, kind, list(names), i) for i, each in enumerate(dicts)] or [(listed, {})]
    everything = [parameter for own, _ in groups for parameter in own]
    for own, _ in groups:
        _check_parameters(own, kind)
    if len({id(parameter) for parameter in everything}) < len(everything):
        raise ValueError(
            f"{kind} got a Parameter twice and would change it twice a step: pass model.parameters(), which has each "
            "once, and each of them in one group"
        )
    return groups


def _group(given: Mapping[str, Any], kind: str, names: list[str], i: int) -> tuple[list[Parameter], Settings]:
    if "params" not in given:
        raise ValueError(f'{kind} expected "params" in group {i}, got only {", ".join(map(str, given)) or "nothing"}')
    params, own = given["params"], {name: value for name, value in given.items() if name != "params"}
    if strangers := [str(name) for name in own if name not in names]:
        raise ValueError(f"{kind} has no setting {', '.join(strangers)} for group {i}: there are {', '.join(names)}")
    if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
        raise TypeError(f"{kind} expected Parameters in group {i}, got {type(params).__name__}: pass a list of them")
    return list(params), own


def _check_parameters(params: list[Any], kind: str) -> None:
    cure = "pass model.parameters()"
    for i, parameter in enumerate(params):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{kind} expected Parameters, got {type(parameter).__name__} at place {i}: {cure}")
    if not params:
        raise ValueError(f"{kind} got no Parameters to change: {cure} of a model that has some, and a fresh iterator")
