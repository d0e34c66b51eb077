"""Whole networks as contenders: a training step or a forward pass, in minicnn's rooms and in PyTorch.

A training step is zero_grad, forward, cross-entropy, backward, and SGD with momentum 0.9, float32. All contenders start
from the same weights. A forward pass is raced twice: by the model, and by what `optimize_for_inference` makes of it.
What must agree before anything is timed is the losses of the first steps, all on one batch, so
that they fall, and without dropout, whose random numbers differ from library to library; or, in a forward pass, the
logits. What is timed has its dropout, and goes through several batches in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

NAMES = ("minicnn cpu", "minicnn optimised", "minicnn reference", "torch nchw", "torch nhwc")
MOMENTUM = 0.9
STEPS = 3  # whose losses are compared
TOLERANCE = 1e-4  # of the largest of the losses or logits: float32 sums in another order, through many layers
BATCH_NUMBERS = 1 << 22  # numbers that the images of all batches have together, about: 16 MB
Batch = tuple[Any, Any]

# Images in a step (in a forward pass there is one), and a learning rate at which the losses fall: where they jump,
# rounding errors grow with them.
MODELS = {
    "lenet5": (128, 0.05),
    "digit_cnn": (128, 0.05),
    "resnet20": (128, 0.01),
    "resnet18": (8, 0.002),
    "vgg16": (4, 0.00002),
    "resnet50": (8, 0.00001),
}


@dataclass(frozen=True)
class Task:
    """So many square images, `size` pixels wide, through a network: one training step, or a forward pass."""

    model: str
    batch: int
    size: int
    inference: bool = False

    @property
    def image(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        from minicnn import models

        return self.size, self.size, models.input_shape(self.model)[2]

    def multiply_adds(self) -> int:
        """Those of a forward pass over all images."""
        import minicnn as mc

        return self.batch * mc.summary(self.network(), self.image).multiply_adds

    def network(self) -> Any:
        """minicnn's network with the weights that everyone starts from.

        Biases are drawn too. At 0 they make outputs of exactly 0 where an image is black, and there ReLU has no
        derivative: a rounding error of 1e-9, such as Winograd's, would decide between 0 and 1.
        """
        import minicnn as mc
        from minicnn import models, nn

        mc.seed(0)
        model = models.build(self.model)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                layer.bias.initialize(nn.init.normal(0.01))
        return model

    def batches(self) -> list[Batch]:
        """At least one: x (N, H, W, C) float32 in [0, 1], labels (N,). MNIST where it fits, else random images."""
        import numpy as np

        H, W, C = self.image
        count = min(32, max(1, BATCH_NUMBERS // (self.batch * H * W * C)))
        if self.image == (28, 28, 1):
            return self._digits(count)
        rng = np.random.default_rng(0)
        return [(rng.random((self.batch, H, W, C), np.float32), rng.integers(0, 10, self.batch)) for _ in range(count)]

    def _digits(self, count: int) -> list[Batch]:
        from minicnn import data

        loader = data.DataLoader(data.mnist()[0], self.batch)
        return list(itertools.islice(loader, count))


@dataclass(frozen=True)
class Work:
    """call() is timed, and makes so many steps; compared() comes first, and must be the same for all contenders."""

    call: Callable[[], Any]
    compared: Callable[[], Any]
    steps: int = 1


def work(task: Task, name: str) -> Work:
    """What the contender of that name, one of NAMES, does."""
    library, kind = name.split()
    return minicnn_work(task, kind) if library == "minicnn" else torch_work(task, kind)


def minicnn_work(task: Task, kind: str) -> Work:
    """In one of minicnn's rooms; or, for a forward pass, "optimised": by `optimize_for_inference`, on the CPU."""
    import minicnn as mc
    from minicnn import functional as F
    from minicnn import kernels, optim

    model, room = task.network(), "cpu" if kind == "optimised" else kind
    batches = [(mc.tensor(x), labels) for x, labels in task.batches()]

    def look() -> Any:
        with kernels.use(room), mc.no_grad():
            return model(batches[0][0])

    def step(x: Any, labels: Any) -> Any:
        with kernels.use(room):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
        return loss

    if task.inference:
        model = mc.optimize_for_inference(model, task.image) if kind == "optimised" else model.eval()
        return Work(look, lambda: look().numpy())
    optimizer = optim.SGD(model.parameters(), lr=MODELS[task.model][1], momentum=MOMENTUM)
    return _training(step, batches, model.modules())


def torch_work(task: Task, layout: str) -> Work:
    """In PyTorch, eager, with its images and weights in memory as `layout` says."""
    import torch
    import torch_models
    from torch.nn import functional as F

    memory = torch.contiguous_format if layout == "nchw" else torch.channels_last
    model = torch_models.build(task.model, task.network().state_dict()).to(memory_format=memory)
    batches = [
        # (N, H, W, C) -> (N, C, H, W)
        (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=memory), torch.from_numpy(labels))
        for x, labels in task.batches()
    ]

    def look() -> Any:
        with torch.inference_mode():
            return model(batches[0][0])

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    if task.inference:
        model.eval()
        return Work(look, lambda: look().numpy())
    optimizer = torch.optim.SGD(model.parameters(), lr=MODELS[task.model][1], momentum=MOMENTUM)
    return _training(step, batches, model.modules())


def _training(step: Callable[[Any, Any], Any], batches: list[Batch], modules: Iterable[Any]) -> Work:
    turn, dropouts = itertools.cycle(batches), [layer for layer in modules if type(layer).__name__ == "Dropout"]
    return Work(lambda: step(*next(turn)), lambda: _first_losses(step, batches[0], dropouts))


def _first_losses(step: Callable[[Any, Any], Any], batch: Batch, dropouts: list[Any]) -> Any:
    """The losses of the first steps, without dropout."""
    import numpy as np

    rates = [layer.p for layer in dropouts]
    for layer in dropouts:
        layer.p = 0.0
    losses = [float(step(*batch).item()) for _ in range(STEPS)]
    for layer, rate in zip(dropouts, rates, strict=True):
        layer.p = rate
    return np.array(losses)
