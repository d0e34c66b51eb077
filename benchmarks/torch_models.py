"""The networks of the benchmarks as PyTorch has them, with the Parameters' names of minicnn's.

They are what torchvision and the papers say, written with torch.nn alone; `minicnn.models` documents each one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

# Linear weights that see a flattened image, and its shape (H, W, C): minicnn flattens (H, W, C), PyTorch (C, H, W).
FLATTENED = {
    "lenet5": ("dense.weight", (5, 5, 16)),
    "digit_cnn": ("dense.weight", (12, 12, 64)),
    "vgg16": ("classifier.0.weight", (7, 7, 512)),
}


def build(name: str, weights: Mapping[str, Any] | None = None) -> nn.Module:
    """The network of that name; with minicnn's `state_dict`, turned to PyTorch's axes, or PyTorch's own first weights.

    Raises RuntimeError where the names or shapes of the state are not the network's.
    """
    model = _BUILDERS[name]()
    if weights is not None:
        model.load_state_dict({key: torch.from_numpy(_turned(name, key, a)) for key, a in weights.items()})
    return model


def _turned(name: str, key: str, array: Any) -> Any:
    """A copy of an array of minicnn's in PyTorch's layout: (KH, KW, C, O) -> (O, C, KH, KW), (in, out) -> (out, in)."""
    flattened, shape = FLATTENED.get(name, ("", ()))
    if key == flattened:
        # (H*W*C, out) -> (C*H*W, out)
        array = array.reshape(*shape, -1).transpose(2, 0, 1, 3).reshape(array.shape)
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,), 0: ()}
    return np.array(array.transpose(axes[array.ndim]), order="C")


def lenet5() -> nn.Module:
    """LeNet-5 as Keras users write it."""
    return _named(
        conv2d=nn.Conv2d(1, 6, 5, padding=2), tanh=nn.Tanh(), average_pooling2d=nn.AvgPool2d(2),
        conv2d_1=nn.Conv2d(6, 16, 5), tanh_1=nn.Tanh(), average_pooling2d_1=nn.AvgPool2d(2),
        flatten=nn.Flatten(), dense=nn.Linear(400, 120), tanh_2=nn.Tanh(),
        dense_1=nn.Linear(120, 84), tanh_3=nn.Tanh(), dense_2=nn.Linear(84, 10),
    )  # fmt: skip


def digit_cnn() -> nn.Module:
    """The digit network of Keras' examples."""
    return _named(
        conv2d=nn.Conv2d(1, 32, 3), relu=nn.ReLU(), conv2d_1=nn.Conv2d(32, 64, 3), relu_1=nn.ReLU(),
        max_pooling2d=nn.MaxPool2d(2), dropout=nn.Dropout(0.25), flatten=nn.Flatten(),
        dense=nn.Linear(9216, 128), relu_2=nn.ReLU(), dropout_1=nn.Dropout(0.5), dense_1=nn.Linear(128, 10),
    )  # fmt: skip


def vgg16() -> nn.Module:
    """VGG-16."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
        for filters in stage:
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            channels = filters
        layers.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        nn.Linear(25088, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
        nn.Dropout(), nn.Linear(4096, 1000),
    )  # fmt: skip
    return _named(
        features=nn.Sequential(*layers), avgpool=nn.AdaptiveAvgPool2d(7), flatten=nn.Flatten(), classifier=classifier
    )


def resnet18() -> nn.Module:
    """ResNet-18."""
    return _imagenet(BasicBlock, (2, 2, 2, 2), 512)


def resnet50() -> nn.Module:
    """ResNet-50, as torchvision has it."""
    return _imagenet(Bottleneck, (3, 4, 6, 3), 2048)


def resnet20() -> nn.Module:
    """ResNet-20 for CIFAR-10, with shortcuts of option A."""
    return _named(
        conv1=_conv(3, 16, 3), bn1=nn.BatchNorm2d(16), relu=nn.ReLU(inplace=True),
        layer1=_stage(BasicBlock, 3, 16, 16, 1, ZeroPadded), layer2=_stage(BasicBlock, 3, 16, 32, 2, ZeroPadded),
        layer3=_stage(BasicBlock, 3, 32, 64, 2, ZeroPadded),
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(64, 10),
    )  # fmt: skip


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.relu, self.downsample = nn.ReLU(inplace=True), shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += shortcut
        return self.relu(y)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution of a quarter of the channels between two of 1 x 1, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        width = outputs // 4
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu, self.downsample = nn.ReLU(inplace=True), shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += shortcut
        return self.relu(y)


class ZeroPadded(nn.Module):
    """Every stride-th pixel, and channels of zeros behind."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = outputs - inputs, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def _conv(inputs: int, outputs: int, K: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, K, stride, padding=K // 2, bias=False)


def _stage(block: Any, blocks: int, inputs: int, outputs: int, stride: int, shortcut: Any = _projection) -> nn.Module:
    first = None if (inputs, stride) == (outputs, 1) else shortcut(inputs, outputs, stride)
    others = [block(outputs, outputs, 1, None) for _ in range(blocks - 1)]
    return nn.Sequential(block(inputs, outputs, stride, first), *others)


def _imagenet(block: Any, blocks: tuple[int, int, int, int], outputs: int) -> nn.Module:
    sizes = [64, *(outputs // n for n in (8, 4, 2, 1))]
    layers = {f"layer{i + 1}": _stage(block, blocks[i], sizes[i], sizes[i + 1], 1 if i == 0 else 2) for i in range(4)}
    return _named(
        conv1=_conv(3, 64, 7, 2), bn1=nn.BatchNorm2d(64), relu=nn.ReLU(inplace=True), maxpool=nn.MaxPool2d(3, 2, 1),
        **layers, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(outputs, 1000),
    )  # fmt: skip


def _named(**layers: nn.Module) -> nn.Module:
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


_BUILDERS = {each.__name__: each for each in (lenet5, digit_cnn, resnet20, resnet18, resnet50, vgg16)}
