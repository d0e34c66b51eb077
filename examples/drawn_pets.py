"""Pictures of cats and dogs, drawn: a small folder to try a training on photos with, where no photos are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("cat", "dog")
SMALLEST, LARGEST = 120, 240  # pixels of a side: photos differ in size too
Colour = tuple[int, int, int]


def draw_folder(folder: Path, count: int, seed: int) -> Path:
    """`count` pictures into a folder, half of them of each class, named as in Dogs vs. Cats: cat.0.jpg, dog.0.jpg.

    A folder that is there is left as it is. Raises ValueError for less than ten pictures, ImportError without Pillow.
    """
    if count < 10:
        raise ValueError(f"a folder of drawn pictures needs at least 10, got {count}")
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}.part")
    unfinished.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        kind = CLASSES[number % 2]
        picture = draw_pet(kind, np.random.default_rng([seed, number]))
        picture.save(unfinished / f"{kind}.{number // 2}.jpg", quality=90)
    unfinished.rename(folder)
    return folder


def draw_pet(kind: str, rng: np.random.Generator) -> Any:
    """The head of a cat or of a dog as a Pillow image: any colour, size, place and tilt.

    The fur, its place and what is around it say nothing of the class: a cat has pointed ears and whiskers, a dog has
    hanging ears and shows its tongue.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise ImportError('to draw pictures Pillow is needed: pip install "minicnn[photos]"') from error
    W, H = (int(side) for side in rng.integers(SMALLEST, LARGEST, 2))
    background, fur, inner = (_colour(rng) for _ in range(3))
    image = Image.new("RGB", (W, H), background)
    pen = ImageDraw.Draw(image)
    for _ in range(6):  # grass, clouds, cushions
        x, y, r = rng.uniform(0, W), rng.uniform(0, H), rng.uniform(5, 40)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=_colour(rng))
    head = Image.new("RGBA", (200, 200))
    (_draw_cat if kind == "cat" else _draw_dog)(ImageDraw.Draw(head), fur, inner)
    size = int(rng.uniform(0.55, 0.95) * min(W, H))
    head = head.rotate(rng.uniform(-25, 25), Image.Resampling.BICUBIC).resize((size, size))
    place = int(rng.integers(0, W - size + 1)), int(rng.integers(0, H - size + 1))
    image.paste(head, place, head)
    return image


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(30, 236, 3))
    return red, green, blue


def _draw_cat(pen: Any, fur: Colour, inner: Colour) -> None:
    """On 200 x 200 pixels."""
    for left, tip, right in (((45, 95), (50, 15), (95, 55)), ((155, 95), (150, 15), (105, 55))):
        pen.polygon([left, tip, right], fill=fur, outline="black")
    pen.ellipse((40, 45, 160, 165), fill=fur, outline="black")
    _draw_eyes(pen, 90)
    pen.polygon([(93, 115), (107, 115), (100, 124)], fill=inner)
    for y, far in ((112, 105), (120, 120), (128, 135)):
        pen.line([(85, y), (20, far)], fill="black", width=2)
        pen.line([(115, y), (180, far)], fill="black", width=2)


def _draw_dog(pen: Any, fur: Colour, inner: Colour) -> None:
    """On 200 x 200 pixels."""
    pen.ellipse((45, 30, 155, 160), fill=fur, outline="black")
    pen.ellipse((22, 40, 62, 140), fill=inner, outline="black")
    pen.ellipse((138, 40, 178, 140), fill=inner, outline="black")
    _draw_eyes(pen, 80)
    pen.ellipse((72, 100, 128, 150), fill=fur, outline="black")
    pen.ellipse((88, 100, 112, 118), fill="black")
    pen.ellipse((90, 138, 110, 175), fill=(225, 90, 110), outline="black")


def _draw_eyes(pen: Any, y: int) -> None:
    for x in (78, 122):
        pen.ellipse((x - 10, y - 10, x + 10, y + 10), fill="white", outline="black")
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill="black")
