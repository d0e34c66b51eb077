"""The products that made one number of a gradient: the chain rule, written out for one cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._function import Function
from ...device import to_device
from ...kernels.geometry import adaptive_window, window_cells
from ...ops import activation, conv, linear, loss, movement, norm, pool
from ...ops.checks import is_whole
from .recording import RecordedTensor, Recording, Step

Array = Any
Index = tuple[int, ...]

# The derivative of an activation y = f(s), written in y, by the name that layers and Functions have for it.
SLOPES: dict[str, Callable[[float], float]] = {
    "relu": lambda y: float(y > 0),
    "relu6": lambda y: float(0 < y < 6),
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
}


@dataclass(frozen=True)
class Factor:
    """A number in a product.

    name: what it is called in the formula, like "dy" or "w". tensor, index: where it stands in the recording; tensor
    None for one that stands nowhere. gradient: whether in the tensor's gradient, not in its value. Of a slope, `tensor`
    and `index` show the y that it is computed from.
    """

    name: str
    value: float
    tensor: int | None = None
    index: Index = ()
    gradient: bool = False


@dataclass(frozen=True)
class Term:
    """One product.

    place: where it comes from. For windows "window": (oh, ow), "tap": (kh, kw), the cell's place in it; for
    convolutions also "row" and "column" of the number in the im2col matrix (N*OH*OW, KH*KW*C) of its group.
    """

    factors: tuple[Factor, ...]
    place: dict[str, Any] = field(default_factory=dict)

    @property
    def product(self) -> float:
        """In float64."""
        return math.prod(factor.value for factor in self.factors)


@dataclass(frozen=True)
class Products:
    """What made one number of the gradient that a step gives to one of its inputs.

    node, input, index: the step, the number of its input, the cell. name: of the gradient, like "dw".
    terms: the products. engine: the number that the engine's `backward` returned for the cell.
    """

    node: int
    input: int
    index: Index
    name: str
    terms: tuple[Term, ...]
    engine: float

    @property
    def total(self) -> float:
        """The sum of the products, rounded once: what `engine` is but for float32's rounding on the way."""
        return total(self.terms)

    def column_sums(self) -> dict[tuple[int, int], float]:
        """For a convolution's dx: the numbers of the matrix dy @ w.T, by (row, column), that col2im adds up."""
        columns: dict[tuple[int, int], list[Term]] = {}
        for term in self.terms:
            columns.setdefault((term.place["row"], term.place["column"]), []).append(term)
        return {place: total(terms) for place, terms in columns.items()}


def total(terms: Iterable[Term]) -> float:
    """The sum of products, rounded once; NaN where there are infinities of both signs, or more than a float holds."""
    try:
        return math.fsum(term.product for term in terms)
    except (ValueError, OverflowError):
        return math.nan


def products(recording: Recording, node: int, input: int, index: Sequence[int]) -> Products:
    """The products that made dinput[index], the part of the gradient that step `node` gives to its input.

    node: the id of a Step. input: the number of its input: 0 for x, of a layer 1 for w and 2 for b. index: the cell.

    Where several steps read one tensor, this explains one part of its gradient; the parts of all of them add up.
    Raises ValueError for a step that is not explained (see `kind`), or whose input got no gradient; IndexError for a
    node, an input or a cell that is not there.
    """
    if not is_whole(node) or not 0 <= node < len(recording.steps):
        raise IndexError(f"products expected a step from 0 to {len(recording.steps) - 1}, got {node!r}")
    step = recording.steps[node]
    explain = _EXPLAINED.get(type(step.operation))
    if explain is None:
        known = ", ".join(sorted(function.__name__ for function in _EXPLAINED))
        raise ValueError(f"products explains {known}; step {node} is a {step.operation.name}")
    if not is_whole(input) or not 0 <= input < len(step.inputs):
        raise IndexError(f"{step.operation.name} has inputs from 0 to {len(step.inputs) - 1}, got {input!r}")
    part = step.parts[input] if step.parts else None
    if part is None:
        raise ValueError(f"input {input} of step {node}, a {step.operation.name}, received no gradient")
    cell = tuple(index)
    if len(cell) != part.ndim or not all(is_whole(i) and 0 <= i < n for i, n in zip(cell, part.shape, strict=True)):
        raise IndexError(f"expected a cell of an array of shape {part.shape}, got {cell}")
    cell = tuple(int(i) for i in cell)
    terms = tuple(explain(_Cell(recording, step, input, cell)))
    return Products(step.id, int(input), cell, f"d{step.arguments()[input]}", terms, float(part[cell]))


