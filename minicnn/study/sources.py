"""What the commands of `python -m minicnn.study` draw: a model with its weights, images of its size, a run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, models
from ..data import ArrayDataset
from ..data.cifar_classes import CIFAR10, CIFAR100_FINE
from ..data.mnist_family import FASHION, KMNIST
from ..nn import Linear, Module
from ..train.checkpoint import is_checkpoint, model_state
from ..weights import PUBLISHED, Published

Array = Any
Shape = tuple[int, int, int]  # H, W, C
CHECKPOINT, SETTINGS, HISTORY = "model.safetensors", "run.json", "history.json"  # in the folder of a run
DATASETS = ("mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100")
RAW = Published("", 0, mean=(0, 0, 0), deviation=(1, 1, 1))  # nothing cut off, pixels from 0 to 1: as for a Trainer


@dataclass(frozen=True)
class Source:
    """A model to draw. shape: (H, W, C) of its images. prepared: how photos are. settings: of the run, if it is one."""

    model: Module
    shape: Shape
    prepared: Published = RAW
    settings: dict[str, Any] = field(default_factory=dict)


def load(name: str | None, weights: str | None, shape: tuple[int, ...] | None = None) -> Source:
    """The model of that name with those weights.

    name: one of `models.names()`; or FILE.py:FUNCTION, a function of the user's that returns a Module; or None for the
        model of the run in `weights`, without one lenet5.
    weights: the folder of a run, or a checkpoint of the Trainer's; or what `load_pretrained` takes: a file of
        torchvision's or timm's weights, or a name that is published. None leaves the weights as drawn.
    shape: of an image, for a model that does not say it.

    Raises ValueError, FileNotFoundError and what loading raises.
    """
    settings = _settings(weights)
    name = name or settings.get("model", "lenet5")
    model = _from_file(name) if ".py:" in name else models.build(name)
    sized = shape or model.input_shape
    if sized is None or len(sized) != 3:
        raise ValueError(f"{name} does not say which images it is made for: add --input-shape H W C")
    prepared, as_published = RAW, PUBLISHED.get(name, Published("", short_side=max(sized[:2]) * 8 // 7))
    if weights is not None:
        path = Path(weights)
        path = path / CHECKPOINT if path.is_dir() else path
        if path.is_dir() or (path != Path(weights) and not path.exists()):
            raise FileNotFoundError(f"{weights} is not the folder of a run: it has no {CHECKPOINT}")
        if path.exists() and is_checkpoint(path):
            state = model_state(path)
            _fit_classes(model, state)
            model.load_state_dict(state)
            if settings.get("script") == "fine_tune.py":  # which prepares photos as for the weights that it begins with
                prepared = as_published
        else:
            model.load_pretrained(weights)
            prepared = as_published
    return Source(model, (sized[0], sized[1], sized[2]), prepared, settings)


def new_head(model: Module, K: int) -> Linear:
    """Put a fresh last layer, for K classes, in the place of the network's own; returns it.

    Raises ValueError for a network that does not end in a linear layer.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, Linear)]
    if not linear:
        raise ValueError("a network is needed that ends in a linear layer, which this one does not")
    *path, last = linear[-1].split(".")
    parent = model
    for name in path:
        parent = getattr(parent, name)
    old = getattr(parent, last)
    head = Linear(old.in_features, K).to(old.weight.device)
    setattr(parent, last, head)
    return head


def _fit_classes(model: Module, state: Mapping[str, Array]) -> None:
    """Give a model as many outputs as the weights have that it is to take: a run on photos has their classes."""
    linear = [(f"{name}.weight", module) for name, module in model.named_modules() if isinstance(module, Linear)]
    if linear and linear[-1][0] in state:
        K = state[linear[-1][0]].shape[-1]
        if linear[-1][1].out_features != K:
            new_head(model, K)


def _settings(weights: str | None) -> dict[str, Any]:
    """What run.json says, where `weights` is the folder of a run, or a checkpoint in one."""
    if weights is None:
        return {}
    folder = Path(weights) if Path(weights).is_dir() else Path(weights).parent
    found: dict[str, Any] = json.loads((folder / SETTINGS).read_text()) if (folder / SETTINGS).exists() else {}
    return found


def _from_file(name: str) -> Module:
    """FILE.py:FUNCTION: what the function returns. The file is run, as Python runs any."""
    path, _, function = name.rpartition(":")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}, for --model {name}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no file of Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    build = getattr(module, function, None)
    if not callable(build):
        raise ValueError(f"{path} has no function {function!r}: --model expects FILE.py:FUNCTION")
    model = build()
    if not isinstance(model, Module):
        raise ValueError(f"{name}() expected to return a Module, got {type(model).__name__}")
    return model


def history(folder: str) -> dict[str, list[float]]:
    """The numbers behind the curves of a run; raises FileNotFoundError where it has none."""
    path = Path(folder) / HISTORY
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {HISTORY}: name the folder of a training that has ended")
    found: dict[str, list[float]] = json.loads(path.read_text())
    return found


