"""Names of other libraries: state dicts made up with the names that timm's and torchvision's sources give."""

import numpy as np
import pytest

from minicnn import weights

STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def numbered(names):
    """An array of its own for each name."""
    return {name: np.full((2, 2), i, np.float32) for i, name in enumerate(names)}


def names(*layers):
    """A convolution or linear weight for each name, and a batch normalisation where it is marked by +."""
    return [f"{layer.rstrip('+')}.{part}" for layer in layers for part in (STATISTICS if "+" in layer else ("weight",))]


def check(theirs, ours):
    """Each array of `theirs` comes under the name in the same place of `ours`."""
    arrays = numbered(theirs)
    got = weights.translated(arrays, ours)
    assert list(got) == ours
    for before, after in zip(theirs, ours, strict=True):
        assert got[after] is arrays[before]


# timm: EfficientNet.__init__ and DepthwiseSeparableConv, InvertedResidual; MobileNetV2 has 1, 2, 3, 4, 3, 3 and 1
# blocks. torchvision: MobileNetV2.__init__ and InvertedResidual.
def test_mobilenet_v2_of_timm():
    theirs = ["conv_stem", "bn1+", *(f"blocks.0.0.{part}" for part in ("conv_dw", "bn1+", "conv_pw", "bn2+"))]
    ours = ["features.0.0", "features.0.1+", *(f"features.1.conv.{part}" for part in ("0.0", "0.1+", "1", "2+"))]
    number = 2
    for stage, blocks in enumerate((2, 3, 4, 3, 3, 1), 1):
        for place in range(blocks):
            theirs += [f"blocks.{stage}.{place}.{part}" for part in
                       ("conv_pw", "bn1+", "conv_dw", "bn2+", "conv_pwl", "bn3+")]  # fmt: skip
            ours += [f"features.{number}.conv.{part}" for part in ("0.0", "0.1+", "1.0", "1.1+", "2", "3+")]
            number += 1
    theirs, ours = [*theirs, "conv_head", "bn2+"], [*ours, "features.18.0", "features.18.1+"]
    check([*names(*theirs), "classifier.weight", "classifier.bias"],
          [*names(*ours), "classifier.1.weight", "classifier.1.bias"])  # fmt: skip


def test_mobilenet_v1_of_timm():
    theirs, ours, number = ["conv_stem", "bn1+"], ["features.0.0", "features.0.1+"], 1
    for stage, blocks in enumerate((1, 2, 2, 6, 2)):
        for place in range(blocks):
            theirs += [f"blocks.{stage}.{place}.{part}" for part in ("conv_dw", "bn1+", "conv_pw", "bn2+")]
            ours += [f"features.{number}.{part}" for part in ("0.0", "0.1+", "1.0", "1.1+")]
            number += 1
    check([*names(*theirs), "classifier.weight", "classifier.bias"],
          [*names(*ours), "classifier.1.weight", "classifier.1.bias"])  # fmt: skip


def test_vgg_of_timm_has_convolutions_in_its_head():
    arrays = {"features.0.weight": np.zeros((4, 3, 3, 3)), "pre_logits.fc1.weight": np.arange(60.0).reshape(5, 3, 2, 2),
              "pre_logits.fc1.bias": np.zeros(5), "pre_logits.fc2.weight": np.arange(25.0).reshape(5, 5, 1, 1),
              "head.fc.weight": np.ones((7, 5)), "head.fc.bias": np.ones(7)}  # fmt: skip
    expected = ["features.0.weight", "classifier.0.weight", "classifier.0.bias", "classifier.3.weight",
                "classifier.6.weight", "classifier.6.bias"]  # fmt: skip
    got = weights.translated(arrays, expected)
    assert list(got) == expected
    for o, c, h, w in np.ndindex(5, 3, 2, 2):  # flattened as PyTorch flattens images: C, H, W
        assert got["classifier.0.weight"][o, (c * 2 + h) * 2 + w] == arrays["pre_logits.fc1.weight"][o, c, h, w]
    np.testing.assert_array_equal(got["classifier.3.weight"], np.arange(25.0).reshape(5, 5))


def test_first_densenets_of_torchvision():
    block = "features.denseblock{}.denselayer{}."
    theirs = names(*(block.format(b, l) + part for b, l in ((1, 1), (4, 16))
                     for part in ("norm.1+", "conv.1", "norm.2+", "conv.2")))  # fmt: skip
    ours = names(*(block.format(b, l) + part for b, l in ((1, 1), (4, 16))
                   for part in ("norm1+", "conv1", "norm2+", "conv2")))  # fmt: skip
    check(theirs, ours)


def test_dataparallel_puts_module_before_all_names():
    check(["module.conv.weight", "module.conv.bias"], ["conv.weight", "conv.bias"])
    half = weights.translated(numbered(["module.conv.weight", "fc.bias"]), ["conv.weight", "fc.bias"])
    assert list(half) == ["module.conv.weight", "fc.bias"]


def test_names_that_the_network_has_stay():
    for own in (
        ["module.conv.weight"],
        ["conv_stem.weight", "bn1.weight"],
        ["pre_logits.fc1.weight", "head.fc.weight"],
    ):
        check(own, own)


def test_heads_for_training_are_left_out_only_where_the_network_has_none():
    for head in ("aux1.fc1.weight", "aux2.conv.conv.weight", "AuxLogits.fc.weight"):
        arrays = numbered(["conv1.weight", head])
        assert list(weights.translated(arrays, ["conv1.weight"])) == ["conv1.weight"]
        assert list(weights.translated(arrays, ["conv1.weight", head])) == ["conv1.weight", head]
        assert list(weights.translated(arrays, ["conv1.weight", head.partition(".")[0] + ".other"])) == [
            "conv1.weight",
            head,
        ]


def test_a_missing_counter_is_zero_where_the_statistics_are_there():
    theirs = numbered(["bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"])
    got = weights.translated(theirs, [*theirs, "bn1.num_batches_tracked", "bn2.num_batches_tracked"])
    assert list(got) == [*theirs, "bn1.num_batches_tracked"]
    assert got["bn1.num_batches_tracked"].dtype == np.int64
    assert got["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize("unknown", [{}, {"fc.weight": 1}, {"conv_stem.weight": 1}, {"blocks.x.weight": 1}])
def test_what_nobody_knows_stays_as_it_is(unknown):
    arrays = numbered(unknown)
    got = weights.translated(arrays, ["other.weight"])
    assert list(got.values()) == list(arrays.values())


def test_families_by_their_names():
    assert weights.looks_like(["layer1.0.conv2.weight", "layer1.0.bn3.weight"]).startswith("a ResNet of 50")
    assert weights.looks_like(["features.1.conv.0.0.weight"]) == "MobileNetV2"
    assert weights.looks_like(["fc.weight"]) is None
