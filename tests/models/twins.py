"""Giving a PyTorch network the weights of ours, and comparing a training step of both.

In float64, where both round far less than the bounds; in float32, see `float32_step`; and where there is a GPU in
every precision there, see `gpu_step`. So every model that has a twin is tested in all of these.
"""

import copy

import numpy as np
from float32_step import check_float32_step
from gpu_step import check_step_on_gpu, exact_step

import minicnn as mc
from minicnn import nn

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


def check_training_step(model, twin, torch, images, classes, times_as_far=2.0, formats=("contiguous_format",), draws=5):
    """Names, logits, gradients and running statistics; in the reference room, where float64 rounds to nothing.

    times_as_far, formats, draws: see `check_float32_step`.
    """
    linear = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    flattened = {f"{name}.weight": module.image_shape for name, module in linear if module.image_shape}
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
    logits = expected.detach().numpy()
    # Of the norm, since a logit near 0 is what is left of larger sums.
    assert np.linalg.norm(ours.logits - logits) <= 1e-10 * np.linalg.norm(logits)
    theirs = dict(twin.named_parameters())
    for name, gradient in ours.gradients.items():
        # The gradient of a bias before batch normalisation is 0, and comes out as the rounding of a sum.
        got, grad = turned(name, gradient, flattened), theirs[name].grad.numpy()
        np.testing.assert_allclose(got, grad, rtol=1e-7, atol=1e-12, err_msg=name)
        assert np.linalg.norm(got - grad) <= 1e-8 * np.linalg.norm(grad) + 1e-12, name
    after = twin.state_dict()
    for name, statistic in ours.statistics.items():
        np.testing.assert_allclose(statistic, after[name].numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
    twin.load_state_dict(state)
    ours_turned = lambda name, array: turned(name, array, flattened)  # noqa: E731
    check_float32_step(untrained, twin, torch, images.shape, classes, ours_turned, times_as_far, formats, draws)
    if mc.cuda_available():
        check_step_on_gpu(untrained, images, labels, ours)
