"""Giving a PyTorch network the weights of ours, and comparing a training step of both in float64."""

import numpy as np

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels

# Ours to PyTorch's: (KH, KW, C, O) -> (O, C, KH, KW), (in, out) -> (out, in).
AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,), 0: ()}


def turned(name, array, flattened):
    """An array of ours as PyTorch has it.

    flattened: {name: (H, W, C)} of the linear weights that see an image: its pixels are flattened in another order.
    """
    if name in flattened:
        H, W, C = flattened[name]
        array = array.reshape(H, W, C, -1).transpose(2, 0, 1, 3).reshape(array.shape)
    return array.transpose(AXES[array.ndim])


def check_training_step(model, twin, torch, images, classes, flattened=None):
    """Names, logits, gradients and running statistics; in the reference room, where float64 rounds to nothing."""
    flattened = flattened or {}
    model.to(dtype="float64")
    state = {name: torch.tensor(turned(name, a, flattened).copy()) for name, a in model.state_dict().items()}
    twin.double()
    assert list(state) == list(twin.state_dict())
    twin.load_state_dict(state)
    labels = np.arange(len(images)) % classes
    with kernels.use("reference"):
        logits = model(mc.tensor(images))
        F.cross_entropy(logits, labels).backward()
    expected = twin(torch.tensor(images).permute(0, 3, 1, 2))
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    np.testing.assert_allclose(logits.numpy(), expected.detach().numpy(), rtol=1e-9)
    theirs = dict(twin.named_parameters())
    for name, ours in model.named_parameters():
        grad = theirs[name].grad.numpy()
        got = turned(name, ours.grad, flattened)
        # The gradient of a bias before batch normalisation is 0, and comes out as the rounding of a sum.
        np.testing.assert_allclose(got, grad, rtol=1e-7, atol=1e-12, err_msg=name)
    after = twin.state_dict()
    for name, ours in model.named_buffers(persistent_only=True):
        np.testing.assert_allclose(ours, after[name].numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
