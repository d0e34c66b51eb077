"""What has been published about the sizes of the networks in `minicnn.models`: what `minicnn.study.audit` checks.

Each figure stands as it was printed, with its source: a paper's first author, year and place (the titles stand in the
docstrings of the models), the documentation of torchvision 0.28 or Keras, tables that count other people's networks
(osmr/imgclsmob, HewlettPackard/dlcookbook-dlbs), or a lecture. "usual": what programs and lectures print for the
network, without anybody who was first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .. import nn

Terms = Mapping[str, int]  # what is added up, by name
Counter = Callable[..., int]  # count(network, what, *stages); see `audit.count`

PARAMETERS, WEIGHTS, IN_ALL, WORK = "parameters", "weights", "in all", "multiply-adds"


@dataclass(frozen=True)
class Reason:
    """Why a printed figure is not our count.

    text: the reason. terms: what the figure counts instead; they must add up to it as printed, or to `right`.
    right: the figure that should have been printed, where it is not what anything adds up to.
    """

    text: str
    terms: Callable[[Counter], Terms]
    right: str = ""


@dataclass(frozen=True)
class Figure:
    """A published number.

    network: its name in `models.names()`.
    what: "parameters" (trained), "weights" (parameters without biases, scales and shifts), "in all" (parameters and
        running statistics) or "multiply-adds"; or the name of a worked example, if it has terms.
    printed: "61,706", "0.27M", "1.814G". source: where.
    stages: the Modules that it counts; () is the whole network. kilo: what K means, 1000 or 1024.
    terms: of a worked example: what it adds up.
    """

    network: str
    what: str
    printed: str
    source: str
    stages: tuple[str, ...] = ()
    kilo: int = 1000
    terms: Callable[[], Terms] | None = None
    reason: Reason | None = None


def agrees(printed: str, number: int, kilo: int = 1000) -> bool:
    """Whether a number differs from a printed one by less than one in its last digit.

    "60,000" is 60,000 and nothing else; "3.6G" is anything between 3.5G and 3.7G: authors round and cut off.
    Raises ValueError for what is no such number.
    """
    match = re.fullmatch(r"([\d,]+)(?:\.(\d+))?([KMG]?)", printed)
    if not match:
        raise ValueError(f'expected a printed number like "61,706", "0.27M" or "1.814G", got {printed!r}')
    whole, decimals, letter = match[1].replace(",", ""), match[2] or "", match[3]
    scale: int = kilo ** " KMG".index(letter or " ")
    return abs(number * 10 ** len(decimals) - int(whole + decimals) * scale) < scale


# Worked examples: their terms come from layers, as a reader would build them.


def work(H: int, C: int, O: int, K: int) -> int:
    """The multiply-adds of a K x K convolution of C to O channels that keeps an image of H x H pixels."""
    return nn.Conv2d(C, O, K, padding="same").multiply_adds((H, H, C), (H, H, O))


def naive_module() -> Terms:
    """An Inception module without bottlenecks on 28 x 28 x 256."""
    filters = {1: 128, 3: 192, 5: 96}
    return {f"{K} x {K}, 256 to {O}": work(28, 256, O, K) for K, O in filters.items()}


def bottleneck_module() -> Terms:
    """The same with 64 channels before the 3 x 3 and the 5 x 5 convolution and behind the pooling."""
    return {
        "1 x 1, 256 to 128": work(28, 256, 128, 1),
        "1 x 1, 256 to 64, before 3 x 3": work(28, 256, 64, 1),
        "3 x 3, 64 to 192": work(28, 64, 192, 3),
        "1 x 1, 256 to 64, before 5 x 5": work(28, 256, 64, 1),
        "5 x 5, 64 to 96": work(28, 64, 96, 5),
        "1 x 1, 256 to 64, after pooling": work(28, 256, 64, 1),
    }


def five_alone() -> Terms:
    """5 x 5 on 28 x 28 x 192."""
    return {"5 x 5, 192 to 32": work(28, 192, 32, 5)}


def five_behind_one() -> Terms:
    """The same through 16 channels."""
    return {"1 x 1, 192 to 16": work(28, 192, 16, 1), "5 x 5, 16 to 32": work(28, 16, 32, 5)}


def separable_stem(what: str) -> Terms:
    """GoogLeNet's first convolution as a separable one: 8 filters 7 x 7 for each of 3 channels, then 1 x 1."""
    depthwise = nn.Conv2d(3, 24, 7, stride=2, padding=3, groups=3, bias=False)
    pointwise = nn.Conv2d(24, 64, 1, bias=False)
    if what == WORK:
        first = depthwise.multiply_adds((224, 224, 3), (112, 112, 24))
        second = pointwise.multiply_adds((112, 112, 24), (112, 112, 64))
    else:
        first, second = depthwise.weight.size, pointwise.weight.size
    return {"7 x 7 in each channel, 3 to 24": first, "1 x 1, 24 to 64": second}


