"""Does the loss of one batch fall, if it alone is learnt? Every network that learns at all can do that."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..._tensor import Tensor
from ...device import array_module
from ...nn.sample import buffers_kept
from ...optim import Optimizer
from .examination import Examination
from .findings import Finding

# A step of the test is as long as would take a hundredth of the loss if the loss were straight, so that ten take about
# a tenth. A loss of which they take less than a thousandth does not move.
STEP, STILL = 0.01, 1e-3
# Of guessing's loss: below it a batch is learnt, and there is nothing to see.
LEARNT = 0.02
RISEN = 2.0  # times the loss, or guessing's: in ten steps of a learning rate that is too large


def loss_now(seen: Examination, gradients: bool = False) -> float:
    """The loss of the batch with the weights as they are; its buffers, such as dropout's counters, do not move."""
    with buffers_kept(seen.model):
        loss = seen.loss_function(seen.model(Tensor(seen.x.data)), seen.labels)
        if gradients:
            seen.model.zero_grad()
            loss.backward()
    return loss.item()


def learn_along_gradients(seen: Examination, steps: int) -> float:
    """Go down the slope of this one batch, in steps of the length that the slope asks for; returns the loss then.

    A step that does not lower the loss was too long: it is taken back, and those after it are a quarter as long.
    """
    part = STEP
    for _ in range(steps):
        loss = loss_now(seen, gradients=True)
        trained = [(p, p.grad) for p in seen.model.parameters() if p.requires_grad and p.grad is not None]
        square = sum(float(array_module(dw).square(dw.astype("float64")).sum()) for _, dw in trained)
        if not square or not math.isfinite(square):
            break
        before = [p.data.copy() for p, _ in trained]
        for p, dw in trained:
            p.data -= p.data.dtype.type(part * abs(loss) / square) * dw
        if not loss_now(seen) < loss:
            part /= 4
            for (p, _), values in zip(trained, before, strict=True):
                p.data[...] = values
    return loss_now(seen)


def learn_with(seen: Examination, optimizer: Optimizer, steps: int) -> float:
    """So many steps of an optimizer on this one batch; returns the loss then."""
    for _ in range(steps):
        loss_now(seen, gradients=True)
        optimizer.step()
    return loss_now(seen)


def guessing(seen: Examination) -> float:
    """The loss of a network that gives each of K classes the same probability, log K; of another loss what it is."""
    return math.log(seen.outputs.shape[1]) if seen.is_cross_entropy else abs(seen.loss)


def is_learnt(seen: Examination) -> bool:
    """Whether the batch is known so well that the loss has nowhere to go."""
    return seen.loss <= LEARNT * guessing(seen) if seen.is_cross_entropy else seen.loss == 0


def slope_findings(seen: Examination, after: float) -> Iterator[Finding]:
    """A loss that stays where it is, though the steps are as long as they need to be. after: what came of them."""
    still = [p for p in seen.model.parameters() if p.requires_grad and p.grad is not None and not p.grad.any()]
    names = [name for name, p in seen.model.named_parameters() if any(p is each for each in still)]
    if (seen.loss - after) >= STILL * abs(seen.loss):
        if names:
            others = f", and so have {len(names) - 1} others" if len(names) > 1 else ""
            yield Finding("no gradient", names[0], f"its gradient is 0 in every element, before and after some "
                          f"steps{others}: something behind it hands nothing back.",
                          {"parameters": len(names)})  # fmt: skip
        return
    level = guessing(seen)
    stays = f"the loss stays at {seen.loss:.4g}"
    if seen.is_cross_entropy and abs(seen.loss - level) < 0.02 * level:
        stays += f", which is what guessing gives, log {seen.outputs.shape[1]}"
    if not any(seen.weight_gradients.values()):
        why = "every gradient is 0"
        same = len(seen.outputs) > 1 and (seen.outputs == seen.outputs[:1]).all()
        why += ", and the outputs are the same for every sample" if same else ""
    else:
        why = "steps down its slope do not lower it: do the labels contradict each other, or is a gradient wrong? " \
              "`mc.gradcheck` tells"  # fmt: skip
    yield Finding("loss does not move", "", f"{stays}, and {why}.", {"loss": seen.loss, "after": after})


def rate_findings(seen: Examination, optimizer: Optimizer, after: float, along: float) -> Iterator[Finding]:
    """A learning rate with which this batch is not learnt. after: the loss behind steps of the optimizer; along: behind
    steps of the right length."""
    lr, numbers = optimizer.lr, {"loss": seen.loss, "after": after, "lr": optimizer.lr}
    if not math.isfinite(after) or after > RISEN * max(abs(seen.loss), guessing(seen)):
        yield Finding("learning rate too large", "", f"with the learning rate {lr:g} the loss of this one batch goes "
                      f"from {seen.loss:.4g} to {after:.4g}; with shorter steps it falls to {along:.4g}.",
                      numbers)  # fmt: skip
    elif seen.loss - after < STILL * abs(seen.loss):
        yield Finding("loss does not move", "", f"with the learning rate {lr:g} the loss of this one batch goes from "
                      f"{seen.loss:.6g} to {after:.6g}; with longer steps it falls to {along:.4g}: the learning rate "
                      "is too small.", numbers)  # fmt: skip
