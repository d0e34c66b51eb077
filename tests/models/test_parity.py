"""Parity with torchvision's own networks: the same weights and images give the same logits and gradients.

Float64 tells whether two networks are the same function: there both libraries round far below the bound. Float32 tells
whether ours is computed as exactly: a gradient of a deep network differs by per cents even between PyTorch's own memory
formats, so each is held against the one in float64, and may lie at most twice as far from it as PyTorch's.
"""

import importlib
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
from twins import turned

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn

torch = pytest.importorskip("torch")
pytest.importorskip("importlib.metadata").version("torch")

FLOAT64_BOUND = 1e-8  # norm of the difference over the norm
LOGITS_BOUND = 1e-4  # of the largest
TIMES_AS_FAR = 2.0  # from the gradient in float64, as PyTorch's float32


def torchvision_models():
    """torchvision's Python files; the compiled operators, for detection, are not needed and may be missing."""
    # Registers shapes of those operators while it is imported, and fails where PyTorch's build has none of them.
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
    pytest.importorskip("torchvision")
    return importlib.import_module("torchvision.models")


@dataclass
class Step:
    """What one forward and backward pass left: arrays as PyTorch has them, by torchvision's names."""

    logits: np.ndarray
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    evaluated: np.ndarray  # logits in evaluation mode, with these statistics


def without_dropout(model):
    """Both libraries draw other masks: none are drawn."""
    for module in model.modules():
        if isinstance(module, nn.Dropout | torch.nn.Dropout):
            module.p = 0.0
    return model


def flattened(model):
    """{name: (H, W, C)} of the weights that see flattened images."""
    linear = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return {f"{name}.weight": module.image_shape for name, module in linear if module.image_shape}


def our_step(model, images, labels):
    x, shapes = mc.tensor(images), flattened(model)
    logits = model.train()(x)
    F.cross_entropy(logits, labels).backward()
    gradients = {name: turned(name, p.grad, shapes) for name, p in model.named_parameters()}
    statistics = dict(model.named_buffers(persistent_only=True))
    with mc.no_grad():
        evaluated = model.eval()(x).numpy()
    model.zero_grad()
    return Step(logits.numpy(), gradients, statistics, evaluated)


def their_step(twin, images, labels):
    x = torch.tensor(images).permute(0, 3, 1, 2)
    twin.train().zero_grad()
    logits = twin(x)
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    gradients = {name: p.grad.numpy() for name, p in twin.named_parameters()}
    statistics = {name: b.numpy() for name, b in twin.named_buffers()}
    with torch.no_grad():
        evaluated = twin.eval()(x).numpy()
    return Step(logits.detach().numpy(), gradients, statistics, evaluated)


def distance(a, b):
    return float(np.linalg.norm(np.asarray(a, np.float64) - b))


def state_for(model):
    shapes = flattened(model)
    return {name: torch.tensor(turned(name, a, shapes).copy()) for name, a in model.state_dict().items()}


def check_parity(model, twin, images, classes, gradients_in_float32=True):
    """Float64, then float32, both from the same weights."""
    without_dropout(model), without_dropout(twin)
    labels = np.arange(len(images)) % classes
    begin, state = model.state_dict(), state_for(model)
    assert list(state) == list(twin.state_dict())
    twin.double().load_state_dict(state)
    exact = their_step(twin, images, labels)
    check_float64(our_step(model.to(dtype="float64"), images, labels), exact)

    images = images.astype(np.float32)
    model.to(dtype="float32").load_state_dict(begin)
    ours = our_step(model, images, labels)
    assert np.abs(ours.evaluated - exact.evaluated).max() <= LOGITS_BOUND * np.abs(exact.evaluated).max()
    if gradients_in_float32:
        twin.float().load_state_dict(state)
        check_float32(ours.gradients, their_step(twin, images, labels).gradients, exact.gradients)


def check_float64(ours, exact):
    for what in ("logits", "evaluated"):
        expected = getattr(exact, what)
        assert distance(getattr(ours, what), expected) <= FLOAT64_BOUND * np.linalg.norm(expected), what
    assert list(ours.gradients) == list(exact.gradients)
    # The gradient of a bias before batch normalisation is 0, and comes out as the rounding of a sum.
    rounding = 1e-13 * max(np.linalg.norm(g) for g in exact.gradients.values())
    for name, expected in exact.gradients.items():
        assert distance(ours.gradients[name], expected) <= FLOAT64_BOUND * np.linalg.norm(expected) + rounding, name
    for name, expected in exact.statistics.items():
        assert distance(ours.statistics[name], expected) <= FLOAT64_BOUND * np.linalg.norm(expected), name


def check_float32(ours, theirs, exact):
    rounding = 1e-6 * max(np.linalg.norm(g) for g in exact.values())
    pairs = {name: (distance(ours[name], g), distance(theirs[name], g)) for name, g in exact.items()}
    far = [f"{name}: {a:.2e} against {b:.2e}" for name, (a, b) in pairs.items() if a > TIMES_AS_FAR * b + 0*rounding]
    ratios = sorted(a / b for a, b in pairs.values() if b)
    print("max %.2f median %.2f" % (ratios[-1], np.median(ratios)), len(far), "of", len(pairs))
    assert not far, far


# Enough numbers that some lie so near to 0 that a ReLU or a maximum decides otherwise in float32, in both libraries:
# that is what most of the distance is made of.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "count"), [("resnet18", 128, 8), ("resnet50", 128, 8), ("vgg11", 64, 8), ("vgg11_bn", 64, 8)])
def test_same_as_torchvision(name, size, count):
    images = np.random.default_rng(0).random((count, size, size, 3))
    mc.seed(0)
    check_parity(models.build(name), getattr(torchvision_models(), name)(), images, 1000)
