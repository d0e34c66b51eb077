"""Say what is in a photo, with weights that others trained on ImageNet.

    python examples/classify_photo.py PHOTO

prints the five likeliest of its 1000 classes, with a bar each. The weights are
torchvision's; they are downloaded once and kept below ~/.cache/minicnn. Without
a network, name a file of them, .pth or safetensors, of torchvision or timm:

    python examples/classify_photo.py --weights mobilenet_v2-b0353104.pth PHOTO
"""

import argparse
import sys
from pathlib import Path

try:
    import minicnn as mc
except ImportError as error:
    sys.exit(
        str(error)
        if "checkout" in str(error)
        else f"{error}: install minicnn first, with `pip install -e .` in the folder above examples/"
    )

import numpy as np

from minicnn import data, models, nn
from minicnn import functional as F
from minicnn.weights import PUBLISHED, Published

SHOWN = 5
BAR = 30  # characters for a probability of 1


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    known = [name for name in PUBLISHED if name in models.names()]
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="a file that Pillow can read, such as JPEG or PNG")
    add("--model", default="mobilenet_v2", metavar="NAME", help="with published weights: "
        f"{', '.join(known)} (default: mobilenet_v2)")  # fmt: skip
    add("--weights", metavar="SOURCE", help="a file of weights for that model, or a name under which they are "
        "published (default: the model's)")  # fmt: skip
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute: cuda is an NVIDIA GPU; "
        "auto takes one if it can be used (default: auto)")  # fmt: skip
    return parser.parse_args()


def load_model(settings: argparse.Namespace) -> nn.Module:
    """The model with its weights, ready to classify."""
    shape = models.input_shape(settings.model)
    if shape[2] != 3:
        raise ValueError(f"{settings.model} is made for images {shape}, not for photos in colour")
    device = "cuda" if mc.cuda_available() else "cpu"
    model = models.build(settings.model).load_pretrained(settings.weights or settings.model).eval()
    return model.to(device if settings.device == "auto" else settings.device)


def classify(model: nn.Module, x: np.ndarray, device: str) -> np.ndarray:
    """The probability of each class, (K,), of one prepared photo (H, W, 3)."""
    with mc.no_grad():
        return F.softmax(model(mc.tensor(x[np.newaxis], device=device))).numpy()[0]


def report(photo: Path, probabilities: np.ndarray, classes: tuple[str, ...]) -> None:
    """The likeliest classes: number, name, probability and bar."""
    print(photo.name)
    for number in probabilities.argsort()[::-1][:SHOWN]:
        p = probabilities[number]
        print(f"  {number:3} {classes[number]:<30.30}  {100 * p:5.1f} %  {'#' * round(BAR * p)}".rstrip())


def main() -> None:
    """Classify each photo; every fault of the user's is one sentence."""
    try:
        settings = parse_arguments()
        size = models.input_shape(settings.model)[0]
        prepared = PUBLISHED.get(settings.model, Published("", short_side=size * 8 // 7))
        photos = [data.read_photo(photo, size, prepared.short_side, prepared.mean, prepared.deviation)
                  for photo in settings.photos]  # fmt: skip
        model, classes = load_model(settings), data.imagenet_classes()
        device = next(model.parameters()).device
        for photo, x in zip(settings.photos, photos, strict=True):
            probabilities = classify(model, x, device)
            if len(probabilities) != len(classes):
                raise ValueError(f"{settings.model} knows {len(probabilities)} classes, ImageNet has {len(classes)}")
            report(photo, probabilities, classes)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
        sys.exit(f"classify_photo.py: {error}")


if __name__ == "__main__":
    main()