def kind(step: Step) -> str | None:
    """How the gradients of a step are explained: by the name of its function, like "conv2d"; None if they are not."""
    explain = _EXPLAINED.get(type(step.operation))
    return None if explain is None or not step.parts else explain.__name__.strip("_")


class _Cell:
    """A cell of a gradient, and the numbers around it."""

    def __init__(self, recording: Recording, step: Step, input: int, index: Index) -> None:
        self.step, self.operation, self.input, self.index = step, step.operation, input, index
        self.tensors = recording.tensors
        self.activation: str | None = getattr(step.operation, "activation", None)

    @property
    def output(self) -> RecordedTensor:
        return self.tensors[self.step.output]

    @property
    def gradient(self) -> Array:
        """In the result: the step has parts, so it arrived."""
        assert self.output.gradient is not None
        return self.output.gradient

    @property
    def x(self) -> Array:
        return self.tensors[self.step.inputs[0]].value

    def shape(self, input: int) -> tuple[int, ...]:
        return tuple(self.tensors[self.step.inputs[input]].value.shape)

    def value(self, name: str, input: int, index: Index) -> Factor:
        """A number of an input."""
        t = self.tensors[self.step.inputs[input]]
        return Factor(name, float(t.value[index]), t.id, index)

    def dy(self, index: Index) -> tuple[Factor, ...]:
        """The gradient in the result; and where the step ends in an activation, the slope it is multiplied with."""
        dy = Factor("dy", float(self.gradient[index]), self.output.id, index, gradient=True)
        return (dy,) if self.activation is None else (dy, self.slope(self.activation, index))

    def slope(self, activation: str, index: Index) -> Factor:
        y = float(self.output.value[index])
        return Factor(f"{activation}'", SLOPES[activation](y), self.output.id, index)


# Layers with weights: input 0 is x, 1 is w, 2 is b


def _linear(cell: _Cell) -> Iterator[Term]:
    """dx[n, i] = sum over o of dy[n, o] * w[i, o]; dw[i, o] = sum over n of x[n, i] * dy[n, o]; db[o] = sum of dy."""
    N, O = cell.output.value.shape
    if cell.input == 0:
        n, i = cell.index
        return (Term((*cell.dy((n, o)), cell.value("w", 1, (i, o)))) for o in range(O))
    if cell.input == 1:
        i, o = cell.index
        return (Term((cell.value("x", 0, (n, i)), *cell.dy((n, o)))) for n in range(N))
    return (Term(cell.dy((n, *cell.index))) for n in range(N))


def _conv2d(cell: _Cell) -> Iterable[Term]:
    """With h = oh*SH + kh*DH - top and v = ow*SW + kw*DW - left,

    dx[n, h, v, c]   = sum over the windows on the cell and o of dy[n, oh, ow, o] * w[kh, kw, c, o]
    dw[kh, kw, c, o] = sum over n, oh, ow of x[n, h, v, c] * dy[n, oh, ow, o];  db[o] = sum of dy[..., o]
    """
    if cell.input == 0:
        return _conv2d_input(cell)
    if cell.input == 1:
        return _conv2d_weight(cell)
    N, OH, OW, _ = cell.output.value.shape
    return [
        Term(cell.dy((n, oh, ow, *cell.index)), {"window": (oh, ow), "row": (n * OH + oh) * OW + ow})
        for n in range(N) for oh in range(OH) for ow in range(OW)
    ]  # fmt: skip


def _conv2d_input(cell: _Cell) -> Iterator[Term]:
    """A term for each window that covers the cell, and each filter of the cell's group."""
    (n, h, v, c), (_, OH, OW, O), (KH, KW, C, _) = cell.index, cell.output.value.shape, cell.shape(1)
    strides, padding, dilations, groups, _ = cell.operation.geometry  # type: ignore[attr-defined]
    g, per_group = c // C, O // groups
    for kh, oh in _meetings(h, KH, strides[0], padding[0][0], dilations[0], OH):
        for kw, ow in _meetings(v, KW, strides[1], padding[1][0], dilations[1], OW):
            place = _matrix_place((n, oh, ow), (kh, kw, c % C), (OH, OW), (KW, C))
            for o in range(g * per_group, (g + 1) * per_group):
                yield Term((*cell.dy((n, oh, ow, o)), cell.value("w", 1, (kh, kw, c % C, o))), place)