def dataset(source: Source, name: str | None, folder: str | None) -> tuple[ArrayDataset, ArrayDataset]:
    """Training and test set by name, by default the run's."""
    name = name or source.settings.get("dataset", "mnist")
    if name not in DATASETS:
        raise ValueError(f"--dataset expected one of {', '.join(DATASETS)}, got {name!r}")
    if name == "mnist":
        if folder is not None:
            raise ValueError(f"MNIST comes with minicnn, nothing is read from {folder}: leave out --data-folder")
        return data.mnist()
    read = {
        "fashion-mnist": data.fashion_mnist,
        "kmnist": data.kmnist,
        "cifar10": data.cifar10,
        "cifar100": data.cifar100,
    }[name]
    return read(folder or source.settings.get("data_folder"))


def class_names(source: Source, name: str | None, K: int) -> Sequence[str] | None:
    """The names of K classes: ImageNet's thousand, or those of the data set by that name, by default the run's."""
    if K == 1000:
        return data.imagenet_classes()
    chosen = name or source.settings.get("dataset", "mnist")
    names = {
        "fashion-mnist": FASHION.classes,
        "kmnist": KMNIST.classes,
        "cifar10": CIFAR10,
        "cifar100": CIFAR100_FINE,
    }.get(chosen, ())
    return names if len(names) == K else None


def fitted(images: Array, shape: Shape) -> Array:
    """Images (N, h, w, c) as (N, H, W, C): enlarged by the largest whole factor that fits, in the middle of black.

    Larger ones are thinned out. Grey becomes equal channels, and colour the mean over them where C is 1.
    """
    (H, W, C), (_, h, w, c) = shape, images.shape
    scale = min(H // h, W // w)
    if scale:
        images = images.repeat(scale, axis=1).repeat(scale, axis=2)
        rest = [(n - m * scale) for n, m in ((H, h), (W, w))]
        images = np.pad(images, ((0, 0), *((n // 2, n - n // 2) for n in rest), (0, 0)))
    else:
        images = images[:, np.arange(H) * h // H][:, :, np.arange(W) * w // W]
    if c == C:
        return images
    if C == 1:
        return images.mean(axis=3, keepdims=True).astype(images.dtype)
    if c != 1:
        raise ValueError(f"images of {c} channels cannot be shown to a model for {C}")
    return images.repeat(C, axis=3)


def read_image(path: str, source: Source) -> Array:
    """A photo (H, W, C) as the model takes it: the middle of it, in the model's size and prepared for its weights."""
    H, W, C = source.shape
    if C not in (1, 3):
        raise ValueError(f"a photo has 1 or 3 channels, the model takes {C}: leave out --image")
    size, prepared = max(H, W), source.prepared
    x = data.read_photo(path, size, max(prepared.short_side, size), prepared.mean, prepared.deviation)
    top, left = (size - H) // 2, (size - W) // 2
    x = x[top : top + H, left : left + W]
    return x if C == 3 else x.mean(axis=2, keepdims=True)


def normalised(x: Array, source: Source) -> Array:
    """An image (H, W, C) of 0 to 1 as the model's weights expect it; unchanged for one of our own or not of colour."""
    if source.shape[2] != 3:
        return x
    return (x - np.array(source.prepared.mean, np.float32)) / np.array(source.prepared.deviation, np.float32)


def landscape(H: int = 240, W: int = 320) -> Array:
    """A drawn picture (H, W, 3) of floats from 0 to 1, for who has no photo at hand: edges of all directions."""
    y, x = np.mgrid[:H, :W] / H
    picture = np.stack([0.45 + 0.4 * y, 0.65 + 0.25 * y, 0.95 - 0.1 * y], axis=2)  # the sky
    picture[(x - 1.05) ** 2 + (y - 0.2) ** 2 < 0.01] = (1.0, 0.85, 0.3)
    for peak, height, grey in ((0.3, 0.3, 0.45), (0.75, 0.38, 0.55)):
        picture[y > height + 0.8 * np.abs(x - peak)] = (grey, grey, grey + 0.05)
    meadow = y > 0.72
    picture[meadow] = np.stack([0.25 + 0.1 * np.sin(60 * x), 0.5 + 0.15 * np.sin(40 * y), 0.2 + 0 * x], axis=2)[meadow]
    house = (np.abs(x - 0.95) < 0.15) & (y > 0.6) & (y < 0.85)
    picture[house] = (0.75, 0.3, 0.25)
    picture[(np.abs(x - 0.95) < 0.8 * (y - 0.42)) & (y < 0.6)] = (0.35, 0.2, 0.2)
    picture[(np.abs(x - 0.95) < 0.04) & (y > 0.7) & (y < 0.85)] = (0.95, 0.9, 0.8)
    fence = (y > 0.86) & (y < 0.95) & ((x * 16 % 1 < 0.35) | (np.abs(y - 0.89) < 0.008))
    picture[fence] = (0.93, 0.93, 0.9)
    return picture.clip(0, 1).astype(np.float32)
