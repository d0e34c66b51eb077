"""What all tests share: the rooms in which an operation runs."""

import pytest
from real_gpu import RealGpu

import minicnn as mc
from minicnn import kernels
from minicnn.kernels.cuda import _launch

# On the emulator the kernels alone are tested, in tests/kernels/cuda: what is built on them is the same everywhere.
ROOMS = [*kernels.ROOMS, *(["cuda"] if mc.cuda_available() else [])]


@pytest.fixture(params=ROOMS)
def every_room(request, monkeypatch):
    """NumPy arrays are served by this room."""
    if request.param == "cuda":
        monkeypatch.setattr(kernels, "ROOMS", ROOMS)
        monkeypatch.setattr(_launch, "gpu", RealGpu())
    with kernels.use(request.param):
        yield request.param
