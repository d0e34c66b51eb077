"""Training steps on a GPU as contenders: minicnn and PyTorch, each step by step and as a CUDA graph.

All are given the same: the images lie on the GPU, uint8, a batch is gathered there by the numbers of its samples, which
go there once a pass, and the optimizer is fused (PyTorch's with fused=True). PyTorch's losses are fetched once, at the
end; minicnn's with the outputs, as in a training, after 256 steps at most. What is timed is a pass over all batches.
What must agree before are the losses of the first ones, without dropout.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gpu_memory
import gpu_settings
import harness
import numpy as np
from elsewhere import Elsewhere, Kept
from harness import Contender, Pace, Race
from networks import MODELS, MOMENTUM, STEPS, Task, Work

Array = Any
NAMES = (
    "minicnn eager",
    "minicnn graph",
    "torch eager-nchw",
    "torch eager-nhwc",
    "torch graph-nchw",
    "torch graph-nhwc",
)
TUNED = " tuned"  # ends the names of PyTorch with its autotuner on (see elsewhere.py)
TOLERANCES = {"float32": 1e-4, "tf32": 1e-2}  # of the largest loss
RANDOM_BATCHES = 8  # of a network that is not trained on digits


def names(with_torch: bool, with_tuned: bool = False) -> list[str]:
    """Who takes part."""
    torch = [name for name in NAMES if name.startswith("torch") and with_torch]
    tuned = [f"{name}{TUNED}" for name in torch if with_tuned]
    return [name for name in NAMES if name.startswith("minicnn")] + torch + tuned


def measure(
    task: Task, names: list[str], precision: str, pace: Pace, device: str = "cuda", tuned: Elsewhere | None = None
) -> tuple[Race, dict[str, int], list[float]]:
    """The time of a step, peak memory by contender, and the first losses, on which all must agree.

    device: PyTorch's. tuned: where those of the names live that end in TUNED.
    """
    gpu_settings.set_precision(precision, any(name.startswith("torch") for name in names))
    here, there = ([name for name in names if name.endswith(TUNED) == wanted] for wanted in (False, True))
    works: dict[str, Work] = {}
    begun = {name: _begun(task, name, works, device) for name in here}
    contenders = {name: Contender(each.call) for name, each in works.items()}
    if tuned is not None and there:
        begun |= tuned.ask(begin_tuned, task, there, precision, device)
        contenders |= {name: tuned.contender(name) for name in there}
    harness.agree({name: losses for name, (_, losses) in begun.items()}, TOLERANCES[precision])
    race = harness.race(contenders, pace, compare=lambda results: None)  # done above
    if tuned is not None:
        tuned.ask(forget, device)
    steps = works[names[0]].steps
    race = Race({name: [seconds / steps for seconds in bursts] for name, bursts in race.bursts.items()})
    return race, {name: peak for name, (peak, _) in begun.items()}, begun[names[0]][1].tolist()


def begin_tuned(kept: Kept, task: Task, names: list[str], precision: str, device: str) -> dict[str, tuple[int, Array]]:
    """Make them and their first steps, in the process where the autotuner is on: peak memory and losses of each."""
    forget(kept, device)
    gpu_settings.set_torch_precision(precision)
    works: dict[str, Work] = {}
    begun = {name: _begun(task, name, works, device) for name in names}
    kept.update({name: Contender(each.call) for name, each in works.items()})
    return begun


def forget(kept: Kept, device: str) -> None:
    """Give the memory of those who raced there back."""
    kept.clear()
    gc.collect()
    gpu_settings.give_back_torch(device)


def _begun(task: Task, name: str, works: dict[str, Work], device: str) -> tuple[int, Array]:
    """Make the contender and its first steps; their peak memory, the images in it, and their losses."""
    compared: list[Array] = []

    def begin() -> None:
        works[name] = work(task, name, device)
        compared.append(works[name].compared())

    return gpu_memory.peak(name.split()[0], begin), compared[0]


def work(task: Task, name: str, device: str = "cuda") -> Work:
    """What the contender of that name, one of `names`, does; its `steps` are the batches of a pass.

    device: PyTorch's; minicnn is on the GPU.
    """
    images, labels = samples(task)
    library, kind, *_ = name.split()
    if library == "minicnn":
        run, dropouts, forgotten = _minicnn(task, kind, images, labels)
    else:
        run, dropouts, forgotten = _torch(task, kind, images, labels, device)
    order = [np.arange(i, min(i + task.batch, len(images))) for i in range(0, len(images), task.batch)]

    def first_losses() -> Array:
        rates = [layer.p for layer in dropouts]
        for layer in dropouts:
            layer.p = 0.0
        losses = run([order[0]] * STEPS)
        for layer, rate in zip(dropouts, rates, strict=True):
            layer.p = rate
        forgotten()  # steps that were recorded without dropout
        return np.array(losses)

    return Work(lambda: run(order), first_losses, len(order))


def samples(task: Task) -> tuple[Array, Array]:
    """The images, uint8, and labels (M,) int64: MNIST, or random ones for a few batches."""
    if task.image == (28, 28, 1):
        from minicnn import data

        train = data.mnist()[0]
        return train.images, train.labels
    rng, count = np.random.default_rng(0), RANDOM_BATCHES * task.batch
    return rng.integers(0, 256, (count, *task.image), np.uint8), rng.integers(0, 10, count)


Run = Callable[[list[Array]], list[float]]
Made = tuple[Run, list[Any], Callable[[], None]]


def _minicnn(task: Task, kind: str, images: Array, labels: Array) -> Made:
    """run(batches of sample numbers) trains on each and returns their losses; the layers that drop out; and what
    forgets the steps that were recorded."""
    import minicnn as mc
    from minicnn import data, nn, optim
    from minicnn.train.gpu_steps import GpuSteps, Resident

    model = task.network().to("cuda")
    optimizer = optim.SGD(model.parameters(), MODELS[task.model][1], momentum=MOMENTUM)
    trainer = mc.Trainer(model, optimizer, metrics=(), capture=kind == "graph")
    resident = Resident(data.ArrayDataset(images, labels))
    steps = GpuSteps(trainer, resident, lambda K: None)
    dropouts = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]

    def run(batches: list[Array]) -> list[float]:
        loader: Any = SimpleNamespace(indices=lambda epoch: batches)  # which is all that is asked of it
        return [record["loss"] for _, record, _ in steps.epoch(resident.batches(loader, 0, 0))]

    return run, dropouts, steps.sizes.clear


def _torch(task: Task, kind: str, images: Array, labels: Array, device: str) -> Made:
    """As `_minicnn`."""
    import torch
    import torch_models
    from torch.nn import functional as F

    how, layout = kind.split("-")
    memory = torch.contiguous_format if layout == "nchw" else torch.channels_last
    state = task.network().state_dict()
    model = torch_models.build(task.model, state).to(device=device, memory_format=memory)
    rate = MODELS[task.model][1]
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=MOMENTUM, fused=True)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=memory).to(device)
    truth = torch.from_numpy(labels).to(device)

    def step(numbers: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(pictures[numbers].to(memory_format=memory) / 255), truth[numbers])
        loss.backward()
        optimizer.step()
        return loss.detach()

    graphs: dict[int, tuple[Any, Any, Any]] = {}

    def replay(numbers: Any) -> Any:
        """A graph for each size of a batch, recorded as PyTorch's manual says: after steps on another stream."""
        if len(numbers) not in graphs:
            here = numbers.clone()
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                kept = [p.detach().clone() for p in (*model.state_dict().values(),)]
                for _ in range(3):
                    step(here)
            torch.cuda.current_stream().wait_stream(stream)
            _put_back(model, optimizer, kept)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loss = step(here)
            graphs[len(numbers)] = graph, here, loss
        graph, here, loss = graphs[len(numbers)]
        here.copy_(numbers)
        graph.replay()
        return loss.clone()

    def run(batches: list[Array]) -> list[float]:
        numbered = torch.from_numpy(np.concatenate(batches)).to(device).split([len(numbers) for numbers in batches])
        losses = [(replay if how == "graph" else step)(numbers) for numbers in numbered]
        return [float(loss) for loss in torch.stack(losses).cpu()]

    return run, [layer for layer in model.modules() if isinstance(layer, torch.nn.Dropout)], graphs.clear


def _put_back(model: Any, optimizer: Any, kept: list[Any]) -> None:
    """Undo the steps that warmed up: weights, running statistics and velocities as they were at the start."""
    import torch

    with torch.no_grad():
        for tensor, old in zip(model.state_dict().values(), kept, strict=True):
            tensor.copy_(old)
        for state in optimizer.state.values():
            state["momentum_buffer"].zero_()
