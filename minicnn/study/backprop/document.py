"""A recording as one dictionary of plain Python values, which JSON can hold: what the backprop page is made from."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..._function import Function
from ..._tensor import Tensor
from ...device import to_device
from .arrays import NUMBERS, kept_channels, level, stored
from .checking import NotRepeatable, checks
from .formulas import mathematics
from .products import Products, Term, kind, products, total
from .recording import Recording, Step, telling_cells
from .sources import Use, description, uses

Array = Any

PAGE_KINDS = ("conv2d", "linear", "max_pool2d", "avg_pool2d")  # that it explains by itself, from whole arrays
CELLS = 2  # of a gradient that are explained, where the page cannot do it; of many gradients one
MANY = 150  # gradients
MOST = 10  # terms of such an explanation


def document(recording: Recording, numbers: int = NUMBERS) -> dict[str, Any]:
    """Everything that a recording holds, and what explains it.

    numbers: of values and gradients together, about, that it may hold; large tensors are sampled to that end.

    {
      "model", "training", "sample": {"shape", "label", "loss", "probabilities" (of the classes, or null)},
      "output": [ids of the tensors that the model returned],
      "tensors": [{"id", "name", "role", "shape", "dtype", "value": STORE, "gradient": STORE or null}],
      "nodes": [{"id", "operation", "module", "inputs": [tensor ids], "output": tensor id, "settings": {name: value},
                 "arguments": what `forward` calls the inputs, like ["x", "w", "b"],
                 "description": what the operation's docstring says,
                 "formula": a key of "formulas", or null for an operation that has none there (the user's own),
                 "sources": [{"role": "forward", "backward" or "kernel", "direction": "forward" or "backward",
                              "kernel": its name or null, "room": "reference", "cpu", "cuda" or null,
                              "code": a key of "code"}],
                 "products": the kind of explanation that a click on a gradient gets, or null; see `products.kind`,
                 "explained": [PRODUCTS], of some cells, for what the page does not find from the arrays: where these
                              are not whole, and kinds that are not among PAGE_KINDS,
                 "gradcheck": [CHECK]}],
      "backward": [{"node": id, "reads": [the output, whose gradient it reads, and tensors whose values it reads],
                    "writes": [{"tensor": id, "input": i, "arrived": 1, "awaited": 2}]}],  in the engine's order
      "formulas": {key: {"forward": "<math>...", "where": ["<math>...", ...], "backward": ["<math>...", ...]}},
      "unchecked": why there are no gradient checks, or null,
      "code": {key: {"title": "Conv2d.forward", "path": "minicnn/ops/conv.py", "line": 40, "html": highlighted}}
    }
    STORE: {"range": [min, max] or null, "mean", "zeros": share, "nonfinite": count,
            "histogram": {"edges": [...], "counts": [...]} or null, "whole": True, "data": little-endian float32 as
            base64, in row-major order}; of a large tensor "whole" is False, "kept" {"axis": the last one's number,
            "indices": [...]}, and "data" holds these channels alone, as an array of shape (*shape[:-1], len(indices)).
            Everything but "data" is of the whole tensor; range, mean and histogram are of its finite numbers.
    CHECK: {"input": i, "index": [...], "backward", "difference", "relative_error",
            "through": "network" or "step", "kink": bool}: see `checking.Check`.
    PRODUCTS: {"input": i, "index": [...], "name": "dw", "engine", "total", "count": how many terms there are,
               "terms": [{"product", "place": {...}, "factors": [{"name", "value", "tensor": id or null,
               "index", "gradient": whether of the tensor's gradient}]}], the largest MOST, "rest": the others' sum}
    """
    few = level(recording.tensors, numbers)
    whole = {t.id for t in recording.tensors if kept_channels(t, few) is None}
    formulas = _Shared()
    code = _Shared()
    nodes = [_node(recording, step, whole, formulas, code) for step in recording.steps]
    unchecked = _check(recording, nodes)
    return {
        "model": recording.model,
        "training": recording.training,
        "sample": _sample(recording),
        "output": list(recording.output),
        "tensors": [stored(t, few) for t in recording.tensors],
        "nodes": nodes,
        "backward": _backward(recording),
        "unchecked": unchecked,
        "formulas": formulas.entries,
        "code": code.entries,
    }


def _sample(recording: Recording) -> dict[str, Any]:
    loss, label = recording.loss, recording.label
    return {
        "shape": list(recording.input.value.shape),
        "label": _plain(to_device(label.data, "cpu") if isinstance(label, Tensor) else label),
        "loss": _number(float(loss.value.reshape(()))),
        "probabilities": _probabilities(recording),
    }


def _probabilities(recording: Recording) -> list[float | str] | None:
    """The softmax of the model's output, where the loss is a cross-entropy of it."""
    last = next(step for step in recording.steps if step.output == recording.loss.id)
    if last.operation.name != "CrossEntropy":
        return None
    logits = recording.tensors[last.inputs[0]].value[0].astype(np.float64)
    with np.errstate(all="ignore"):  # they need not be finite
        powers = np.exp(logits - logits.max())
        return [_number(float(p)) for p in powers / powers.sum()]


class _Shared:
    """What several nodes refer to stands once, under a key."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.keys: dict[Hashable, str | None] = {}

    def key(self, what: Hashable, make: Callable[[], Any]) -> str | None:
        """The key of `what`, with what `make` makes of it entered under it; None where that is None."""
        if what not in self.keys:
            entry = make()
            self.keys[what] = None if entry is None else str(len(self.entries))
            self.entries.update({} if entry is None else {str(len(self.entries)): entry})
        return self.keys[what]


def _node(recording: Recording, step: Step, whole: set[int], formulas: _Shared, code: _Shared) -> dict[str, Any]:
    told = settings(step.operation, step.settings())
    look = (type(step.operation), told.get("activation"), len(step.inputs))  # all that a formula depends on
    return {
        "id": step.id,
        "operation": step.operation.name,
        "module": step.module,
        "inputs": list(step.inputs),
        "output": step.output,
        "arguments": list(step.arguments()),
        "settings": told,
        "description": description(type(step.operation)),
        "formula": formulas.key(look, lambda: mathematics(step)),
        "sources": [_use(use, code) for use in uses(recording, step)],
        "products": kind(step),
        "explained": _explained(recording, step, whole),
        "gradcheck": [],
    }


def _check(recording: Recording, nodes: list[dict[str, Any]]) -> str | None:
    """Enter the gradient checks; returns why there are none."""
    try:
        found = checks(recording)
    except NotRepeatable as error:
        return str(error)
    for check in found:
        numbers = {n: _number(v) for n, v in asdict(check).items() if isinstance(v, float)}
        entry = {
            "input": check.input,
            "index": list(check.index),
            **numbers,
            "through": check.through,
            "kink": check.kink,
        }
        nodes[check.node]["gradcheck"].append(entry)
    return None


def _use(use: Use, code: _Shared) -> dict[str, Any]:
    s = use.source
    key = code.key(s, lambda: {"title": s.title, "path": s.path, "line": s.line, "html": s.html()})
    return {"role": use.role, "direction": use.direction, "kernel": use.kernel, "room": use.room, "code": key}


def _explained(recording: Recording, step: Step, whole: set[int]) -> list[dict[str, Any]]:
    """For each gradient of a step some cells, unless the page can explain all of them."""
    if kind(step) is None or (kind(step) in PAGE_KINDS and {*step.inputs, step.output} <= whole):
        return []
    parts = [(i, part) for i, part in enumerate(step.parts) if part is not None]
    count = CELLS if sum(len(s.parts) for s in recording.steps) <= MANY else 1
    return [
        _products(products(recording, step.id, i, index)) for i, part in parts for index in telling_cells(part, count)
    ]


def _products(made: Products) -> dict[str, Any]:
    terms = sorted(made.terms, key=lambda term: -abs(term.product))
    return {
        "input": made.input,
        "index": list(made.index),
        "name": made.name,
        "engine": _number(made.engine),
        "total": _number(made.total),
        "count": len(terms),
        "terms": [_term(term) for term in terms[:MOST]],
        "rest": _number(total(terms[MOST:])),
    }


def _term(term: Term) -> dict[str, Any]:
    factors = [{**asdict(f), "value": _number(f.value), "index": list(f.index)} for f in term.factors]
    return {"product": _number(term.product), "place": _plain(term.place), "factors": factors}


def _number(value: float) -> float | str:
    """A float as JSON can hold it: "nan", "inf" and "-inf" in words."""
    return value if math.isfinite(value) else str(value)


def settings(operation: Function, attributes: dict[str, Any]) -> dict[str, Any]:
    """What an operation was told, under the names that its `__init__` gives to its arguments.

    attributes: those of the object. One of the name of an argument is that argument; a tuple of another name, as long
    as there are arguments without an attribute, holds those in their order. Where that does not come out even, the
    attributes are given as they are.
    """
    given = inspect.signature(type(operation).__init__).parameters.values()
    names = [p.name for p in given if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    without = [name for name in names if name not in attributes]
    together = [v for n, v in attributes.items() if n not in names and isinstance(v, tuple)]
    values = dict(zip(without, next((v for v in together if len(v) == len(without)), ()), strict=False))
    values.update((n, v) for n, v in attributes.items() if n in names)
    if not all(name in values for name in names):
        values = attributes
    return {name: _plain(values[name]) for name in (names if values is not attributes else values)}


def _plain(value: Any) -> Any:
    """A setting as JSON can hold it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list) and len(value) <= 16:
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray) and value.size <= 16:
        return _plain(value.tolist())
    return f"array {value.shape}" if hasattr(value, "shape") else str(value)


def _backward(recording: Recording) -> list[dict[str, Any]]:
    """The steps of the backward pass: what each reads and writes, and how many parts of each sum have arrived."""
    steps = [recording.steps[i] for i in recording.backward]
    written = [(s, i, t) for s in steps for i, t in enumerate(s.inputs) if s.parts[i] is not None]
    awaited: dict[int, int] = {}
    for _, _, t in written:
        awaited[t] = awaited.get(t, 0) + 1
    arrived = dict.fromkeys(awaited, 0)
    writes: dict[int, list[dict[str, int]]] = {step.id: [] for step in steps}
    for step, i, t in written:
        arrived[t] += 1
        writes[step.id].append({"tensor": t, "input": i, "arrived": arrived[t], "awaited": awaited[t]})
    return [{"node": s.id, "reads": list(dict.fromkeys([s.output, *s.reads])), "writes": writes[s.id]} for s in steps]
