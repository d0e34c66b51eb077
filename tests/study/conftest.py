"""What the tests of the pictures share."""

import numpy as np
import pytest

from minicnn import kernels
from minicnn.nn import init


@pytest.fixture
def plain_kernels():
    """The kernels that need no compiling: which room computes makes no difference to what is drawn of it."""
    with kernels.use("reference"):
        yield


@pytest.fixture
def no_draws(monkeypatch):
    """Weights of 0: drawing a hundred million takes seconds."""
    monkeypatch.setattr(init, "_normal", lambda shape, generator, std: np.zeros(shape, np.float32))
    monkeypatch.setattr(init, "_uniform", lambda shape, generator, limit: np.zeros(shape, np.float32))
