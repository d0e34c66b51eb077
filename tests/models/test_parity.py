"""Parity with torchvision's own networks in full: the same names, weights and images give the same training step."""

import importlib
import sys
import types

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

# The size of the images, and how many: enough for batch normalisation behind the last pooling.
CASES = {
    "alexnet": (96, 4),
    "vgg11_bn": (64, 4),
    "resnet18": (64, 8),
    "resnet50": (128, 8),
    "wide_resnet50_2": (128, 8),
    "resnext50_32x4d": (128, 8),
    "densenet121": (128, 8),
    "googlenet": (64, 8),
    "squeezenet1_0": (64, 4),
    "mobilenet_v2": (128, 8),
}


def torchvision_models():
    """torchvision's Python files; its compiled operators are for detection, and a CPU build of PyTorch has none."""
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
    pytest.importorskip("torchvision")
    return importlib.import_module("torchvision.models")


# Winograd rounds more than the definition, and in VGG all convolutions are such, with no shortcut around them.
FURTHER = {"vgg11_bn": 3.0}
# So deep that leaps decide in every draw (see float32_step): PyTorch's own other memory format is further than twice as
# far, too. With implicit_gemm in place of Winograd, most of our leaps are those of PyTorch's usual format.
FORMATS = {"densenet121": ("contiguous_format", "channels_last")}
# ReLU6 leaps at both of its corners, and so in many draws.
DRAWS = {"mobilenet_v2": 9}
# What torchvision's builders need to be told, to make what ours make when they are told nothing.
TOLD = {"googlenet": {"aux_logits": False, "init_weights": False}}


def without_dropout(model, kind):
    """The two libraries drop other numbers."""
    for module in model.modules():
        if isinstance(module, kind):
            module.p = 0.0
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_same_as_torchvision(name):
    torch = pytest.importorskip("torch")
    mc.seed(0)
    model = without_dropout(models.build(name), nn.Dropout)
    twin = without_dropout(getattr(torchvision_models(), name)(**TOLD.get(name, {})), torch.nn.Dropout)
    size, count = CASES[name]
    images = np.random.default_rng(0).random((count, size, size, 3))
    formats = FORMATS.get(name, ("contiguous_format",))
    further, draws = FURTHER.get(name, 2.0), DRAWS.get(name, 5)
    check_training_step(model, twin, torch, images, 1000, further, formats, draws)
