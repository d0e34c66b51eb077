"""Giving a PyTorch network the weights of ours, and comparing a training step of both in float64, and of ours on a GPU.

Where there is a GPU, so that every model that has a twin is tested there too: see `gpu_step`.
"""

import copy

import numpy as np
from gpu_step import check_step_on_gpu, exact_step

import minicnn as mc

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
    untrained = copy.deepcopy(model)
    state = {name: torch.tensor(turned(name, a, flattened).copy()) for name, a in model.state_dict().items()}
    twin.double()
    assert list(state) == list(twin.state_dict())
    twin.load_state_dict(state)
    labels = np.arange(len(images)) % classes
    ours = exact_step(model, images, labels)
    expected = twin(torch.tensor(images).permute(0, 3, 1, 2))
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    np.testing.assert_allclose(ours.logits, expected.detach().numpy(), rtol=1e-9)
    theirs = dict(twin.named_parameters())
    for name, gradient in ours.gradients.items():
        # The gradient of a bias before batch normalisation is 0, and comes out as the rounding of a sum.
        got, grad = turned(name, gradient, flattened), theirs[name].grad.numpy()
        np.testing.assert_allclose(got, grad, rtol=1e-7, atol=1e-12, err_msg=name)
    after = twin.state_dict()
    for name, statistic in ours.statistics.items():
        np.testing.assert_allclose(statistic, after[name].numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
    if mc.cuda_available():
        check_step_on_gpu(untrained, images, labels, ours)