# The tables.


def _column(what: str, source: str, printed: Mapping[str, str]) -> list[Figure]:
    """One figure for each network."""
    return [Figure(network, what, text, source) for network, text in printed.items()]


def _stages(network: str, what: str, source: str, printed: Mapping[str, str]) -> list[Figure]:
    """One figure for each stage of a network."""
    return [Figure(network, what, text, source, stages=(stage,)) for stage, text in printed.items()]


_LENET = [
    Figure("lenet1", PARAMETERS, "2,578", "LeCun 1989, section 4"),
    Figure("lenet5", PARAMETERS, "61,706", "usual"),
    Figure("lenet5:d2l", PARAMETERS, "61,706", "usual"),
    Figure("lenet5:1998", PARAMETERS, "60,000", "LeCun 1998, section II.B"),
    *_stages("lenet5:1998", PARAMETERS, "LeCun 1998, section II.B",
             {"c1": "156", "s2": "12", "c3": "1,516", "s4": "32", "c5": "48,120", "f6": "10,164"}),
    Figure("digit_cnn", PARAMETERS, "1,199,882", "Keras, mnist_cnn.py"),
]  # fmt: skip

_ALEXNET = [
    Figure("alexnet:2012", PARAMETERS, "60M", "Krizhevsky 2012, abstract"),
    Figure("alexnet:2012", PARAMETERS, "60,965,224", "dlcookbook-dlbs"),
    Figure("alexnet:2012", WORK, "0.724G", "usual"),
    Figure("alexnet:2012", WORK, "1.5G", "lecture", reason=Reason(
        "a multiplication and an addition count as two, in the other rows as one",
        lambda count: dict.fromkeys(("multiplications", "additions"), count("alexnet:2012", WORK)))),
    Figure("alexnet:ungrouped", PARAMETERS, "62,378,344", "imgclsmob"),
    Figure("alexnet:ungrouped", WORK, "1.135G", "usual"),
    Figure("alexnet:batch_norm", PARAMETERS, "58,308,674", "usual"),
    Figure("alexnet:batch_norm", IN_ALL, "58,327,810", "usual"),
    Figure("nin", PARAMETERS, "966,986", "imgclsmob"),
]  # fmt: skip

# Table 2: millions of parameters of configurations A, B, D and E.
_VGG = [
    *_column(PARAMETERS, "Simonyan 2015, table 2",
             {"vgg11": "133M", "vgg13": "133M", "vgg16": "138M", "vgg19": "144M"}),
    Figure("vgg16", PARAMETERS, "138M", "lecture"),
    Figure("vgg16", WORK, "19.6G", "lecture", reason=Reason(
        "beside VGG-16's parameters stand VGG-19's multiply-adds", lambda count: {"vgg19": count("vgg19", WORK)})),
]  # fmt: skip

# Table 6 counts the parameters of the networks for CIFAR-10; plain networks have as many (section 4.2).
_CIFAR_LAYERS = {20: "0.27M", 32: "0.46M", 44: "0.66M", 56: "0.85M", 110: "1.7M"}
_CIFAR_EXACT = {20: "269,722", 32: "464,154", 44: "658,586", 56: "853,018", 110: "1,727,962", 1202: "19,421,274"}
_RESNET = [
    *_column(WORK, "He 2016, table 1", {"resnet18": "1.8G", "resnet34": "3.6G", "resnet50:2016": "3.8G",
             "resnet101:2016": "7.6G", "resnet152:2016": "11.3G", "plain18": "1.8G", "plain34": "3.6G"}),
    *_column(WORK, "Xie 2017, table 1", {"resnet50": "4.1G"}),
    *_column(PARAMETERS, "Xie 2017, table 1", {"resnet50": "25.5M", "resnet50:2016": "25.5M"}),
    *_column(PARAMETERS, "He 2016, table 6", {f"resnet{n}": text for n, text in _CIFAR_LAYERS.items()}),
    *_column(PARAMETERS, "He 2016, table 6", {"resnet1202": "19.4M"}),
    *_column(PARAMETERS, "He 2016, section 4.2", {f"plain{n}": text for n, text in _CIFAR_LAYERS.items()}),
    *_column(PARAMETERS, "usual", {f"resnet{n}": text for n, text in _CIFAR_EXACT.items()}),
]  # fmt: skip

