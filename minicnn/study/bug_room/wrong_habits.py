"""Four bugs that gradcheck cannot see: it compares backward with forward, and both may be wrong in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn as mc

from ... import functional as F
from ... import nn, optim
from ..._tensor import Tensor
from ...kernels.reference import softmax
from ...nn import dropout
from ...ops import activation, norm
from ...optim import optimizer
from .bug import Bug, normal

Array = Any


# A forgotten zero_grad


def _zero_grad(self: Any) -> None:
    for parameter in self.params:
        parameter.grad = parameter.grad


def _check_gradients_kept() -> None:
    """The same batch twice, with zero_grad between: the gradient must be the same."""
    w = nn.Parameter(normal(3, 2))
    optimizer = optim.SGD([w], lr=0.1)
    gradients = []
    for _ in range(2):
        optimizer.zero_grad()
        (mc.tensor(normal(4, 3)) @ w).sum().backward()
        gradients.append(np.array(w.grad))
    first, second = gradients
    np.testing.assert_allclose(second, first, err_msg="the same batch again")


GRADIENTS_KEPT = Bug(
    title="zero_grad forgets nothing",
    complaint="The first step is right to the last digit. Then training gets faster and faster, as with a momentum of "
    "1, until it diverges. Every gradcheck passes.",
    hints=(
        "Each single backward pass is right. What is in .grad before it begins?",
        "Compute the gradient of the same batch twice, as a training loop does, and compare.",
        "After optimizer.zero_grad(), what is p.grad?",
    ),
    explanation="backward adds to .grad, so that several losses can be added up. So each step must begin with "
    "zero_grad; without it every step goes along the sum of all gradients since the beginning.",
    owner=optimizer.Optimizer,
    name="zero_grad",
    replacement=_zero_grad,
    wrong="parameter.grad = parameter.grad",
    engine=optimizer.Optimizer.zero_grad,
    right="parameter.grad = None",
    check=_check_gradients_kept,
)


# Softmax without the maximum


def _softmax_forward(self: Any, x: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(x)
        y = e / e.sum(axis=-1, keepdims=True)
    self.save(y)
    return y


def _check_overflow() -> None:
    """Large logits: the difference of 1000 decides, and the result is known."""
    y = F.softmax(mc.tensor([[1000.0, 0.0]])).numpy()
    np.testing.assert_allclose(y, [[1.0, 0.0]])


SOFTMAX_OVERFLOW = Bug(
    title="softmax without the maximum subtracted",
    complaint="For weeks the service gave sensible probabilities. Today, on a very clear photograph, all of them are "
    "NaN. Every gradcheck passes.",
    hints=(
        "For ordinary numbers everything is right. What is special about a network that is very sure?",
        "The logits are large there. Give large numbers to the function that makes probabilities.",
        "F.softmax(mc.tensor([[1000.0, 0.0]])): what is e to the power of 1000?",
    ),
    explanation="e**89 is more than float32 can hold, and infinity / infinity is NaN. The largest x subtracted from "
    "all changes nothing in the quotient, and no exponential is above 1. A random network's small logits hide it.",
    owner=activation.Softmax,
    name="forward",
    replacement=_softmax_forward,
    wrong="e = np.exp(x)",
    engine=softmax.softmax_forward,
    right="e = np.exp(x - x.max(axis=-1, keepdims=True))",
    check=_check_overflow,
)


# Dropout that is active in evaluation


def _dropout_forward(self: Any, x: Tensor) -> Tensor:
    y = F.dropout(x, self.p, layer=self.layer, step=int(self.counter), seed=self.seed)
    self.counter[...] += 1
    return y


def _check_evaluation() -> None:
    """In evaluation a network is a function: the same input, the same output."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).eval()
    mc.gradcheck(model, [normal(4, 3)])


DROPOUT_ALWAYS = Bug(
    title="dropout stays active in evaluation",
    complaint="The accuracy on the test set is lower than it was during training, and it changes a little from one "
    "evaluation to the next, with the same weights and the same images.",
    hints=(
        "The same question gets two answers. What in a network draws at random?",
        "Put a model into evaluation with .eval(), and give it the same input twice.",
        "mc.gradcheck(model.eval(), [x]) says what it thinks of such a function. Which layer is it?",
    ),
    explanation="Dropout draws a new mask at each step of training, and must do nothing in evaluation. A layer that "
    "does not ask for self.training makes a good network a noisy one; in training nothing shows.",
    owner=dropout.Dropout,
    name="forward",
    replacement=_dropout_forward,
    wrong="y = F.dropout(x, self.p, layer=self.layer, step=int(self.counter), seed=self.seed)",
    engine=dropout.Dropout.forward,
    right="if not self.training:",
    check=_check_evaluation,
)


# A biased variance in the running statistics


def _batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, running_mean: Array, running_var: Array,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    activation: str | None = None, residual: Tensor | None = None,
) -> Tensor:  # fmt: skip
    before, M = running_var.copy(), x.size // x.shape[-1]
    settings = (training, momentum, eps, activation, residual)
    y = norm.batch_norm(x, gamma, beta, running_mean, running_var, *settings)
    if training:
        added = running_var - (1 - momentum) * before  # momentum * var * M / (M - 1)
        running_var[...] = (1 - momentum) * before + added * (M - 1) / M
    return y


def _check_variance() -> None:
    """One step with momentum 1: the running variance is that of the batch, divided by M - 1."""
    x = normal(4, 2).astype(np.float32)
    layer = nn.BatchNorm2d(2, momentum=1.0)
    layer(mc.tensor(x))
    np.testing.assert_allclose(layer.running_var, x.var(axis=0, ddof=1), 1e-5)


BIASED_VARIANCE = Bug(
    title="batch normalisation's running variance is biased",
    complaint="Behind a dense layer, trained with batches of 4, batch normalisation promises a variance of 1. In "
    "evaluation I find 4/3, on the samples of the training. With batches of 256 I find 1. Every gradcheck passes.",
    hints=(
        "Training is right. What does evaluation use that training only writes?",
        "Look at running_mean and running_var of a BatchNorm2d after one step, with momentum=1.",
        "Compare running_var with x.var(axis=0), and with x.var(axis=0, ddof=1), for a batch of 4.",
    ),
    explanation="A batch's variance around its own mean is too small by (M - 1) / M on average. For the batch itself "
    "that is what the paper takes; as an estimate of all data it is corrected (algorithm 2, line 10). A large batch "
    "hides it.",
    owner=F,
    name="batch_norm",
    replacement=_batch_norm,
    wrong="running_var[...] = (1 - momentum) * before + added * (M - 1) / M",
    engine=norm.batch_norm,
    right="running_var += momentum * (operation.var * (M / (M - 1)) - running_var)",
    check=_check_variance,
)
