"""What arrays are called elsewhere, and what they are called here: torchvision's names, which the networks bear.

timm has torchvision's names for ResNet, ResNeXt, Wide ResNet, DenseNet and Inception v3, others for MobileNet and the
head of VGG (timm/models/efficientnet.py, _efficientnet_blocks.py, vgg.py).
"""

import re
from collections.abc import Collection, Iterable

import numpy as np

Arrays = dict[str, np.ndarray]

# A name that the weights of one family have, and that family.
MARKS = {
    "layer1.0.bn3.weight": "a ResNet of 50 or more layers, a ResNeXt or a Wide ResNet",
    "layer1.0.conv2.weight": "a ResNet of fewer than 50 layers",
    "features.denseblock1.denselayer1.conv1.weight": "a DenseNet",
    "features.1.conv.0.0.weight": "MobileNetV2",
    "features.3.squeeze.weight": "a SqueezeNet",
    "inception3a.branch1.conv.weight": "GoogLeNet",
    "Mixed_5b.branch1x1.conv.weight": "Inception v3",
    "features.28.weight": "a VGG",
    "classifier.6.weight": "AlexNet or a VGG",
}

# timm's MobileNet: what stands outside of the blocks, and the parts of a block. {last} comes behind all blocks.
STEM_AND_HEAD = {
    "conv_stem": "features.0.0",
    "bn1": "features.0.1",
    "conv_head": "features.{last}.0",
    "bn2": "features.{last}.1",
    "classifier": "classifier.1",
}
EXPANDED = {
    "conv_pw": "conv.0.0",
    "bn1": "conv.0.1",
    "conv_dw": "conv.1.0",
    "bn2": "conv.1.1",
    "conv_pwl": "conv.2",
    "bn3": "conv.3",
}
NOT_EXPANDED = {"conv_dw": "conv.0.0", "bn1": "conv.0.1", "conv_pw": "conv.1", "bn2": "conv.2"}
VERSION_1 = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1.0", "bn2": "1.1"}

VGG_HEAD = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}

# Classifiers in the middle of GoogLeNet and Inception v3 that only training uses.
TRAINING_HEADS = ("aux1.", "aux2.", "AuxLogits.")


def translated(arrays: Arrays, expected: Collection[str]) -> Arrays:
    """The arrays under the names that a network expects, where those of the file are known ones.

    expected: the names of the network's state. Names of timm, of torchvision's first DenseNets ("norm.1" for "norm1")
    and of PyTorch's DataParallel ("module." before each) become torchvision's; heads that only training uses are left
    out where the network has none; counters of batches, which PyTorch before 0.4.1 did not write, are 0. Whatever else
    differs stays as it is, for the error to say.
    """
    for rule in (_without_module, _densenet, _mobilenet, _vgg):
        if not arrays.keys() <= set(expected):
            arrays = rule(arrays)
    for head in TRAINING_HEADS:
        if not any(name.startswith(head) for name in expected):
            arrays = {name: array for name, array in arrays.items() if not name.startswith(head)}
    counters = [name for name in expected if name.endswith(".num_batches_tracked") and name not in arrays]
    return arrays | {
        name: np.zeros((), np.int64)
        for name in counters
        if name.replace("num_batches_tracked", "running_var") in arrays
    }


def looks_like(names: Collection[str]) -> str | None:
    """The family of networks whose names these are, in words; None where they are nobody's."""
    return next((family for mark, family in MARKS.items() if mark in names), None)


def _without_module(arrays: Arrays) -> Arrays:
    wrapped = all(name.startswith("module.") for name in arrays)
    return {name.removeprefix("module."): array for name, array in arrays.items()} if wrapped else arrays


def _densenet(arrays: Arrays) -> Arrays:
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name): arrays[name] for name in arrays}


def _mobilenet(arrays: Arrays) -> Arrays:
    """timm counts blocks within each stage ("blocks.2.1"), torchvision through all ("features.5")."""
    if "conv_stem.weight" not in arrays:
        return arrays
    blocks = sorted({tuple(map(int, found.groups())) for found in _matches(r"blocks\.(\d+)\.(\d+)\.", arrays)})
    last = 1 + len(blocks)
    prefixes = {before: after.format(last=last) for before, after in STEM_AND_HEAD.items()}
    has_expansion = any(".conv_pwl." in name for name in arrays)
    for number, (stage, place) in enumerate(blocks, 1):
        block = f"blocks.{stage}.{place}"
        not_expanded = NOT_EXPANDED if has_expansion else VERSION_1
        parts = EXPANDED if f"{block}.conv_pwl.weight" in arrays else not_expanded
        prefixes |= {f"{block}.{before}": f"features.{number}.{after}" for before, after in parts.items()}
    return _with_prefixes(arrays, prefixes)


def _vgg(arrays: Arrays) -> Arrays:
    """timm computes the first two fully connected layers as convolutions: (O, C, 7, 7) instead of (O, C * 7 * 7)."""
    if "pre_logits.fc1.weight" not in arrays:
        return arrays
    flat = {
        name: array.reshape(len(array), -1) if name.startswith("pre_logits.") and array.ndim == 4 else array
        for name, array in arrays.items()
    }
    return _with_prefixes(flat, VGG_HEAD)


def _matches(pattern: str, names: Iterable[str]) -> list[re.Match[str]]:
    return [found for name in names if (found := re.match(pattern, name))]


def _with_prefixes(arrays: Arrays, prefixes: dict[str, str]) -> Arrays:
    """With the name before the last dot replaced: "conv_stem.weight" by "features.0.0.weight"."""
    split = {name: name.rpartition(".") for name in arrays}
    return {f"{prefixes.get(stem, stem)}{dot}{last}": arrays[name] for name, (stem, dot, last) in split.items()}
