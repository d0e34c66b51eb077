"""A small network of each family: small enough to learn digits on two cores in a minute or so.

Where a family has a network that is small already, as it was published; of the others one with smaller images, or with
fewer layers and channels, made by the function that makes the published ones. ZFNet is not among them: it takes images
of 224 x 224 pixels alone, and with weights as small as the paper's learns nothing in the first minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Small:
    """build: makes the network, for ten classes. side: of its images, 28 x 28 x 1, or a multiple of 32, times 3.
    lr: a learning rate with which it learns, for SGD with momentum 0.9 and batches of 16. epochs: over 4,000 images."""

    build: Callable[[], Any]
    side: int
    lr: float = 0.05
    epochs: int = 3


def small_networks() -> dict[str, Small]:
    """By name, family after family in the order of their papers."""
    from minicnn import models, nn
    from minicnn.models.alexnet import _torch as alexnet
    from minicnn.models.densenet import network as densenet
    from minicnn.models.preresnet import PreActivationBlock, preactivation_network
    from minicnn.models.pyramidnet import PyramidBlock, pyramid
    from minicnn.models.resnext import grouped_bottleneck, imagenet_network
    from minicnn.models.vgg import A
    from minicnn.models.vgg import network as vgg
    from minicnn.models.wide_resnet import WideBlock
    from minicnn.models.xception import network as xception

    def thin_densenet() -> Any:
        stem = {"conv0": nn.Conv2d(3, 16, 3, padding=1, bias=False)}
        return densenet(stem, 16, (6, 6, 6), 12, 10, bottleneck=False)

    quarter = tuple(tuple(filters // 4 for filters in stage) for stage in A)
    wide_block = partial(WideBlock, dropout=0.0)
    return {
        "lenet1": Small(models.lenet1, 28, lr=0.02),
        "lenet4": Small(models.lenet4, 28, lr=0.02),
        "lenet5": Small(models.lenet5, 28, lr=0.02),
        "alexnet": Small(lambda: alexnet(10, hidden=256), 64, lr=0.005),
        "nin": Small(models.nin, 32, lr=0.003),
        "vgg11": Small(lambda: vgg(quarter, 10, hidden=256), 32, lr=0.005),
        "vgg11_bn": Small(lambda: vgg(quarter, 10, batch_norm=True, hidden=256), 32, lr=0.0003),
        "googlenet": Small(lambda: models.googlenet(10), 64, lr=0.02, epochs=5),
        "digit_cnn": Small(models.digit_cnn, 28, lr=0.02),
        "highway": Small(models.highway, 28),
        "highway:fully_connected": Small(lambda: models.highway(variant="fully_connected"), 28, lr=0.02, epochs=5),
        "resnet18": Small(lambda: models.resnet18(10), 64, lr=0.02),
        "resnet20": Small(models.resnet20, 32),
        "plain20": Small(models.plain20, 32),
        "preresnet20": Small(lambda: preactivation_network(PreActivationBlock, 3, (16, 16, 32, 64), 10), 32),
        "wide_resnet10_2": Small(lambda: preactivation_network(wide_block, 1, (16, 32, 64, 128), 10), 32),
        "resnext14_8x4d": Small(lambda: imagenet_network(grouped_bottleneck(8, 4), (1, 1, 1, 1), 512, 10), 64, lr=0.02),
        "squeezenet1_0": Small(lambda: models.squeezenet1_0(10), 64, lr=0.002),
        "densenet22_12": Small(thin_densenet, 32),
        "pyramidnet20_a48": Small(lambda: pyramid(PyramidBlock, 3, 48, 10), 32),
        "xception": Small(lambda: xception((8, 16), (16, 32, 64), (96, 128, 128), 10), 64),
        "mobilenet_v1": Small(lambda: models.mobilenet_v1(10), 64, lr=0.02),
        "mobilenet_v2": Small(lambda: models.mobilenet_v2(10), 64, lr=0.02),
    }
