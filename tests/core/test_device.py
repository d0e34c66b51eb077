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


def test_without_a_gpu(monkeypatch):
    cupy_that(monkeypatch, is_available=lambda: False)
    assert mc.cuda_available() is False
    with pytest.raises(RuntimeError, match="no NVIDIA GPU with a driver was found"):
        mc.nn.Linear(2, 2).to("cuda")


def test_with_a_driver_that_does_not_answer(monkeypatch):
    cupy_that(monkeypatch, is_available=fail(OSError("cudaErrorInsufficientDriver")))
    assert mc.cuda_available() is False
    with pytest.raises(RuntimeError, match=r"the driver does not answer \(cudaErrorInsufficientDriver\)"):
        device.check_device("cuda")


def test_with_too_little_memory(monkeypatch):
    cupy_that(monkeypatch, is_available=lambda: True, asarray=fail(MemoryError("Out of memory allocating 12 bytes")))
    with pytest.raises(MemoryError, match=r"no room for an array of shape \(500, 1000\), 2 MB: use smaller batches"):
        mc.Tensor(np.zeros((500, 1000), np.float32)).to("cuda")
