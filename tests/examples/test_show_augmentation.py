"""The sheet of augmented samples, as a person asks for it."""

from functools import partial

import launch
import numpy as np
import pytest
from PIL import Image

import minicnn as mc

SCRIPT = launch.FOLDER / "show_augmentation.py"
PHOTO = launch.FOLDER.parent / "docs" / "pictures" / "filters.png"


@pytest.fixture
def run(printed_by):
    """run(*options): what the script prints."""
    return partial(printed_by, SCRIPT.name, "--kernels", "reference")


def test_help_names_every_option_and_fits_the_terminal():
    printed = launch.help_of("show_augmentation.py")
    for option in ["image FILE", "index N", "size PIXELS", "columns N", "seed N", "out FILE"]:
        assert f"--{option} " in printed


def test_the_sheet_of_a_digit_repeats_with_its_seed(run, tmp_path):
    assert run("--columns", 2, "--index", 7) == "augmentation.png\n"
    sheets = {}
    for name, seed in (("again.png", 0), ("other.png", 1)):
        run("--columns", 2, "--index", 7, "--seed", seed, "--out", name)
        sheets[name] = Image.open(tmp_path / name).tobytes()
    first = Image.open(tmp_path / "augmentation.png").tobytes()
    assert sheets["again.png"] == first
    assert sheets["other.png"] != first


def test_a_picture_has_rows_for_its_colours_too(run, tmp_path):
    run("--columns", 1, "--image", PHOTO, "--size", 40, "--out", "a.png")
    run("--columns", 1, "--out", "b.png")
    sheets = [Image.open(tmp_path / name) for name in ("a.png", "b.png")]
    assert sheets[0].height * 11 == sheets[1].height * 14
    # Of a grey digit all channels are alike; colours are where they differ.
    ranges = [np.ptp(np.asarray(sheet.convert("RGB")).astype(int), axis=2).max() for sheet in sheets]
    assert ranges[0] > 50
    assert ranges[1] == 0


def test_every_size_that_is_taken_has_every_row(monkeypatch):
    script = launch.module("show_augmentation", monkeypatch)
    for side in (3, 480):
        image = np.random.default_rng(0).integers(256, size=(side, side, 3), dtype=np.uint8)
        assert len(script.rows_for(image)) == 14
    with mc.kernels.use("reference"):
        assert all(rows.apply(image[np.newaxis, :3, :3]).size for rows in script.rows_for(image[:3, :3]).values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--index", "60000"], "--index expected a number from 0 to 59999, got 60000"),
        (["--columns", "0"], "--columns expected a number from 1 to 30, got 0"),
        (["--image", "nowhere.png"], "nowhere.png"),
        *(
            (["--image", PHOTO, "--size", size], f"--size expected a number from 3 to 480, got {size}")
            for size in ("0", "2", "481")
        ),
        (["--seed", "-1"], "seed expected"),
        (["--out", "nowhere/a.png"], "nowhere"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(run, tmp_path, options, said):
    with pytest.raises(SystemExit) as ended:
        run(*options)
    assert str(ended.value).startswith("show_augmentation.py: ")
    assert said in str(ended.value)
    assert not list(tmp_path.iterdir())
