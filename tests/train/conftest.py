"""What the tests of training share: a small network with everything that has a state, and a small data set."""

from types import SimpleNamespace

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, nn, optim

CLASSES = 5


def _network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(None, CLASSES),
    )


def _trainer(optimizer="sgd", schedule=True, seed=3):
    """A Trainer as a fresh process would make it."""
    mc.seed(seed)
    model = _network()
    if optimizer == "sgd":
        optimizer = optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    else:
        optimizer = optim.Adadelta(model.parameters())
    return mc.Trainer(model, optimizer, schedule=optim.CosineAnnealingLR(optimizer, 4) if schedule else None)


def _arrays(trainer):
    """Every array of a run."""
    state = trainer.optimizer.state_dict()
    return {
        **{name: p.data.copy() for name, p in trainer.model.named_parameters()},
        **{name: array.copy() for name, array in trainer.model.named_buffers()},
        **{name: array for name, array in state.items() if isinstance(array, np.ndarray)},
    }


def _same(a, b):
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


@pytest.fixture
def small():
    """small.network(), small.trainer(...), small.arrays(trainer), small.same(arrays, arrays)."""
    return SimpleNamespace(network=_network, trainer=_trainer, arrays=_arrays, same=_same)


def bright_rows():
    """50 images of 8 x 8 whose class can be learnt: a bright row stands at the class's height."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, 50)
    images = rng.integers(0, 100, (50, 8, 8, 1), dtype=np.uint8)
    images[np.arange(50), labels + 1] += 150
    return data.ArrayDataset(images, labels)


@pytest.fixture
def dataset():
    """See `bright_rows`."""
    return bright_rows()