def _conv2d_weight(cell: _Cell) -> Iterator[Term]:
    """A term for each window; what the weight meets in the padding is 0, and left out."""
    (kh, kw, c, o), (N, OH, OW, O), (_, KW, C, _) = cell.index, cell.output.value.shape, cell.shape(1)
    (SH, SW), padding, (DH, DW), groups, _ = cell.operation.geometry  # type: ignore[attr-defined]
    _, H, W, _ = cell.shape(0)
    channel = o // (O // groups) * C + c
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                h, v = oh * SH + kh * DH - padding[0][0], ow * SW + kw * DW - padding[1][0]
                if 0 <= h < H and 0 <= v < W:
                    place = _matrix_place((n, oh, ow), (kh, kw, c), (OH, OW), (KW, C))
                    yield Term((cell.value("x", 0, (n, h, v, channel)), *cell.dy((n, oh, ow, o))), place)


def _meetings(h: int, kernel: int, stride: int, before: int, dilation: int, out: int) -> list[tuple[int, int]]:
    """On one axis: each (k, i) with i * stride + k * dilation - before = h, the windows i that cover cell h."""
    starts = [(k, h + before - k * dilation) for k in range(kernel)]
    return [(k, start // stride) for k, start in starts if start % stride == 0 and 0 <= start // stride < out]


def _matrix_place(window: Index, tap: Index, sizes: Index, lengths: Index) -> dict[str, Any]:
    """Where in the im2col matrix a window's number stands: see `kernels.reference.im2col`."""
    (n, oh, ow), (kh, kw, c), (OH, OW), (KW, C) = window, tap, sizes, lengths
    row, column = (n * OH + oh) * OW + ow, (kh * KW + kw) * C + c
    return {"window": (oh, ow), "tap": (kh, kw), "row": row, "column": column}


# Pooling


def _max_pool2d(cell: _Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy over the windows on the cell, times 1 where the cell won the window, else 0."""
    index = cell.step.saved[0]
    KW = cell.operation.windows[0][1]  # type: ignore[attr-defined]
    for place, at in _windows_on(cell):
        winner = divmod(int(index[at]), KW)
        won = Factor("won", float(winner == place["tap"]))
        yield Term((*cell.dy(at), won), {**place, "winner": winner})


def _sum_pool2d(cell: _Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy over the windows on the cell."""
    return (Term(cell.dy(at), place) for place, at in _windows_on(cell))


def _avg_pool2d(cell: _Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy / cells over the windows on the cell, `cells` being what the window's average counts."""
    kernel, stride, padding = cell.operation.windows  # type: ignore[attr-defined]
    x_shape, y_shape = cell.shape(0), cell.output.value.shape
    include = cell.operation.count_include_pad  # type: ignore[attr-defined]
    rows, columns = (
        window_cells(x_shape[a + 1], kernel[a], stride[a], padding[a], y_shape[a + 1], include) for a in range(2)
    )
    for place, at in _windows_on(cell):
        count = rows[at[1]] * columns[at[2]]
        yield Term((*cell.dy(at), Factor(f"1/{count}", 1 / count)), place)


def _windows_on(cell: _Cell) -> Iterator[tuple[dict[str, Any], Index]]:
    """The windows that cover the cell: their place, and the index of their number in the result."""
    (n, h, v, c), (_, OH, OW, _) = cell.index, cell.output.value.shape
    (KH, KW), (SH, SW), padding = cell.operation.windows  # type: ignore[attr-defined]
    for kh, oh in _meetings(h, KH, SH, padding[0][0], 1, OH)[::-1]:
        for kw, ow in _meetings(v, KW, SW, padding[1][0], 1, OW)[::-1]:
            yield {"window": (oh, ow), "tap": (kh, kw)}, (n, oh, ow, c)


def _adaptive_avg_pool2d(cell: _Cell) -> Iterator[Term]:
    """dx[cell] = sum of dy / cells over the windows on the cell."""
    (n, h, v, c), (_, H, W, _), (_, OH, OW, _) = cell.index, cell.shape(0), cell.output.value.shape
    for oh in range(OH):
        for ow in range(OW):
            (top, bottom), (left, right) = adaptive_window(oh, H, OH), adaptive_window(ow, W, OW)
            if top <= h < bottom and left <= v < right:
                count = (bottom - top) * (right - left)
                share = Factor(f"1/{count}", 1 / count)
                yield Term((*cell.dy((n, oh, ow, c)), share), {"window": (oh, ow), "tap": (h - top, v - left)})


# Element by element


def _relu(cell: _Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("relu", cell.index)))]


def _relu6(cell: _Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("relu6", cell.index)))]


def _tanh(cell: _Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("tanh", cell.index)))]


def _sigmoid(cell: _Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("sigmoid", cell.index)))]


