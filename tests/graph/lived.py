"""Networks that look as if they had been trained."""

import numpy as np

import minicnn as mc
from minicnn import models, nn


def lived(model):
    """The model with biases and running statistics away from 0 and 1, in evaluation mode."""
    rng = np.random.default_rng(7)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            C = layer.num_features
            layer.running_mean[...], layer.running_var[...] = rng.normal(size=C) / 4, rng.uniform(0.5, 1.5, C)
            layer.weight.assign(rng.uniform(0.5, 1.0, C))
            layer.bias.assign(rng.normal(size=C) / 4)
        elif isinstance(layer, nn.Conv2d) and layer.bias is not None and layer.bias.is_filled:
            layer.bias.assign(rng.normal(size=layer.bias.shape) / 10)
    return model.eval()


def build(name, small=()):
    """A network of the list, whose running statistics are about those of its images, with the same weights each time.

    small: the size of the images, where it is not the network's own. In a deep network statistics at random would make
    numbers that grow or vanish.
    """
    mc.seed(3)
    model = lived(models.build(name))
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    if layers:
        for layer in layers:
            layer.momentum = 1.0
        run(model.train(), images(2, *(small or model.input_shape), seed=1))
        for layer in layers:
            layer.running_var += 0.1  # a channel that was silent here need not be so elsewhere
    return model.eval()


def images(N, *shape, seed=0):
    """float32 in [0, 1]."""
    return np.random.default_rng(seed).random((N, *shape), np.float32)


def run(model, x):
    """The model's result as an array, without a graph of gradients."""
    with mc.no_grad():
        return model(mc.tensor(x)).numpy()


def check_close(got, expected, tolerance):
    """No difference above `tolerance` times the largest number."""
    assert got.shape == expected.shape
    assert np.isfinite(expected).all()
    assert abs(got - expected).max() <= tolerance * abs(expected).max()
