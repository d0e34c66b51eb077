"""How ranks begin: they compare what has to be alike, and take over from rank 0 what may differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import _random, nn
from ..device import device_of, is_array, to_device
from ..distributed.communicator import Communicator
from .evaluation import evaluating
from .plan import Plan

if TYPE_CHECKING:
    from .trainer import Trainer

Array = Any


def begin_together(trainer: Trainer, plan: Plan, communicator: Communicator) -> None:
    """Compare model, optimizer, data and settings; then give every rank rank 0's numbers and its streams.

    Raises ValueError, on every rank, that names two ranks and what differs between them.
    """
    check_same(communicator, _described(trainer, plan))
    _share_streams(trainer, plan, communicator)
    _fill(trainer, plan)
    check_same(communicator, _layouts(trainer))
    device = device_of(next(trainer.model.parameters()).data)
    _broadcast(_arrays(trainer), communicator, device)
    for part in (trainer.optimizer, trainer.average):
        state = part.state_dict() if part is not None else {}
        _broadcast((array for array in state.values() if is_array(array)), communicator, device)
        if part is not None:
            part.load_state_dict(state)


def check_same(communicator: Communicator, values: Mapping[str, Any]) -> None:
    """Raise ValueError, on every rank, where another rank has another value than rank 0 under some name."""
    all_values = communicator.gather(dict(values))
    for rank, others in enumerate(all_values[1:], 1):
        for name in [*all_values[0], *(name for name in others if name not in all_values[0])]:
            here, there = (each.get(name, "none") for each in (all_values[0], others))
            if here != there:
                raise ValueError(
                    f"rank 0 and rank {rank} cannot train together: {name} is {here} on rank 0 and {there} on rank "
                    f"{rank}; every rank has to run the same script with the same files"
                )


def _described(trainer: Trainer, plan: Plan) -> dict[str, Any]:
    """What has to be alike, by the names under which an error shows it."""
    data = {name: value for name, value in plan.data().items() if name != "seed"}
    tests = plan.tests
    return {
        "the number of training samples": data.pop("samples"),
        **data,
        "the number of validation samples": None if tests is None else len(tests.dataset),
        "the batch size of validation": None if tests is None else tests.batch_size,
        "the epochs done": trainer.epoch,
        "the batches done": trainer.batch,
        "the last epoch": plan.last,
        "validate_every": plan.validate_every,
        "whether a checkpoint is saved": plan.checkpoint is not None,
        "checkpoint_every": plan.checkpoint_every,
        "precision": trainer.precision,
        "clip_norm": trainer.clip_norm,
        "the metrics": list(trainer.metrics),
        "the callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "the optimizer": type(trainer.optimizer).__name__,
        **{f"group {k} of the optimizer": group.settings for k, group in enumerate(trainer.optimizer.groups)},
        "the schedule": type(trainer.schedule).__name__,
        "the average": type(trainer.average).__name__,
        "the Dropout layers": [name for name, _ in _dropouts(trainer.model)],
    }


def _layouts(trainer: Trainer) -> dict[str, Any]:
    """Shape and dtype of every array that ranks exchange, by name."""
    arrays = dict(trainer.model.named_parameters()) | dict(trainer.model.named_buffers())
    layouts = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
    trained = {f"whether {name} is trained": p.requires_grad for name, p in trainer.model.named_parameters()}
    state = {f"the optimizer's {n}": f"{a.dtype} {a.shape}" for n, a in trainer.optimizer.state_dict().items()
             if is_array(a)}  # fmt: skip
    return layouts | trained | state


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
