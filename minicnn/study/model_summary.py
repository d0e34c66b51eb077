"""The table of a model: its layers in the order of their calls, with shapes, parameters, work and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import nn
from .._tensor import Tensor
from ..device import array_module
from ..nn.sample import run_sample, sample

Array = Any


@dataclass(frozen=True)
class Row:
    """One call of one Module, for one sample.

    name: its dotted name in the model; "" for the model itself. kind: its class.
    depth: how many Modules it lies inside, that have a row.
    output_shape: without the axis N; None for a Module that was not called, or returned something else than a Tensor.
    parameters: its own, without those of the Modules inside it; counted where they are met first, so 0 where a
        shared Module is called again.
    multiply_adds: its own, at every call.
    parameter_bytes: of `parameters`. activation_bytes: of the output, 0 where it is no new memory (Flatten).
    """

    name: str
    kind: str
    depth: int
    output_shape: tuple[int, ...] | None
    parameters: int
    multiply_adds: int
    parameter_bytes: int
    activation_bytes: int
    again: bool = False
    called: bool = True


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` returns: printed it is a table, its attributes are the numbers.

    rows: the lines of the table. trainable, frozen: numbers of Parameters' elements that ask for a gradient and that
    do not. buffers: numbers in saved buffers, such as running means. multiply_adds, parameter_bytes and
    activation_bytes: the sums over the rows, for one sample.
    """

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    trainable: int
    frozen: int
    buffers: int

    @property
    def parameters(self) -> int:
        """Trainable and frozen together."""
        return self.trainable + self.frozen

    @property
    def multiply_adds(self) -> int:
        """For one sample."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        """What the Parameters take; gradients and an optimizer's state come on top of it."""
        return sum(row.parameter_bytes for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """What the outputs of all layers take for one sample, if all are kept, as training keeps most of them."""
        return sum(row.activation_bytes for row in self.rows)

    def __str__(self) -> str:
        titles = ("layer", "", "output", "params", "mult-adds", "weights", "outputs")
        lines = [titles, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
        table = [_line(line, widths) for line in lines]
        rule = "-" * max(map(len, table))
        return "\n".join([f"input {_shape(self.input_shape)}", rule, table[0], rule, *table[1:], rule, *self._totals()])

    __repr__ = __str__

    def _totals(self) -> Iterator[str]:
        yield f"parameters     {self.parameters:,} ({self.trainable:,} trainable, {self.frozen:,} not trainable)"
        if self.buffers:
            yield f"buffers        {self.buffers:,}"
        yield f"multiply-adds  {self.multiply_adds:,} for one sample"
        yield (
            f"memory         {_bytes(self.parameter_bytes)} of weights, "
            f"{_bytes(self.activation_bytes)} of outputs for one sample"
        )


def summary(model: nn.Module, input_shape: Sequence[int] | None = None) -> Summary:
    """The layers of a model in the order of their calls, with output shapes, parameters, multiply-adds and memory.

    input_shape: of one sample, without the axis N: (28, 28, 1); None is `model.input_shape`.

    Runs one forward pass over a sample of zeros, in evaluation mode and without a graph; layers that did not know
    their sizes learn them. `training` is afterwards as it was in each Module.

    Raises TypeError for what is no Module, ValueError for a wrong shape or one that the model refuses.
    """
    x = sample(model, input_shape, "summary")
    watch = _Watch(model)
    with nn.observe(watch):
        run_sample(model, x, "summary")
    parameters = list(model.parameters())
    return Summary(
        rows=tuple(watch.rows()),
        input_shape=x.shape[1:],
        trainable=sum(p.size for p in parameters if p.is_filled and p.requires_grad),
        frozen=sum(p.size for p in parameters if p.is_filled and not p.requires_grad),
        buffers=sum(array.size for _, array in model.named_buffers(persistent_only=True)),
    )


@dataclass
class _Node:
    """A row with the rows of the Modules that were called inside it."""

    module: nn.Module
    row: Row
    inside: list[_Node] = field(default_factory=list)


class _Watch:
    """Is told of each call when it ends, inner ones first, and turns that order into rows, outer ones first."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = {id(module): name for name, module in model.named_modules()}
        self._open: list[_Node] = []  # what has ended and not yet found the Module around it
        self._called: set[int] = set()
        self._counted: set[int] = set()  # Parameters that have a row
        self._outputs: dict[int, Tensor] = {}  # kept, so that no id is used twice

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if id(module) not in self._names:
            return
        parts = {id(inner) for inner in module.modules()} - {id(module)}
        inside: list[_Node] = []
        while self._open and id(self._open[-1].module) in parts:
            inside.insert(0, self._open.pop())
        again = id(module) in self._called
        self._called.add(id(module))
        self._open.append(_Node(module, self._row(module, inputs, output, again), inside))

    def _row(self, module: nn.Module, inputs: tuple[Any, ...], output: Any, again: bool) -> Row:
        count, size = self._own_parameters(module)
        is_tensor = isinstance(output, Tensor)
        shape = output.shape[1:] if is_tensor else None
        work = 0
        if is_tensor and inputs and isinstance(inputs[0], Tensor):
            work = module.multiply_adds(inputs[0].shape, output.shape)
        memory = self._new_bytes(inputs, output) if is_tensor else 0
        return Row(self._names[id(module)], type(module).__name__, 0, shape, count, work, size, memory, again)

    def _own_parameters(self, module: nn.Module) -> tuple[int, int]:
        """Number and bytes of the Parameters that are this Module's alone and have not been counted."""
        inner = {id(p) for child in module.children() for p in child.parameters()}
        own = [p for p in module.parameters() if p.is_filled and id(p) not in inner | self._counted]
        self._counted.update(id(p) for p in own)
        return sum(p.size for p in own), sum(p.data.nbytes for p in own)

    def _new_bytes(self, inputs: tuple[Any, ...], output: Tensor) -> int:
        """The output's bytes; 0 if another row has it, or if it looks into an input's memory."""
        seen = id(output) in self._outputs
        self._outputs[id(output)] = output
        xp = array_module(output.data)
        views = any(isinstance(x, Tensor) and xp.may_share_memory(x.data, output.data) for x in inputs)
        return 0 if seen or views else int(output.data.nbytes)

    def rows(self) -> Iterator[Row]:
        """The rows, outer Modules first; the model itself only if it has numbers of its own or nothing inside."""
        for node in self._open:
            plain = node.inside and not (node.row.parameters or node.row.multiply_adds or node.row.activation_bytes)
            if node.row.name == "" and plain:
                for inner in node.inside:
                    yield from _flat(inner, 0)
            else:
                yield from _flat(node, 0)
        for name, module in self._model.named_modules():
            if id(module) not in self._called:
                count, size = self._own_parameters(module)
                if count:
                    yield Row(name, type(module).__name__, 0, None, count, 0, size, 0, called=False)


def _flat(node: _Node, depth: int) -> Iterator[Row]:
    yield replace(node.row, depth=depth)
    for inner in node.inside:
        yield from _flat(inner, depth + 1)


def _cells(row: Row) -> tuple[str, ...]:
    name = row.name.rpartition(".")[2] if row.depth else row.name
    return (
        "  " * row.depth + (name or row.kind),
        row.kind + (" again" if row.again else "") if name else "",
        ("" if row.called else "not called") if row.output_shape is None else _shape(row.output_shape),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
        _bytes(row.parameter_bytes) if row.parameter_bytes else "",
        _bytes(row.activation_bytes) if row.activation_bytes else "",
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """The first three columns to the left, numbers to the right."""
    padded = [cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(padded).rstrip()


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) if len(shape) < 3 else "x".join(map(str, shape))


def _bytes(count: float) -> str:
    """600 B, 18.4 KB, 4.6 MB: powers of 1024, three digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
