"""The first weights of a whole network."""

from typing import TypeVar

from .. import nn
from ..nn.init import Initializer

M = TypeVar("M", bound=nn.Module)


def initialize_weights(model: M, initializer: Initializer) -> M:
    """Draw the weight of each convolution and each fully connected layer again; biases stay. Returns the model."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.initialize(initializer)
    return model
