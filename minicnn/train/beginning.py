"""How ranks begin: they compare what has to be alike, and take over from rank 0 what may differ."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _random, nn
from ..data import DataLoader
from ..device import device_of, is_array, to_device
from ..distributed import Communicator, check_same
from .evaluation import evaluating
from .plan import Plan

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any


def begin_together(trainer: Trainer, plan: Plan, communicator: Communicator) -> None:
    """Compare model, optimizer, data and settings; then give every rank rank 0's numbers and its streams.

    Raises ValueError, on every rank, that names two ranks and what differs between them.
    """
    check_same(communicator, "fit: ", _described(trainer, plan))
    _share_streams(trainer, plan, communicator)
    _fill(trainer, plan)
    check_same(communicator, "fit: the layer ", _layers(trainer.model))
    check_same(communicator, "fit: the array ", _layouts(trainer))
    device = device_of(next(trainer.model.parameters()).data)
    _broadcast(_arrays(trainer), communicator, device)
    for part in (trainer.optimizer, trainer.average):
        state = part.state_dict() if part is not None else {}
        _broadcast((array for array in state.values() if is_array(array)), communicator, device)
        if part is not None:
            part.load_state_dict(state)


def _described(trainer: Trainer, plan: Plan) -> dict[str, Any]:
    """What has to be alike, by the names under which an error shows it."""
    tests, schedule, average = plan.tests, trainer.schedule, trainer.average
    return {
        "training data": described_data(plan.loader),
        "accumulate": plan.accumulate,
        "validation data": tests and described_data(tests),
        "epochs done": trainer.epoch,
        "batches done": trainer.batch,
        "last epoch": plan.last,
        "validate_every": plan.validate_every,
        "checkpoint": "none" if plan.checkpoint is None else "a file",
        "checkpoint_every": plan.checkpoint_every,
        "precision": trainer.precision,
        "clip_norm": trainer.clip_norm,
        "metrics": list(trainer.metrics),
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "optimizer": [type(trainer.optimizer).__name__, *(group.settings for group in trainer.optimizer.groups)],
        "schedule": schedule and [type(schedule).__name__, schedule.state_dict()],
        "schedule_interval": trainer.schedule_interval,
        "average": average and average.decay,
        "Dropout layers": [name for name, _ in _dropouts(trainer.model)],
    }


def described_data(loader: DataLoader) -> dict[str, Any]:
    """What of the data has to be alike; its seed need not be."""
    settings = {
        "samples": len(loader.dataset),
        "batch_size": loader.batch_size,
        "batches": len(loader),
        "shuffle": int(loader.shuffle),
    }
    return settings | _truth(loader.dataset)


def _truth(dataset: Any) -> dict[str, Any]:
    """What a data set says of its labels, where it has them at hand: a number that another label would change, and the
    names of the classes. Images are not read for this."""
    labels, classes = getattr(dataset, "labels", None), getattr(dataset, "classes", None)
    truth: dict[str, Any] = {}
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
        truth["checksum of the labels"] = zlib.crc32(labels.astype(np.int64).tobytes())
    if isinstance(classes, list | tuple):
        truth["classes"] = list(map(str, classes))
    return truth


def _layers(model: nn.Module) -> dict[str, str]:
    """Every layer's kind and settings, by name, as they are printed; without addresses, which differ by process."""
    layers = {name: f"{type(layer).__name__}({layer.extra_repr()})" for name, layer in model.named_modules()}
    return {name: re.sub(" at 0x[0-9a-f]+", "", text) for name, text in layers.items()}


def _layouts(trainer: Trainer) -> dict[str, str]:
    """Shape and dtype of every array that ranks exchange, by name; a Parameter is trained or frozen."""
    parameters, state = dict(trainer.model.named_parameters()), trainer.optimizer.state_dict()
    arrays = {**parameters, **dict(trainer.model.named_buffers())}
    arrays |= {f"optimizer.{name}": array for name, array in state.items() if is_array(array)}
    if trainer.average is not None:
        arrays |= {f"average.{name}": array for name, array in trainer.average.state_dict().items()}
    frozen = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    return {n: f"{a.dtype} {tuple(a.shape)}" + (" frozen" if n in frozen else "") for n, a in arrays.items()}


def _share_streams(trainer: Trainer, plan: Plan, communicator: Communicator) -> None:
    """Rank 0's seeds everywhere: of the engine, of the loaders' orders and augmentation, of dropout's masks."""
    loaders = [loader for loader in (plan.loader, plan.tests) if loader is not None]
    layers = [layer for _, layer in _dropouts(trainer.model)]
    own = [_random.current_seed(), [each.seed for each in loaders], [(each.seed, each.layer) for each in layers]]
    seed, seeds, streams = communicator.gather(own)[0]
    if _random.current_seed() != seed:  # `seed` also restarts the construction numbers: only where needed
        _random.seed(seed)
    for loader, its in zip(loaders, seeds, strict=True):
        loader.seed = its
    for layer, stream in zip(layers, streams, strict=True):
        layer.seed, layer.layer = stream


def _fill(trainer: Trainer, plan: Plan) -> None:
    """Give lazy layers their values, with one image of the first batch."""
    if all(parameter.is_filled for parameter in trainer.model.parameters()):
        return
    x, _ = next(plan.loader.batches(trainer.epoch, 0, (0, plan.loader.batch_size)))
    with evaluating(trainer.model):
        trainer._outputs(x)


def _arrays(trainer: Trainer) -> Iterator[Array]:
    """Every array of the model."""
    yield from (parameter.data for parameter in trainer.model.parameters())
    yield from trainer.model.buffers()


def _broadcast(arrays: Iterable[Array], communicator: Communicator, device: str) -> None:
    """Rank 0's values in all of these arrays, on every rank; device: where the ranks exchange arrays."""
    for array in arrays:
        sent = to_device(array, device)
        sent = sent if sent.flags.c_contiguous else sent.copy(order="C")
        communicator.broadcast(sent)
        if sent is not array:
            array[...] = to_device(sent, device_of(array))


def _dropouts(model: nn.Module) -> list[tuple[str, nn.Dropout]]:
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Dropout)]
