"""What measuring has of its own: a model in evaluation mode, and data that fit the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._function import no_grad
from ..data import ArrayDataset, DataLoader
from ..nn import Module

BATCH_SIZE = 128


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode without a graph; afterwards every Module has the mode again that it had."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with no_grad():
            yield
    finally:
        for module, training in before:
            module.training = training


def as_loader(source: Any, batch_size: int | None, shuffle: bool) -> DataLoader:
    """A DataLoader as it is; a data set in a new one."""
    if not isinstance(source, DataLoader):
        return DataLoader(source, BATCH_SIZE if batch_size is None else batch_size, shuffle=shuffle)
    if batch_size is not None:
        raise ValueError(f"batch_size={batch_size} was given beside a DataLoader, which has its own: give one of them")
    return source


def loaders(train: Any, validation: Any, batch_size: int | None) -> tuple[DataLoader, DataLoader | None]:
    """What to train on, shuffled, and what to validate with, if anything: as DataLoaders."""
    loader = as_loader(train, batch_size, shuffle=True)
    if validation is None or isinstance(validation, DataLoader):
        return loader, validation
    return loader, as_loader(validation, loader.batch_size, shuffle=False)


def check_labels(loader: DataLoader, K: int) -> None:
    """Raise ValueError for a label that the model has no output for: at the first batch, not in some later one.

    Only the labels of an ArrayDataset are known, and only where no subclass and no batch_transform makes others of
    them; those the loss looks at, batch by batch.
    """
    dataset = loader.dataset
    if type(loader) is not DataLoader or type(dataset) is not ArrayDataset or loader.batch_transform is not None:
        return
    wrong = np.flatnonzero(dataset.labels >= K)
    if wrong.size:
        raise ValueError(
            f"the model has {K} outputs, for the labels 0 to {K - 1}; sample {wrong[0]} of the data set has the label "
            f"{dataset.labels[wrong[0]]}: give the last layer more outputs, or number the classes from 0"
        )