def _reshape(cell: _Cell) -> list[Term]:
    """The number that lies at the same place in row-major order."""
    place = 0
    for i, n in zip(cell.index, cell.shape(0), strict=True):
        place = place * n + i
    index: list[int] = []
    for n in reversed(cell.output.value.shape):
        place, i = divmod(place, n)
        index.insert(0, i)
    return [Term(cell.dy(tuple(index)))]


def _cross_entropy(cell: _Cell) -> list[Term]:
    """dlogits[n, k] = (p[n, k] * sum over k of t[n, k] - t[n, k]) / N * dloss."""
    (p,), target = cell.step.saved, to_device(cell.operation.target, "cpu")  # type: ignore[attr-defined]
    n, k = cell.index
    rows = len(p)
    t = float(target[n, k]) if target.ndim == 2 else float(int(target[n]) == k)
    weight = float(target[n].sum()) if target.ndim == 2 else 1.0
    difference = Factor("p - t", float(p[n, k]) * weight - t)
    return [Term((difference, Factor(f"1/{rows}", 1 / rows), *cell.dy(())))]


# Batch normalisation: input 0 is x, 1 is gamma, 2 is beta; the last may be a residual


def _batch_norm(cell: _Cell) -> Iterable[Term]:
    """With x_hat = (x - mean) / sqrt(var + eps): dgamma = sum of dy * x_hat, dbeta = sum of dy, dresidual = dy;

    dx = gamma / sqrt(var + eps) * (dy - dbeta / M - x_hat * dgamma / M), M values having made the mean and the
    variance; where these are constants, as in evaluation, dx = gamma / sqrt(var + eps) * dy.
    """
    if cell.input == 0:
        return _batch_norm_input(cell)
    if cell.input == 1:
        return (Term((*cell.dy(at), _x_hat(cell, at))) for at in _channel(cell))
    if cell.input == 2:
        return (Term(cell.dy(at)) for at in _channel(cell))
    return [Term(cell.dy(cell.index))]


def _batch_norm_input(cell: _Cell) -> list[Term]:
    c, (mean, deviation) = cell.index[-1], _statistics(cell)
    scale = cell.value("gamma", 1, (c,)), Factor("1/sqrt(var + eps)", 1 / deviation)
    terms = [Term((*scale, *cell.dy(cell.index)))]
    if isinstance(cell.operation, norm.BatchNorm):
        x, y, dy = (a[..., c].astype(np.float64) for a in (cell.x, cell.output.value, cell.gradient))
        dy = dy if cell.activation is None else dy * (y > 0)  # its only one is relu
        share, dbeta = Factor(f"-1/{dy.size}", -1 / dy.size), Factor("dbeta", float(dy.sum()))
        dgamma = Factor("dgamma", float((dy * (x - mean)).sum()) / deviation)
        terms += [Term((*scale, share, dbeta)), Term((*scale, share, _x_hat(cell, cell.index), dgamma))]
    return terms


def _statistics(cell: _Cell) -> tuple[float, float]:
    """The mean of the cell's channel, and sqrt(var + eps)."""
    operation, c = cell.operation, cell.index[-1]
    if isinstance(operation, norm.BatchNorm):
        mean, var = operation.mean, operation.var
    else:
        mean, var = (cell.tensors[i].value for i in cell.step.inputs[3:5])
    return float(mean[c]), math.sqrt(float(var[c]) + operation.eps)  # type: ignore[attr-defined]


def _x_hat(cell: _Cell, index: Index) -> Factor:
    (mean, deviation), x = _statistics(cell), cell.value("x", 0, index)
    return Factor("x_hat", (x.value - mean) / deviation, x.tensor, index)


def _channel(cell: _Cell) -> list[Index]:
    """Every cell of the result's channel that the gradient's cell belongs to."""
    return [(*at, cell.index[-1]) for at in np.ndindex(cell.output.value.shape[:-1])]


_EXPLAINED: dict[type[Function], Callable[[_Cell], Iterable[Term]]] = {
    conv.Conv2d: _conv2d,
    linear.Linear: _linear,
    pool.MaxPool2d: _max_pool2d,
    pool.SumPool2d: _sum_pool2d,
    pool.AvgPool2d: _avg_pool2d,
    pool.AdaptiveAvgPool2d: _adaptive_avg_pool2d,
    activation.ReLU: _relu,
    activation.ReLU6: _relu6,
    activation.Tanh: _tanh,
    activation.Sigmoid: _sigmoid,
    movement.Reshape: _reshape,
    loss.CrossEntropy: _cross_entropy,
    norm.BatchNorm: _batch_norm,
    norm.BatchNormInference: _batch_norm,
}
