"""What the tests of the networks share."""

import numpy as np
import pytest

from minicnn.nn import init


@pytest.fixture
def no_draws(monkeypatch):
    """Weights of 0: sizes, shapes and work do not depend on them, and drawing a hundred million takes seconds."""
    monkeypatch.setattr(init, "_normal", lambda shape, generator, std: np.zeros(shape, np.float32))
    monkeypatch.setattr(init, "_uniform", lambda shape, generator, limit: np.zeros(shape, np.float32))
