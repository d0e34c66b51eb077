"""A small network of each family: small enough to learn digits on two cores in a minute or so.

Where a family has a network that is small already, as it was published; of the others one with smaller images, or with
fewer layers and channels, made by the function that makes the published ones. Three begin with other weights, because
with the published ones they learn too slowly: ZFNet, NiN and SqueezeNet.
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
    from minicnn.models._weights import initialize_weights
    from minicnn.models.alexnet import _torch as alexnet
    from minicnn.models.densenet import network as densenet
    from minicnn.models.preresnet import PreActivationBlock, preactivation_network
    from minicnn.models.pyramidnet import PyramidBlock, pyramid
    from minicnn.models.resnext import grouped_bottleneck, imagenet_network
    from minicnn.models.vgg import A
    from minicnn.models.vgg import network as vgg
    from minicnn.models.wide_resnet import WideBlock
    from minicnn.models.xception import network as xception
    from minicnn.models.zfnet import network as zfnet

    def thin_densenet() -> Any:
        stem = {"conv0": nn.Conv2d(3, 16, 3, padding=1, bias=False)}
        return densenet(stem, 16, (6, 6, 6), 12, 10, bottleneck=False)

    def small_zfnet() -> Any:
        """The published first weights, of deviation 0.01, are too small for so few channels: He's instead. Smaller
        images too: the last maps are made 6 x 6, as in `alexnet`."""
        parts = zfnet(10, hidden=256)
        head = {"avgpool": nn.AdaptiveAvgPool2d(6), "flatten": parts.flatten, "classifier": parts.classifier}
        return initialize_weights(nn.Sequential({"features": parts.features, **head}), nn.init.kaiming_normal)

    def awake(model: Any) -> Any:
        """The last convolution gives the logits, through a ReLU and a mean over each map. A class whose map is below
        zero everywhere gets no gradient and is lost; so biases there begin at 1 (Krizhevsky et al. 2012, section 5)."""
        last = [module for module in model.modules() if isinstance(module, nn.Conv2d)][-1]
        last.bias.initialize(nn.init.constant(1))
        return model

    quarter = tuple(tuple(filters // 4 for filters in stage) for stage in A)
    wide_block = partial(WideBlock, dropout=0.0)
    return {
        "lenet1": Small(models.lenet1, 28, lr=0.02),
        "lenet4": Small(models.lenet4, 28, lr=0.02),
        "lenet5": Small(models.lenet5, 28, lr=0.02),
        "alexnet": Small(lambda: alexnet(10, hidden=256), 64, lr=0.005),
        "nin": Small(lambda: awake(models.nin()), 32, lr=0.01, epochs=8),
        "zfnet": Small(small_zfnet, 96, lr=0.002),
        "vgg11": Small(lambda: vgg(quarter, 10, hidden=256), 32, lr=0.005),
        "vgg11_bn": Small(lambda: vgg(quarter, 10, batch_norm=True, hidden=256), 64, lr=0.0002, epochs=6),
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
        "squeezenet1_0": Small(lambda: awake(models.squeezenet1_0(10)), 64, lr=0.002, epochs=5),
        "densenet22_12": Small(thin_densenet, 32),
        "pyramidnet20_a48": Small(lambda: pyramid(PyramidBlock, 3, 48, 10), 32),
        "xception": Small(lambda: xception((8, 16), (16, 32, 64), (96, 128, 128), 10), 64),
        "mobilenet_v1": Small(lambda: models.mobilenet_v1(10), 64, lr=0.02),
        "mobilenet_v2": Small(lambda: models.mobilenet_v2(10), 64, lr=0.02),
    }
