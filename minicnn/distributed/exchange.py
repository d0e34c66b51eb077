"""One network on two ranks: each computes some of the channels, and sees the other's where a layer reads them all.

Ranks that train one network on different samples sum gradients. These two compute different parts of it for the same
samples, and so they exchange what is computed, forwards, and the gradients in it, backwards.

The network has one loss. What a rank knows of the gradient in an array is what its own later layers make of it, a part;
the gradient is the sum of both parts (`exchange_channels`). Where both ranks go on alike, as with the loss itself, each
knows all of it (`join_channels`). Backward passes run Functions by falling number of creation, on both ranks the same
order, so that each exchange meets its partner.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks", section
3.2; the two ways back are those of Shoeybi et al. 2019, "Megatron-LM", section 3 (their f and g).
"""

from __future__ import annotations

from typing import Any

from .._function import Function
from .._tensor import Tensor
from ..device import array_module
from ..ops.checks import check_float, is_whole
from .communicator import Communicator

Array = Any


class Exchange(Function):
    """See `exchange_channels`."""

    def __init__(self, communicator: Communicator, reach: int | None) -> None:
        self.communicator, self.reach = communicator, reach

    def forward(self, x: Array) -> Array:
        C, C_partner = self._channels(x)
        self.save(C)
        theirs = self._swap(x[..., self._shared(C)], C_partner if self.reach is None else min(self.reach, C_partner))
        return array_module(x).concatenate((x, theirs) if self.communicator.rank == 0 else (theirs, x), axis=-1)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (C,) = self.saved
        own, theirs = self._parts(dy, C)
        dx = own.copy()
        shared = dx[..., self._shared(C)]  # a view: what the other rank's layers made of these channels belongs in dx
        shared += self._swap(theirs, shared.shape[-1])
        return (dx,)

    def _channels(self, x: Array) -> tuple[int, int]:
        """How many channels this rank has, and the other, after both have looked whether the rest agrees."""
        kinds = self.communicator.gather((x.shape, str(x.dtype), self._records))
        shapes, dtypes, records = zip(*kinds, strict=True)
        if shapes[0][:-1] != shapes[1][:-1] or dtypes[0] != dtypes[1]:
            raise ValueError(
                f"{self.name} expected arrays that differ on the two ranks in their last axis alone, got {dtypes[0]} "
                f"{shapes[0]} on rank 0 and {dtypes[1]} {shapes[1]} on rank 1: give both the same samples"
            )
        if records[0] != records[1]:
            raise RuntimeError(
                f"{self.name} expected a gradient on both ranks or on none, but only rank {records.index(True)} "
                "records a graph: is the other inside no_grad, or its input without requires_grad?"
            )
        return x.shape[-1], shapes[1 - self.communicator.rank][-1]

    def _shared(self, C: int) -> slice:
        """Which of this rank's C channels the other one sees: those nearest to the border between the two."""
        reach = C if self.reach is None else min(self.reach, C)
        return slice(C - reach, C) if self.communicator.rank == 0 else slice(0, reach)

    def _parts(self, dy: Array, C: int) -> tuple[Array, Array]:
        """dy (..., C + C_partner) as this rank's channels, and the other's."""
        if self.communicator.rank == 0:
            return dy[..., :C], dy[..., C:]
        return dy[..., -C:], dy[..., :-C]

    def _swap(self, array: Array, C_received: int) -> Array:
        """Send an array to the other rank, and return the one that it sends: of this shape, but (..., C_received)."""
        xp = array_module(array)
        received = xp.empty((*array.shape[:-1], C_received), array.dtype)
        self.communicator.exchange(xp.ascontiguousarray(array), received, 1 - self.communicator.rank)
        return received


class Join(Exchange):
    """See `join_channels`; forward as in `Exchange`."""

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (C,) = self.saved
        return (self._parts(dy, C)[0],)


def exchange_channels(x: Tensor, communicator: Communicator, reach: int | None = None) -> Tensor:
    """The channels of both ranks: x (..., C), rank 0's C0 and rank 1's C1 of them, to (..., C0 + C1) on both.

    Forward:   y = [x of rank 0, x of rank 1]
    Backward:  dx on a rank = its own slice of (dy of rank 0 + dy of rank 1)

    reach: how many channels on either side of the border between the two the other rank sees; None for all. With
        reach=2, y is [x, the first two of rank 1's] on rank 0 and [the last two of rank 0's, x] on rank 1, and dx is
        the rank's own slice of dy, to which what comes back for the two is added.

    Both ranks have to call it, and backward, with equal shapes but C and one dtype. Raises ValueError where these
    differ, where there are not two ranks and for a wrong reach, RuntimeError where one rank records no graph or has
    ended, TypeError for what is no Tensor of floats, TimeoutError where the other rank does not come.
    """
    _check(x, communicator, "exchange_channels")
    if reach is not None and (not is_whole(reach) or reach < 1):
        raise ValueError(f"exchange_channels expected a reach of whole channels >= 1, or None for all, got {reach!r}")
    return Exchange(communicator, None if reach is None else int(reach))(x)


def join_channels(x: Tensor, communicator: Communicator) -> Tensor:
    """The channels of both ranks, with which both go on alike: as `exchange_channels`, but for the way back.

    Forward:   y = [x of rank 0, x of rank 1]
    Backward:  dx on a rank = its own slice of dy, which is the same on both

    For the logits: each rank computes the loss of all classes, and its gradient is whole. Raises as
    `exchange_channels` does.
    """
    _check(x, communicator, "join_channels")
    return Join(communicator, None)(x)


def _check(x: Tensor, communicator: Communicator, what: str) -> None:
    check_float(x, what)
    if x.size == 0 or x.ndim == 0:
        raise ValueError(f"{what} expected an array (..., C) with at least one element, got shape {x.shape}")
    if communicator.size != 2:
        raise ValueError(f"{what} expected two ranks, got {communicator.size}: start them with mpiexec -n 2")
