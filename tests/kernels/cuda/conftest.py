"""The CUDA room on the emulator, and on the GPU where there is one."""

import importlib

import fake_cupy
import pytest
from emulator import Emulator
from real_gpu import RealGpu

import minicnn as mc
from minicnn.kernels.cuda import _launch

ORDERS = {"forwards": 0, "backwards": 1, "shuffled": 7}
PLACES = [*ORDERS, *(["gpu"] if mc.cuda_available() else [])]


@pytest.fixture
def fake(monkeypatch):
    """A machine with a GPU, as far as the engine can see: the module in CuPy's place."""
    return fake_cupy.installed(monkeypatch)


@pytest.fixture(params=["fake", *(["gpu"] if mc.cuda_available() else [])])
def cupy(request):
    """The same, and the real CuPy where there is a GPU."""
    if request.param == "fake":
        return request.getfixturevalue("fake")
    return importlib.import_module("cupy")


@pytest.fixture(params=PLACES)
def emulator(request, monkeypatch):
    """The CUDA room runs on an emulator, with the threads of a block in this order, or on the GPU."""
    gpu = RealGpu() if request.param == "gpu" else Emulator(ORDERS[request.param])
    monkeypatch.setattr(_launch, "gpu", gpu)
    return gpu
