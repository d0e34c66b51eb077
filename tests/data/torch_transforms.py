"""torchvision's functions for images, for the tests that compare with them."""

import importlib
import sys
import types

import pytest


def torch_functional():
    """Its Python files; its compiled operators are for detection, and a CPU build of PyTorch has none."""
    pytest.importorskip("torch")
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
    pytest.importorskip("torchvision")
    return importlib.import_module("torchvision.transforms.v2.functional")


def as_torch(images):
    """(n, H, W, C) as a Tensor (n, C, H, W)."""
    torch = pytest.importorskip("torch")
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def as_numpy(tensor):
    """The way back."""
    return tensor.numpy().transpose(0, 2, 3, 1)
