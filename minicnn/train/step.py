"""What is done with a batch: forward, loss, backward, step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from .._tensor import Tensor
from ..device import array_module, device_of, to_device
from ..nn import Module
from ..nn.checks import real
from ..optim import Optimizer, ReduceLROnPlateau, Schedule, WeightAverage, clip_grad_norm
from .epoch import ALONE, EpochState, Share
from .metrics import Metric, main_output, named_metrics

if TYPE_CHECKING:
    from ..distributed.gradients import GradientBuckets

Array = Any
Outputs = Any  # a Tensor (N, K), or a tuple that begins with it
Loss = Callable[[Outputs, Array], Tensor]
LOSS_SCALE = 1024.0  # a power of 2: it costs no digit


class TrainingStep:
    """What a `Trainer` does with a batch, and the parts it does it with; see there."""

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Loss,
        metrics: Sequence[str | Metric],
        schedule: Schedule | None,
        schedule_interval: str,
        precision: str,
        clip_norm: float | None,
        average: WeightAverage | None,
    ) -> None:
        for name, part, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
            if not isinstance(part, kind):
                raise TypeError(f"Trainer expected {name} to be of class {kind.__name__}, got {type(part).__name__}")
        if not callable(loss):
            raise TypeError(f"Trainer expected loss to be a function of (outputs, labels), got {loss!r}")
        # It may hold a part of them (fine-tuning), but what is not the model's would not be saved with it.
        if not {id(p) for p in optimizer.params} <= {id(p) for p in model.parameters()}:
            raise ValueError("the optimizer holds Parameters that are not this model's: make it of model.parameters()")
        if precision not in ("float32", "float16"):
            raise ValueError(f'Trainer expected precision to be "float32" or "float16", got {precision!r}')
        _check_schedule(schedule, schedule_interval, optimizer)
        if clip_norm is not None and real(clip_norm, "Trainer", "clip_norm") <= 0:
            raise ValueError(f"Trainer expected clip_norm > 0 or None, got {clip_norm!r}")
        if average is not None and not isinstance(average, WeightAverage):
            raise TypeError(f"Trainer expected average to be a WeightAverage or None, got {type(average).__name__}")
        if average is not None and average.model is not model:
            raise ValueError("Trainer got an average of another model: make it of the one that is trained")
        self.model, self.optimizer, self.loss, self.metrics = model, optimizer, loss, named_metrics(metrics)
        self.schedule, self.schedule_interval = schedule, schedule_interval
        self.precision, self.clip_norm, self.average = precision, clip_norm, average
        self.epoch, self.under_way = 0, EpochState()
        self._buckets: GradientBuckets | None = None  # while several ranks make the steps together

    @property
    def place(self) -> tuple[str, Any]:
        """The model's device and dtype: also those of a lazy layer, before it has values."""
        return next(self.model.parameters()).place

    def _train_on(
        self, x: Array, labels: Array, batch: int, share: Share, check: Callable[[int], None] | None
    ) -> dict[str, float]:
        """Forward, loss, backward, step; returns the loss and the metrics before the step.

        check: of all labels, given the number of outputs.
        """
        outputs = self._outputs(x)
        if check is not None:
            check(main_output(outputs).shape[1])
        loss = self._loss(outputs, labels)
        value = self.check_loss(loss.item(), batch)
        if not loss.requires_grad:
            raise RuntimeError("the loss does not depend on the weights: is fit inside no_grad, or a layer detached?")
        self.update(loss, share)
        return self.measure(main_output(outputs).numpy(), labels, value)

    def update(self, loss: Tensor, share: Share = ALONE) -> None:
        """Add the gradients of this loss to those of the step, and make it if the batch is the last of the step."""
        self.add_gradients(loss, share)
        if share.is_last:
            self.step()

    def add_gradients(self, loss: Tensor, share: Share = ALONE) -> None:
        """Add the gradients of this loss to those of the step; of its first batch they are the only ones."""
        if share.is_first:
            self.optimizer.zero_grad()
        with self._buckets.summing() if self._buckets is not None and share.is_last else nullcontext():
            self._backward(loss, share.weight)

    def _backward(self, loss: Tensor, weight: float) -> None:
        """dw += weight * d loss / dw; in mixed precision LOSS_SCALE times that, until the step."""
        scale = weight if self.precision == "float32" else weight * LOSS_SCALE
        if scale == 1:
            loss.backward()
        else:
            loss.backward(array_module(loss.data).full(loss.shape, scale, dtype=loss.dtype))

    def step(self) -> None:
        """A step of the optimizer along the gradients; average and schedule follow."""
        if self.precision != "float32":
            for parameter in self.optimizer.params:
                if parameter.grad is not None:
                    parameter.grad *= 1 / LOSS_SCALE
        if self.clip_norm is not None:
            clip_grad_norm(self.optimizer.params, self.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        if self.schedule is not None and self.schedule_interval == "step":
            self.schedule.step()

    def forward(self, x: Array) -> Outputs:
        """What the model returns for images on its device, computed in `precision`, of the dtype of x."""
        if self.precision == "float32":
            return self.model(Tensor(x))
        if device_of(x) == "cpu":
            raise RuntimeError('precision="float16" is for a GPU: move the model with .to("cuda"), or use "float32"')
        outputs = self.model(Tensor(x.astype(np.float16)))
        if isinstance(outputs, tuple):
            return tuple(each.to(dtype=x.dtype) for each in outputs)
        return outputs.to(dtype=x.dtype) if isinstance(outputs, Tensor) else outputs

    def _outputs(self, x: Array) -> Outputs:
        """What the model returns for a batch, brought to the model's device and dtype."""
        device, dtype = self.place
        outputs = self.forward(to_device(x.astype(dtype, copy=False), device))
        rows = main_output(outputs)
        if not isinstance(rows, Tensor) or rows.ndim != 2 or len(rows) != len(x):
            got = f"shape {rows.shape}" if isinstance(rows, Tensor) else type(outputs).__name__
            raise ValueError(
                f"the Trainer expected the model to return a Tensor (N, K), a row for each of the {len(x)} images of "
                f"{x.shape}, got {got}: end it with nn.Flatten() and nn.Linear(None, K), say"
            )
        return outputs

    def _loss(self, outputs: Outputs, labels: Array) -> Tensor:
        loss = self.loss(outputs, labels)
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"the Trainer expected the loss to be a Tensor of one element, got {got}: use .mean()")
        return loss

    def measure(self, outputs: Array, labels: Array, loss: float) -> dict[str, float]:
        """The loss and the metrics of one batch, from its outputs (N, K) and its labels as NumPy arrays."""
        return {"loss": loss, **{name: float(f(outputs, labels)) for name, f in self.metrics.items()}}

    def check_loss(self, loss: float, batch: int) -> float:
        """The loss of a batch as it is; raises RuntimeError if it is not finite."""
        if not math.isfinite(loss):
            raise RuntimeError(
                f"the loss became {loss} in epoch {self.epoch + 1}, batch {batch + 1}: try a smaller learning rate "
                f"than {self.optimizer.lr:g}, and look for infinities in the model; go on from a checkpoint with load"
            )
        return loss

    def check_weights(self) -> None:
        """Raise RuntimeError for a weight that is not finite: the last step may have spoilt it."""
        named = {name: p.data for name, p in self.model.named_parameters() if p.is_filled}
        for name, array in (named | dict(self.model.named_buffers())).items():
            if not array_module(array).isfinite(array).all():
                raise RuntimeError(
                    f"{name} is no longer finite after batch {self.under_way.batch} of epoch {self.epoch + 1}, which "
                    f"was not saved: try a smaller learning rate than {self.optimizer.lr:g}; go on from a checkpoint "
                    "with load"
                )


def _check_schedule(schedule: Any, interval: Any, optimizer: Optimizer) -> None:
    if schedule is not None and not isinstance(schedule, Schedule):
        raise TypeError(f"Trainer expected schedule to be a Schedule or None, got {type(schedule).__name__}")
    if schedule is not None and schedule.optimizer is not optimizer:
        raise ValueError("Trainer got a schedule of another optimizer: make it of the one that trains")
    if interval not in ("epoch", "step"):
        raise ValueError(f'Trainer expected schedule_interval to be "epoch" or "step", got {interval!r}')
    if schedule is None and interval == "step":
        raise ValueError('Trainer got schedule_interval="step" and no schedule: give it one')
    if isinstance(schedule, ReduceLROnPlateau) and interval == "step":
        raise ValueError(
            'Trainer got schedule_interval="step" and a ReduceLROnPlateau, which looks at what a whole epoch measured: '
            'use "epoch"'
        )
