"""What a person reads who asks for a GPU that cannot be used. A module of ours stands in the place of CuPy."""

import builtins
import sys
import types

import numpy as np
import pytest

import minicnn as mc
from minicnn import device


def cupy_that(monkeypatch, **functions):
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(ndarray=type("ndarray", (), {}), **functions))


def fail(error):
    def raises(*arguments):
        raise error

    return raises


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert mc.cuda_available() is False
    with pytest.raises(
        RuntimeError, match=r"\"cuda\" cannot be used, CuPy .*minicnn\[cuda13\].*use the device \"cpu\""
    ):
        mc.tensor([1.0]).to("cuda")


def test_with_a_cupy_whose_libraries_are_missing(monkeypatch):
    true = builtins.__import__

    def broken(name, *rest):
        if name == "cupy":
            raise ImportError("libnvrtc.so.13: cannot open shared object file")
        return true(name, *rest)

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(RuntimeError, match=r"CuPy cannot be imported \(libnvrtc.so.13.*install it anew"):
        mc.tensor([1.0], device="cuda")


def unavailable(monkeypatch, version, count):
    """CuPy 14 whose is_available keeps every error for itself. version: of the driver, 0 for none. count(): of GPUs."""
    runtime = types.SimpleNamespace(driverGetVersion=lambda: version, getDeviceCount=count)
    cupy_that(monkeypatch, is_available=lambda: False, cuda=types.SimpleNamespace(runtime=runtime))


OLD_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
NO_DEVICE = "cudaErrorNoDevice: no CUDA-capable device is detected"


@pytest.mark.parametrize(
    ("version", "count"),
    [(0, fail(RuntimeError(OLD_DRIVER))), (13020, fail(RuntimeError(NO_DEVICE))), (13020, lambda: 0)],
    ids=["no driver", "no GPU", "none counted"],
)
def test_without_a_gpu(monkeypatch, version, count):
    """Without a driver CUDA says that it is too old."""
    unavailable(monkeypatch, version, count)
    assert mc.cuda_available() is False
    with pytest.raises(RuntimeError, match="no NVIDIA GPU with a driver was found: nvidia-smi should list one"):
        mc.nn.Linear(2, 2).to("cuda")


@pytest.mark.parametrize(
    "error",
    [OLD_DRIVER, "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda driver combination"],
)
def test_with_a_driver_that_does_not_answer(monkeypatch, error):
    unavailable(monkeypatch, 11040, fail(RuntimeError(error)))
    assert mc.cuda_available() is False
    with pytest.raises(RuntimeError, match=rf"the driver does not answer \({error}\): nvidia-smi should say more"):
        device.check_device("cuda")


def test_with_a_cupy_that_says_itself_that_the_driver_does_not_answer(monkeypatch):
    cupy_that(monkeypatch, is_available=fail(OSError("cudaErrorInsufficientDriver")))
    assert mc.cuda_available() is False
    with pytest.raises(RuntimeError, match=r"the driver does not answer \(cudaErrorInsufficientDriver\)"):
        device.check_device("cuda")


def test_one_of_several_gpus_is_chosen_outside_of_the_script():
    with pytest.raises(ValueError, match=r"'cuda:1': .*several GPUs .* CUDA_VISIBLE_DEVICES=1 before the script"):
        mc.tensor([1.0]).to("cuda:1")
    for name in ("gpu", "cuda:", None):
        with pytest.raises(ValueError, match=f'device expected "cpu" or "cuda", got {name!r}$'):
            device.check_device(name)


def test_with_too_little_memory(monkeypatch):
    cupy_that(monkeypatch, is_available=lambda: True, asarray=fail(MemoryError("Out of memory allocating 12 bytes")))
    with pytest.raises(MemoryError, match=r"no room for an array of shape \(500, 1000\), 2 MB: use smaller batches"):
        mc.Tensor(np.zeros((500, 1000), np.float32)).to("cuda")
