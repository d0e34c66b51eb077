"""What has been published about the sizes of the networks in `minicnn.models`: what `minicnn.study.audit` checks.

Each claim stands as it was printed, with its source: a paper's first author, year and place (the titles stand in the
docstrings of the models), the documentation of torchvision 0.28 or Keras, tables that count other people's networks
(osmr/imgclsmob, HewlettPackard/dlcookbook-dlbs), or a lecture. "usual": what programs and lectures print for the
network, without anybody who was first.
"""

from . import published_googlenet
from .claim import IN_ALL, PARAMETERS, WEIGHTS, WORK, Claim, Reason, by_stage, column


def _weights_alone(network: str) -> Reason:
    """Of a number that leaves out batch normalisation."""
    text = "the weights alone, without the scales and shifts of batch normalisation"
    return Reason(text, lambda count: {"weights": count(network, WEIGHTS)})


_LENET = [
    Claim("lenet1", PARAMETERS, "2,578", "LeCun 1989, section 4"),
    Claim("lenet5", PARAMETERS, "61,706", "usual"),
    Claim("lenet5:d2l", PARAMETERS, "61,706", "usual"),
    Claim("lenet5:1998", PARAMETERS, "60,000", "LeCun 1998, section II.B"),
    *by_stage("lenet5:1998", PARAMETERS, "LeCun 1998, section II.B",
             {"c1": "156", "s2": "12", "c3": "1,516", "s4": "32", "c5": "48,120", "f6": "10,164"}),
    Claim("lenet4", PARAMETERS, "17K", "LeCun 1998, section III.C", reason=Reason(
        "a slip; 120 units that see 16 maps of 5x5 have more alone",
        lambda count: {"f5": count("lenet4", PARAMETERS, "f5")}, right="48,120")),
    Claim("digit_cnn", PARAMETERS, "1,199,882", "Keras, mnist_cnn.py"),
]  # fmt: skip

_ALEXNET = [
    Claim("alexnet:2012", PARAMETERS, "60M", "Krizhevsky 2012, abstract"),
    Claim("alexnet:2012", PARAMETERS, "60,965,224", "dlcookbook-dlbs"),
    Claim("alexnet:2012", WORK, "0.724G", "usual"),
    Claim("alexnet:2012", WORK, "1.5G", "lecture", reason=Reason(
        "a multiplication and an addition count as two, in the other rows as one",
        lambda count: dict.fromkeys(("multiplications", "additions"), count("alexnet:2012", WORK)))),
    Claim("alexnet:ungrouped", PARAMETERS, "62,378,344", "imgclsmob"),
    Claim("alexnet:ungrouped", WORK, "1.135G", "usual"),
    Claim("alexnet:batch_norm", PARAMETERS, "58,308,674", "usual"),
    Claim("alexnet:batch_norm", IN_ALL, "58,327,810", "usual"),
    Claim("nin", PARAMETERS, "966,986", "imgclsmob"),
    Claim("highway", PARAMETERS, "151K", "Srivastava 2015, table 1"),
]  # fmt: skip

# Table 2: millions of parameters of configurations A, B, D and E.
_VGG = [
    *column(PARAMETERS, "Simonyan 2015, table 2",
             {"vgg11": "133M", "vgg13": "133M", "vgg16": "138M", "vgg19": "144M"}),
    Claim("vgg16", PARAMETERS, "138M", "lecture"),
    Claim("vgg16", WORK, "19.6G", "lecture", reason=Reason(
        "beside VGG-16's parameters stand VGG-19's multiply-adds", lambda count: {"vgg19": count("vgg19", WORK)})),
]  # fmt: skip

# Table 6 counts the parameters of the networks for CIFAR-10; plain networks have as many (section 4.2).
_TABLE_6 = {20: "0.27M", 32: "0.46M", 44: "0.66M", 56: "0.85M", 110: "1.7M"}
_EXACT = {20: "269,722", 32: "464,154", 44: "658,586", 56: "853,018", 110: "1,727,962", 1202: "19,421,274"}
_RESNET = [
    *column(WORK, "He 2016, table 1", {"resnet18": "1.8G", "resnet34": "3.6G", "resnet50:2016": "3.8G",
             "resnet101:2016": "7.6G", "resnet152:2016": "11.3G", "plain18": "1.8G", "plain34": "3.6G"}),
    *column(WORK, "Xie 2017, table 1", {"resnet50": "4.1G"}),
    *column(PARAMETERS, "Xie 2017, table 1", {"resnet50": "25.5M"}),
    *column(PARAMETERS, "He 2016, table 6", {f"resnet{n}": text for n, text in _TABLE_6.items()}),
    *column(PARAMETERS, "He 2016, table 6", {"resnet1202": "19.4M"}),
    *column(PARAMETERS, "He 2016, section 4.2", {f"plain{n}": text for n, text in _TABLE_6.items()}),
    *column(PARAMETERS, "usual", {f"resnet{n}": text for n, text in _EXACT.items()}),
]  # fmt: skip

