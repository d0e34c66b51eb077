"""The average of a network's weights over the last steps, which generalises better than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import device, kernels
from ..nn import Module
from ..nn.checks import real

Array = Any


class WeightAverage:
    """An exponential moving average of a model's Parameters and of the statistics of its batch normalisations.

        average = w                                                         the first time
        average = decay * average + (1 - decay) * w                         after each further step

    Steps of gradient descent run to and fro across a valley; their average lies near its floor. It looks back over
    about 1 / (1 - decay) steps: 1000 for 0.999.

        for x, labels in loader:
            ...
            optimizer.step()
            average.update()
        with average.applied():
            trainer.evaluate(test)

    model: whose Parameters and float buffers (running_mean, running_var) are averaged; counters are not.
    decay: in [0, 1). 0 makes the average the weights themselves.

    Raises TypeError and ValueError for something else. Sources: Polyak and Juditsky 1992, "Acceleration of stochastic
    approximation by averaging" (the mean of all steps); Szegedy et al. 2016, "Rethinking the Inception architecture for
    computer vision", section 8, evaluates with such a running average. It is PyTorch's AveragedModel with
    get_ema_multi_avg_fn and use_buffers=True.
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"WeightAverage expected a Module, got {type(model).__name__}")
        self.decay = real(decay, "WeightAverage", "decay")
        if not 0 <= self.decay < 1:
            raise ValueError(f"WeightAverage expected decay in [0, 1), got {decay!r}")
        self.model = model
        self._averages: dict[str, Array] = {}  # by name; empty before the first `update`
        self._is_applied = False

    @property
    def is_filled(self) -> bool:
        """Whether there are averages: after the first `update`."""
        return bool(self._averages)

    def update(self) -> None:
        """Let the averages follow the model by one step: the formula above, where the arrays are.

        Raises RuntimeError for a Parameter without values, and inside `applied`, where the model holds the averages.
        """
        self._refuse_applied("update")
        values = self._values("update")
        if not self._averages:
            self._averages = {name: array.copy() for name, array in values.items()}
            return
        averages, ws = [self._average(name, w) for name, w in values.items()], list(values.values())
        # average += (1 - decay) * (w - average): of 1 - decay more digits are kept so than of decay. It is what a step
        # of gradient descent does with dw = w, a weight decay of -1 and the rate decay - 1, all arrays in one pass.
        kernels.room(*averages, *ws).sgd_update(averages, ws, None, self.decay - 1, 0.0, False, -1.0)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """`with average.applied():` the model holds the averages; afterwards its own values again, bit for bit.

        The arrays stay the same objects, so that an optimizer and a recorded CUDA graph go on with them. What is
        written to Parameters and buffers inside is lost. Raises RuntimeError before the first `update`, and inside
        another one.
        """
        self._refuse_applied("applied")
        if not self._averages:
            raise RuntimeError("WeightAverage has no averages yet: call update() after a step of the optimizer first")
        values = self._values("applied")
        own = {name: array.copy() for name, array in values.items()}
        self._is_applied = True
        try:
            for name, array in values.items():
                array[...] = self._average(name, array)
            yield
        finally:
            for name, array in self._values("applied").items():
                array[...] = device.to_device(own[name], device.device_of(array))
            self._is_applied = False

    def state_dict(self) -> dict[str, Array]:
        """Copies of the averages under the names of what they average ("conv1.weight"); {} before an `update`."""
        return {name: array.copy() for name, array in self._averages.items()}

    def load_state_dict(self, values: Mapping[str, Array]) -> None:
        """Take over what `state_dict` returned; raises as `check_state_dict`, changing nothing."""
        self.check_state_dict(values)
        self._averages = {name: array.copy() for name, array in values.items()}

    def check_state_dict(self, values: Mapping[str, Array]) -> None:
        """Raise ValueError or TypeError, naming what differs, if `load_state_dict` would refuse these values."""
        shapes = {name: parameter.known_shape for name, parameter in self.model.named_parameters()}
        shapes |= {name: array.shape for name, array in self._float_buffers().items()}
        if values and (others := sorted(shapes.keys() ^ values.keys())):
            raise ValueError(f"WeightAverage of another model: only here or only in the state are {others[:5]}")
        fits = {name: parameter.fits for name, parameter in self.model.named_parameters()}
        for name, value in values.items():
            if not device.is_array(value) or value.dtype not in (np.float32, np.float64):
                got = getattr(value, "dtype", type(value).__name__)
                raise TypeError(f"WeightAverage expected for {name} an array of float32 or float64, got {got}")
            if not (fits[name](value.shape) if name in fits else shapes[name] == value.shape):
                raise ValueError(f"WeightAverage expected for {name} the shape {shapes[name]}, got {value.shape}")

    def _values(self, what: str) -> dict[str, Array]:
        """The model's own arrays that are averaged, by name."""
        parameters = dict(self.model.named_parameters())
        if empty := [name for name, parameter in parameters.items() if not parameter.is_filled]:
            raise RuntimeError(f"{what}: {empty[0]} has no values yet: run one forward pass first")
        return {name: parameter.data for name, parameter in parameters.items()} | self._float_buffers()

    def _float_buffers(self) -> dict[str, Array]:
        return {name: array for name, array in self.model.named_buffers() if array.dtype.kind == "f"}

    def _average(self, name: str, array: Array) -> Array:
        """The average of that name, moved to where the model's array is now."""
        average = device.to_device(self._averages[name], device.device_of(array)).astype(array.dtype, copy=False)
        self._averages[name] = average
        return average

    def _refuse_applied(self, what: str) -> None:
        if self._is_applied:
            raise RuntimeError(f"{what}: the model holds the averages already: leave `with average.applied()` first")
