"""The mathematics of every operation in `ops`, forward and backward, in LaTeX and as MathML, which browsers draw.

The letters are the code's: dx is the gradient of the loss in x. An operation that is not in the table, a user's own,
has no formula; what it says of itself (its docstring) and its source stand in its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..._function import Function
from ...ops import activation, arithmetic, conv, dropout, elementwise, linear, loss, movement, norm, pool, reduction
from .recording import Step


@dataclass(frozen=True)
class Formula:
    """In LaTeX, in which @x stands for the gradient dx.

    left, right: of the forward formula. where: what its letters mean.
    backward: the gradient in each input, by the name that `forward` gives to it.
    """

    left: str
    right: str
    backward: dict[str, str]
    where: tuple[str, ...] = ()


def mathematics(step: Step) -> dict[str, Any] | None:
    """The formulas of a step as MathML: {"forward", "where": [...], "backward": [...]}; None where there are none.

    A layer that ends in an activation shows it around its sum, and first of all in the backward pass; of inputs that
    the step does not have, such as a bias, nothing is shown.
    """
    formula = FORMULAS.get(type(step.operation))
    if formula is None:
        return None
    right, backward = formula.right, [v for k, v in formula.backward.items() if k in step.arguments()]
    if "residual" in step.arguments():
        right += " + r"
    name = getattr(step.operation, "activation", None)
    if name is not None:
        function, slope = _ACTIVATIONS[name]
        right, backward = rf"{function}\left( {right} \right)", [rf"@y \leftarrow @y \cdot {slope}", *backward]
    return {
        "forward": _mathml(f"{formula.left} = {right}"),
        "where": [_mathml(line) for line in formula.where],
        "backward": [_mathml(line) for line in backward],
    }


@cache
def _mathml(latex: str) -> str:
    try:
        from latex2mathml.converter import convert
    except ImportError as error:
        raise ImportError('the backprop page needs latex2mathml: pip install "minicnn[study]"') from error
    return str(convert(re.sub(r"@(\\?\w+?)(?![a-z])", r"\\mathrm{d}\1", latex), display="block"))


_ACTIVATIONS = {
    "relu": (r"\operatorname{relu}", r"[y > 0]"),
    "tanh": (r"\tanh", r"\left(1 - y^2\right)"),
    "sigmoid": (r"\sigma", r"y \left(1 - y\right)"),
}

_WINDOW = (r"h = i \, S_H + k \, D_H - \mathrm{top}", r"v = j \, S_W + l \, D_W - \mathrm{left}")
_POOL_WINDOW = (r"h = i \, S_H + k - \mathrm{top}", r"v = j \, S_W + l - \mathrm{left}")
_CELLS = r"\sum_{\substack{i, j, k, l \\ \text{that meet } h, v}}"
_NORMALISED = r"\hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}"
_GAMMA_BETA = {
    "gamma": r"@\gamma_c = \sum_{n, h, v} @y_{n,h,v,c} \, \hat{x}_{n,h,v,c}",
    "beta": r"@\beta_c = \sum_{n, h, v} @y_{n,h,v,c}",
    "residual": r"@r = @y",
}

FORMULAS: dict[type[Function], Formula] = {
    conv.Conv2d: Formula(
        r"y_{n,i,j,o}",
        r"b_o + \sum_{k, l, c} x_{n,h,v,c} \, w_{k,l,c,o}",
        {
            "x": rf"@x_{{n,h,v,c}} = {_CELLS} \sum_o @y_{{n,i,j,o}} \, w_{{k,l,c,o}}",
            "w": r"@w_{k,l,c,o} = \sum_{n, i, j} x_{n,h,v,c} \, @y_{n,i,j,o}",
            "b": r"@b_o = \sum_{n, i, j} @y_{n,i,j,o}",
        },
        _WINDOW,
    ),
    linear.Linear: Formula(
        r"y_{n,o}",
        r"b_o + \sum_i x_{n,i} \, w_{i,o}",
        {
            "x": r"@x_{n,i} = \sum_o @y_{n,o} \, w_{i,o}",
            "w": r"@w_{i,o} = \sum_n x_{n,i} \, @y_{n,o}",
            "b": r"@b_o = \sum_n @y_{n,o}",
        },
    ),
    pool.MaxPool2d: Formula(
        r"y_{n,i,j,c}",
        r"\max_{k, l} \, x_{n,h,v,c}",
        {"x": rf"@x_{{n,h,v,c}} = {_CELLS} @y_{{n,i,j,c}} \cdot [\, x_{{n,h,v,c}} \text{{ won the window }} i, j \,]"},
        _POOL_WINDOW,
    ),
    pool.SumPool2d: Formula(
        r"y_{n,i,j,c}",
        r"\sum_{k, l} x_{n,h,v,c}",
        {"x": rf"@x_{{n,h,v,c}} = {_CELLS} @y_{{n,i,j,c}}"},
        _POOL_WINDOW,
    ),
    pool.AvgPool2d: Formula(
        r"y_{n,i,j,c}",
        r"\frac{1}{m_{i,j}} \sum_{k, l} x_{n,h,v,c}",
        {"x": rf"@x_{{n,h,v,c}} = {_CELLS} \frac{{@y_{{n,i,j,c}}}}{{m_{{i,j}}}}"},
        (*_POOL_WINDOW, r"m_{i,j} = \text{the cells that count in the window } i, j"),
    ),
    pool.AdaptiveAvgPool2d: Formula(
        r"y_{n,i,j,c}",
        r"\frac{1}{m_{i,j}} \sum_{h, v} x_{n,h,v,c}",
        {"x": r"@x_{n,h,v,c} = \sum_{i, j} \frac{@y_{n,i,j,c}}{m_{i,j}}"},
        (
            r"\lfloor i H / O_H \rfloor \le h < \lceil (i + 1) H / O_H \rceil",
            r"\lfloor j W / O_W \rfloor \le v < \lceil (j + 1) W / O_W \rceil",
            r"m_{i,j} = \text{the cells of the window } i, j",
        ),
    ),
    activation.ReLU: Formula("y", r"\max(x, 0)", {"x": r"@x = @y \cdot [y > 0]"}),
    activation.ReLU6: Formula("y", r"\min(\max(x, 0), 6)", {"x": r"@x = @y \cdot [0 < y < 6]"}),
    activation.Tanh: Formula("y", r"\tanh x", {"x": r"@x = @y \left(1 - y^2\right)"}),
    activation.Sigmoid: Formula("y", r"\frac{1}{1 + e^{-x}}", {"x": r"@x = @y \; y \left(1 - y\right)"}),
    activation.Softmax: Formula(
        "y_k",
        r"\frac{e^{x_k}}{\sum_j e^{x_j}}",
        {"x": r"@x_k = y_k \left( @y_k - \sum_j @y_j \, y_j \right)"},
    ),
    activation.LogSoftmax: Formula(
        "y_k", r"x_k - \ln \sum_j e^{x_j}", {"x": r"@x_k = @y_k - e^{y_k} \sum_j @y_j"}
    ),
    norm.BatchNorm: Formula(
        "y",
        r"\gamma \hat{x} + \beta",
        {
            "x": r"@x = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}} "
            r"\left( @y - \frac{@\beta}{M} - \hat{x} \, \frac{@\gamma}{M} \right)",
            **_GAMMA_BETA,
        },
        (
            _NORMALISED,
            r"\mu_c = \frac{1}{M} \sum_{n, h, v} x_{n,h,v,c}",
            r"\sigma^2_c = \frac{1}{M} \sum_{n, h, v} \left( x_{n,h,v,c} - \mu_c \right)^2",
        ),
    ),
    norm.BatchNormInference: Formula(
        "y",
        r"\gamma \hat{x} + \beta",
        {"x": r"@x = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}} \, @y", **_GAMMA_BETA},
        (_NORMALISED, r"\mu, \sigma^2 = \text{the running statistics, which are constants here}"),
    ),
    norm.LocalResponseNorm: Formula(
        "y_c",
        r"x_c \, s_c^{-\beta}",
        {
            "x": r"@x_c = @y_c \, s_c^{-\beta} - \frac{2 \alpha \beta}{n} \, x_c "
            r"\sum_{\substack{c' \text{ whose} \\ \text{window holds } c}} \frac{@y_{c'} \, y_{c'}}{s_{c'}}"
        },
        (
            r"s_c = k + \frac{\alpha}{n} \sum_{c' \text{ in the window}} x_{c'}^2",
            r"\text{the window is the } n \text{ channels around } c",
        ),
    ),
    dropout.Dropout: Formula(
        "y",
        r"\frac{m \, x}{1 - p}",
        {"x": r"@x = \frac{m \, @y}{1 - p}"},
        (r"m = 0 \text{ with probability } p \text{, else } 1",),
    ),
    loss.CrossEntropy: Formula(
        "y",
        r"- \frac{1}{N} \sum_{n, k} t_{n,k} \ln p_{n,k}",
        {"logits": r"@x_{n,k} = \frac{p_{n,k} - t_{n,k}}{N} \, @y"},
        (
            r"p_{n,k} = \frac{e^{x_{n,k}}}{\sum_j e^{x_{n,j}}} \text{ of the logits } x",
            r"t_{n,k} = \text{the labels, one-hot or probabilities}",
        ),
    ),
    loss.MeanSquaredError: Formula(
        "L",
        r"\frac{1}{M} \sum \left( y - t \right)^2",
        {"y": r"@y = \frac{2}{M} \left( y - t \right) @L", "target": r"@t = - @y"},
        (r"M = \text{the number of elements}",),
    ),
    loss.HalfSquaredError: Formula(
        "L",
        r"\frac{1}{2N} \sum \left( y - t \right)^2",
        {"y": r"@y = \frac{1}{N} \left( y - t \right) @L", "target": r"@t = - @y"},
        (r"N = \text{the number of samples}",),
    ),
    elementwise.Exp: Formula("y", "e^x", {"x": r"@x = @y \cdot y"}),
    elementwise.Log: Formula("y", r"\ln x", {"x": r"@x = \frac{@y}{x}"}),
    elementwise.Sqrt: Formula("y", r"\sqrt{x}", {"x": r"@x = \frac{@y}{2 y}"}),
    arithmetic.Add: Formula("y", "a + b", {"a": r"@a = @y", "b": r"@b = @y"}),
    arithmetic.Subtract: Formula("y", "a - b", {"a": r"@a = @y", "b": r"@b = - @y"}),
    arithmetic.Multiply: Formula("y", r"a \cdot b", {"a": r"@a = @y \cdot b", "b": r"@b = @y \cdot a"}),
    arithmetic.Divide: Formula("y", r"\frac{a}{b}", {"a": r"@a = \frac{@y}{b}", "b": r"@b = - @y \, \frac{a}{b^2}"}),
    arithmetic.Negate: Formula("y", "-a", {"a": r"@a = - @y"}),
    arithmetic.Power: Formula("y", r"a^p", {"a": r"@a = @y \cdot p \, a^{p - 1}"}, (r"p = \text{the exponent}",)),
    arithmetic.MatMul: Formula(
        r"y_{i,j}",
        r"\sum_k a_{i,k} \, b_{k,j}",
        {"a": r"@a_{i,k} = \sum_j @y_{i,j} \, b_{k,j}", "b": r"@b_{k,j} = \sum_i a_{i,k} \, @y_{i,j}"},
    ),
    movement.Reshape: Formula(
        "y", r"x \text{ with other axes}", {"x": r"@x = @y \text{ with the axes of } x"}
    ),
    movement.Transpose: Formula(
        "y", r"x \text{ with its axes in another order}", {"x": r"@x = @y \text{ with its axes put back}"}
    ),
    movement.GetItem: Formula(
        "y_i",
        r"x_{\mathrm{index}(i)}",
        {"x": r"@x_j = \sum_{i \,:\, \mathrm{index}(i) = j} @y_i"},
    ),
    movement.Pad: Formula(
        "y", r"x \text{ with a border}", {"x": r"@x = @y \text{ without the border}"}
    ),
    movement.Concatenate: Formula(
        "y",
        r"\left[ x_0, x_1, \ldots \right]",
        {"xs": r"@x_i = \text{the part of } @y \text{ where } x_i \text{ went}"},
    ),
    movement.Upsample: Formula(
        r"y_{n,i,j,c}",
        r"x_{n,\, \lfloor i / s \rfloor,\, \lfloor j / s \rfloor,\, c}",
        {
            "x": r"@x_{n,h,v,c} = \sum_{\substack{\lfloor i / s \rfloor = h \\ \lfloor j / s \rfloor = v}} @y_{n,i,j,c}"
        },
        (r"s = \text{the scale}",),
    ),
    movement.To: Formula(
        "y", r"x \text{ on another device or in another type}", {"x": r"@x = @y \text{ moved back}"}
    ),
    reduction.Sum: Formula(
        "y", r"\sum_i x_i", {"x": r"@x_i = @y"}, (r"i = \text{the places along the axes}",)
    ),
    reduction.Max: Formula(
        "y",
        r"\max_i x_i",
        {"x": r"@x_i = @y \cdot [\, i \text{ is the first place of the largest} \,]"},
        (r"i = \text{the places along the last axis}",),
    ),
}  # fmt: skip