_AFTER_RESNET = [
    *column(PARAMETERS, "Zagoruyko 2016, table 5", {"preresnet110": "1.7M", "preresnet164": "1.7M"}),
    Claim("preresnet1001", PARAMETERS, "10.2M", "Zagoruyko 2016, table 5", reason=_weights_alone("preresnet1001")),
    *column(PARAMETERS, "imgclsmob", {"preresnet164": "1,703,258", "preresnet1001": "10,327,706",
            "wide_resnet28_10": "36,479,194", "pyramidnet110_a270": "28,485,477"}),
    *column(PARAMETERS, "Zagoruyko 2016, table 4",
            {"wide_resnet40_4": "8.9M", "wide_resnet16_8": "11.0M", "wide_resnet28_10": "36.5M"}),
    *column(PARAMETERS, "Zagoruyko 2016, table 8", {"wide_resnet50_2": "68.9M"}),
    *column(PARAMETERS, "Xie 2017, table 1", {"resnext50_32x4d": "25.0M"}),
    *column(WORK, "Xie 2017, table 1", {"resnext50_32x4d": "4.2G"}),
    *column(PARAMETERS, "Han 2017, table 4", {"pyramidnet110_a48": "1.7M", "pyramidnet110_a84": "3.8M",
            "pyramidnet200_a240": "26.6M", "pyramidnet236_a220": "26.8M", "pyramidnet272_a200": "26.0M"}),
    Claim("pyramidnet164_a270", PARAMETERS, "27.0M", "Han 2017, table 4", reason=_weights_alone("pyramidnet164_a270")),
    Claim("pyramidnet110_a270", PARAMETERS, "28.3M", "Han 2017, table 4", reason=Reason(
        "a slip, it seems; the widths of the paper make",
        lambda count: {stage: count("pyramidnet110_a270", PARAMETERS, stage)
                       for stage in ("conv1", "bn1", "layer1", "layer2", "layer3", "bn", "fc")}, right="28.5M")),
]  # fmt: skip

_DENSENET = [
    *column(PARAMETERS, "Huang 2017, table 2", {"densenet40_12": "1.0M", "densenet_bc_100_12": "0.8M"}),
    *column(PARAMETERS, "usual", {"densenet40_12": "1,019,722"}),
    *column(PARAMETERS, "imgclsmob", {"densenet_bc_100_12": "769,162"}),
]

# Table 1 of SqueezeNet's paper, the column before pruning.
_SQUEEZENET = [
    Claim("squeezenet1_0", PARAMETERS, "1,248,424", "Iandola 2016, table 1"),
    *by_stage("squeezenet1_0", PARAMETERS, "Iandola 2016, table 1", {
        "features.0": "14,208", "features.3": "11,920", "features.4": "12,432", "features.5": "45,344",
        "features.7": "49,440", "features.8": "104,880", "features.9": "111,024", "features.10": "188,992",
        "features.12": "197,184", "classifier.1": "513,000"}),
]  # fmt: skip

_MOBILENET = [
    Claim("mobilenet_v1", PARAMETERS, "4.2M", "Howard 2017, table 8"),
    Claim("mobilenet_v1", PARAMETERS, "4,231,976", "Keras"),
    Claim("mobilenet_v1", WORK, "569M", "Howard 2017, table 8"),
    Claim("mobilenet_v1", WORK, "568.7M", "usual"),
    Claim("mobilenet_v2", PARAMETERS, "3.4M", "Sandler 2018, table 4", reason=_weights_alone("mobilenet_v2")),
    Claim("mobilenet_v2", WORK, "300M", "Sandler 2018, table 4"),
]  # fmt: skip

_KERAS = [
    Claim("xception", PARAMETERS, "22,855,952", "Chollet 2017, table 3"),
    *column(IN_ALL, "Keras", {"xception": "22,910,480", "densenet121": "8,062,504", "mobilenet_v1": "4,253,864",
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
    "mobilenet_v2": ("3,504,872", "0.301G"), "googlenet": ("6,624,904", "1.498G"),
    "wide_resnet50_2": ("68,883,240", "11.398G"), "wide_resnet101_2": ("126,886,696", "22.753G"),
    "resnext50_32x4d": ("25,028,904", "4.23G"), "resnext101_32x8d": ("88,791,336", "16.414G"),
    "resnext101_64x4d": ("83,455,272", "15.46G"),
}  # fmt: skip

CLAIMS: tuple[Claim, ...] = (
    *_LENET, *_ALEXNET, *_VGG, *published_googlenet.CLAIMS,
    *_RESNET, *_AFTER_RESNET, *_DENSENET, *_SQUEEZENET, *_MOBILENET, *_KERAS,
    *column(PARAMETERS, "torchvision", {name: row[0] for name, row in _TORCHVISION.items()}),
    *column(WORK, "torchvision", {name: row[1] for name, row in _TORCHVISION.items()}),
)  # fmt: skip

# Networks of which nobody has printed a count, with the reason.
UNPUBLISHED: dict[str, str] = {
    "highway:fully_connected": "the paper varies its depth and counts nothing",
    "zfnet": "the paper draws its layers (figure 3) and counts nothing",
    "nin:imagenet": "the paper does not have it; its model file counts nothing",
}
