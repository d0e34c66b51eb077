"""Say what is in a photo, with weights that others trained on ImageNet.

    python examples/classify_photo.py PHOTO

prints the five likeliest of its 1000 classes, with a bar each. The weights are
torchvision's; they are downloaded once and kept below ~/.cache/minicnn. Without
a network, name a file of them, .pth or safetensors, of torchvision or timm:

    python examples/classify_photo.py --weights mobilenet_v2-b0353104.pth PHOTO
"""

import argparse
from pathlib import Path

import numpy as np
import script

import minicnn as mc
from minicnn import data, models, nn
from minicnn import functional as F
from minicnn.weights import PUBLISHED, Published

SHOWN = 5
BAR = 30  # characters for a probability of 1


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    known = [name for name in PUBLISHED if name in models.names()]
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="a file that Pillow can read, such as JPEG or PNG")
    add("--model", default="mobilenet_v2", metavar="NAME", help="with published weights: "
        f"{', '.join(known)} (default: mobilenet_v2)")  # fmt: skip
    add("--weights", metavar="SOURCE", help="a file of weights for that model, or a name under which they are "
        "published (default: the model's)")  # fmt: skip
    script.add_device(parser)
    return parser.parse_args()


def load_model(settings: argparse.Namespace) -> nn.Module:
    """The model with its weights, ready to classify."""
    shape = models.input_shape(settings.model)
    if shape[2] != 3:
        raise ValueError(f"{settings.model} is made for images {shape}, not for photos in colour")
    model = models.build(settings.model).load_pretrained(settings.weights or settings.model).eval()
    return model.to(script.chosen_device(settings.device))


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
    with script.faults_in_one_sentence(__file__):
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


if __name__ == "__main__":
    main()
