"""The CUDA room on the emulator, as g++ and as NVRTC compile it, and on the GPU where there is one."""

import importlib

import fake_cupy
import pytest
from emulator import Emulator
from ptx_emulator import PtxEmulator
from real_gpu import RealGpu

import minicnn as mc
from minicnn.kernels.cuda import _launch

PLACES = {
    "forwards": lambda: Emulator(0),
    "backwards": lambda: Emulator(1),
    "shuffled": lambda: Emulator(7),
    "ptx": lambda: PtxEmulator(7),
    **({"gpu": RealGpu} if mc.cuda_available() else {}),
}


@pytest.fixture
def fake(monkeypatch):
    """A machine with a GPU, as far as the engine can see: the module in CuPy's place."""
    return fake_cupy.installed(monkeypatch)


@pytest.fixture(params=["fake", pytest.param("ptx", marks=pytest.mark.slow), *(["gpu"] if mc.cuda_available() else [])])
def cupy(request, monkeypatch):
    """The same, and with kernels as NVRTC compiles them, and the real CuPy where there is a GPU."""
    if request.param == "gpu":
        return importlib.import_module("cupy")
    return fake_cupy.installed(monkeypatch, fake_cupy.FakePtxGpu if request.param == "ptx" else fake_cupy.FakeGpu)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "ptx")) for name in PLACES])
def emulator(request, monkeypatch):
    """The CUDA room runs on an emulator, by threads in this order or by what NVRTC compiles, or on the GPU."""
    monkeypatch.setattr(_launch, "gpu", PLACES[request.param]())
    return _launch.gpu
