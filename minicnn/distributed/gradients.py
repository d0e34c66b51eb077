"""The gradients of all ranks added up, while the backward pass still makes them.

Data-parallel training is one formula. The loss of a batch is a mean over its samples, so its gradient is one too, and a
mean can be taken in parts: with n_r of the n samples on rank r,

    dw = sum over r of (n_r / n) * dw_r,        dw_r = the gradient of rank r's mean loss

Each rank weights its loss by n_r / n (the Trainer does), and the gradients are summed here. A message for each
Parameter would cost the network's latency every time, one for all could only start when the pass is over. So the
gradients are gathered in buckets, in the order in which the pass completes them, which begins at the last layer; a full
bucket is sent while the pass goes on with the layers before. MPI moves data only inside its own calls: between two
Functions the pass stops to let it.

Source: Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", section 3.2.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _part, autograd
from ..device import array_module
from ..nn import Parameter
from .agreement import check_same
from .communicator import Communicator, Request, described

Array = Any
BUCKET_BYTES = 1 << 20


@dataclass
class Sent:
    """When a bucket was sent: `started` and `done` in seconds since the backward pass began; done as it was noticed."""

    bytes: int
    started: float
    done: float = 0.0


@dataclass
class Trace:
    """One backward pass and what was sent meanwhile: when the pass ended and the last sum was there, in seconds since
    it began. Between the two the rank only waited."""

    buckets: list[Sent] = field(default_factory=list)
    pass_ended: float = 0.0
    sums_ended: float = 0.0

    @property
    def waited(self) -> float:
        """The seconds in which nothing was computed."""
        return self.sums_ended - self.pass_ended

    @property
    def bytes(self) -> int:
        """How much was summed, all Parameters together."""
        return sum(sent.bytes for sent in self.buckets)


class Bucket:
    """Parameters whose gradients are sent together, in the order in which they are completed.

    places: their numbers. array: the gradients one behind the other, (elements,); None for a single Parameter, whose
    gradient is sent where the pass has made it.
    """

    def __init__(self, places: Sequence[int], parameters: Sequence[Parameter]) -> None:
        self.places = tuple(places)
        ws = [parameters[i].data for i in places]
        self.slots: dict[int, Array] = {}
        self.array = None
        if len(ws) > 1:
            self.array = array_module(ws[0]).empty(sum(w.size for w in ws), ws[0].dtype)
            ends = np.cumsum([w.size for w in ws])
            for i, w, end in zip(places, ws, ends, strict=True):
                self.slots[i] = self.array[end - w.size : end].reshape(w.shape)
        self.missing = set(self.places)  # those whose gradients are not here yet

    def put(self, place: int, dw: Array | None, before: Array | None, w: Array) -> None:
        """The gradient of a Parameter: dw of this pass, added to what batches before have left; None is 0.

        Nobody else holds dw of the pass: the sum may be written into it.
        """
        self.missing.remove(place)
        if dw is None or before is not None:
            # of arrays without axes NumPy's sum is a scalar, which cannot be sent
            dw = before if dw is None else array_module(w).asarray(dw + before)
        if self.array is not None:
            self.slots[place][...] = 0 if dw is None else dw
        elif dw is None or not dw.flags.c_contiguous or dw is before:
            self.slots[place] = array_module(w).zeros_like(w, order="C") if dw is None else dw.copy(order="C")
        else:
            self.slots[place] = dw

    @property
    def content(self) -> Array:
        """What is sent."""
        return self.slots[self.places[0]] if self.array is None else self.array


class GradientBuckets:
    """Sums the gradients of Parameters over all ranks, bucket by bucket, during the backward pass.

        buckets = GradientBuckets(optimizer.params, communicator)
        optimizer.zero_grad()
        with buckets.summing():
            loss.backward(weight)                # weight = n_r / n
        optimizer.step()                         # every rank makes the same step

    parameters: in one order on all ranks, of the same shapes and dtypes, trained or frozen alike; each has values.
    communicator: the ranks. bucket_bytes: a bucket is full when it has so many; a Parameter that is larger has one of
        its own and is not copied.

    trace: of the last pass. The gradients are views of the buckets, which the next pass writes over.

    The order is that of rank 0's first pass, in which nothing is sent before the end, and then that of all ranks, which
    have to start their sums in one order. A layer that one rank leaves out fills its bucket later there, before or
    behind what layers such as SyncBatchNorm sum meanwhile: so these sums are `apart`. A Parameter without a gradient on
    this rank (unused) adds 0; one without on any rank keeps None. An idle rank (`_part`) adds nothing of its pass.
    """

    def __init__(
        self, parameters: Sequence[Parameter], communicator: Communicator, bucket_bytes: int = BUCKET_BYTES
    ) -> None:
        self.parameters, self.communicator, self.bucket_bytes = tuple(parameters), communicator, bucket_bytes
        self.trace = Trace()
        self._place_of = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        self._buckets: list[Bucket] = []
        self._trained: tuple[bool, ...] = ()  # which Parameters the buckets are made for

    @contextmanager
    def summing(self) -> Iterator[None]:
        """`with buckets.summing():` one backward pass; afterwards `.grad` is the sum over the ranks of what it is now
        and what the pass adds."""
        self._begin()
        before = [parameter.grad for parameter in self.parameters]
        with autograd.observe(after=lambda function, dxs: self._progress(), complete=self._complete):
            yield
        if _part.current().is_idle:
            for parameter, dw in zip(self.parameters, before, strict=True):
                parameter.grad = dw
        self.trace.pass_ended = self._now()
        self._send_rest()
        self.trace.sums_ended = self._now()
        self._give()

    def _begin(self) -> None:
        self._start, self.trace = time.perf_counter(), Trace()
        self._completed: list[int] = []  # in the order of the pass
        self._under_way: list[tuple[Request, Sent]] = []
        trained = tuple(parameter.requires_grad for parameter in self.parameters)
        if trained != self._trained:  # the first pass, or layers were frozen or unfrozen since
            self._buckets, self._trained = [], trained
        for bucket in self._buckets:
            bucket.missing = set(bucket.places)
        self._next = 0  # the first bucket that is not sent yet

    def _complete(self, leaf: Any, dw: Array) -> None:
        """A gradient is complete: it goes into its bucket, and that on its way, if it is full and the next one."""
        place = self._place_of.get(id(leaf))
        if place is None:
            return
        self._completed.append(place)
        if self._buckets:
            parameter = self.parameters[place]
            own = None if _part.current().is_idle else dw
            self._bucket_of[place].put(place, own, parameter.grad, parameter.data)
            self._send_full()

    def _send_full(self) -> None:
        """Send the buckets that are full, in their order."""
        while self._next < len(self._buckets) and not self._buckets[self._next].missing:
            self._send(self._buckets[self._next].content)
            self._next += 1

    def _send(self, array: Array) -> None:
        sent = Sent(array.nbytes, self._now())
        self.trace.buckets.append(sent)
        self._under_way.append((self.communicator.start_all_reduce(array, apart=True), sent))

    def _progress(self) -> None:
        """Let MPI work on what is under way."""
        while self._under_way and self._under_way[0][0].done():
            self._under_way.pop(0)[1].done = self._now()

    def _send_rest(self) -> None:
        """What the pass did not complete, and which Parameters it reached; then wait for everything."""
        if not self._buckets:
            self._make_buckets()
        reached = np.array([parameter.grad is not None for parameter in self.parameters])
        for bucket in self._buckets[self._next :]:
            for place in sorted(bucket.missing):  # the pass is over: `.grad` has all that this rank knows
                bucket.put(place, None, self.parameters[place].grad, self.parameters[place].data)
        self._send_full()
        first = self.parameters[0].data
        self._reached = array_module(first).asarray(reached.astype(np.int32))
        self._send(self._reached)
        for request, sent in self._under_way:
            request.wait()
            sent.done = self._now()

    def _make_buckets(self) -> None:
        """Buckets in the order of rank 0's pass, behind them what it did not reach.

        Raises ValueError where the Parameters are not alike on all ranks: the sums would be of other numbers, or hang.
        """
        kinds = [
            described(parameter.data) + ("" if trained else " frozen")
            for parameter, trained in zip(self.parameters, self._trained, strict=True)
        ]
        check_same(self.communicator, "GradientBuckets: the parameters", kinds)
        order = self.communicator.gather(self._completed)[0]
        order += [i for i, trained in enumerate(self._trained) if trained and i not in set(order)]
        places = in_buckets(order, [parameter.data for parameter in self.parameters], self.bucket_bytes)
        self._buckets = [Bucket(some, self.parameters) for some in places]
        self._bucket_of = {i: bucket for bucket in self._buckets for i in bucket.places}

    def _give(self) -> None:
        """Every Parameter gets its sum, if any rank had a gradient in it."""
        reached = self._reached.tolist()
        for bucket in self._buckets:
            for place, dw in bucket.slots.items():
                self.parameters[place].grad = dw if reached[place] else None
            if bucket.array is None:
                bucket.slots = {}

    def _now(self) -> float:
        return time.perf_counter() - self._start


def in_buckets(order: Sequence[int], ws: Sequence[Array], bucket_bytes: int) -> list[list[int]]:
    """The numbers of the arrays ws in buckets of one dtype, in which they come in this order, the first full one first.

    Large arrays have a bucket of their own each; small ones are collected meanwhile, until there is enough of them.
    """
    buckets: list[list[int]] = []
    small: dict[Any, list[int]] = {}  # by dtype: the bucket that is being filled
    for i in order:
        if ws[i].nbytes >= bucket_bytes:
            buckets.append([i])
            continue
        filling = small.setdefault(ws[i].dtype, [])
        filling.append(i)
        if sum(ws[j].nbytes for j in filling) >= bucket_bytes:
            buckets.append(small.pop(ws[i].dtype))
    return buckets + list(small.values())
