"""The gradients of what has no windows: linear layers, batch normalisation, activations, the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ...device import to_device
from ...ops import norm
from .terms import Cell, Factor, Index, Term


def linear(cell: Cell) -> Iterator[Term]:
    """dx[n, i] = sum over o of dy[n, o] * w[i, o]; dw[i, o] = sum over n of x[n, i] * dy[n, o]; db[o] = sum of dy."""
    N, O = cell.output.value.shape
    if cell.input == 0:
        n, i = cell.index
        return (Term((*cell.dy((n, o)), cell.value("w", 1, (i, o)))) for o in range(O))
    if cell.input == 1:
        i, o = cell.index
        return (Term((cell.value("x", 0, (n, i)), *cell.dy((n, o)))) for n in range(N))
    return (Term(cell.dy((n, *cell.index))) for n in range(N))


# Element by element


def relu(cell: Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("relu", cell.index)))]


def relu6(cell: Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("relu6", cell.index)))]


def tanh(cell: Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("tanh", cell.index)))]


def sigmoid(cell: Cell) -> list[Term]:
    return [Term((*cell.dy(cell.index), cell.slope("sigmoid", cell.index)))]


def reshape(cell: Cell) -> list[Term]:
    """The number that lies at the same place in row-major order."""
    place = 0
    for i, n in zip(cell.index, cell.shape(0), strict=True):
        place = place * n + i
    index: list[int] = []
    for n in reversed(cell.output.value.shape):
        place, i = divmod(place, n)
        index.insert(0, i)
    return [Term(cell.dy(tuple(index)))]


def cross_entropy(cell: Cell) -> list[Term]:
    """dlogits[n, k] = (p[n, k] * sum over k of t[n, k] - t[n, k]) / N * dloss."""
    (p,), target = cell.step.saved, to_device(cell.operation.target, "cpu")  # type: ignore[attr-defined]
    n, k = cell.index
    rows = len(p)
    t = float(target[n, k]) if target.ndim == 2 else float(int(target[n]) == k)
    weight = float(target[n].sum()) if target.ndim == 2 else 1.0
    difference = Factor("p - t", float(p[n, k]) * weight - t)
    return [Term((difference, Factor(f"1/{rows}", 1 / rows), *cell.dy(())))]


# Batch normalisation: input 0 is x, 1 is gamma, 2 is beta; the last may be a residual


def batch_norm(cell: Cell) -> Iterable[Term]:
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


def _batch_norm_input(cell: Cell) -> list[Term]:
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


def _statistics(cell: Cell) -> tuple[float, float]:
    """The mean of the cell's channel, and sqrt(var + eps)."""
    operation, c = cell.operation, cell.index[-1]
    if isinstance(operation, norm.BatchNorm):
        mean, var = operation.mean, operation.var
    else:
        mean, var = (cell.tensors[i].value for i in cell.step.inputs[3:5])
    return float(mean[c]), math.sqrt(float(var[c]) + operation.eps)  # type: ignore[attr-defined]


def _x_hat(cell: Cell, index: Index) -> Factor:
    (mean, deviation), x = _statistics(cell), cell.value("x", 0, index)
    return Factor("x_hat", (x.value - mean) / deviation, x.tensor, index)


def _channel(cell: Cell) -> list[Index]:
    """Every cell of the result's channel that the gradient's cell belongs to."""
    return [(*at, cell.index[-1]) for at in np.ndindex(cell.output.value.shape[:-1])]