_DENSENET = [
    *_column(PARAMETERS, "Huang 2017, table 2", {"densenet40_12": "1.0M", "densenet_bc_100_12": "0.8M"}),
    *_column(PARAMETERS, "usual", {"densenet40_12": "1,019,722"}),
    *_column(PARAMETERS, "imgclsmob", {"densenet_bc_100_12": "769,162"}),
]

# Table 1 of SqueezeNet's paper, the column before pruning.
_SQUEEZENET = [
    Figure("squeezenet1_0", PARAMETERS, "1,248,424", "Iandola 2016, table 1"),
    *_stages("squeezenet1_0", PARAMETERS, "Iandola 2016, table 1", {
        "features.0": "14,208", "features.3": "11,920", "features.4": "12,432", "features.5": "45,344",
        "features.7": "49,440", "features.8": "104,880", "features.9": "111,024", "features.10": "188,992",
        "features.12": "197,184", "classifier.1": "513,000"}),
]  # fmt: skip

_MOBILENET = [
    Figure("mobilenet_v1", PARAMETERS, "4.2M", "Howard 2017, table 8"),
    Figure("mobilenet_v1", PARAMETERS, "4,231,976", "Keras"),
    Figure("mobilenet_v1", WORK, "569M", "Howard 2017, table 8"),
    Figure("mobilenet_v1", WORK, "568.7M", "usual"),
    Figure("mobilenet_v2", PARAMETERS, "3.4M", "Sandler 2018, table 4", reason=Reason(
        "what the weights are without batch normalisation's scales and shifts",
        lambda count: {"weights": count("mobilenet_v2", WEIGHTS)})),
    Figure("mobilenet_v2", WORK, "300M", "Sandler 2018, table 4"),
]  # fmt: skip

_KERAS = [
    Figure("xception", PARAMETERS, "22,855,952", "Chollet 2017, table 3"),
    *_column(IN_ALL, "Keras", {"xception": "22,910,480", "densenet121": "8,062,504", "mobilenet_v1": "4,253,864",
                               "mobilenet_v2": "3,538,984"}),
]  # fmt: skip

# Parameters and billions of multiply-adds, which the table calls GFLOPS.
_TORCHVISION = {
    "alexnet": ("61,100,840", "0.714G"), "vgg11": ("132,863,336", "7.609G"), "vgg11_bn": ("132,868,840", "7.609G"),
    "vgg13": ("133,047,848", "11.308G"), "vgg13_bn": ("133,053,736", "11.308G"), "vgg16": ("138,357,544", "15.47G"),
    "vgg16_bn": ("138,365,992", "15.47G"), "vgg19": ("143,667,240", "19.632G"), "vgg19_bn": ("143,678,248", "19.632G"),
    "resnet18": ("11,689,512", "1.814G"), "resnet34": ("21,797,672", "3.664G"), "resnet50": ("25,557,032", "4.089G"),
    "resnet101": ("44,549,160", "7.801G"), "resnet152": ("60,192,808", "11.514G"),
    "densenet121": ("7,978,856", "2.834G"), "squeezenet1_0": ("1,248,424", "0.819G"),
    "mobilenet_v2": ("3,504,872", "0.301G"),
}  # fmt: skip

FIGURES: tuple[Figure, ...] = (
    *_LENET, *_ALEXNET, *_VGG, *_RESNET, *_DENSENET, *_SQUEEZENET, *_MOBILENET, *_KERAS,
    *_column(PARAMETERS, "torchvision", {name: row[0] for name, row in _TORCHVISION.items()}),
    *_column(WORK, "torchvision", {name: row[1] for name, row in _TORCHVISION.items()}),
)  # fmt: skip

# Networks of which nobody printed a count, and what is known instead.
UNPUBLISHED: dict[str, str] = {
    "zfnet": "the paper draws its layers (figure 3) and counts nothing",
    "nin:imagenet": "the paper does not have it; its model file counts nothing",
}
