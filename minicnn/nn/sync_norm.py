"""Batch normalisation over the samples of all ranks of a job."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .. import _part
from .. import functional as F
from .._tensor import Tensor
from .module import Module
from .norm import BatchNorm2d

if TYPE_CHECKING:
    from ..distributed import Communicator

M = TypeVar("M", bound=Module)


class SyncBatchNorm(BatchNorm2d):
    """A BatchNorm2d whose batch in training is that of all ranks together; see `F.sync_batch_norm`.

    Trained on several ranks, a BatchNorm2d normalises with the mean and variance of its own rank's samples: where they
    are few, those are a rough guess, and the result depends on the number of ranks. This layer gives what one rank with
    the whole batch would have, for two short messages a layer in the forward direction and one in the backward
    direction. All ranks have to call it together. In evaluation, and for a rank that is alone, it is a BatchNorm2d, and
    nothing is sent.

    communicator: the ranks, as mc.distributed.init() gives them. The other arguments, the Parameters, the buffers and
    the names in a state_dict are those of BatchNorm2d: what was trained with one is loaded into the other.

    Raises TypeError and ValueError for a wrong argument. Source: as of BatchNorm2d.
    """

    def __init__(
        self, num_features: int, communicator: Communicator, eps: float = 1e-5, momentum: float | None = 0.1,
        activation: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, activation)
        self.communicator = _checked(communicator)

    def _normalised(self, x: Tensor, momentum: float, activation: str | None, residual: Tensor | None) -> Tensor:
        if not self.training or self.communicator.size == 1:
            return super()._normalised(x, momentum, activation, residual)
        settings = (self.running_mean, self.running_var, self.communicator, momentum, self.eps)
        counted = not _part.current().is_idle
        return F.sync_batch_norm(x, self.weight, self.bias, *settings, activation, residual, counted)

    def __deepcopy__(self, memo: dict[int, Any]) -> SyncBatchNorm:
        """A copy is on the same ranks: there is no copying of a communicator."""
        memo[id(self.communicator)] = self.communicator
        memo[id(self)] = new = type(self).__new__(type(self))
        vars(new).update(copy.deepcopy(vars(self), memo))
        return new

    @classmethod
    def convert_sync_batchnorm(cls, module: M, communicator: Communicator) -> M:
        """Put a SyncBatchNorm in the place of each BatchNorm2d inside a Module, and return the Module.

        Their Parameters and buffers are the same objects, so that an optimizer made before still has them. A Module
        that is itself a BatchNorm2d cannot be changed from inside: what is returned takes its place. Subclasses of
        BatchNorm2d, which may compute something else, stay what they are.
        """
        if not isinstance(module, Module):
            raise TypeError(f"convert_sync_batchnorm expected a Module, got {type(module).__name__}")
        _checked(communicator)
        made: dict[int, SyncBatchNorm] = {}  # by the layer it replaces: one that stands in two places stays one
        for parent in [*module.modules()]:
            for name, layer in [*parent.named_children()]:
                if type(layer) is BatchNorm2d:
                    made[id(layer)] = made.get(id(layer)) or cls._in_place_of(layer, communicator)
                    setattr(parent, name, made[id(layer)])
        return cast(M, cls._in_place_of(module, communicator)) if type(module) is BatchNorm2d else module

    @classmethod
    def _in_place_of(cls, layer: Module, communicator: Communicator) -> SyncBatchNorm:
        new = cls.__new__(cls)  # without new Parameters, which would shift the random numbers of layers made later
        vars(new).update(vars(layer), communicator=communicator)
        return new


def _checked(communicator: Communicator) -> Communicator:
    """Raise TypeError unless it can add up an array over ranks."""
    if not callable(getattr(communicator, "all_reduce", None)):
        raise TypeError(
            "SyncBatchNorm expected a communicator, as mc.distributed.init() returns it, got "
            f"{type(communicator).__name__}"
        )
    return communicator
