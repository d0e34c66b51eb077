"""The CUDA room on the emulator, or on the GPU where there is one."""

import pytest
from emulator import Emulator

from minicnn.kernels.cuda import _launch


@pytest.fixture(params=[0, 1, 7], ids=["forwards", "backwards", "shuffled"])
def emulator(request, monkeypatch):
    """The CUDA room runs on an emulator, with the threads of a block in this order."""
    monkeypatch.setattr(_launch, "gpu", Emulator(request.param))
    return _launch.gpu
