"""See what augmentation makes of a picture: a sheet, a row for each transform.

    python examples/show_augmentation.py
    python examples/show_augmentation.py --image cat.jpg --columns 6

The original is on the left. The first row is all four at once: rotation by up
to 30 degrees, shifts by up to a tenth, shear by up to 0.2 radians, zoom by up
to a fifth. The same seed draws the same sheet.
"""

import argparse
from pathlib import Path

import numpy as np
import script

import minicnn as mc
from minicnn import data
from minicnn.data import transforms
from minicnn.study.figure import new_figure, save_figure, show_image, tile_sheet

ALL_FOUR = transforms.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2)


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    add("--image", type=Path, metavar="FILE", help="a picture that Pillow can read (default: a digit of MNIST)")
    add("--index", type=int, default=0, metavar="N", help="which of MNIST's 60,000 training digits (default: 0)")
    add("--size", type=int, default=160, metavar="PIXELS", help="side to which a picture is cut, 3 to 480 (default: "
        "160)")  # fmt: skip
    add("--columns", type=int, default=8, metavar="N", help="how many samples in a row (default: 8)")
    add("--seed", type=int, default=0, metavar="N", help="of all draws (default: 0)")
    add("--out", type=Path, default=Path("augmentation.png"), metavar="FILE", help="the sheet (default: %(default)s)")
    add("--kernels", default="cpu", choices=mc.kernels.ROOMS, help="compiled kernels (cpu), or the plain NumPy ones "
        "that are written to be read (reference) (default: cpu)")  # fmt: skip
    return parser.parse_args()


def load_image(settings: argparse.Namespace) -> np.ndarray:
    """The picture, (H, W, C) of uint8."""
    if settings.image is None:
        train, _ = data.mnist()
        if not 0 <= settings.index < len(train):
            raise ValueError(f"--index expected a number from 0 to {len(train) - 1}, got {settings.index}")
        return train[settings.index][0]
    if not 3 <= settings.size <= 480:  # as much as Cutout needs, and as ElasticDistortion bends
        raise ValueError(f"--size expected a number from 3 to 480, got {settings.size}")
    pixels = data.read_photo(settings.image, settings.size, settings.size, mean=(0, 0, 0), deviation=(1, 1, 1))
    return np.round(pixels * 255).astype(np.uint8)


def rows_for(image: np.ndarray) -> dict[str, transforms.Transform]:
    """The transforms to be shown by name: those of places for every image, those of colours for one that has some."""
    side = min(image.shape[:2])
    rows: dict[str, transforms.Transform] = {
        "all four": ALL_FOUR,
        "rotation": transforms.RandomAffine(rotation=30),
        "shift": transforms.RandomAffine(shift=0.1),
        "shear": transforms.RandomAffine(shear=0.2),
        "zoom": transforms.RandomAffine(zoom=0.2),
        "fill: constant": transforms.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2, fill="constant"),
        "fill: reflect": transforms.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2, fill="reflect"),
        "elastic": transforms.ElasticDistortion(alpha=34 * (side / 28) ** 2, sigma=4 * side / 28),
        "crop": transforms.RandomCrop(side, padding=side // 8),
        "resized crop": transforms.RandomResizedCrop(side, scale=(0.3, 1)),
        "cutout": transforms.Cutout(side // 3, value=127),
    }
    if image.shape[2] == 3:
        rows |= {
            "flip": transforms.RandomHorizontalFlip(),
            "colour jitter": transforms.ColorJitter(0.4, 0.4, 0.4),
            "colour noise x 10": transforms.ColorNoise(transforms.principal_colors(image[np.newaxis]), deviation=1),
        }
    return rows


def draw_sheet(image: np.ndarray, rows: dict[str, transforms.Transform], columns: int, out: Path) -> None:
    """The sheet as a PNG file: samples 0, 1, ... of each transform, beside the original."""
    batch = np.repeat(image[np.newaxis], columns, axis=0)
    tiles = np.stack([np.concatenate([image[np.newaxis], transform.apply(batch)]) for transform in rows.values()])
    sheet = np.nan_to_num(tile_sheet(tiles / 255), nan=1.0)  # white between the tiles
    figure = new_figure(columns + 2.8, len(rows))
    axes = figure.subplots()
    show_image(axes, sheet)
    for row, name in enumerate(rows):
        axes.text(-0.2 * image.shape[1], (row + 0.5) * (image.shape[0] + 1), name, ha="right", va="center")
    save_figure(figure, out)


def main() -> None:
    """Draw the sheet; every fault of the user's is one sentence."""
    with script.faults_in_one_sentence(__file__):
        settings = parse_arguments()
        script.need_matplotlib()
        if not 1 <= settings.columns <= 30:
            raise ValueError(f"--columns expected a number from 1 to 30, got {settings.columns}")
        mc.seed(settings.seed)
        image = load_image(settings)
        with mc.kernels.use(settings.kernels):
            draw_sheet(image, rows_for(image), settings.columns, settings.out)
        print(settings.out)


if __name__ == "__main__":
    main()
